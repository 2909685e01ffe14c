import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  compareIdentity,
  contradictingAuthority,
  strongIdentifiers,
  type DoubtCode,
  type NamedPerson,
} from '../../src/domain/identity.ts'
import type { Identifier, Patient } from '../../src/domain/patient.ts'

const ashby = 'urn:oid:2.16.840.1.113883.19.5'
const regional = 'urn:oid:2.16.840.1.113883.19.6'
const ssn = 'urn:oid:2.16.840.1.113883.4.1'
const aliases = new Map([
  ['ASHBY_MRN', ashby],
  [ashby, ashby],
  ['HIE', 'HIE'],
  ['MY_SSN', ashby],
])

const ellen: Patient = {
  identifiers: [
    { system: ashby, value: 'E1001', type: 'MR' },
    { system: regional, value: 'R-77' },
  ],
  family: 'Ross',
  previousFamilies: ['Miller'],
  given: 'Ellen',
  birthDate: '1956-08-14',
}

function asSeen(changes: Partial<NamedPerson> = {}): NamedPerson {
  return {
    identifiers: [{ system: ashby, value: 'E1001', type: 'MR' }],
    families: ['Ross'],
    birthDate: '1956-08-14',
    ...changes,
  }
}

function without(key: 'birthDate'): NamedPerson {
  const { [key]: _, ...rest } = asSeen()
  return rest
}

const same = 'same'
const one = (system: string, value: string, type?: string): Identifier => ({
  system,
  value,
  ...(type === undefined ? {} : { type }),
})

const cases: [string, NamedPerson, typeof same | DoubtCode][] = [
  ['everything agrees', asSeen(), same],
  ['the identifier has outer blanks', asSeen({ identifiers: [one(ashby, ' E1001 ')] }), same],
  ['the authority is spelled by its alias', asSeen({ identifiers: [one('ASHBY_MRN', 'E1001')] }), same],
  ['the authority is a bare OID', asSeen({ identifiers: [one(ashby.slice(8), 'E1001')] }), same],
  [
    'one of several identifiers is equal',
    asSeen({ identifiers: [one('urn:oid:1.2.3', '9'), one(regional, 'R-77')] }),
    same,
  ],
  ['both authorities agree', asSeen({ identifiers: ellen.identifiers }), same],
  ['an earlier family name', asSeen({ families: ['MILLER'] }), same],
  ['one of several names is hers', asSeen({ families: ['Rossi', 'Ross'] }), same],
  ['only the year is known', asSeen({ birthDate: '1956' }), same],

  ['another value', asSeen({ identifiers: [one(ashby, 'E1002')] }), 'no-common-identifier'],
  ['another case', asSeen({ identifiers: [one(ashby, 'e1001')] }), 'no-common-identifier'],
  ['a zero in front', asSeen({ identifiers: [one(ashby, '0E1001')] }), 'no-common-identifier'],
  ['a check digit behind', asSeen({ identifiers: [one(ashby, 'E10017')] }), 'no-common-identifier'],
  [
    'the same value elsewhere',
    asSeen({ identifiers: [one('urn:oid:1.2.3', 'E1001')] }),
    'no-common-identifier',
  ],
  ['an authority nobody named', asSeen({ identifiers: [one('ASHBY', 'E1001')] }), 'no-common-identifier'],
  ['no identifier at all', asSeen({ identifiers: [] }), 'no-common-identifier'],
  ['name and birth date alone', asSeen({ identifiers: [one(ashby, '')] }), 'no-common-identifier'],
  [
    'the number as an account number',
    asSeen({ identifiers: [one(ashby, 'E1001', 'AN')] }),
    'no-common-identifier',
  ],

  [
    'another number of the same authority beside the common one',
    asSeen({ identifiers: [one(ashby, 'E9999'), one(regional, 'R-77')] }),
    'identifier-contradicts',
  ],
  ['another birth date', asSeen({ birthDate: '1956-08-15' }), 'birth-date-differs'],
  ['another family name', asSeen({ families: ['Bates'] }), 'family-differs'],
  ['another birth date and no family', asSeen({ birthDate: '1957', families: [] }), 'birth-date-differs'],
  ['no birth date', without('birthDate'), 'birth-date-missing'],
  ['an unreadable birth date', asSeen({ birthDate: 'UNK' }), 'birth-date-missing'],
  ['no birth date and another family', { ...without('birthDate'), families: ['Bates'] }, 'family-differs'],
  ['no family name', asSeen({ families: [] }), 'family-missing'],
  ['a family name of blanks', asSeen({ families: [' '] }), 'family-missing'],
]

