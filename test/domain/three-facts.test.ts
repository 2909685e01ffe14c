import { expect, test } from '@jest/globals'
import { threeFacts, type Fact, type FactsKnown } from '../../src/domain/three-facts.ts'

const noon = new Date('2026-11-23T12:00:00Z')
const one = new Date('2026-11-23T13:00:00Z')
const known: FactsKnown = {
  state: 'submitted',
  ambiguous: false,
  onWire: false,
  deliveryRequested: true,
  late: [],
}
type Words = [Fact['is'], Fact['is'], Fact['is']]

test.each<[string, Partial<FactsKnown>, Words]>([
  ['nothing has left', { state: 'waiting' }, ['not-yet', 'not-yet', 'not-yet']],
  ['the next hop took it', { submittedAt: noon }, ['yes', 'awaited', 'awaited']],
  [
    'nobody asked for delivery',
    { submittedAt: noon, deliveryRequested: false },
    ['yes', 'awaited', 'not-asked'],
  ],
  [
    'the connection broke after the last byte',
    { state: 'sealed', ambiguous: true },
    ['unknown', 'awaited', 'awaited'],
  ],
  [
    'the HISP has it',
    { state: 'processed', submittedAt: noon, processedAt: noon },
    ['yes', 'yes', 'awaited'],
  ],
  [
    'the HISP has it, and no more was asked',
    { state: 'processed', processedAt: noon, deliveryRequested: false },
    ['yes', 'yes', 'not-asked'],
  ],
  ['delivered was all that was said', { state: 'delivered', deliveredAt: noon }, ['yes', 'yes', 'yes']],
  [
    'the HISP was silent',
    { state: 'failed', code: 'processed-timeout', submittedAt: noon },
    ['yes', 'unknown', 'unknown'],
  ],
  [
    'the HISP was silent about delivery',
    { state: 'failed', code: 'delivered-timeout', submittedAt: noon, processedAt: noon },
    ['yes', 'yes', 'unknown'],
  ],
  [
    'the HISP could not deliver',
    { state: 'failed', code: 'notified-failed', submittedAt: noon, processedAt: noon },
    ['yes', 'yes', 'no'],
  ],
  ['a relay gave it back', { state: 'failed', code: 'relay-returned' }, ['yes', 'no', 'no']],
  ['the next hop refused it', { state: 'failed', code: 'edge-refused' }, ['no', 'no', 'no']],
  [
    'given up after an attempt that may have arrived',
    { state: 'failed', code: 'edge-overdue', ambiguous: true },
    ['unknown', 'unknown', 'unknown'],
  ],
  ['the patient revoked it', { state: 'cancelled' }, ['no', 'no', 'no']],
])('%s', (_, changes, [accepted, processed, delivered]) => {
  const facts = threeFacts({ ...known, ...changes })
  expect([facts.acceptedByNextHop.is, facts.processedByHisp.is, facts.delivered.is]).toEqual([
    accepted,
    processed,
    delivered,
  ])
})

test('an answer that came after the end is a fact, and told as late', () => {
  const failed = { ...known, state: 'failed', code: 'processed-timeout', submittedAt: noon } as const
  expect(threeFacts({ ...failed, late: [{ disposition: 'delivered', at: one }] })).toEqual({
    acceptedByNextHop: { is: 'yes', at: noon },
    processedByHisp: { is: 'yes' },
    delivered: { is: 'yes', at: one, isLate: true },
  })
})
