import type { ChannelPlan, ChannelTest } from '../domain/channel.ts'
import { evaluate } from '../mapping/evaluate.ts'
import type { Evaluation } from '../mapping/evaluate.ts'
import { coverageOf, untested } from './coverage.ts'
import type { Meaning } from './coverage.ts'
import type { Problem } from './problem.ts'
import { requiredCoverage, tableCoverage, type Ran } from './row-coverage.ts'
import type { RequiredCoverage, TableCoverage } from './row-coverage.ts'

export interface TestResult {
  readonly channel: string
  readonly name: string
  /** File and line of the test. */
  readonly at: string
  readonly passed: boolean
  /** One line for each part that is not as expected: `event.encounter.class: expected "IMP", got "EMER"`. */
  readonly differences: readonly string[]
  /** Where a test fails: the rule or row that ended the message, and what it saw. */
  readonly stoppedBy?: { readonly at: string; readonly asks: string; readonly saw: readonly string[] }
}

export interface TestPorts {
  /** The code that the channel’s source would acknowledge these bytes with; undefined where it would not answer. */
  acknowledge(plan: ChannelPlan, bytes: Buffer): string | undefined
}

/** What the tests of some channels came to. */
export interface TestRun {
  readonly results: readonly TestResult[]
  /** Everything the tested channels may say, and which tests show it. */
  readonly coverage: readonly Meaning[]
  /** A warning for each reason and kind that no test shows. */
  readonly untested: readonly Problem[]
  /** Which rows of lookup tables the tests hit, and which required rows they show without a value. */
  readonly tables: readonly TableCoverage[]
  readonly required: readonly RequiredCoverage[]
}

/**
 * Runs the tests that stand inside channel files, each at the moment it names, and says which filter reasons and kinds of
 * event they show.
 */
export function runTests(plans: readonly ChannelPlan[], ports: TestPorts): TestRun {
  const results: TestResult[] = []
  const coverage: Meaning[] = []
  const missing: Problem[] = []
  const all: Ran[] = []
  for (const plan of plans) {
    const ran = plan.tests.map((test) => ({
      test,
      evaluation: evaluate(plan, test.input, test.now, { trace: true }),
    }))
    all.push({ plan, tests: ran })
    for (const { test, evaluation } of ran) {
      const differences = [...differencesOf(test, evaluation), ...ackDifference(plan, test, ports)]
      const stopped = differences.length === 0 ? undefined : stoppedBy(evaluation)
      results.push({
        channel: plan.name,
        name: test.name,
        at: test.at,
        passed: differences.length === 0,
        differences,
        ...(stopped !== undefined && { stoppedBy: stopped }),
      })
    }
    const meanings = coverageOf(plan, ran)
    coverage.push(...meanings)
    missing.push(...meanings.filter(({ shownBy }) => shownBy.length === 0).map((one) => untested(one, plan)))
  }
  const [tables, required] = [tableCoverage(all), requiredCoverage(all)]
  return { results, coverage, untested: missing, tables, required }
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

/** The rule or row that ended it, with what it saw: samples are made up, and may be quoted. */
function stoppedBy({ trace }: Evaluation): TestResult['stoppedBy'] {
  const step = trace.findLast(({ outcome }) => outcome === 'stopped')
  if (step === undefined) return undefined
  const saw = step.saw.flatMap((one) =>
    one.saw === 'value' ? [`${one.path} = ${one.value === undefined ? 'nothing' : show(one.value)}`] : [],
  )
  return { at: step.at, asks: step.asks, saw }
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

/** What is expected must be there, and what is null must not; parts that are not named are not looked at. Lists must be equal in full. */
function compare(label: string, expected: unknown, got: unknown, differences: string[]): void {
  if (expected === undefined) return
  if (expected === null) {
    if (got !== undefined) differences.push(`${label}: expected nothing, got ${show(got)}`)
    return
  }
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
