import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { loadChannels } from '../../src/channels/load.ts'
import type { ChannelPlan } from '../../src/domain/channel.ts'
import { evaluate } from '../../src/mapping/evaluate.ts'
import { laneKeys } from '../../src/mapping/lane-key.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
  secrets: { secret: () => 'secret' },
  fhirServers: ['clinic-r4', 'payer-r4'],
})
const channels = readdirSync('channels').filter((name) => name.endsWith('.yaml'))
const samples = readdirSync('channels/samples').map((name) => readFileSync(`channels/samples/${name}`))
const at = new Date('2026-03-02T17:00:00Z')
const numRuns = 250

/** Whatever it is: a decision, with a reason and a cause that a list can show. */
function isDecided(plan: ChannelPlan, input: Uint8Array | Readonly<Record<string, unknown>>): void {
  for (const trace of [false, true]) {
    const misses: { table: string }[] = []
    const evaluation = evaluate(plan, input, at, { trace, misses: misses as never })
    expect(['trigger', 'filtered', 'quarantined']).toContain(evaluation.decision)
    for (const { table } of misses) expect(plan.mapping.tables.has(table)).toBe(true)
    if (evaluation.decision === 'trigger') continue
    expect(evaluation.because).toMatch(/./)
    if (evaluation.decision !== 'quarantined') continue
    expect(evaluation.cause.startsWith(evaluation.code)).toBe(true)
    expect(evaluation.cause.length).toBeLessThanOrEqual(200)
  }
  expect(Array.isArray(laneKeys(plan, input))).toBe(true)
}

function isDecidedByAll(input: Uint8Array | Readonly<Record<string, unknown>>): void {
  for (const plan of plans) isDecided(plan, input)
}

const oddText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '',
    '""',
    '|',
    '^~\\&',
    '\\X0\\',
    '\\',
    '~~~',
    '&&&',
    '20260230',
    '99999999',
    '\0',
    '\ufffd',
    '__proto__',
    'ZZ',
  ),
  fc.constantFrom('A'.repeat(5_000), '^'.repeat(300), '~'.repeat(300)),
)

const segment = fc
  .tuple(
    fc.oneof(
      fc.constantFrom('MSH', 'PID', 'PV1', 'EVN', 'MRG', 'OBX', 'OBR', 'TXA', 'ZZZ'),
      fc.string({ maxLength: 4 }),
    ),
    fc.array(oddText, { maxLength: 50 }),
  )
  .map(([name, fields]) => [name, ...fields].join('|'))

const odder = (depth: number): fc.Arbitrary<unknown> =>
  fc.anything({ maxDepth: depth, withNullPrototype: true, withBigInt: false })

const resource = fc.record(
  {
    resourceType: fc.constantFrom(
      'Encounter',
      'ExplanationOfBenefit',
      'ClaimResponse',
      'DiagnosticReport',
      'Bundle',
      'Patient',
      '',
    ),
    id: fc.oneof(fc.string(), odder(1)),
    status: fc.oneof(fc.constantFrom('finished', 'active', 'final', 'current'), odder(1)),
    type: fc.oneof(fc.constant('collection'), odder(2)),
    entry: fc.oneof(fc.array(fc.record({ resource: odder(3) })), odder(2)),
    subject: odder(2),
    patient: odder(2),
    identifier: odder(3),
    class: odder(2),
    period: odder(2),
    meta: odder(3),
    category: odder(3),
    outcome: odder(1),
    use: odder(1),
  },
  { requiredKeys: ['resourceType'] },
)

test('every shipped channel is under test', () => {
  expect(plans).toHaveLength(channels.length)
})

test('arbitrary bytes give a decision on every shipped channel', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => isDecidedByAll(bytes)),
    { numRuns },
  )
})

test('samples with bytes replaced, doubled and cut off give a decision', () => {
  const change = fc.record({
    where: fc.nat(),
    cut: fc.nat(60),
    put: fc.oneof(oddText, fc.constantFrom('\r', '|', '*', '~', '{', '"')),
  })
  fc.assert(
    fc.property(
      fc.constantFrom(...samples),
      fc.array(change, { minLength: 1, maxLength: 6 }),
      fc.option(fc.nat()),
      (sample, changes, end) => {
        let text = sample.toString('latin1')
        for (const { where, cut, put } of changes) {
          const place = where % (text.length + 1)
          text = text.slice(0, place) + put + text.slice(place + cut)
        }
        isDecidedByAll(Buffer.from(end === null ? text : text.slice(0, end % (text.length + 1)), 'latin1'))
      },
    ),
    { numRuns },
  )
})

test('HL7v2 of arbitrary segments and fields gives a decision', () => {
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 30 }), (segments) =>
      isDecidedByAll(
        Buffer.from(['MSH|^~\\&|A|B|C|D|20260302110000-0500||ADT^A03|1|P|2.5.1', ...segments].join('\r')),
      ),
    ),
    { numRuns },
  )
})

test('X12 of arbitrary segments and elements gives a decision', () => {
  const sample = samples.find((bytes) => bytes.toString('latin1').startsWith('ISA'))!.toString('latin1')
  const [head] = sample.split(/(?=GS\*)/)
  const x12 = fc
    .tuple(
      fc.constantFrom('GS', 'ST', 'BPR', 'CLP', 'NM1', 'SVC', 'DTM', 'CAS', 'SE', 'GE', 'IEA', ''),
      fc.array(oddText, { maxLength: 20 }),
    )
    .map(([name, elements]) => [name, ...elements].join('*'))
  fc.assert(
    fc.property(fc.array(x12, { maxLength: 30 }), (segments) =>
      isDecidedByAll(Buffer.from(head + segments.join('~'))),
    ),
    { numRuns },
  )
})

test('JSON of any shape, as bytes and as resource, gives a decision', () => {
  fc.assert(
    fc.property(fc.oneof(resource, odder(4)), (value) => {
      isDecidedByAll(Buffer.from(JSON.stringify(value) ?? 'null'))
      if (typeof value === 'object' && value !== null && !Array.isArray(value))
        isDecidedByAll(value as Readonly<Record<string, unknown>>)
    }),
    { numRuns },
  )
})
