import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  eventLookbackMs,
  judge,
  type Authorization,
  type Disclosure,
  type RefusalCode,
} from '../../src/domain/authorization.ts'
import { triggerKinds } from '../../src/domain/trigger-event.ts'

const validFrom = new Date('2026-03-01T00:00:00Z')
const validUntil = new Date('2027-03-01T00:00:00Z')
const during = new Date('2026-06-01T12:00:00Z')

function anAuthorization(changes: Partial<Authorization> = {}): Authorization {
  return {
    id: 'a1',
    version: 1,
    patient: { identifiers: [], family: 'Ross', birthDate: '1956-08-14' },
    destinations: [{ id: 'd1', address: 'ellen.ross@direct.somephr.example' }],
    frequency: { type: 'continuous' },
    triggers: ['discharge', 'new-results'],
    validFrom,
    validUntil,
    identityAssurance: { method: 'in-person', verifiedBy: 'front desk', verifiedAt: validFrom },
    sensitiveData: 'excluded',
    ...changes,
  }
}

function aDischarge(changes: Partial<Disclosure> = {}): Disclosure {
  return {
    cause: 'discharge',
    occurredAt: during,
    destination: 'ellen.ross@direct.somephr.example',
    ...changes,
  }
}

const ms = (moment: Date, by: number) => new Date(moment.getTime() + by)
const permitted = 'permitted'

const cases: [string, Partial<Authorization>, Partial<Disclosure>, Date, RefusalCode | typeof permitted][] = [
  ['a covered trigger within its time', {}, {}, during, permitted],
  ['the first moment', {}, { occurredAt: validFrom }, validFrom, permitted],
  ['one millisecond before it starts', {}, {}, ms(validFrom, -1), 'not-yet-valid'],
  ['the last millisecond', {}, {}, ms(validUntil, -1), permitted],
  ['the moment it ends', {}, {}, validUntil, 'expired'],
  ['an authorization that never ends', { validUntil: undefined! }, {}, new Date('2099-01-01'), permitted],
  ['a revocation in the past', { revokedAt: ms(during, -1) }, {}, during, 'revoked'],
  ['a revocation at this very moment', { revokedAt: during }, {}, during, 'revoked'],
  ['a revocation that lies ahead', { revokedAt: ms(during, 1) }, {}, during, permitted],
  ['revoked comes before expired', { revokedAt: during }, {}, ms(validUntil, 1), 'revoked'],
  ['a trigger that was not asked for', {}, { cause: 'new-document' }, during, 'trigger-not-covered'],
  ['no trigger at all', { triggers: [] }, {}, during, 'trigger-not-covered'],
  ['an interval under continuous', {}, { cause: 'interval' }, during, 'trigger-not-covered'],
  [
    'an interval under an interval',
    { frequency: { type: 'interval', every: 'P1M' }, triggers: [] },
    { cause: 'interval' },
    during,
    permitted,
  ],
  [
    'a trigger beside an interval',
    { frequency: { type: 'interval', every: 'P1M' }, triggers: ['discharge'] },
    {},
    during,
    permitted,
  ],
  ['a trigger under once', { frequency: { type: 'once' } }, {}, during, 'once-only'],
  ['the request under once', { frequency: { type: 'once' } }, { cause: 'request' }, during, permitted],
  ['a request after revocation', { revokedAt: during }, { cause: 'request' }, during, 'revoked'],
  ['a destination that was removed', { destinations: [] }, {}, during, 'destination-removed'],
  [
    'another spelling of the destination',
    {},
    { destination: 'Ellen.ROSS@Direct.SomePHR.example' },
    during,
    permitted,
  ],
  [
    'another destination',
    {},
    { destination: 'mallory@direct.somephr.example' },
    during,
    'destination-removed',
  ],
  ['an event entered a day late', {}, { occurredAt: ms(validFrom, -eventLookbackMs) }, validFrom, permitted],
  [
    'an event of the time before the request',
    {},
    { occurredAt: ms(validFrom, -eventLookbackMs - 1) },
    validFrom,
    'before-request',
  ],
  [
    'a request is not measured by the lookback',
    { frequency: { type: 'once' } },
    { cause: 'request', occurredAt: ms(validFrom, -eventLookbackMs * 30) },
    during,
    permitted,
  ],
]

test.each(cases)('%s', (_, authorization, disclosure, at, expected) => {
  const judgement = judge(anAuthorization(authorization), aDischarge(disclosure), at)
  expect(judgement.permitted ? permitted : judgement.code).toBe(expected)
  if (!judgement.permitted) expect(judgement.because).not.toBe('')
})

test('events may reach back 24 hours', () => {
  expect(eventLookbackMs).toBe(86_400_000)
})

test('nothing is ever permitted after revocation, whatever it is', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...triggerKinds, 'request' as const),
      fc.constantFrom('once' as const, 'continuous' as const),
      fc.nat(1e9),
      fc.date({ noInvalidDate: true }),
      (cause, type, later, occurredAt) => {
        const authorization = anAuthorization({
          frequency: { type },
          triggers: [...triggerKinds],
          revokedAt: during,
        })
        const judgement = judge(authorization, aDischarge({ cause, occurredAt }), ms(during, later))
        expect(judgement).toMatchObject({ permitted: false, code: 'revoked' })
      },
    ),
  )
})
