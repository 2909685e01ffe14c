import type { ChannelPlan, ChannelTest, LookupTable } from '../domain/channel.ts'
import { causeOf } from '../domain/quarantine.ts'
import type { Evaluation } from '../mapping/evaluate.ts'

/** The tests of one channel as they went. */
export interface Ran {
  readonly plan: ChannelPlan
  readonly tests: readonly { readonly test: ChannelTest; readonly evaluation: Evaluation }[]
}

/** Which rows of a lookup table some test needs. Information: a code system of thousands is not tested row by row. */
export interface TableCoverage {
  readonly table: string
  /** The tested channels that use it. */
  readonly channels: readonly string[]
  readonly rows: number
  readonly hit: number
  /** What stands in the first column of the rows that no test hits; left out where the table is large. */
  readonly untested?: readonly string[]
}

/** A row of a mapping that is required, and the tests in which it finds nothing. */
export interface RequiredCoverage {
  readonly channel: string
  readonly to: string
  readonly at: string
  readonly shownBy: readonly string[]
}

/** Of tables up to this size each row is named: somebody wrote them by hand. */
const namedRowsMax = 40

/** A table that several channels share is one table: what the tests of one of them hit is hit. */
export function tableCoverage(ran: readonly Ran[]): TableCoverage[] {
  const seen = new Map<LookupTable, { channels: string[]; hit: Set<string> }>()
  for (const { plan, tests } of ran) {
    if (tests.length === 0) continue
    for (const table of plan.mapping.tables.values()) {
      const of = seen.get(table) ?? { channels: [], hit: new Set() }
      seen.set(table, of)
      of.channels.push(plan.name)
    }
    for (const { evaluation } of tests)
      for (const { saw } of evaluation.trace)
        for (const one of saw) {
          const table = one.saw === 'table' ? plan.mapping.tables.get(one.table) : undefined
          if (table !== undefined && one.saw === 'table' && one.to !== undefined)
            seen.get(table)?.hit.add(one.from)
        }
  }
  return [...seen].map(([{ name, rows }, { channels, hit }]) => ({
    table: name,
    channels,
    rows: rows.size,
    hit: hit.size,
    ...(rows.size <= namedRowsMax && { untested: [...rows.keys()].filter((from) => !hit.has(from)) }),
  }))
}

/** Each required target once, at its first row. */
export function requiredCoverage(ran: readonly Ran[]): RequiredCoverage[] {
  return ran.flatMap(({ plan, tests }) => {
    if (tests.length === 0) return []
    const required = new Map<string, string>()
    for (const { to, at, required: isRequired } of plan.mapping.rows)
      if (isRequired && !required.has(to)) required.set(to, at)
    return [...required].map(([to, at]) => ({
      channel: plan.name,
      to,
      at,
      shownBy: tests
        .filter(
          ({ evaluation }) =>
            evaluation.decision === 'quarantined' && evaluation.cause === causeOf('required-missing', to),
        )
        .map(({ test }) => test.name),
    }))
  })
}
