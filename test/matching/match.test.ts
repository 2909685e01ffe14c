import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { Authorization } from '../../src/domain/authorization.ts'
import type { EventPatient, TriggerEvent } from '../../src/domain/trigger-event.ts'
import { match, strongKeys, type MatchResult } from '../../src/matching/match.ts'

const ashby = 'urn:oid:2.16.840.1.113883.19.5'
const regional = 'urn:oid:2.16.840.1.113883.19.6'
const aliases = new Map([
  [ashby, ashby],
  ['ASHBY_MRN', ashby],
])
const options = { aliases }
const at = new Date('2026-06-01T12:00:00Z')
const phr = 'ellen.ross@direct.somephr.example'

function anAuthorization(changes: Partial<Authorization> = {}): Authorization {
  return {
    id: 'a1',
    version: 3,
    patient: {
      identifiers: [{ system: ashby, value: 'E1001', type: 'MR' }],
      family: 'Ross',
      birthDate: '1956-08-14',
    },
    destinations: [{ id: 'd1', address: phr }],
    frequency: { type: 'continuous' },
    triggers: ['discharge'],
    validFrom: new Date('2026-01-01T00:00:00Z'),
    identityAssurance: { method: 'in-person', verifiedBy: 'front desk', verifiedAt: at },
    sensitiveData: 'excluded',
    ...changes,
  }
}

function of(id: string, patient: Partial<Authorization['patient']>, changes: Partial<Authorization> = {}) {
  return anAuthorization({ ...changes, id, patient: { ...anAuthorization().patient, ...patient } })
}

function aDischarge(patient: EventPatient = {}, changes: Partial<TriggerEvent> = {}): TriggerEvent {
  return {
    kind: 'discharge',
    occurredAt: at,
    patient: {
      identifiers: [{ system: 'ASHBY_MRN', value: 'E1001', type: 'MR' }],
      family: 'ROSS',
      birthDate: '1956-08-14',
      ...patient,
    },
    ...changes,
  }
}

/** Authorization id → verdict code. */
function codes(result: MatchResult): Record<string, string> {
  if (result.outcome === 'no-authorization') return {}
  return Object.fromEntries(result.verdicts.map(({ authorizationId, code }) => [authorizationId, code]))
}

test('an exact identifier, checked by birth date and family name, matches', () => {
  expect(match(aDischarge(), [anAuthorization()], options, at)).toEqual({
    outcome: 'matched',
    because: `an identifier of ${ashby} is the same; birth date and family name agree`,
    verdicts: [
      {
        authorizationId: 'a1',
        version: 3,
        outcome: 'matched',
        code: 'matched',
        because: `an identifier of ${ashby} is the same; birth date and family name agree`,
        destinations: [phr],
      },
    ],
  })
})

test('every destination the authorization has is named, each once', () => {
  const destinations = [
    { id: 'd1', address: phr },
    { id: 'd2', address: 'dr.lee@direct.clinic.example' },
  ]
  const result = match(aDischarge(), [anAuthorization({ destinations })], options, at)
  expect(result).toMatchObject({ verdicts: [{ destinations: [phr, 'dr.lee@direct.clinic.example'] }] })
})

test.each<[string, EventPatient, string]>([
  ['another birth date', { birthDate: '1956-08-15' }, 'birth-date-differs'],
  ['another family name', { family: 'Bates' }, 'family-differs'],
  ['no birth date', { birthDate: undefined! }, 'birth-date-missing'],
  ['no family name', { family: undefined! }, 'family-missing'],
])('%s: held with its reason, and where it would go is kept for the release', (_, patient, code) => {
  const result = match(aDischarge(patient), [anAuthorization()], options, at)
  expect(result).toMatchObject({
    outcome: 'held',
    verdicts: [{ outcome: 'held', code, destinations: [phr] }],
  })
  expect(result.because).toMatch(/identifier is the same, but/)
})

test('an identifier of the same authority that contradicts holds, although another one is equal', () => {
  const patient = {
    identifiers: [
      { system: ashby, value: 'E1001' },
      { system: regional, value: 'R-77' },
    ],
  }
  const seen = {
    identifiers: [
      { system: ashby, value: 'E2002' },
      { system: regional, value: 'R-77' },
    ],
  }
  expect(codes(match(aDischarge(seen), [of('a1', patient)], options, at))).toEqual({
    a1: 'identifier-contradicts',
  })
})

