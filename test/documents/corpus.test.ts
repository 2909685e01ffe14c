import { expect, test } from '@jest/globals'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { judgeHeader, passGate } from '../../src/documents/gate.ts'
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
      expect([name, header.stylesheet !== undefined]).toEqual([name, sample['stylesheet_PI'] !== ''])
      for (const { parts } of header.patient.names.slice(0, 1))
        for (const part of parts) expect(sample['patient_name']).toContain(part.text)
    }
  },
)

test('a document of another system passes for its own patient, and for nobody else', async () => {
  for (const sample of samples) {
    const name = sample['file']!
    const reading = await readCda(readFileSync(join(folder!, name)), bytesMax)
    if (!reading.readable) continue
    const { patient } = reading.header
    const family = patient.names.flatMap(({ parts }) => parts).find(({ kind }) => kind === 'family')?.text
    const identifiers = patient.ids.flatMap(({ root, extension }) =>
      root === undefined || extension === undefined ? [] : [{ system: `urn:oid:${root}`, value: extension }],
    )
    const own = anExpectation({
      patient: { identifiers, family: family ?? '', birthDate: patient.birthTime ?? '' },
      documentCodes: [
        '34133-9',
        '18842-5',
        '57133-1',
        '11488-4',
        '34117-2',
        '28570-0',
        '11504-8',
        '11506-3',
        '18761-7',
        '52521-2',
      ],
      sensitiveData: 'included',
    })
    const result = judgeHeader(reading.header, own)
    const isStrong = identifiers.some(({ system }) => system !== 'urn:oid:2.16.840.1.113883.4.1')
    // Where there is nothing but a social security number, no name, or a code of another kind, it waits for a person.
    if (result.passed) expect([name, isStrong, family]).toEqual([name, true, expect.any(String)])
    else expect([name, [6, 7, 8]]).toEqual([name, expect.arrayContaining([result.step])])
    if (isStrong && family !== undefined && own.documentCodes.includes(sample['document_code']!))
      expect([name, result]).toEqual([name, expect.objectContaining({ passed: true })])

    const bytes = readFileSync(join(folder!, name))
    expect(await passGate(bytes, anExpectation())).toMatchObject({ passed: false, step: 7 })
  }
})
