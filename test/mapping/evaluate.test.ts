import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { evaluate } from '../../src/mapping/evaluate.ts'
import { aPlan, at, message, outcomeOf, type PlanParts } from './a-plan.ts'

const evn = 'EVN|A03|20260302114400-0500'
const pid = 'PID|1||E1001^^^ASHBY&1.2.3.4&ISO^MR~999-11^^^SSA^SS||Ross^Ellen||19560814'
const usual = message(evn, pid, 'PV1|1|I')
const outcome = (parts: PlanParts, received: Buffer = usual) => outcomeOf(parts, received)

describe('rows', () => {
  test('fill what they name; everything else stays away', () => {
    expect(outcome({})).toEqual({
      kind: 'discharge',
      occurredAt: new Date('2026-03-02T16:44:00Z'),
      patient: {
        identifiers: [
          { system: 'urn:oid:1.2.3.4', value: 'E1001' },
          { system: 'SSA', value: '999-11' },
        ],
      },
    })
  })

  test('of several with one target, the first that gives a value fills it', () => {
    const rows = [
      '- { to: encounter.id, from: PV1-19 }',
      '- { to: encounter.id, from: PV1-50 }',
      '- { to: encounter.id, from: PID-18 }',
    ]
    const visits = (pv1: string) => outcome({ rows }, message(evn, `${pid}||||||||||||A1`, pv1))
    expect(visits(`PV1|1|I${'|'.repeat(17)}V1`)).toMatchObject({ encounter: { id: 'V1' } })
    expect(visits(`PV1|1|I${'|'.repeat(48)}ALT`)).toMatchObject({ encounter: { id: 'ALT' } })
    expect(outcome({ rows }, message(evn, `${pid}${'|'.repeat(11)}A1`, 'PV1|1|I'))).toMatchObject({
      encounter: { id: 'A1' },
    })
  })

  test('with first: take the first path that gives a value', () => {
    const rows = ['- { to: encounter.id, first: [PV1-19, PV1-2] }']
    expect(outcome({ rows })).toMatchObject({ encounter: { id: 'I' } })
  })

  test('with when: are asked only where it holds', () => {
    const rows = ['- { to: cancels, value: true, when: { field: MSH-9.2, is: A13 } }']
    expect(outcome({ rows })).not.toHaveProperty('cancels')
    const a13 = usual.toString().replace('ADT^A03', 'ADT^A13')
    expect(outcome({ rows }, Buffer.from(a13))).toMatchObject({ cancels: true })
  })

  test('that are required and give nothing stop the message, unless a later row gives it', () => {
    const required = '- { to: encounter.id, from: PV1-19, required: true }'
    expect(outcome({ rows: [required] })).toBe(
      'required-missing: encounter.id is required and no source gave a value',
    )
    expect(outcome({ rows: [required, '- { to: encounter.id, from: PV1-2 }'] })).toMatchObject({
      encounter: { id: 'I' },
    })
  })

  test('read times in the zone of MSH-7, else of the channel', () => {
    const rows = ['- { to: occurredAt, from: PV1-45 }']
    const pv1 = `PV1|1|I${'|'.repeat(43)}20260302113000`
    expect(outcome({ rows, channel: ['timezone: Europe/Berlin'] }, message(evn, pid, pv1))).toMatchObject({
      occurredAt: new Date('2026-03-02T16:30:00Z'),
    })
    const bare = message('MSH|^~\\&|A|B|C|D|20260302114500||ADT^A03|M1|P|2.5.1', evn, pid, pv1)
    expect(outcome({ rows, channel: ['timezone: Europe/Berlin'] }, bare)).toMatchObject({
      occurredAt: new Date('2026-03-02T10:30:00Z'),
    })
  })

  test('that meet an impossible time or date stop the message, without quoting it', () => {
    const pv1 = `PV1|1|I${'|'.repeat(43)}20260230113000`
    expect(outcome({ rows: ['- { to: occurredAt, from: PV1-45 }'] }, message(evn, pid, pv1))).toBe(
      'datetime-unreadable: PV1-45 is not a time: no calendar has that day',
    )
    const born = message(evn, pid.replace('19560814', '195613'))
    expect(outcome({ rows: ['- { to: patient.birthDate, from: PID-7 }'] }, born)).toBe(
      'date-unreadable: PID-7 is not a date: no calendar has that month',
    )
  })

  test('keep the precision of a date', () => {
    const rows = ['- { to: patient.birthDate, from: PID-7 }']
    expect(outcome({ rows }, message(evn, pid.replace('19560814', '195608')))).toMatchObject({
      patient: { birthDate: '1956-08' },
    })
  })

  test('refuse values that no name or identifier has', () => {
    const rows = ['- { to: patient.family, from: PID-5.1 }']
    const named = (family: string) => outcome({ rows }, message(evn, pid.replace('Ross', family)))
    expect(named('x'.repeat(1_001))).toBe('value-refused: PID-5.1 is longer than 1000 characters')
    expect(named('R\\X00\\oss')).toBe('value-refused: PID-5.1 holds a NUL character')
    expect(named('R\ufffdss')).toContain('value-refused: PID-5.1 holds U+FFFD')
  })

  test('see blanks around a value as no part of it, and the HL7 null as no value', () => {
    const rows = ['- { to: patient.family, from: PID-5.1 }']
    expect(outcome({ rows }, message(evn, pid.replace('Ross', '  Ross ')))).toMatchObject({
      patient: { family: 'Ross' },
    })
    const named = outcome({ rows }, message(evn, pid.replace('Ross', '""')))
    expect(named).not.toHaveProperty('patient.family')
  })
})