test.each<[string, EventPatient, string]>([
  ['no identifiers', { identifiers: [] }, 'the event names no patient identifier'],
  [
    'only a FHIR reference',
    { identifiers: undefined!, reference: 'Patient/1' },
    'the event names no patient identifier',
  ],
  ['only an account number', { identifiers: [{ system: ashby, value: 'E1001', type: 'AN' }] }, 'weak kind'],
  [
    'an authority nobody named',
    { identifiers: [{ system: 'HOSP', value: 'E1001' }] },
    'the settings do not name',
  ],
  [
    'an identifier nobody has',
    { identifiers: [{ system: ashby, value: 'E9' }] },
    'no authorization has any of the 1 identifier',
  ],
])('%s: no authorization, and the reason says why', (_, patient, reason) => {
  const result = match(aDischarge(patient), [anAuthorization()], options, at)
  expect(result.outcome).toBe('no-authorization')
  expect(result.because).toContain(reason)
  expect(result.because).not.toMatch(/E1001|E9\b|ROSS/)
})

test('name and birth date alone never match, however many authorizations agree', () => {
  const many = ['a1', 'a2'].map((id) => of(id, { identifiers: [{ system: regional, value: id }] }))
  expect(match(aDischarge(), many, options, at).outcome).toBe('no-authorization')
})

test.each<[string, Partial<Authorization>, Partial<TriggerEvent>, string]>([
  ['revoked', { revokedAt: at }, {}, 'revoked'],
  ['expired', { validUntil: at }, {}, 'expired'],
  ['not begun', { validFrom: new Date(at.getTime() + 1) }, {}, 'not-yet-valid'],
  ['for other triggers', { triggers: ['new-results'] }, {}, 'trigger-not-covered'],
  ['for one push only', { frequency: { type: 'once' } }, {}, 'once-only'],
  ['without destination', { destinations: [] }, {}, 'destination-removed'],
  ['revoked and without destination', { destinations: [], revokedAt: at }, {}, 'revoked'],
  ['younger than the event', {}, { occurredAt: new Date('2025-12-30T00:00:00Z') }, 'before-request'],
])(
  'an authorization that is %s refuses with that reason and names no destination',
  (_, changes, event, code) => {
    const result = match(aDischarge({}, event), [anAuthorization(changes)], options, at)
    expect(result).toMatchObject({
      outcome: 'not-permitted',
      verdicts: [{ outcome: 'not-permitted', code, destinations: [] }],
    })
  },
)

test('what is not permitted anyway is refused, not held for a person to look at', () => {
  const result = match(aDischarge({ family: 'Bates' }), [anAuthorization({ revokedAt: at })], options, at)
  expect(codes(result)).toEqual({ a1: 'revoked' })
})

test('two authorizations of one patient are two verdicts, independent of each other', () => {
  const result = match(
    aDischarge(),
    [of('a2', {}, { triggers: [] }), of('a1', { family: 'ross', birthDate: '1956' })],
    options,
    at,
  )
  expect(codes(result)).toEqual({ a1: 'matched', a2: 'trigger-not-covered' })
  expect(result.outcome).toBe('matched')
})

test.each<[string, Partial<Authorization['patient']>]>([
  ['another birth date', { birthDate: '1990-01-01' }],
  ['another family name', { family: 'Bates' }],
  [
    'another number of a second authority: twins',
    {
      identifiers: [
        { system: ashby, value: 'E1001' },
        { system: regional, value: 'R-2' },
      ],
    },
  ],
])('one identifier with two people holds the matching one, too: the other has %s', (_, other) => {
  const ellen = of('a1', {
    identifiers: [
      { system: ashby, value: 'E1001' },
      { system: regional, value: 'R-1' },
    ],
  })
  const result = match(aDischarge(), [ellen, of('a2', other)], options, at)
  expect(codes(result)['a1']).toBe('ambiguous')
  expect(result.outcome).toBe('held')
  if (result.outcome !== 'no-authorization')
    expect(result.verdicts.every(({ outcome }) => outcome === 'held')).toBe(true)
})

test('somebody else with the identifier counts even where this trigger is not hers; revoking her settles it', () => {
  const ellen = of('a1', {})
  const other = of('a2', { birthDate: '1990-01-01' }, { triggers: ['new-results'] })
  expect(codes(match(aDischarge(), [ellen, other], options, at))).toEqual({
    a1: 'ambiguous',
    a2: 'trigger-not-covered',
  })
  const revoked = { ...other, revokedAt: at }
  expect(codes(match(aDischarge(), [ellen, revoked], options, at))).toEqual({ a1: 'matched', a2: 'revoked' })
})

