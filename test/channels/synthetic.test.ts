import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { Replacements } from '../../src/channels/replacements.ts'
import { syntheticFhir } from '../../src/channels/synthetic-fhir.ts'
import { survivors, syntheticHl7v2 } from '../../src/channels/synthetic-hl7v2.ts'
import { readHl7 } from '../../src/lib/hl7v2.ts'

const seed = (text: string) => createHash('sha256').update(text).digest()
const made = (message: string, from = 'a') => {
  const { text, separators } = readHl7(Buffer.from(message))
  return syntheticHl7v2(text, separators, new Replacements(seed(from)))
}

const segment = (name: string, fields: Readonly<Record<number, string>>) =>
  [
    name,
    ...Array.from({ length: Math.max(...Object.keys(fields).map(Number)) }, (_, at) => fields[at + 1] ?? ''),
  ].join('|')

const message = [
  'MSH|^~\\&|ADT1|ASHBY|BLUEPOST|ASHBY|20260302113000-0500||ADT^A03^ADT_A03|MSG00042|P|2.5.1||||||UNICODE UTF-8',
  'EVN|A03|20260302113000-0500',
  'PID|1||E1001^^^ASHBY&1.2.3.4&ISO^MR~123-45-6789^^^SSA^SS||Ross^Ellen^J||19560814|F|||12 Elm St^^Ashby Falls^VT^05401||(802)555-0142',
  'NK1|1|Ross^Zoë|SPO|12 Elm St',
  segment('PV1', {
    1: '1',
    2: 'I',
    3: '4E^401^1',
    19: 'V7788^^^ASHBY',
    36: '01',
    44: '20260228080000',
    45: '20260302113000',
  }),
  'OBX|1|TX|8251-1^Comment^LN||Mrs. Ross called 802-555-0142 on 2026-03-01\\.br\\again\\X4A6F\\||||||F',
  'OBX|2|ED|18842-5^Summary^LN||APP^text^xml^Base64^PENsaW5pY2FsRG9jdW1lbnQ+Um9zczwvQ2xpbmljYWxEb2N1bWVudD4=||||||F',
  'ZPI|Ellen Ross|E1001',
].join('\r')

test('people, numbers, texts and days are others; structure, codes and authorities are the same', () => {
  const { text, known } = made(message)
  expect(text).not.toMatch(
    /Ross|Ellen|E1001|123-45|Elm|05401|0142|1956|20260302|2026-03-01|V7788|Zoë|UNeto|PENsaW5p|4A6F/i,
  )
  expect([...known]).toEqual(expect.arrayContaining(['ross', 'ellen', 'e1001', '19560814', 'v7788', 'zoë']))
  const shape = (one: string) => one.replaceAll(/[\p{L}\p{N}]/gu, 'x')
  const withoutDocument = (one: string) => one.split('\r').filter((segment) => !segment.includes('Base64'))
  expect(withoutDocument(text).map(shape)).toEqual(withoutDocument(message).map(shape))
  expect(text).toContain('^^^ASHBY&1.2.3.4&ISO^MR~')
  expect(text).toContain('|ADT^A03^ADT_A03|')
  expect(text).toMatch(/OBX\|1\|TX\|8251-1\^Comment\^LN\|\|/)
  expect(text).toContain('\\.br\\')
})

test('the same is replaced by the same, and moments keep their distances', () => {
  const { text } = made(message)
  const [, evn, pid, , pv1, , , zpi] = text.split('\r').map((segment) => segment.split('|'))
  expect(evn![2]).toBe(pv1![45]! + '-0500')
  expect(`${pid![5]!.split('^')[1]} ${pid![5]!.split('^')[0]}`).toBe(zpi![1])
  expect(pid![3]!.split('^')[0]).toBe(zpi![2])
  const day = (text: string) => Date.parse(`${text.slice(0, 4)}-${text.slice(4, 6)}-${text.slice(6, 8)}`)
  expect(day(pv1![45]!) - day(pv1![44]!)).toBe(2 * 86_400_000)
})

