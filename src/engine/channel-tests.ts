import type { LoadedChannels } from '../channels/load.ts'
import type { Problem } from '../channels/problem.ts'
import { runTests, type TestPorts, type TestResult } from '../channels/run-tests.ts'
import type { ChannelPlan } from '../domain/channel.ts'
import { acknowledge, refusedFor } from '../intake/acknowledge.ts'
import { readHeader } from '../intake/msh.ts'

/** What a listener would answer once the message is stored. */
export const acknowledgments: TestPorts = {
  acknowledge(_plan, bytes) {
    const reading = readHeader(bytes)
    if (reading.is === 'not-hl7') return undefined
    const { header, defect } = reading
    const reply = acknowledge(header, defect === undefined ? { outcome: 'stored' } : refusedFor(defect), {
      at: new Date(0),
      newControlId: () => '1',
    })
    return reply && /(?:^|\r)MSA.(..)/.exec(reply.toString('latin1'))?.[1]
  },
}

/**
 * The channels as they may start. In production one whose tests fail, or that has none, does not: a wrong disclosure is
 * worse than a late one, and what its sender has in its queue is not lost. The others run. Elsewhere it is a warning.
 */
export function testedChannels(
  { names, plans, problems }: LoadedChannels,
  isProduction: boolean,
): LoadedChannels {
  const enabled = plans.filter((plan) => plan.enabled)
  const { results } = runTests(enabled, acknowledgments)
  const told = new Map<string, Problem>()
  for (const plan of enabled) {
    const failed = results.filter(({ channel, passed }) => channel === plan.name && !passed)
    const because = whyNot(plan, failed, problems)
    if (because !== undefined) told.set(plan.name, asStarted(because, isProduction))
  }
  const shown = problems.filter((problem) => ![...told.values()].some((one) => isSameFinding(one, problem)))
  return {
    names,
    plans: isProduction ? plans.filter(({ name }) => !told.has(name)) : plans,
    problems: [...shown, ...told.values()],
  }
}

function asStarted(problem: Problem, isProduction: boolean): Problem {
  return isProduction
    ? { ...problem, severity: 'error', what: `${problem.what}: it is not started` }
    : { ...problem, severity: 'warning', what: `${problem.what}: in production it would not start` }
}

function whyNot(
  { name, filter, tests }: ChannelPlan,
  failed: readonly TestResult[],
  problems: readonly Problem[],
): Problem | undefined {
  const [first] = failed
  if (first !== undefined) {
    const colon = first.at.lastIndexOf(':')
    const others = failed.length === 1 ? '' : `, and ${failed.length - 1} more`
    return {
      ...{
        file: first.at.slice(0, colon),
        line: Number(first.at.slice(colon + 1)),
        column: 1,
        severity: 'error',
      },
      code: 'test-failed',
      what: `channel ${name} fails its own test “${first.name}”${others}`,
      remedy: 'bluepost test says what differs: correct the channel, its mapping, its table, or the test',
    }
  }
  if (tests.length > 0) return undefined
  const file = filter[0]!.at.slice(0, filter[0]!.at.lastIndexOf(':'))
  const finding = problems.find((problem) => problem.code === 'no-tests' && problem.file === file)
  return finding && { ...finding, what: `channel ${name} has no tests` }
}

function isSameFinding(a: Problem, b: Problem): boolean {
  return a.code === b.code && a.file === b.file && a.line === b.line
}
