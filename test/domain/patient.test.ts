import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  canonicalAuthority,
  foldName,
  fullName,
  identifierKey,
  isFamilyOf,
  isKnownAuthority,
  isStrong,
  sameBirthDate,
} from '../../src/domain/patient.ts'

const none = new Map<string, string>()
const ashby = 'urn:oid:2.16.840.1.113883.19.5'
const aliases = new Map([
  [ashby, ashby],
  ['ASHBY_MRN', ashby],
  ['http://ashby.example/mrn', ashby],
])

test.each([
  ['2.16.840.1.113883.19.5', ashby],
  [' 2.16.840.1.113883.19.5 ', ashby],
  ['urn:oid:2.16.840.1.113883.19.5', ashby],
  ['URN:OID:2.16.840.1.113883.19.5', ashby],
  ['ASHBY_MRN', ashby],
  ['http://ashby.example/mrn', ashby],
  ['6F9619FF-8B86-D011-B42D-00CF4FC964FF', 'urn:uuid:6f9619ff-8b86-d011-b42d-00cf4fc964ff'],
  ['urn:uuid:6F9619FF-8B86-D011-B42D-00CF4FC964FF', 'urn:uuid:6f9619ff-8b86-d011-b42d-00cf4fc964ff'],
  ['2.16.840.01', '2.16.840.01'],
  ['3.1.2', '3.1.2'],
  ['2.16.', '2.16.'],
  ['HOSP', 'HOSP'],
  ['ashby_mrn', 'ashby_mrn'],
  ['urn:oid:HOSP', 'urn:oid:HOSP'],
])('the authority %s is spelled %s', (system, canonical) => {
  expect(canonicalAuthority(system, aliases)).toBe(canonical)
})

test('spelling an authority a second time changes nothing', () => {
  const systems = fc.oneof(
    fc.string(),
    fc.uuid(),
    fc.constantFrom(...aliases.keys(), '1.2.3', 'URN:OID:1.2.3'),
  )
  fc.assert(
    fc.property(systems, (system) => {
      const once = canonicalAuthority(system, aliases)
      expect(canonicalAuthority(once, aliases)).toBe(once)
    }),
  )
})

test('a URI says who issued an identifier; a bare namespace only where the settings name it', () => {
  expect(isKnownAuthority(ashby, none)).toBe(true)
  expect(isKnownAuthority('http://hl7.org/fhir/sid/us-mbi', none)).toBe(true)
  expect(isKnownAuthority('HOSP', none)).toBe(false)
  expect(isKnownAuthority('', none)).toBe(false)
  expect(isKnownAuthority('HOSP', new Map([['HOSPITAL', 'HOSP']]))).toBe(true)
})

test.each([
  ['a medical record number', { system: ashby, value: '00123', type: 'MR' }, true],
  ['a number of unsaid type', { system: ashby, value: '00123' }, true],
  ['an account number', { system: ashby, value: '1', type: 'AN' }, false],
  ['an account number in lower case', { system: ashby, value: '1', type: 'an' }, false],
  ['a visit number', { system: ashby, value: '1', type: 'VN' }, false],
  ['a temporary number', { system: ashby, value: '1', type: 'MRT' }, false],
  ['a social security number by type', { system: ashby, value: '999-11-2222', type: 'SS' }, false],
  [
    'a social security number by OID',
    { system: 'urn:oid:2.16.840.1.113883.4.1', value: '999-11-2222' },
    false,
  ],
  [
    'a social security number by URI',
    { system: 'http://hl7.org/fhir/sid/us-ssn', value: '999112222' },
    false,
  ],
  ['no authority', { system: '', value: '1' }, false],
  ['an empty value', { system: ashby, value: ' ' }, false],
  ['the HL7 null', { system: ashby, value: '""' }, false],
  ['a filler', { system: ashby, value: 'Unknown' }, false],
  ['nothing but zeros', { system: ashby, value: '000000' }, false],
  ['zeros in front of a number', { system: ashby, value: '0000001' }, true],
])('%s: may make a match or not', (_, identifier, expected) => {
  expect(isStrong(identifier)).toBe(expected)
})

test('the key of an identifier keeps case and leading zeros, and nothing else collides with it', () => {
  expect(identifierKey({ system: ashby, value: ' 00123 ' })).toBe(
    identifierKey({ system: ashby, value: '00123' }),
  )
  const keys = [
    { system: ashby, value: '00123' },
    { system: ashby, value: '123' },
    { system: ashby, value: 'a1' },
    { system: ashby, value: 'A1' },
    { system: `${ashby}.1`, value: '00123' },
  ].map(identifierKey)
  expect(new Set(keys).size).toBe(keys.length)
})

test.each([
  ['1956-08-14', '1956-08-14', true],
  ['19560814', '1956-08-14', true],
  ['1956', '1956-08-14', true],
  ['1956-08', '19560814', true],
  ['195608141230', '1956-08-14', true],
  ['19560814123000.000-0500', '1956-08-14', true],
  ['1956-08-14T12:30:00Z', '1956-08-14', true],
  ['1956-08-15', '1956-08-14', false],
  ['1956-09', '1956-08-14', false],
  ['1957', '1956-08-14', false],
  ['', '1956-08-14', undefined],
  ['UNK', '1956-08-14', undefined],
  ['1956UNK', '1956-08-14', undefined],
  ['195', '1956-08-14', undefined],
  ['14.08.1956', '1956-08-14', undefined],
  ['08/14/1956', '1956-08-14', undefined],
])('birth dates %s and %s agree: %s', (a, b, expected) => {
  expect(sameBirthDate(a, b)).toBe(expected)
  expect(sameBirthDate(b, a)).toBe(expected)
})

test.each([
  ['Ross', 'ROSS', true],
  ['O’Neil', "O'NEIL", true],
  ['Müller-Lüdenscheidt', 'Muller Ludenscheidt', true],
  ['Łukasiewicz', 'LUKASIEWICZ', true],
  ['Straße', 'STRASSE', true],
  ['Bates Jr.', 'Bates', true],
  ['Bates, III', 'Bates', true],
  ['Ross\u00a0', 'Ross', true],
  ['e\u0301lan', '\u00e9lan', true],
  ['Ross', 'Rosse', false],
  ['Smith', 'Smyth', false],
  ['李', '王', false],
  ['', 'Ross', undefined],
  ['–', 'Ross', undefined],
])('family %s is that of %s: %s', (family, patients, expected) => {
  expect(isFamilyOf(family, { family: patients })).toBe(expected)
})

test('an earlier family name counts like the present one', () => {
  expect(isFamilyOf('MILLER', { family: 'Ross', previousFamilies: ['Miller'] })).toBe(true)
})

test('folding a name twice is folding it once, whatever script it is in', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (name) => {
      expect(foldName(foldName(name))).toBe(foldName(name))
    }),
  )
})

test('the full name has what there is', () => {
  expect(fullName({ given: 'Ellen', family: 'Ross' })).toBe('Ellen Ross')
  expect(fullName({ family: 'Ross' })).toBe('Ross')
  expect(fullName({ given: '', family: 'Ross' })).toBe('Ross')
})