describe('tables', () => {
  const tables = { class: 'from,to,note\nI,IMP,inpatient\n01,AMB,\n' }
  const row = (more: string) => ({
    tables,
    rows: [`- { to: encounter.class, from: PV1-2, table: class${more} }`],
  })

  test('turn a code into its meaning', () => {
    expect(outcome(row(''))).toMatchObject({ encounter: { class: 'IMP' } })
    expect(outcome(row(''), message(evn, pid, 'PV1|1|01'))).toMatchObject({ encounter: { class: 'AMB' } })
  })

  test('without a row for it stop the message: codes are not guessed', () => {
    expect(outcome(row(''), message(evn, pid, 'PV1|1|ZZ'))).toBe(
      'lookup-miss: table class has no row for "ZZ"',
    )
    expect(outcome(row(''), message(evn, pid, 'PV1|1|i'))).toBe('lookup-miss: table class has no row for "i"')
    expect(outcome(row(''), message(evn, pid, 'PV1|1|1'))).toBe('lookup-miss: table class has no row for "1"')
  })

  test('with miss: skip give nothing, and the next row is asked', () => {
    expect(outcome(row(', miss: skip'), message(evn, pid, 'PV1|1|ZZ'))).not.toHaveProperty('encounter')
    const { rows } = row(', miss: skip')
    const both = { tables, rows: [...rows, '- { to: encounter.class, value: UNKNOWN }'] }
    expect(outcome(both, message(evn, pid, 'PV1|1|ZZ'))).toMatchObject({ encounter: { class: 'UNKNOWN' } })
    expect(outcome(both)).toMatchObject({ encounter: { class: 'IMP' } })
  })

  test('never quote a value that may say who somebody is', () => {
    const rows = ['- { to: encounter.class, from: PID-5.1, table: class }']
    expect(outcome({ tables, rows })).toBe('lookup-miss: table class has no row for the value of PID-5.1')
    const long = 'SECRET NAME OF A PATIENT'
    expect(outcome(row(''), message(evn, pid, `PV1|1|${long}`))).not.toContain(long)
  })
})

describe('each repetition of an identifier', () => {
  const each = (
    more: string,
    rows = "[{ to: system, from: '4', required: true }, { to: value, from: '1' }, { to: type, from: '5' }]",
  ) => ({
    allRows: [
      '- { to: kind, value: discharge }',
      '- { to: occurredAt, from: EVN-2 }',
      `- { to: patient.identifiers, each: PID-3${more}, rows: ${rows} }`,
    ],
  })
  const identifiers = (parts: PlanParts, pid3: string) => {
    const got = outcome(parts, message(evn, `PID|1||${pid3}||Ross^Ellen`))
    return typeof got === 'string' ? got : (got as { patient: { identifiers: unknown } }).patient.identifiers
  }

  test('is kept where keep: holds', () => {
    expect(identifiers(each(", keep: { field: '5', in: [MR, PI] }"), 'A^^^H^SS~B^^^H^MR~C^^^H^PI')).toEqual([
      { system: 'H', value: 'B', type: 'MR' },
      { system: 'H', value: 'C', type: 'PI' },
    ])
  })

  test('that lacks a required part, or its value, is left out', () => {
    expect(identifiers(each(''), 'A^^^^MR~^^^H^MR~B^^^H^MR')).toEqual([
      { system: 'H', value: 'B', type: 'MR' },
    ])
  })

  test('where none is left, a required row says how many there were', () => {
    expect(identifiers(each(', required: true'), 'A^^^^MR~B')).toBe(
      'required-missing: patient.identifiers is required and none of the 2 in PID-3 was kept and gave system',
    )
    expect(identifiers(each(', required: true'), '')).toBe(
      'required-missing: patient.identifiers is required and PID-3 is empty',
    )
    expect(identifiers(each(''), '')).toBe(
      'required-missing: the patient is required and no source gave identifiers or a reference',
    )
  })

  test.each([
    ['ASHBY&1.2.3.4&ISO', 'urn:oid:1.2.3.4'],
    ['&1.2.3.4&ISO', 'urn:oid:1.2.3.4'],
    ['ASHBY&1.2.3.4&iso', 'urn:oid:1.2.3.4'],
    ['ASHBY', 'ASHBY'],
    ['ASHBY&not an oid&ISO', 'ASHBY'],
    ['ASHBY&D7CF7F9E-4C2B-4F0B-9A3E-0E2C0F5A1B2C&UUID', 'urn:uuid:d7cf7f9e-4c2b-4f0b-9a3e-0e2c0f5a1b2c'],
    ['ASHBY&http://ashby.example/mrn&URI', 'http://ashby.example/mrn'],
    ['ASHBY&ashby.example&DNS', 'ASHBY'],
    ['&ashby.example&DNS', 'ashby.example'],
    ['ASHBY&90D4900850&CLIA', 'ASHBY'],
  ])('is of the authority that its CX.4 names: %s', (authority, system) => {
    expect(identifiers(each(''), `A^^^${authority}^MR`)).toEqual([{ system, value: 'A', type: 'MR' }])
  })

  test('keeps its value as it is: case, zeros and inner blanks', () => {
    expect(identifiers(each(''), '00aB 1^^^H')).toEqual([{ system: 'H', value: '00aB 1' }])
  })
})

