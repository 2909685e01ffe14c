import { readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { laneKey } from '../../src/mapping/lane-key.ts'
import { aPlan, outcomeOf, type PlanParts } from './a-plan.ts'

const claim = readFileSync('channels/samples/claim-paid.835')
const x12 = (parts: PlanParts): PlanParts => ({ input: 'x12', ...parts })

test('a claim is read by X12 paths', () => {
  expect(
    outcomeOf(
      x12({ rows: ['- { to: claim.type, from: SVC-1.2 }', "- { to: document.id, from: 'REF[EV]-2' }"] }),
      claim,
    ),
  ).toEqual({
    kind: 'claim-adjudicated',
    occurredAt: new Date('2026-03-02T20:15:00Z'),
    patient: { identifiers: [{ system: '1512345678', value: 'M5550147' }] },
    claim: { type: '99213' },
  })
})

test('conditions ask any segment, and quote codes of the claim but nothing of the patient', () => {
  expect(outcomeOf(x12({ filter: ['- { some: CAS-2, is: "45" }'] }), claim)).toHaveProperty('kind')
  expect(outcomeOf(x12({ filter: ['- { none: CAS-2, is: "45" }'] }), claim)).toBe(
    'filtered: some CAS-2 is 45',
  )
  expect(outcomeOf(x12({ filter: ['- { field: CLP-2, is: "4" }'] }), claim)).toBe(
    'filtered: CLP-2 is 1, not 4',
  )
  expect(outcomeOf(x12({ filter: ['- { field: "NM1[QC]-3", is: SMITH }'] }), claim)).toBe(
    'filtered: NM1[QC]-3 is not SMITH',
  )
})

test('times have the precision that senders write; others wait for a person', () => {
  const gs = (time: string) => Buffer.from(claim.toString().replace('*2015*42*X', `*${time}*42*X`))
  for (const [time, moment] of [
    ['2015', '20:15:00.000Z'],
    ['201530', '20:15:30.000Z'],
    ['2015305', '20:15:30.500Z'],
    ['20153050', '20:15:30.500Z'],
  ])
    expect(outcomeOf(x12({}), gs(time!))).toMatchObject({ occurredAt: new Date(`2026-03-02T${moment}`) })
  expect(outcomeOf(x12({}), gs('2599'))).toBe(
    'datetime-unreadable: GS-4-5 is not a time: no clock shows that time',
  )
  expect(outcomeOf(x12({ filter: ['- { field: "DTM[405]-2", newerThan: 1d }'] }), claim)).toHaveProperty(
    'kind',
  )
})

test('what is no claim waits for a person', () => {
  expect(outcomeOf(x12({}), Buffer.from('MSH|^~\\&|'))).toMatch(/^x12-unreadable: .*the file is no X12/)
  expect(outcomeOf(x12({}), { resourceType: 'Patient' })).toMatch(/^x12-unreadable: /)
})

test('the claims of one patient are decided one after the other', () => {
  expect(laneKey(aPlan(x12({ channel: ["order: { key: ['NM1[QC]-9'] }"] })), claim)).toBe('M5550147')
})

test.each([
  ['CLP02', 'did you mean "CLP-2"'],
  ['NM1[QC]09', 'did you mean "NM1[QC]-9"'],
  ['SVC01-02', 'did you mean "SVC-1.2"'],
  ['PID-3.4.1', 'is not a path'],
])('%s is refused, with what was probably meant', (path, told) => {
  expect(() => aPlan(x12({ rows: [`- { to: claim.id, from: '${path}' }`] }))).toThrow(told)
})

test('a directory channel is refused where it could not work', () => {
  const source = (more: string) => ({ source: `{ type: file-drop, directory: d, format: x12-835, ${more} }` })
  expect(() => aPlan(x12(source('archive: .')))).toThrow(/what was taken would be taken again/)
  expect(() => aPlan(x12(source('archive: a, quarantine: a')))).toThrow(/are the same directory/)
  expect(() => aPlan(x12(source('pattern: a/*')))).toThrow(/names a directory/)
  expect(() => aPlan(x12(source('every: 10ms')))).toThrow(/more often than once a second/)
  expect(aPlan(x12(source('every: 1m'))).source).toMatchObject({ everyMs: 60_000, pattern: '*' })
})