test('a cancelling event concerns whoever it names, permitted or not', () => {
  const result = match(
    aDischarge({}, { cancels: true }),
    [anAuthorization({ revokedAt: at, triggers: [] })],
    options,
    at,
  )
  expect(result).toMatchObject({ outcome: 'matched', verdicts: [{ code: 'matched', destinations: [phr] }] })
})

test('one candidate found by two identifiers is one verdict', () => {
  const twice = [anAuthorization(), anAuthorization()]
  expect(match(aDischarge(), twice, options, at)).toMatchObject({ verdicts: [{ authorizationId: 'a1' }] })
  expect(codes(match(aDischarge(), twice, options, at))).toEqual({ a1: 'matched' })
})

test('the keys to look up by are the strong identifiers in canonical spelling', () => {
  const event = aDischarge({
    identifiers: [
      { system: 'ASHBY_MRN', value: ' E1001 ', type: 'MR' },
      { system: ashby, value: 'E1001' },
      { system: ashby, value: '77', type: 'VN' },
      { system: '1.2.3', value: '5' },
    ],
  })
  expect(strongKeys(event, aliases)).toEqual([
    { system: ashby, value: 'E1001', type: 'MR' },
    { system: 'urn:oid:1.2.3', value: '5' },
  ])
})

const identifier = fc.record({
  system: fc.constantFrom(ashby, regional, 'ASHBY_MRN', 'HOSP'),
  value: fc.constantFrom('1', '01', '2', 'UNK', ''),
})
const patients = fc.record({
  identifiers: fc.array(identifier, { minLength: 1, maxLength: 3 }),
  family: fc.constantFrom('Ross', 'Bates', ''),
  birthDate: fc.constantFrom('1956-08-14', '1956', '1990-01-01', ''),
})
const authorizations = fc
  .array(fc.tuple(patients, fc.boolean(), fc.boolean()), { maxLength: 4 })
  .map((list) =>
    list.map(([patient, isRevoked, isCovered], index) =>
      anAuthorization({
        id: `a${index}`,
        patient,
        triggers: isCovered ? ['discharge'] : [],
        ...(isRevoked ? { revokedAt: at } : {}),
      }),
    ),
  )

test('never a match without an exact identifier, never two different people at once, never without a reason', () => {
  fc.assert(
    fc.property(patients, authorizations, fc.boolean(), (patient, candidates, cancels) => {
      const result = match(aDischarge(patient, cancels ? { cancels: true } : {}), candidates, options, at)
      expect(result.because).not.toBe('')
      if (result.outcome === 'no-authorization') return
      const canonical = (system: string) => (system === 'ASHBY_MRN' ? ashby : system)
      const matched = result.verdicts.filter(({ outcome }) => outcome === 'matched')
      for (const verdict of result.verdicts) {
        expect(verdict.because).not.toBe('')
        const candidate = candidates.find(({ id }) => id === verdict.authorizationId)!
        const isAgreed = candidate.patient.identifiers.some((mine) =>
          patient.identifiers.some(
            (theirs) =>
              mine.system !== 'HOSP' &&
              canonical(mine.system) === canonical(theirs.system) &&
              mine.value === theirs.value &&
              ['1', '01', '2'].includes(mine.value),
          ),
        )
        expect(isAgreed).toBe(true)
        if (verdict.outcome !== 'matched') continue
        expect(candidate.patient.family).toBe(patient.family)
        expect(candidate.patient.birthDate.slice(0, 4)).toBe(patient.birthDate.slice(0, 4))
        if (!cancels) expect(candidate).toMatchObject({ triggers: ['discharge'] })
        if (!cancels) expect(candidate.revokedAt).toBeUndefined()
      }
      const people = matched.map(({ authorizationId }) =>
        candidates.find(({ id }) => id === authorizationId)!,
      )
      expect(new Set(people.map((person) => person.patient.family)).size).toBeLessThanOrEqual(1)
      expect(new Set(people.map((person) => person.patient.birthDate.slice(0, 4))).size).toBeLessThanOrEqual(
        1,
      )
    }),
    { numRuns: 5000 },
  )
})

test('the order of the candidates does not matter', () => {
  fc.assert(
    fc.property(patients, authorizations, (patient, candidates) => {
      const event = aDischarge(patient)
      expect(match(event, [...candidates].reverse(), options, at)).toEqual(
        match(event, candidates, options, at),
      )
    }),
    { numRuns: 1000 },
  )
})
