import { describe, expect, test } from '@jest/globals'
import { runTests } from '../../src/channels/run-tests.ts'
import type { ChannelPlan } from '../../src/domain/channel.ts'
import { aPlan, message } from '../mapping/a-plan.ts'

const now = new Date('2026-03-02T17:00:00Z')
const received = message('EVN|A03|20260302114400-0500', 'PID|1||E1^^^ASHBY~E2^^^H', 'PV1|1|I')
const plain = aPlan({ rows: ['- { to: encounter.class, from: PV1-2 }'] })

/** What differs from what a test expects of the message. */
function differences(
  expected: ChannelPlan['tests'][number]['expect'],
  plan = plain,
  answer: string | undefined = 'AA',
) {
  const tested = {
    ...plan,
    tests: [{ name: 't', now, input: received, expect: expected, at: 'channels/a.yaml:9' }],
  }
  return runTests([tested], { acknowledge: () => answer }).results[0]!.differences
}

describe('a test passes where what it names is as it says', () => {
  test('parts that are not named are not looked at', () => {
    expect(
      differences({ decision: 'trigger', event: { kind: 'discharge', encounter: { class: 'I' } } }),
    ).toEqual([])
  })

  test('an instant may be written in any zone', () => {
    expect(differences({ decision: 'trigger', event: { occurredAt: '2026-03-02T16:44:00Z' } })).toEqual([])
    expect(differences({ decision: 'trigger', event: { occurredAt: '2026-03-02T11:44:00-05:00' } })).toEqual(
      [],
    )
  })

  test('the acknowledgement is the one the listener would give', () => {
    expect(differences({ decision: 'trigger', ack: 'AA' })).toEqual([])
    expect(differences({ decision: 'trigger', ack: 'AR' })).toEqual(['ack: expected AR, got AA'])
    expect(differences({ decision: 'trigger', ack: 'AA' }, plain, '')).toEqual(['ack: expected AA, got '])
  })
})

describe('a test fails with a line for each difference', () => {
  test('another decision, with its reason', () => {
    const filtered = aPlan({ filter: ["- { field: PV1-2, is: E, else: 'no emergency' }"] })
    expect(differences({ decision: 'trigger' }, filtered)).toEqual([
      'decision: expected trigger, got filtered (no emergency)',
    ])
    expect(differences({ decision: 'filtered', because: 'too old' }, filtered)).toEqual([
      'because: expected "too old", got "no emergency"',
    ])
  })

  test('values, missing parts, and lists that are not equal in full', () => {
    expect(
      differences({
        decision: 'trigger',
        event: {
          kind: 'transition',
          cancels: true,
          occurredAt: '2026-03-02T16:45:00Z',
          patient: { identifiers: [{ value: 'E1' }], family: 'Ross' },
        },
      }),
    ).toEqual([
      'event.kind: expected "transition", got "discharge"',
      'event.cancels: expected true, got nothing',
      'event.occurredAt: expected "2026-03-02T16:45:00Z", got "2026-03-02T16:44:00.000Z"',
      'event.patient.identifiers: expected 1 entries, got 2: [{"system":"ASHBY","value":"E1"},{"system":"H","value":"E2"}]',
      'event.patient.family: expected "Ross", got nothing',
    ])
  })
})

describe('what no test shows is named', () => {
  const untestedOf = (plan: ChannelPlan) =>
    runTests([plan], { acknowledge: () => 'AA' }).untested.map(({ what }) => what)
  const tested = (plan: ChannelPlan) => ({
    ...plan,
    tests: [
      { name: 't', now, input: received, expect: { decision: 'trigger' as const }, at: 'channels/a.yaml:9' },
    ],
  })

  test('the reason of a filter rule', () => {
    const plan = aPlan({ filter: ["- { field: PV1-2, is: I, else: 'not an inpatient' }"] })
    expect(untestedOf(tested(plan))).toEqual(['no test shows the reason “not an inpatient”'])
  })

  test('a kind of event that the mapping can yield, but not one that the filter keeps out', () => {
    const plan = aPlan({
      filter: ['- { field: MSH-9.2, in: [A03, A06] }'],
      rows: ['- { to: kind, from: MSH-9.2, table: kinds }'],
      tables: { kinds: 'from,to\nA03,discharge\nA06,transition\nR01,new-results\n' },
    })
    expect(untestedOf(tested(plan))).toEqual([
      'no test is stopped by this rule',
      'no test of channel a yields the kind transition',
    ])
  })

  test('nothing where there are no tests at all: the lint says that', () => {
    expect(untestedOf(plain)).toEqual([])
  })
})
