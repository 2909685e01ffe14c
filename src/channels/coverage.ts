import type { ChannelPlan, ChannelTest, Condition, FilterRule } from '../domain/channel.ts'
import type { Evaluation } from '../mapping/evaluate.ts'
import { question } from '../mapping/question.ts'
import type { Problem } from './problem.ts'

/** A reason of the filter, or a kind of event: something that the channel may say, and the tests that make it say so. */
export interface Meaning {
  readonly channel: string
  readonly what: 'reason' | 'kind'
  /** The reason in the words of the rule, or the kind. */
  readonly words: string
  /** File and line of the rule, or of the first rule. */
  readonly at: string
  /** Names of the tests; empty where none does. */
  readonly shownBy: readonly string[]
}

/** What a channel may say, and which of its tests show it. Empty for a channel without tests: the lint says that. */
export function coverageOf(
  plan: ChannelPlan,
  ran: readonly { readonly test: ChannelTest; readonly evaluation: Evaluation }[],
): Meaning[] {
  if (ran.length === 0) return []
  const channel = plan.name
  const namesWhere = (holds: (evaluation: Evaluation) => boolean): string[] =>
    ran.filter(({ evaluation }) => holds(evaluation)).map(({ test }) => test.name)
  const reasons = plan.filter.map((rule): Meaning => ({
    ...{ channel, what: 'reason', at: rule.at, words: rule.because ?? question(rule.condition) },
    shownBy: namesWhere(({ trace }) =>
      trace.some(({ step, outcome, at }) => step === 'filter' && outcome === 'stopped' && at === rule.at),
    ),
  }))
  const kinds = [...kindsOf(plan)].map((kind): Meaning => ({
    ...{ channel, what: 'kind', at: plan.filter[0]!.at, words: kind },
    shownBy: namesWhere((evaluation) => evaluation.decision === 'trigger' && evaluation.event.kind === kind),
  }))
  return [...reasons, ...kinds]
}

/** What no test shows, as a finding. */
export function untested(meaning: Meaning, plan: ChannelPlan): Problem {
  const { what, words, channel, at } = meaning
  const colon = at.lastIndexOf(':')
  const common = { file: at.slice(0, colon), column: 1, severity: 'warning' } as const
  if (what === 'kind')
    return {
      ...common,
      line: 1,
      code: 'untested-kind',
      what: `no test of channel ${channel} yields the kind ${words}`,
      remedy: 'add a test for it',
    }
  const hasReason = plan.filter.some((rule) => rule.at === at && rule.because !== undefined)
  return {
    ...common,
    line: Number(at.slice(colon + 1)),
    code: 'untested-reason',
    what: hasReason ? `no test shows the reason “${words}”` : 'no test is stopped by this rule',
    remedy: 'add a test that expects it',
  }
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
