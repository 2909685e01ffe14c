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

  test('which rule ended it, and what it saw', () => {
    const filtered = aPlan({ filter: ["- { first: [PV1-44, PV1-2], is: E, else: 'no emergency' }"] })
    const test = { name: 't', now, input: received, expect: { decision: 'trigger' as const }, at: 'a.yaml:9' }
    const { results } = runTests([{ ...filtered, tests: [test] }], { acknowledge: () => 'AA' })
    expect(results[0]!.stoppedBy).toEqual({
      at: filtered.filter[0]!.at,
      asks: 'the first of PV1-44, PV1-2 that is there is E',
      saw: ['PV1-44 = nothing', 'PV1-2 = "I"'],
    })
  })

  test('a part that must not be there', () => {
    const event = { cancels: null, encounter: { disposition: null, class: null } }
    expect(differences({ decision: 'trigger', event })).toEqual([
      'event.encounter.class: expected nothing, got "I"',
    ])
    expect(differences({ decision: 'trigger', event: { claim: null } })).toEqual([])
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

test('coverage names each reason and kind, and the tests that show it', () => {
  const plan = aPlan({
    filter: ["- { field: PV1-2, in: [I, E], else: 'no stay' }", '- { field: PV1-3, not: X }'],
  })
  const one = { now, input: received, at: 'channels/a.yaml:9' }
  const outpatient = message('EVN|A03|20260302114400-0500', 'PID|1||E1^^^ASHBY', 'PV1|1|O')
  const { coverage } = runTests(
    [
      {
        ...plan,
        tests: [
          { ...one, name: 'stays', expect: { decision: 'trigger' } },
          { ...one, name: 'leaves', input: outpatient, expect: { decision: 'filtered' } },
        ],
      },
    ],
    { acknowledge: () => 'AA' },
  )
  expect(coverage).toMatchObject([
    { what: 'reason', words: 'no stay', shownBy: ['leaves'] },
    { what: 'reason', words: 'PV1-3 is not X', shownBy: [] },
    { what: 'kind', words: 'discharge', shownBy: ['stays'] },
  ])
})
