import type { ChannelPlan, ChannelTest, Condition, FilterRule } from '../domain/channel.ts'
import { evaluate } from '../mapping/evaluate.ts'
import type { Evaluation } from '../mapping/evaluate.ts'
import type { Problem } from './problem.ts'

export interface TestResult {
  readonly channel: string
  readonly name: string
  /** File and line of the test. */
  readonly at: string
  readonly passed: boolean
  /** One line for each part that is not as expected: `event.encounter.class: expected "IMP", got "EMER"`. */
  readonly differences: readonly string[]
}

export interface TestPorts {
  /** The code that the channel’s source would acknowledge these bytes with; undefined where it would not answer. */
  acknowledge(plan: ChannelPlan, bytes: Buffer): string | undefined
}

/**
 * Runs the tests that stand inside channel files, and says which filter reasons and kinds of event none of them shows.
 */
export function runTests(
  plans: readonly ChannelPlan[],
  ports: TestPorts,
): { readonly results: readonly TestResult[]; readonly untested: readonly Problem[] } {
  const results: TestResult[] = []
  const untested: Problem[] = []
  for (const plan of plans) {
    const stopped = new Set<string>()
    const kinds = new Set<string>()
    for (const test of plan.tests) {
      const evaluation = evaluate(plan, test.input, test.now, { trace: true })
      for (const step of evaluation.trace)
        if (step.step === 'filter' && step.outcome === 'stopped') stopped.add(step.at)
      if (evaluation.decision === 'trigger') kinds.add(evaluation.event.kind)
      const differences = [...differencesOf(test, evaluation), ...ackDifference(plan, test, ports)]
      results.push({
        channel: plan.name,
        name: test.name,
        at: test.at,
        passed: differences.length === 0,
        differences,
      })
    }
    if (plan.tests.length === 0) continue
    for (const rule of plan.filter) if (!stopped.has(rule.at)) untested.push(untestedRule(rule))
    for (const kind of kindsOf(plan))
      if (!kinds.has(kind))
        untested.push(
          atLine(
            plan.filter[0]!.at,
            1,
            'untested-kind',
            `no test of channel ${plan.name} yields the kind ${kind}`,
            'add a test for it',
          ),
        )
  }
  return { results, untested }
}

function differencesOf({ expect }: ChannelTest, got: Evaluation): string[] {
  const differences: string[] = []
  if (expect.decision !== got.decision) {
    const because = got.decision === 'trigger' ? '' : ` (${got.because})`
    return [`decision: expected ${expect.decision}, got ${got.decision}${because}`]
  }
  if (got.decision !== 'trigger') compare('because', expect.because, got.because, differences)
  if (expect.code !== undefined)
    compare('code', expect.code, got.decision === 'quarantined' ? got.code : undefined, differences)
  if (expect.event !== undefined)
    compare('event', expect.event, got.decision === 'trigger' ? got.event : undefined, differences)
  return differences
}

function ackDifference(
  plan: ChannelPlan,
  { expect, input }: ChannelTest,
  { acknowledge }: TestPorts,
): string[] {
  if (expect.ack === undefined) return []
  if (!(input instanceof Uint8Array)) return [`ack: a FHIR resource is not acknowledged by ${expect.ack}`]
  const got = acknowledge(plan, Buffer.from(input.buffer, input.byteOffset, input.byteLength))
  return got === expect.ack ? [] : [`ack: expected ${expect.ack}, got ${got ?? 'no acknowledgement'}`]
}

/** What is expected must be there; parts that are not named are not looked at. Lists must be equal in full. */
function compare(label: string, expected: unknown, got: unknown, differences: string[]): void {
  if (expected === undefined) return
  if (got instanceof Date) {
    // The same instant in any notation.
    const instant = typeof expected === 'string' ? Date.parse(expected) : Number.NaN
    if (instant !== got.getTime())
      differences.push(`${label}: expected ${show(expected)}, got ${show(got.toISOString())}`)
    return
  }
  if (Array.isArray(expected) && Array.isArray(got)) {
    if (expected.length !== got.length)
      differences.push(`${label}: expected ${expected.length} entries, got ${got.length}: ${show(got)}`)
    else
      for (const [index, each] of expected.entries())
        compare(`${label}[${index}]`, each, got[index], differences)
    return
  }
  if (isPlain(expected) && isPlain(got)) {
    for (const [key, each] of Object.entries(expected))
      compare(`${label}.${key}`, each, got[key], differences)
    return
  }
  // Codes may be written as numbers in YAML.
  if (String(expected) !== String(got) || typeof got === 'object')
    differences.push(`${label}: expected ${show(expected)}, got ${got === undefined ? 'nothing' : show(got)}`)
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function show(value: unknown): string {
  return JSON.stringify(value)
}

/** The kinds that the mapping can yield for messages that pass the filter, as far as that can be told from its rows. */
function kindsOf(plan: ChannelPlan): ReadonlySet<string> {
  const kinds = new Set<string>()
  for (const row of plan.mapping.rows) {
    if (row.to !== 'kind') continue
    if (row.type === 'constant') kinds.add(String(row.value))
    if (row.type === 'value' && row.table !== undefined)
      for (const [from, kind] of row.table.rows)
        if (row.paths.every((path) => mayPass(plan.filter, path.text, from))) kinds.add(kind)
  }
  return kinds
}

/** False only where a rule for every message names this very value’s place and does not let it pass. */
function mayPass(filter: readonly FilterRule[], path: string, value: string): boolean {
  return filter.every((rule) => rule.when !== undefined || admits(rule.condition, path, value))
}

function admits(condition: Condition, path: string, value: string): boolean {
  if (!('paths' in condition) || condition.paths.length !== 1 || condition.paths[0]!.text !== path)
    return true
  if (condition.test.type === 'in') return condition.test.values.has(value)
  return condition.test.type !== 'not-in' || !condition.test.values.has(value)
}

function untestedRule(rule: FilterRule): Problem {
  const [file, line] = splitAt(rule.at)
  return atLine(
    `${file}:${line}`,
    line,
    'untested-reason',
    rule.because === undefined
      ? 'no test is stopped by this rule'
      : `no test shows the reason “${rule.because}”`,
    'add a test that expects it',
  )
}

function splitAt(at: string): readonly [file: string, line: number] {
  const colon = at.lastIndexOf(':')
  return [at.slice(0, colon), Number(at.slice(colon + 1))]
}

function atLine(at: string, line: number, code: Problem['code'], what: string, remedy: string): Problem {
  return { file: splitAt(at)[0], line, column: 1, severity: 'warning', code, what, remedy }
}