test.each(cases)('%s', (_, person, expected) => {
  const verdict = compareIdentity(ellen, person, aliases)
  expect(verdict.same ? same : verdict.code).toBe(expected)
})

test('no reason names a value, a name or a date', () => {
  for (const [, person] of cases)
    expect(compareIdentity(ellen, person, aliases).because).not.toMatch(/E1001|E9999|R-77|Ross|Bates|195\d/)
})

test('social security numbers make no match, not even under an alias', () => {
  const patient = { ...ellen, identifiers: [one(ssn, '999-11-2222'), one('MY_SSN', '999-11-2222', 'SS')] }
  expect(compareIdentity(patient, asSeen({ identifiers: patient.identifiers }), aliases)).toMatchObject({
    same: false,
    code: 'no-common-identifier',
  })
})

test('a social security number does not become strong because the settings give it another authority', () => {
  const laundering = new Map([[ssn, ashby]])
  expect(strongIdentifiers([one(ssn, '999-11-2222')], laundering)).toEqual([])
  expect(strongIdentifiers([one('2.16.840.1.113883.4.1', '999-11-2222')], laundering)).toEqual([])
})

test('strong identifiers are canonical, without outer blanks, each once', () => {
  expect(
    strongIdentifiers(
      [one('ASHBY_MRN', ' E1001', 'MR'), one(ashby, 'E1001'), one('HOSP', 'E1001'), one('HIE', '5')],
      aliases,
    ),
  ).toEqual([one(ashby, 'E1001', 'MR'), one('HIE', '5')])
})

test('a patient with two numbers of one authority contradicts nobody who has either', () => {
  const merged = [one(ashby, 'E1001'), one(ashby, 'E0007')]
  expect(contradictingAuthority(merged, [one(ashby, 'E0007')])).toBeUndefined()
  expect(contradictingAuthority(merged, [one(ashby, 'E0008')])).toBe(ashby)
  expect(contradictingAuthority(merged, [one(regional, 'x')])).toBeUndefined()
})

const systems = fc.constantFrom(ashby, regional, 'ASHBY_MRN', 'HOSP', ssn, '1.2.3', ' ')
const values = fc.constantFrom('E1001', 'e1001', '01', '1', '001', '', '""', 'UNK', '000', ' E1001 ')
const identifiers = fc.array(
  fc
    .tuple(systems, values, fc.constantFrom(undefined, 'MR', 'SS', 'AN'))
    .map(([system, value, type]) => one(system, value, type)),
  { maxLength: 5 },
)
const persons = fc.record({
  identifiers,
  families: fc.array(fc.constantFrom('Ross', 'ROSS', 'Bates', ''), { maxLength: 2 }),
  birthDate: fc.constantFrom('1956-08-14', '1956', '1957-01-01', 'UNK'),
})

test('nobody is ever the same without one identifier equal to the letter in one known authority', () => {
  fc.assert(
    fc.property(identifiers, persons, (ours, person) => {
      const verdict = compareIdentity({ ...ellen, identifiers: ours }, person, aliases)
      if (!verdict.same) return
      const known = (system: string) =>
        ['ASHBY_MRN', ashby].includes(system)
          ? ashby
          : system === '1.2.3'
            ? 'urn:oid:1.2.3'
            : system === regional
              ? regional
              : undefined
      const isAgreed = ours.some((mine) =>
        person.identifiers.some(
          (theirs) =>
            known(mine.system) !== undefined &&
            known(mine.system) === known(theirs.system) &&
            mine.value.trim() === theirs.value.trim() &&
            !['', '""', 'UNK', '000'].includes(mine.value.trim()) &&
            !['SS', 'AN'].includes(mine.type ?? '') &&
            !['SS', 'AN'].includes(theirs.type ?? ''),
        ),
      )
      expect(isAgreed).toBe(true)
      expect(person.families.some((family) => family.toLowerCase() === 'ross')).toBe(true)
      expect(['1956-08-14', '1956']).toContain(person.birthDate)
    }),
    { numRuns: 5000 },
  )
})
