import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { channelSchema } from '../../src/channels/channel-schema.ts'
import { loadChannels } from '../../src/channels/load.ts'
import { mappingSchema } from '../../src/channels/mapping-schema.ts'
import { problemCodes } from '../../src/channels/problem.ts'
import { runTests } from '../../src/channels/run-tests.ts'
import { schemaText } from '../../src/commands/schema.ts'
import { acknowledgments } from '../../src/engine/channel-tests.ts'
import { readHl7 } from '../../src/lib/hl7v2.ts'
import { evaluate } from '../../src/mapping/evaluate.ts'
import { laneKey } from '../../src/mapping/lane-key.ts'

const root = join(import.meta.dirname, '../..')
const { plans, problems } = loadChannels({
  channelsDirectory: join(root, 'channels'),
  mappingsDirectory: join(root, 'mappings'),
  environment: {},
})
const adt = plans.find(({ name }) => name === 'adt-discharge')!
const { results, untested } = runTests(plans, acknowledgments)

test('the shipped files have no finding, and no reason or kind without a test', () => {
  expect(problems).toEqual([])
  expect(untested).toEqual([])
})

describe('the tests inside the shipped channels pass', () => {
  test.each(results.map((result) => [`${result.channel}: ${result.name}`, result.differences] as const))(
    '%s',
    (_, differences) => {
      expect(differences).toEqual([])
    },
  )
})

test('what editors are given is the format that is checked', () => {
  expect(readFileSync(join(root, 'channels/schema.json'), 'utf8')).toBe(schemaText(channelSchema))
  expect(readFileSync(join(root, 'mappings/schema.json'), 'utf8')).toBe(schemaText(mappingSchema))
})

test('every code of a finding is explained to analysts', () => {
  const guide = readFileSync(join(root, 'docs/analyst.md'), 'utf8')
  const unexplained = Object.keys(problemCodes).filter((code) => !guide.includes(`\`${code}\``))
  expect(unexplained).toEqual([])
})

describe('tables', () => {
  const table = (name: string) => [...adt.mapping.tables.get(name)!.rows.keys()]

  test('know every code of NUBC form locator 17, discharge status', () => {
    const codes =
      '01 02 03 04 05 06 07 09 20 21 30 40 41 42 43 50 51 61 62 63 64 65 66 69 70 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95'
    expect(codes.split(' ').filter((code) => !table('discharge-disposition').includes(code))).toEqual([])
  })

  test('know every class of HL7 table 0004 that says what kind of stay it was', () => {
    expect('E I O P R B'.split(' ').filter((code) => !table('patient-class').includes(code))).toEqual([])
  })
})

// Real messages of other systems, where BLUEPOST_CORPUS names the folder that holds them; without it this checks nothing.
const corpus = process.env['BLUEPOST_CORPUS']
const samples = corpus === undefined ? undefined : join(corpus, 'hl7v2')
const files =
  samples === undefined || !existsSync(samples)
    ? []
    : readdirSync(samples).filter((name) => name.endsWith('.hl7'))

/** Columns of INDEX.tsv: what others have read from each file. */
function indexed(): ReadonlyMap<string, Readonly<Record<string, string>>> {
  const [header, ...lines] = readFileSync(join(samples!, 'INDEX.tsv'), 'utf8').trimEnd().split('\n')
  const columns = header!.split('\t')
  return new Map(
    lines.map((line) => {
      const cells = line.split('\t')
      return [cells[0]!, Object.fromEntries(columns.map((column, index) => [column, cells[index] ?? '']))]
    }),
  )
}

describe(
  files.length === 0 ? 'messages of other systems: BLUEPOST_CORPUS names none' : 'messages of other systems',
  () => {
    test('are read field by field as others have read them', () => {
      const wrong: string[] = []
      for (const file of files) {
        const facts = indexed().get(file)!
        if (facts['MSH_count'] !== '1' || /\\\\/.test(facts['separators'] ?? '')) continue
        const message = readHl7(readFileSync(join(samples!, file)))
        for (const path of ['EVN-1', 'MSH-12', 'MSH-15', 'PV1-2', 'PV1-36'])
          if ((message.first(path) ?? '').trim().slice(0, 20) !== (facts[path] ?? '').split('^')[0]!.trim())
            wrong.push(`${file} ${path}`)
      }
      expect(wrong).toEqual([])
    })

    test('end in a decision with a reason; only a discharge of a production system triggers', () => {
      const outcomes = files.map((file) => {
        const bytes = readFileSync(join(samples!, file))
        const facts = indexed().get(file)!
        // A day after the message was written, so that age does not hide everything else.
        const evaluation = evaluate(adt, bytes, new Date('2005-01-01T00:00:00Z'))
        if (evaluation.decision === 'trigger')
          return /\^A(03|06|07|11|13|23)/.test(facts['MSH-9'] ?? '') ? [] : [file]
        return evaluation.because === '' ? [file] : []
      })
      expect(outcomes.flat()).toEqual([])
    })

    test('of one patient have one lane', () => {
      const lanes = new Set(
        files
          .filter((file) => /^msfc__ADT-A0[1348]-01/.test(file))
          .map((file) => laneKey(adt, readFileSync(join(samples!, file)))),
      )
      expect(lanes.size).toBe(files.length === 0 ? 0 : 1)
    })
  },
)
