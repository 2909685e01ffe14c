import { readFileSync, readdirSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { loadChannels } from '../../src/channels/load.ts'
import { evaluate } from '../../src/mapping/evaluate.ts'
import type { TraceStep } from '../../src/mapping/trace.ts'
import { aPlan, at, message } from './a-plan.ts'

const received = message(
  'EVN|A03|20260302114400-0500',
  'PID|1||E1^^^ASHBY^MR~999^^^SSA^SS||Ross^Ellen',
  'PV1|1|I|||||||||||||||||V7788|||||||||||||||||01',
)

const stepsOf = (parts: Parameters<typeof aPlan>[0], bytes = received): readonly TraceStep[] =>
  evaluate(aPlan(parts), bytes, at, { trace: true }).trace.map(({ at: _, ...step }) => ({
    ...step,
    at: '',
  }))

test('a rule tells what it asked, the values it saw, and its verdict', () => {
  const steps = stepsOf({
    filter: [
      '- { first: [EVN-6, EVN-2], newerThan: 3d }',
      "- { field: PV1-2, is: E, when: { field: MSH-9.2, is: A03 }, else: 'no emergency' }",
    ],
  })
  expect(steps).toEqual([
    {
      step: 'filter',
      at: '',
      asks: 'the first of EVN-6, EVN-2 that is there is less than 3 days ago',
      outcome: 'passed',
      saw: [
        { saw: 'value', path: 'EVN-6', isCode: false },
        { saw: 'value', path: 'EVN-2', value: '20260302114400-0500', isCode: false },
      ],
    },
    {
      step: 'filter',
      at: '',
      asks: 'PV1-2 is E, asked where MSH-9.2 is A03',
      outcome: 'stopped',
      because: 'no emergency',
      saw: [
        { saw: 'value', path: 'MSH-9.2', value: 'A03', isCode: true },
        { saw: 'value', path: 'PV1-2', value: 'I', isCode: true },
      ],
    },
  ])
})

test('a rule that is not asked tells why', () => {
  const [step] = stepsOf({ filter: ['- { field: PV1-2, is: E, when: { field: MSH-9.2, is: A13 } }'] })
  expect(step).toMatchObject({ outcome: 'not asked', asks: 'only where MSH-9.2 is A13' })
})

test('a row tells source value, table hit and what came of it', () => {
  const tables = { kinds: 'from,to\nA03,discharge\n', classes: 'from,to\nE,EMER\n' }
  const rows = [
    '- { to: kind, from: MSH-9.2, table: kinds }',
    '- { to: encounter.class, from: PV1-2, table: classes, miss: skip }',
    '- { to: encounter.id, from: PV1-19.1 }',
  ]
  const steps = stepsOf({ rows, tables }).filter(({ step }) => step === 'row')
  expect(steps.slice(0, 3)).toMatchObject([
    {
      to: 'kind',
      asks: 'MSH-9.2, table kinds',
      outcome: 'gave',
      value: 'discharge',
      isFromMessage: false,
      saw: [{ value: 'A03' }, { saw: 'table', table: 'kinds', from: 'A03', to: 'discharge', isCode: true }],
    },
    { outcome: 'gave nothing', saw: [{ value: 'I' }, { saw: 'table', table: 'classes', from: 'I' }] },
    { to: 'encounter.id', value: 'V7788', isFromMessage: true, saw: [{ path: 'PV1-19.1', isCode: false }] },
  ])
  expect(steps[1]!.saw[1]).not.toHaveProperty('to')
  expect(steps[3]).toMatchObject({ to: 'kind', outcome: 'not needed', saw: [] })
})

test('a repeating field tells which repetitions were kept, and what each gave', () => {
  const steps = stepsOf({
    rows: [
      "- { to: patient.identifiers, each: PID-3, keep: { field: '5', not: SS }, rows: [{ to: system, from: '4' }, { to: value, from: '1' }] }",
    ],
  })
  expect(steps.find(({ to }) => to === 'patient.identifiers')).toMatchObject({
    asks: 'each PID-3 where 5 is not SS',
    value: 'E1 (ASHBY)',
    saw: [
      { saw: 'repetition', of: 'PID-3', number: 1 },
      { saw: 'value', path: '5', value: 'MR' },
      { saw: 'keep', kept: true },
      { saw: 'value', path: '4', value: 'ASHBY' },
      { saw: 'part', to: 'system', value: 'ASHBY' },
      { saw: 'value', path: '1', value: 'E1' },
      { saw: 'part', to: 'value', value: 'E1' },
      { saw: 'repetition', of: 'PID-3', number: 2 },
      { saw: 'value', path: '5', value: 'SS' },
      { saw: 'keep', kept: false },
    ],
  })
})

test('questions of every kind are told in words', () => {
  const questions = [
    ["{ field: PID-5.1, matches: '^R' }", 'PID-5.1 has the form ^R'],
    ['{ field: PV1-2, notIn: [E, O] }', 'PV1-2 is none of E, O'],
    ['{ field: PV1-2, not: E }', 'PV1-2 is not E'],
    ['{ field: PV1-2, present: true }', 'PV1-2 is there'],
    ['{ field: PV1-3, present: false }', 'PV1-3 is not there'],
    ['{ field: PV1-6, sameAs: PV1-3 }', 'PV1-6 is the same as PV1-3'],
    ['{ some: PID-3.5, in: [SS] }', 'some PID-3.5 is SS'],
    ['{ none: PID-3.5, is: DL }', 'no PID-3.5 is DL'],
    [
      '{ any: [{ all: [{ field: PV1-2, is: I }, { field: MSH-9.2, is: A03 }] }, { field: PV1-2, is: E }] }',
      '(PV1-2 is I and MSH-9.2 is A03) or PV1-2 is E',
    ],
  ]
  const filter = questions.map(([rule]) => `- ${rule}`)
  expect(
    stepsOf({ filter })
      .slice(0, questions.length)
      .map(({ asks }) => asks),
  ).toEqual(questions.map(([, words]) => words))
})

test('FHIRPath tells what it found', () => {
  const resource = {
    resourceType: 'ExplanationOfBenefit',
    created: '2026-03-02',
    patient: { reference: 'Patient/1' },
  }
  const { trace } = evaluate(
    aPlan({ input: 'fhir', filter: ['- { fhirpath: "ExplanationOfBenefit.created.exists()" }'] }),
    resource,
    at,
    { trace: true },
  )
  expect(trace[0]).toMatchObject({
    asks: 'ExplanationOfBenefit.created.exists()',
    outcome: 'passed',
    saw: [{ value: 'true' }],
  })
  expect(trace.at(-1)).toMatchObject({ to: 'patient.reference', value: 'Patient/1' })
})

test('with and without a trace the decision is the same, and without one nothing is written down', () => {
  const { plans } = loadChannels({
    channelsDirectory: 'channels',
    mappingsDirectory: 'mappings',
    environment: {},
  })
  const samples = readdirSync('channels/samples').map((name) => readFileSync(`channels/samples/${name}`))
  for (const plan of plans)
    for (const input of [...samples, ...plan.tests.map((one) => one.input)]) {
      const { trace, ...plain } = evaluate(plan, input, at)
      const { trace: told, ...traced } = evaluate(plan, input, at, { trace: true })
      expect(traced).toEqual(plain)
      expect(trace).toEqual([])
      if (plain.decision === 'trigger') expect(told.length).toBeGreaterThan(plan.filter.length)
    }
})