test('a name that is also the sender’s survives there, and the place is told, not the name', () => {
  const found = survivors(made(message.replace('|ASHBY|BLUEPOST', '|ROSS|BLUEPOST')))
  expect(found).toEqual(['MSH-4'])
})

test('FHIR: references, identifiers, names and days are others; types, codes and systems stay', () => {
  const { text } = syntheticFhir(
    {
      resourceType: 'Encounter',
      id: 'enc-77',
      status: 'finished',
      class: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'IMP' },
      identifier: [{ system: 'urn:oid:1.2.3', value: 'V7788' }],
      subject: { reference: 'https://ehr.ashby.example/fhir/Patient/E1001', display: 'Ellen Ross' },
      period: { start: '2026-02-28T08:00:00Z', end: '2026-03-02T11:30:00-05:00' },
      contained: [
        { resourceType: 'Patient', name: [{ family: 'Ross' }], birthDate: '1956-08-14', active: true },
      ],
    },
    new Replacements(seed('b')),
  )
  expect(text).not.toMatch(/Ross|Ellen|E1001|enc-77|V7788|1956|2026-0[23]|ehr\.ashby/)
  const sample = JSON.parse(text) as { subject: { reference: string } }
  expect(sample).toMatchObject({
    resourceType: 'Encounter',
    status: 'finished',
    class: { code: 'IMP' },
    identifier: [{ system: 'urn:oid:1.2.3' }],
    contained: [{ resourceType: 'Patient', active: true }],
  })
  expect(sample.subject.reference).toMatch(/^https:\/\/fhir\.example\.org\/Patient\/[A-Z]\d{4}$/)
})

test('property: whatever stands in identity fields is not in the sample, whose separators are those of the original', () => {
  const word = fc.string({
    unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyzÄéß0123456789'),
    minLength: 4,
    maxLength: 12,
  })
  fc.assert(
    fc.property(word, word, word, word, fc.string({ maxLength: 20 }), (family, given, id, street, noise) => {
      const free = noise.replaceAll(/[\r\n]/g, ' ')
      const original = `MSH|^~\\&|A|B|C|D|20260302||ADT^A03|1|P|2.5.1||||||UNICODE UTF-8\rPID|1||${id}^^^B^MR||${family}^${given}|||F|||${street}\rZZZ|${family}${free}|x ${id} y`
      const { text, separators } = readHl7(Buffer.from(original))
      const sample = syntheticHl7v2(text, separators, new Replacements(seed(family)))
      const tokens = new Set(sample.text.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu))
      for (const value of [family, given, id, street]) expect(tokens.has(value.toLowerCase())).toBe(false)
      expect(survivors(sample)).toEqual([])
      for (const separator of '|^~\r')
        expect(sample.text.split(separator)).toHaveLength(text.split(separator).length)
    }),
    { numRuns: 300 },
  )
})

const corpus = join(process.env['BLUEPOST_CORPUS'] ?? '', 'hl7v2')
const hasCorpus = process.env['BLUEPOST_CORPUS'] !== undefined && existsSync(corpus)
const files = hasCorpus
  ? readdirSync(corpus, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.hl7'))
  : []
test(`corpus: ${files.length} messages of other systems keep their structure, and nobody’s name`, () => {
  for (const name of files) {
    let original
    try {
      original = readHl7(readFileSync(join(corpus, name)))
    } catch {
      continue // No HL7v2 message: not recorded either.
    }
    const { text, separators } = original
    const sample = syntheticHl7v2(text, separators, new Replacements(seed(name)))
    expect(sample.text.split('\r').map((segment) => segment.slice(0, 3))).toEqual(
      text.split(/\r\n|\r|\n/).map((segment) => segment.slice(0, 3)),
    )
    const families = original
      .segments('PID')
      .flatMap((pid) => pid.text.split(separators.field)[5]?.split(separators.component)[0] ?? [])
    for (const family of families.filter((one) => /^\p{L}{4,}$/u.test(one)))
      expect([
        name,
        survivors(sample).length > 0 ||
          !new RegExp(`(?<![\\p{L}\\p{N}])${family}(?![\\p{L}\\p{N}])`, 'iu').test(sample.text),
      ]).toEqual([name, true])
  }
})
