import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { loadChannels } from '../../src/channels/load.ts'
import { NdjsonFile } from '../../src/intake/ndjson-file.ts'
import { Unsplittable } from '../../src/intake/split.ts'
import { X12Claims } from '../../src/intake/x12-claims.ts'
import { setX12 } from '../../src/lib/x12-message.ts'
import { evaluate, type Evaluation } from '../../src/mapping/evaluate.ts'

// Files of other people’s systems (BLUEPOST_CORPUS, folders x12 and eob), each cut and taken through the shipped channel: as it
// is, and as if it were no test. What has to come of each message was written down after reading the file.

const corpus = process.env['BLUEPOST_CORPUS']
const outcomesFile = new URL('x12-outcomes.tsv', import.meta.url)
const folder = join(corpus ?? '', 'x12')
const files =
  corpus === undefined
    ? []
    : readdirSync(folder)
        .filter((name) => !name.endsWith('.md'))
        .sort()
const at = new Date('2026-11-24T12:00:00Z')
const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const plan = plans.find(({ name }) => name === 'remittance-835')!

const title =
  corpus === undefined ? 'X12 of other systems: BLUEPOST_CORPUS names none' : 'X12 of other systems'

test(`${title}: each message comes out as written down`, () => {
  const lines = files.flatMap((name) => outcomesOf(name).map((outcome) => [name, ...outcome].join('\t')))
  const text = ['file\tmessage\tas it is\tin production', ...lines, ''].join('\n')
  if (process.env['BLUEPOST_GOLDEN'] === 'write' && files.length > 0) writeFileSync(outcomesFile, text)
  if (files.length > 0) expect(text).toBe(readFileSync(outcomesFile, 'utf8'))
})

test(`${title}: however the bytes come`, () => {
  for (const name of files) {
    const bytes = readFileSync(join(folder, name))
    for (const size of [1, 7, 106, 500]) expect(cut(bytes, size)).toEqual(cut(bytes, bytes.length))
  }
})

test(`${title}: explanations of benefit come one a line, with the patient that is among them`, () => {
  if (corpus === undefined) return
  const resources = readdirSync(join(corpus, 'eob'))
    .filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(join(corpus, 'eob', name), 'utf8')) as Record<string, unknown>)
  const patients = new Map()
  const read = () => {
    const splitter = new NdjsonFile(1_000_000, patients)
    const bytes = Buffer.from(resources.map((one) => JSON.stringify(one)).join('\n'))
    return [...splitter.push(bytes), ...splitter.end()]
  }
  read()
  const pieces = read()
  expect(pieces).toHaveLength(resources.filter(({ resourceType }) => resourceType !== 'Patient').length)
  const withPatient = pieces.filter(({ content }) => content.includes('"type":"collection"'))
  expect(withPatient.length).toBeGreaterThan(0)
  for (const { content } of withPatient)
    expect(JSON.parse(content.toString())).toMatchObject({
      entry: [{}, { resource: { resourceType: 'Patient' } }],
    })
})

function cut(bytes: Buffer, size: number) {
  const splitter = new X12Claims()
  const pieces = []
  try {
    for (let at = 0; at < bytes.length; at += size)
      pieces.push(...splitter.push(bytes.subarray(at, at + size)))
    return [...pieces, ...splitter.end()]
  } catch (error) {
    if (error instanceof Unsplittable) return error.because
    throw error
  }
}

function outcomesOf(name: string): string[][] {
  const pieces = cut(readFileSync(join(folder, name)), 1_000)
  if (typeof pieces === 'string') return [['–', `file refused: ${pieces}`, '']]
  return pieces.map(({ content, controlId }) => [
    controlId,
    told(evaluate(plan, content, at)),
    told(evaluate(plan, setX12(content, 'ISA-15', 'P'), at)),
  ])
}

function told(evaluation: Evaluation): string {
  if (evaluation.decision !== 'trigger') return `${evaluation.decision}: ${evaluation.because}`
  const { kind, occurredAt, cancels, patient, claim } = evaluation.event
  const who = patient.identifiers?.map(({ system, value }) => `${system}|${value}`).join(' ')
  return [
    kind,
    ...(cancels ? ['takes back'] : []),
    occurredAt.toISOString(),
    who,
    patient.family,
    `claim ${claim?.id}`,
  ].join(' ')
}
