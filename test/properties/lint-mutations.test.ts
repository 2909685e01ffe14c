import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { loadChannels, type LoadedChannels } from '../../src/channels/load.ts'
import { problemCodes } from '../../src/channels/problem.ts'
import { runTests } from '../../src/channels/run-tests.ts'
import type { ChannelPlan } from '../../src/domain/channel.ts'
import { startMllpChannel } from '../../src/engine/mllp-channel.ts'
import { silentLog } from '../../src/lib/log.ts'
import { Metrics } from '../../src/lib/metrics.ts'
import { evaluate } from '../../src/mapping/evaluate.ts'
import { laneKeys } from '../../src/mapping/lane-key.ts'
import { isLoopback } from '../../src/settings/endpoint.ts'

const root = join(import.meta.dirname, '../..')
const at = new Date('2026-03-02T17:00:00Z')
const fhirServers = ['clinic-r4', 'payer-r4']
const samples = readdirSync(join(root, 'channels/samples')).map((name) =>
  readFileSync(join(root, 'channels/samples', name)),
)
const files = [
  ...readdirSync(join(root, 'channels'))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => `channels/${name}`),
  ...readdirSync(join(root, 'mappings'))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => `mappings/${name}`),
  ...readdirSync(join(root, 'mappings/tables')).map((name) => `mappings/tables/${name}`),
]

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-mutations-'))
  for (const part of ['channels', 'mappings'])
    cpSync(join(root, part), join(folder, part), { recursive: true })
})
afterAll(() => rmSync(folder, { recursive: true }))

/** What the files say once one of them is changed; then it is as it was. */
function loadWith(file: string, text: string): LoadedChannels {
  const path = join(folder, file)
  const before = readFileSync(path)
  writeFileSync(path, text)
  try {
    return loadChannels({
      channelsDirectory: join(folder, 'channels'),
      mappingsDirectory: join(folder, 'mappings'),
      environment: {},
      secrets: { secret: () => 'secret' },
      fhirServers,
    })
  } finally {
    writeFileSync(path, before)
  }
}

const oddities = fc.constantFrom(
  ...[
    '{',
    '}',
    '[',
    ']',
    ':',
    ': ',
    '- ',
    "'",
    '"',
    '\n',
    '  ',
    '\t',
    '&a ',
    '*a',
    '!!x ',
    '|',
    '>',
    '#',
    '\u0000',
    '\ufeff',
  ],
  ...[
    'null',
    '~',
    'true',
    '-1',
    '1e400',
    '0',
    '.inf',
    '${X}',
    '${X:-1}',
    'secret:x',
    '2026-02-30',
    'A03',
    'PID-3',
    'PID-0',
    'MSH-2',
  ],
  ...[
    '__proto__',
    'all',
    'any',
    'value',
    'each',
    'from',
    'first',
    'when',
    'matches',
    '(a+)+',
    'is',
    'in',
    'sameAs: PID-5',
  ],
  ...[
    '0.0.0.0',
    '127.0.0.999',
    '127.1',
    '::1',
    '::',
    'localhost',
    '6661',
    '70000',
    '3d',
    '99999999999d',
    'mllp',
    'fhir-poll',
  ],
  ...[
    "Encounter.status = 'x' y",
    'descendants()',
    'now()',
    '%context',
    'discharge',
    'iif(true',
    'é',
    '\ud800',
  ],
)
const mutation = fc.oneof(
  fc.record({
    how: fc.constant('put' as const),
    where: fc.double({ min: 0, max: 1, noNaN: true }),
    what: oddities,
  }),
  fc.record({
    how: fc.constant('cut' as const),
    where: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.integer({ min: 1, max: 60 }),
  }),
  fc.record({ how: fc.constant('word' as const), where: fc.nat(), what: oddities }),
  fc.record({ how: fc.constant('line' as const), where: fc.nat(), to: fc.nat(), keeps: fc.boolean() }),
)
type Mutation = typeof mutation extends fc.Arbitrary<infer One> ? One : never

function mutated(text: string, change: Mutation): string {
  if (change.how === 'put' || change.how === 'cut') {
    const from = Math.floor(change.where * text.length)
    return change.how === 'put'
      ? text.slice(0, from) + change.what + text.slice(from)
      : text.slice(0, from) + text.slice(from + change.length)
  }
  if (change.how === 'word') {
    const words = [...text.matchAll(/[A-Za-z0-9_.:-]+/g)]
    const word = words[change.where % Math.max(1, words.length)]
    return word === undefined
      ? text
      : text.slice(0, word.index) + change.what + text.slice(word.index + word[0].length)
  }
  const lines = text.split('\n')
  const [line] = change.keeps
    ? [lines[change.where % lines.length]]
    : lines.splice(change.where % lines.length, 1)
  lines.splice(change.to % (lines.length + 1), 0, line!)
  return lines.join('\n')
}

/** A file of the installation, changed once or up to four times. */
const changed = fc
  .record({ file: fc.constantFrom(...files), changes: fc.array(mutation, { minLength: 1, maxLength: 4 }) })
  .map(({ file, changes }) => ({
    file,
    text: changes.reduce(mutated, readFileSync(join(root, file), 'utf8')),
  }))

test('whatever is done to a file, the lint ends with findings that have a place, a known code and words', () => {
  fc.assert(
    fc.property(changed, ({ file, text }) => {
      const { problems } = loadWith(file, text)
      for (const problem of problems) {
        expect(Object.keys(problemCodes)).toContain(problem.code)
        expect(problem.what).toMatch(/./)
        expect(problem.line).toBeGreaterThanOrEqual(1)
        expect(problem.column).toBeGreaterThanOrEqual(1)
      }
    }),
    { numRuns: 150 },
  )
})

test('what it lets pass decides about every message, runs its tests and can be listened on', async () => {
  await fc.assert(
    fc.asyncProperty(changed, async ({ file, text }) => {
      const { plans, problems } = loadWith(file, text)
      const errors = problems.filter(({ severity }) => severity === 'error')
      if (errors.length === 0) expect(plans.length).toBeGreaterThan(0)
      runTests(plans, { acknowledge: () => 'AA' })
      for (const plan of plans) {
        for (const message of samples) {
          const evaluation = evaluate(plan, message, at)
          if (evaluation.decision === 'quarantined') expect(evaluation.code).not.toBe('mapping-failed')
          laneKeys(plan, message)
        }
        if ('server' in plan.source) expect(fhirServers).toContain(plan.source.server)
      }
      await listens(plans)
    }),
    { numRuns: 60 },
  )
})

/** On loopback addresses in earnest, on any free port; TLS would need the certificates of the site. */
async function listens(plans: readonly ChannelPlan[]): Promise<void> {
  const plain = plans.flatMap((plan) => {
    if (plan.source.type !== 'mllp' || plan.source.tls !== undefined) return []
    expect(isLoopback(plan.source.listen.host)).toBe(true)
    return [{ ...plan, source: { ...plan.source, listen: { ...plan.source.listen, port: 0 } } }]
  })
  for (const plan of plain) {
    const run = await startMllpChannel(plan, {
      store: undefined as never,
      secrets: () => new Map(),
      newControlId: () => '1',
      metrics: new Metrics(),
      log: silentLog,
      now: () => at,
    })
    await run.stop()
  }
}
