import { expect, test } from '@jest/globals'
import { readAuthorizationChange, readAuthorizationRequest } from '../../src/authorizations/request.ts'

const at = new Date('2026-03-02T10:00:00Z')
const aliases = new Map([['urn:oid:1.2.3', 'urn:oid:1.2.3']])

const ellen = {
  patient: {
    identifiers: [{ system: 'urn:oid:1.2.3', value: ' E1001 ', type: 'MR' }],
    family: 'Ross',
    given: 'Ellen',
    birthDate: '1975-05-01',
  },
  destinations: ['ellen.ross@direct.somephr.example'],
  identityAssurance: { method: 'in-person', verifiedBy: 'front desk' },
}

const read = (body: unknown) => readAuthorizationRequest(body, aliases, at)

function problemsOf(body: unknown): string[] {
  const reading = read(body)
  return reading.valid ? [] : reading.problems.map(({ where }) => where)
}

test('the least a patient has to say is who she is, where to, and how that was verified', () => {
  const reading = read(ellen)
  if (!reading.valid) throw new Error(JSON.stringify(reading.problems))
  expect(reading.value).toMatchObject({
    patient: { identifiers: [{ system: 'urn:oid:1.2.3', value: 'E1001' }] },
    frequency: { type: 'continuous' },
    validFrom: at,
    sensitiveData: 'excluded',
    identityAssurance: { method: 'in-person', verifiedBy: 'front desk', verifiedAt: at },
  })
  expect(reading.value.triggers).toContain('discharge')
  expect(reading.value.triggers).not.toContain('interval')
})

test('a request for once has no triggers', () => {
  const reading = read({ ...ellen, frequency: 'once' })
  expect(reading).toMatchObject({ valid: true, value: { frequency: { type: 'once' }, triggers: [] } })
})

test('all mistakes are named at once, each by its place', () => {
  expect(
    problemsOf({
      patient: {
        identifiers: [{ system: 'urn:oid:1.2.3', value: 'x', type: 'SS' }],
        birthDate: '1975-02-30',
      },
      destinations: ['nobody', 'a@direct.example', 'A@DIRECT.EXAMPLE'],
      frequency: 'sometimes',
      triggers: ['birthday'],
      validUntil: 'soon',
      colour: 'blue',
    }).sort(),
  ).toEqual([
    '/colour',
    '/destinations/0',
    '/destinations/2',
    '/frequency',
    '/identityAssurance',
    '/patient/birthDate',
    '/patient/family',
    '/patient/identifiers',
    '/triggers/0',
    '/validUntil',
  ])
})

test.each([
  ['a social security number', [{ system: 'urn:oid:2.16.840.1.113883.4.1', value: '123456789', type: 'SS' }]],
  ['an identifier of nobody', [{ value: 'E1001', type: 'MR' }]],
  ['no identifier', []],
])('%s does not say who the patient is', (_, identifiers) => {
  expect(problemsOf({ ...ellen, patient: { ...ellen.patient, identifiers } })).not.toEqual([])
})

test.each(['Ross\r\nBcc: eve@evil.example', 'Ro\u0000ss', 'x'.repeat(501)])(
  'a name that could become a header or a flood is refused (%#)',
  (family) => {
    expect(problemsOf({ ...ellen, patient: { ...ellen.patient, family } })).toContain('/patient/family')
  },
)

test.each(['eve@evil.example\r\nRCPT TO:<x@y.z>', 'a b@direct.example', '@direct.example', 'a@b'])(
  '%j is no destination',
  (address) => {
    expect(problemsOf({ ...ellen, destinations: [address] })).toEqual(['/destinations/0'])
  },
)

test('an interval is an ISO 8601 duration of days or more; without triggers it sends by the calendar alone', () => {
  expect(read({ ...ellen, frequency: 'interval: P1M' })).toMatchObject({
    valid: true,
    value: { frequency: { type: 'interval', every: 'P1M' }, triggers: [] },
  })
  expect(read({ ...ellen, frequency: { interval: 'P2W' }, triggers: ['discharge'] })).toMatchObject({
    valid: true,
    value: { frequency: { type: 'interval', every: 'P2W' }, triggers: ['discharge'] },
  })
  for (const every of ['P0D', 'P', 'PT6H', 'P1MT1H', 'P11Y', '1 month', 'P-1M', 'p1m'])
    expect(problemsOf({ ...ellen, frequency: `interval: ${every}` })).toEqual(['/frequency'])
})

test('it cannot end before it begins, and a time needs its zone', () => {
  expect(problemsOf({ ...ellen, validFrom: '2026-04-01', validUntil: '2026-03-01' })).toEqual(['/validUntil'])
  expect(problemsOf({ ...ellen, validFrom: '2026-04-01T10:00:00' })).toEqual(['/validFrom'])
})

test.each([null, [], 'text', 7, { __proto__: null }])('%j is no request', (body) => {
  expect(read(body).valid).toBe(false)
})

test('a change touches frequency, destinations, triggers, end and sensitivity, never the patient', () => {
  expect(readAuthorizationChange({ patient: ellen.patient })).toMatchObject({ valid: false })
  expect(readAuthorizationChange({})).toMatchObject({ valid: false })
  expect(readAuthorizationChange({ destinations: [] })).toMatchObject({ valid: false })
  expect(readAuthorizationChange({ frequency: 'once', validUntil: null })).toEqual({
    valid: true,
    value: { frequency: { type: 'once' }, validUntil: null },
  })
})
