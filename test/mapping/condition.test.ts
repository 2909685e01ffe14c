import { describe, expect, test } from '@jest/globals'
import { evaluate } from '../../src/mapping/evaluate.ts'
import { aPlan, message } from './a-plan.ts'

const at = new Date('2026-03-02T17:00:00Z')

/** What becomes of a message under one rule: `passed`, or the reason. */
function ask(rule: string, segments: readonly string[] = ['EVN|A03|20260302114400-0500', 'PV1|1|I']): string {
  const withPatient = [...segments, 'PID|1||E1^^^H']
  const evaluation = evaluate(aPlan({ filter: [`- ${rule}`] }), message(...withPatient), at)
  return evaluation.decision === 'trigger' ? 'passed' : evaluation.because
}

describe('a condition asks one question', () => {
  test.each([
    ['{ field: PV1-2, is: I }', 'passed'],
    ['{ field: PV1-2, is: E }', 'PV1-2 is I, not E'],
    ['{ field: PV1-2, in: [E, I] }', 'passed'],
    ['{ field: PV1-2, in: [E, O] }', 'PV1-2 is I, not one of E, O'],
    ['{ field: PV1-2, not: E }', 'passed'],
    ['{ field: PV1-2, not: I }', 'PV1-2 is I, which is excluded'],
    ['{ field: PV1-2, notIn: [E, O] }', 'passed'],
    ['{ field: PV1-2, notIn: [E, I] }', 'PV1-2 is I, which is excluded'],
    ['{ field: PV1-2, present: true }', 'passed'],
    ['{ field: PV1-2, present: false }', 'PV1-2 is not empty'],
    ["{ field: PV1-2, matches: '^[IE]$' }", 'passed'],
    ["{ field: PV1-2, matches: '^E' }", 'PV1-2 does not have the expected form'],
  ])('%s', (rule, outcome) => {
    expect(ask(rule)).toBe(outcome)
  })

  test.each([
    ['{ field: PV1-3, is: I }', 'PV1-3 is empty, not I'],
    ['{ field: PV1-3, not: I }', 'passed'],
    ['{ field: PV1-3, notIn: [I] }', 'passed'],
    ['{ field: PV1-3, present: true }', 'PV1-3 is empty'],
    ['{ field: PV1-3, present: false }', 'passed'],
    ["{ field: PV1-3, matches: '.*' }", 'PV1-3 is empty'],
  ])('of an empty value: %s', (rule, outcome) => {
    expect(ask(rule)).toBe(outcome)
  })

  const results = ['OBX|1|NM|A||1||||||F', 'OBX|2|NM|B||1~2||||||P', 'OBX|3|NM|C||3||||||']
  test.each([
    ['{ some: OBX-11, in: [F, C] }', 'passed'],
    ['{ some: OBX-11, in: [C, W] }', 'no OBX-11 is C, W'],
    ['{ some: OBX-11, is: P }', 'passed'],
    ['{ some: "OBX[1]-11", is: P }', 'no OBX[1]-11 is P'],
    ['{ none: OBX-11, in: [W, D] }', 'passed'],
    ['{ none: OBX-11, in: [F, D] }', 'some OBX-11 is F, D'],
    ['{ some: OBX-5, is: 2 }', 'passed'],
    ['{ some: "OBX-5[1]", is: 2 }', 'no OBX-5[1] is 2'],
    ["{ some: OBX-3, matches: '^C$' }", 'passed'],
    ['{ none: NTE-3, is: x }', 'passed'],
    ['{ some: NTE-3, is: x }', 'no NTE-3 is x'],
  ])('of all values: %s', (rule, outcome) => {
    expect(ask(rule, ['EVN|A03|2026', 'PV1|1|I', ...results])).toBe(outcome)
  })

  test.each([
    ['A^^^ASHBY', 'B^^^ASHBY', 'passed', 'PV1-3.4 does not differ from PV1-6.4'],
    ['A^^^ASHBY', 'B^^^MERCY', 'PV1-3.4 is not the same as PV1-6.4', 'passed'],
    ['A^^^ASHBY', '', 'PV1-3.4 is not the same as PV1-6.4', 'PV1-3.4 does not differ from PV1-6.4'],
    ['', '', 'passed', 'PV1-3.4 does not differ from PV1-6.4'],
  ])('two values of one message: %s and %s', (location, prior, same, differs) => {
    const segments = ['EVN|A02|2026', `PV1|1|I|${location}|||${prior}`]
    expect(ask('{ field: PV1-3.4, sameAs: PV1-6.4 }', segments)).toBe(same)
    expect(ask('{ field: PV1-3.4, differsFrom: PV1-6.4 }', segments)).toBe(differs)
  })

  test('codes are compared as they are written: 01 is not 1, and i is not I', () => {
    const one = ['EVN|A03|2026', 'PV1|1|01']
    expect(ask('{ field: PV1-2, is: 01 }', one)).toBe('passed')
    expect(ask('{ field: PV1-2, is: 1 }', one)).toBe('PV1-2 is 01, not 1')
    expect(ask('{ field: PV1-2, is: i }')).toBe('PV1-2 is I, not i')
  })

  test('several paths: the first that gives a value answers', () => {
    expect(ask('{ first: [PV1-3, PV1-2], is: I }')).toBe('passed')
    expect(ask('{ first: [PV1-2, PV1-1], is: 1 }')).toBe('PV1-2 is I, not 1')
    expect(ask('{ first: [PV1-3, PV1-4], present: true }')).toBe('PV1-3 and PV1-4 is empty')
  })

  test('all: every one has to hold; any: one is enough', () => {
    const [yes, no] = ['{ field: PV1-2, is: I }', '{ field: PV1-2, is: E }']
    expect(ask(`{ all: [${yes}, ${yes}] }`)).toBe('passed')
    expect(ask(`{ all: [${yes}, ${no}] }`)).toBe('not all of its conditions hold')
    expect(ask(`{ any: [${no}, ${yes}] }`)).toBe('passed')
    expect(ask(`{ any: [${no}, ${no}] }`)).toBe('none of its conditions holds')
    expect(ask(`{ any: [${no}] }`)).toBe('PV1-2 is I, not E')
    expect(ask(`{ all: [{ any: [${no}, ${yes}] }, ${yes}] }`)).toBe('passed')
  })

  test('a value too long for a pattern never matches: matching time stays bounded', () => {
    expect(ask("{ field: NTE-3, matches: '^x*$' }", ['EVN|A03|2026', `NTE|1||${'x'.repeat(200)}`])).toBe(
      'passed',
    )
    expect(ask("{ field: NTE-3, matches: '^x*$' }", ['EVN|A03|2026', `NTE|1||${'x'.repeat(201)}`])).not.toBe(
      'passed',
    )
  })
})