describe('the filter', () => {
  test('stops at the first rule that does not hold, with its reason', () => {
    const filter = [
      '- { field: MSH-9.1, is: ADT }',
      "- { field: MSH-11.1, is: T, else: 'not a test' }",
      "- { field: MSH-9.2, is: ZZZ, else: 'never asked' }",
    ]
    expect(outcome({ filter })).toBe('filtered: not a test')
  })

  test('says a reason of its own where the rule has none', () => {
    expect(outcome({ filter: ['- { field: MSH-9.2, in: [A13, A11] }'] })).toBe(
      'filtered: MSH-9.2 is A03, not one of A13, A11',
    )
  })

  test('hands a message to a person where the rule says so', () => {
    const filter = ["- { field: PV1-2, not: I, else: 'inpatient', decision: quarantined }"]
    expect(outcome({ filter })).toBe('needs-a-person: inpatient')
  })

  test('asks a rule with when: only of the messages it is for', () => {
    const filter = ["- { field: PV1-2, is: E, when: { field: MSH-9.2, is: A04 }, else: 'no emergency' }"]
    expect(outcome({ filter })).toMatchObject({ kind: 'discharge' })
  })

  test('comes before the mapping: what is filtered is not mapped', () => {
    const rows = ['- { to: encounter.id, from: PV1-19, required: true }']
    expect(outcome({ rows, filter: ["- { field: MSH-9.2, is: A04, else: 'no' }"] })).toBe('filtered: no')
  })
})

describe('the trace', () => {
  test('tells each rule and each row, with file and line', () => {
    const plan = aPlan({ rows: ['- { to: encounter.id, from: PV1-19, when: { field: PV1-2, is: E } }'] })
    const { trace } = evaluate(plan, usual, at, { trace: true })
    expect(trace.map(({ step, outcome: end, to }) => [step, to, end])).toEqual([
      ['filter', undefined, 'passed'],
      ['row', 'encounter.id', 'not asked'],
      ['row', 'kind', 'gave'],
      ['row', 'occurredAt', 'gave'],
      ['row', 'patient.identifiers', 'gave'],
    ])
    expect(trace.map((step) => /[^/]+:\d+$/.exec(step.at)?.[0])).toEqual([
      'a.yaml:6',
      'm.yaml:6',
      'm.yaml:7',
      'm.yaml:8',
      'm.yaml:9',
    ])
  })

  test('is not kept where nobody asks for it', () => {
    expect(evaluate(aPlan({}), usual, at).trace).toEqual([])
  })
})

test('whatever the bytes, there is a decision, and no reason quotes the patient', () => {
  const plan = aPlan({
    filter: ['- { field: MSH-9.1, is: ADT }', '- { first: [EVN-2, MSH-7], newerThan: 3d }'],
    tables: { class: 'from,to\nI,IMP\n' },
    rows: [
      '- { to: patient.family, from: PID-5.1, required: true }',
      '- { to: patient.birthDate, from: PID-7 }',
      '- { to: encounter.class, from: PV1-2, table: class }',
    ],
  })
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(usual.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.boolean(),
      (changes, cut) => {
        const bytes = Buffer.from(usual)
        for (const [place, byte] of changes) bytes[place] = byte
        const evaluation = evaluate(plan, cut ? bytes.subarray(0, changes[0]?.[0] ?? 0) : bytes, at)
        if (evaluation.decision === 'trigger') return
        expect(evaluation.because).not.toMatch(/Ross|Ellen|E1001|19560814|999-11/)
        expect(evaluation.because).not.toBe('')
      },
    ),
    { numRuns: 3_000 },
  )
})
