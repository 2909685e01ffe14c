import { expect, test } from '@jest/globals'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CdaHeader } from '../../src/documents/cda-header.ts'
import { judgeHeader, passGate, type GateResult } from '../../src/documents/gate.ts'
import { readCda } from '../../src/documents/read-cda.ts'
import { anExpectation } from './an-expectation.ts'

// Documents of certified systems, HL7 and ONC, where BLUEPOST_CORPUS names the folder that holds them; without it this
// checks nothing. INDEX.tsv has what another parser found in them.
const corpus = process.env['BLUEPOST_CORPUS']
const folder = corpus === undefined ? undefined : join(corpus, 'ccda')
const [columns = [], ...rows] =
  folder === undefined || !existsSync(join(folder, 'INDEX.tsv'))
    ? []
    : readFileSync(join(folder, 'INDEX.tsv'), 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => line.split('\t'))
const samples = rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index] ?? ''])))
const bytesMax = 25 * 1024 * 1024

test(
  samples.length === 0
    ? 'documents of other systems: BLUEPOST_CORPUS names none'
    : `${samples.length} documents of other systems read as another parser read them`,
  async () => {
    for (const sample of samples) {
      const name = sample['file']!
      const reading = await readCda(readFileSync(join(folder!, name)), bytesMax)
      expect([name, reading.readable]).toEqual([name, sample['well_formed'] === 'yes'])
      if (!reading.readable) continue
      const { header } = reading
      const ids = header.patient.ids.map(({ root = '', extension }) => `${root}^${extension ?? 'None'}`)
      expect([name, ids.join('; ')]).toEqual([name, sample['patient_ids']])
      expect([name, header.code?.code, header.effectiveTime, header.patient.birthTime]).toEqual([
        name,
        sample['document_code'],
        sample['effectiveTime'],
        sample['birthTime'],
      ])
      expect([name, header.recordTargets, header.patients]).toEqual([
        name,
        Number(sample['recordTargets']),
        1,
      ])
      expect([name, header.confidentiality ?? '']).toEqual([name, sample['confidentiality']])
      const setId = header.setId === undefined ? undefined : (header.setId.extension ?? header.setId.root)
      const version = setId === undefined ? '' : `${setId}/${header.versionNumber ?? ''}`
      expect([name, header.realmCode ?? '', header.typeId?.extension ?? '', version]).toEqual([
        name,
        sample['realm'],
        sample['typeId'],
        sample['set_version'],
      ])
      expect([name, header.patient.gender ?? '', header.body ?? '']).toEqual([
        name,
        sample['gender'],
        sample['body'],
      ])
      const templates = header.templateIds.map(({ root = '', extension }) =>
        extension === undefined ? root : `${root}:${extension}`,
      )
      expect([name, templates.join(' ')]).toEqual([name, sample['header_templateIds']])
      expect([name, header.stylesheet !== undefined]).toEqual([name, sample['stylesheet_PI'] !== ''])
      for (const { parts } of header.patient.names.slice(0, 1))
        for (const part of parts) expect(sample['patient_name']).toContain(part.text)
    }
  },
)

/** What becomes of each file, reviewed by reading it: as it is, and past the steps before. */
const outcomes = new Map(
  readFileSync(new URL('./ccda-outcomes.tsv', import.meta.url), 'utf8')
    .split('\n')
    .slice(1)
    .filter((line) => line !== '')
    .map((line) => [line.slice(0, line.indexOf('\t')), line] as const),
)

const summaryCodes =
  '34133-9 18842-5 57133-1 18761-7 11506-3 11488-4 34117-2 28570-0 11504-8 52521-2 18776-5'.split(' ')
/** A strong identifier, for documents that have none of their own. */
const ours = { root: '2.16.840.1.113883.19.5', extension: 'E1001' }

test('each document passes or is held as it is written down, for its own patient and with usual settings', async () => {
  if (samples.length > 0) expect(new Set(outcomes.keys())).toEqual(new Set(samples.map(({ file }) => file)))
  for (const sample of samples) {
    const name = sample['file']!
    const reading = await readCda(readFileSync(join(folder!, name)), bytesMax)
    const told = reading.readable ? outcomesOf(reading.header) : Array(3).fill(`refused at ${reading.step}`)
    expect([name, ...told].join('\t')).toBe(outcomes.get(name))
  }
})

test('no document passes for another patient', async () => {
  for (const sample of samples) {
    const bytes = readFileSync(join(folder!, sample['file']!))
    const result = await passGate(bytes, anExpectation())
    expect([sample['file'], result]).toEqual([sample['file'], expect.objectContaining({ passed: false })])
    if (!result.passed) expect([4, 7]).toContain(result.step)
  }
})

/** As it is; with a strong identifier where it has none; and of a type that is allowed. */
function outcomesOf(header: CdaHeader): string[] {
  const { patient } = header
  const family = patient.names.flatMap(({ parts }) => parts).find(({ kind }) => kind === 'family')?.text ?? ''
  const judged = (ids: CdaHeader['patient']['ids'], codes: readonly string[]) =>
    told(
      judgeHeader(
        { ...header, patient: { ...patient, ids } },
        anExpectation({
          patient: {
            identifiers: ids.flatMap(({ root, extension }) =>
              root === undefined || extension === undefined ? [] : [{ system: root, value: extension }],
            ),
            family,
            birthDate: patient.birthTime ?? '',
          },
          documentCodes: codes,
        }),
      ),
    )
  const known = [...patient.ids, ours]
  const ownCode = header.code?.code ?? ''
  return [
    judged(patient.ids, summaryCodes),
    judged(known, summaryCodes),
    judged(known, [...summaryCodes, ownCode]),
  ]
}

function told(result: GateResult): string {
  return result.passed
    ? ['passed', ...result.findings.map(({ code }) => code).sort()].join(' ')
    : `${result.code === 'document-identity' ? 'identity' : 'refused'} at ${result.step}`
}