describe('the age of a message', () => {
  const rule = '{ field: EVN-2, newerThan: 3d }'
  const of = (time: string) => ask(rule, [`EVN|A03|${time}`])

  test('counts from the moment of receipt, to the last millisecond', () => {
    expect(of('20260227170000+0000')).toBe('passed')
    expect(of('20260227165959+0000')).toBe('EVN-2 is more than 3 days old')
  })

  test('is no matter of a clock that runs ahead', () => {
    expect(of('20260303170000+0000')).toBe('passed')
  })

  test('that cannot be told stops the message, for a person to look at', () => {
    expect(of('')).toBe('EVN-2 gives no time: its age cannot be judged')
    expect(of('20260230')).toBe('EVN-2 is not a time: no calendar has that day')
  })

  test('inside any: is not passed over where it cannot be told', () => {
    expect(
      ask('{ any: [{ field: EVN-2, newerThan: 3d }, { field: MSH-1, present: true }] }', ['EVN|A03']),
    ).toContain('cannot be judged')
  })
})

describe('reasons carry no PHI', () => {
  test.each([
    ['{ field: PID-5.1, is: X }', 'PID-5.1 is not X'],
    ['{ field: PID-5.1, not: Ross }', 'PID-5.1 has a value that is excluded'],
    ['{ field: PID-3.1, in: [A, B] }', 'PID-3.1 is not one of A, B'],
  ])('%s', (rule, because) => {
    expect(ask(rule, ['EVN|A03|2026', 'PID|1||E1001^^^H||Ross^Ellen'])).toBe(because)
  })

  test('a field of codes that holds something else is not quoted', () => {
    expect(ask('{ field: PV1-2, is: I }', ['EVN|A03|2026', 'PV1|1|Ross, Ellen'])).toBe('PV1-2 is not I')
    expect(ask('{ field: PV1-2, is: I }', ['EVN|A03|2026', 'PV1|1|INPATIENTINPATIENTINPATIENT'])).toBe(
      'PV1-2 is not I',
    )
  })
})
