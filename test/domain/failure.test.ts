import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  Failed,
  failureOf,
  isFailureCode,
  nextAttemptAt,
  type FailureCode,
} from '../../src/domain/failure.ts'

const classes: Record<FailureCode, ReturnType<typeof failureOf>['class']> = {
  'document-missing': 'transient',
  'document-stale': 'transient',
  'document-overdue': 'held',
  'document-refused': 'held',
  'document-unchanged': 'skipped',
  'document-forgotten': 'held',
  'document-identity': 'held',
  'patient-unknown': 'held',
  'fhir-unavailable': 'transient',
  'fhir-refused': 'held',
  'discovery-unavailable': 'transient',
  'recipient-no-certificate': 'permanent',
  'recipient-untrusted': 'permanent',
  'revocation-unavailable': 'transient',
  'key-unavailable': 'transient',
  'signing-key-missing': 'held',
  'message-refused': 'held',
  'sealing-interrupted': 'transient',
  'message-too-large': 'permanent',
  'edge-unreachable': 'transient',
  'edge-deferred': 'transient',
  'edge-insecure': 'transient',
  'edge-refused': 'permanent',
  'edge-overdue': 'permanent',
  'edge-lost-after-data': 'ambiguous',
  'processed-timeout': 'permanent',
  'delivered-timeout': 'permanent',
  'notified-failed': 'permanent',
  'relay-returned': 'permanent',
}

test.each(Object.entries(classes))('%s is %s', (code, expected) => {
  expect(isFailureCode(code)).toBe(true)
  const row = failureOf(code as FailureCode)
  expect(row.class).toBe(expected)
  expect(row.advice).toMatch(/^[A-Z“`].{30,}[.]$/)
  // RFC 3463 §2: class 5 is a permanent failure.
  if (row.status !== undefined) expect(row.status).toMatch(/^5\.\d{1,3}\.\d{1,3}$/)
})

test('only a doubtful hand-over is ambiguous', () => {
  expect(Object.keys(classes).filter((code) => failureOf(code as FailureCode).class === 'ambiguous')).toEqual(
    ['edge-lost-after-data'],
  )
})

test('what is no code of the table is none, prototypes included', () => {
  for (const text of ['', 'toString', '__proto__', 'constructor', 'document-Missing'])
    expect(isFailureCode(text)).toBe(false)
})

test('a failure carries its code, its reason and what is evidence', () => {
  const cause = new Error('ECONNRESET')
  const failed = new Failed('fhir-unavailable', 'clinic did not answer', { detail: { status: 503 }, cause })
  expect(failed).toMatchObject({
    name: 'Failed',
    code: 'fhir-unavailable',
    because: 'clinic did not answer',
    detail: { status: 503 },
    cause,
    message: 'fhir-unavailable: clinic did not answer',
  })
})

const first = new Date('2026-06-01T00:00:00Z')
const minute = 60_000
const plan = { firstDelayMs: minute, factor: 2, delayMsMax: 10 * minute, deadlineMs: 60 * minute }
const at = (minutes: number) => new Date(first.getTime() + minutes * minute)

test('delays grow by the factor up to their maximum', () => {
  expect(nextAttemptAt(plan, 1, first, at(0), 1)).toEqual(at(1))
  expect(nextAttemptAt(plan, 2, first, at(1), 1)).toEqual(at(3))
  expect(nextAttemptAt(plan, 3, first, at(3), 1)).toEqual(at(7))
  expect(nextAttemptAt(plan, 5, first, at(20), 1)).toEqual(at(30))
  expect(nextAttemptAt(plan, 500, first, at(20), 1)).toEqual(at(30))
})

test('jitter spreads a delay over its last quarter', () => {
  expect(nextAttemptAt(plan, 3, first, at(0), 0)).toEqual(at(3))
  expect(nextAttemptAt(plan, 3, first, at(0), 0.5)).toEqual(at(3.5))
})

test('the last attempt is at the deadline, and none comes after it', () => {
  expect(nextAttemptAt(plan, 9, first, at(55), 1)).toEqual(at(60))
  expect(nextAttemptAt(plan, 9, first, at(60), 1)).toBeUndefined()
  expect(nextAttemptAt(plan, 9, first, at(61), 1)).toBeUndefined()
})

test('repeating as told always moves on, ends, and looks once at the deadline', () => {
  fc.assert(
    fc.property(
      fc.record({
        firstDelayMs: fc.integer({ min: 1, max: 3_600_000 }),
        factor: fc.double({ min: 1, max: 10, noNaN: true }),
        delayMsMax: fc.integer({ min: 10_000, max: 86_400_000 }),
        deadlineMs: fc.integer({ min: 0, max: 7_200_000 }),
      }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (anyPlan, jitter) => {
        const wanted = { ...anyPlan, firstDelayMs: Math.max(anyPlan.firstDelayMs, 10_000) }
        let now = first
        let attempts = 1
        for (
          let next;
          (next = nextAttemptAt(wanted, attempts, first, now, jitter)) !== undefined;
          attempts++
        ) {
          expect(next.getTime()).toBeGreaterThan(now.getTime())
          expect(next.getTime()).toBeLessThanOrEqual(first.getTime() + wanted.deadlineMs)
          now = next
        }
        expect(now).toEqual(new Date(first.getTime() + wanted.deadlineMs))
      },
    ),
    { numRuns: 200 },
  )
})
