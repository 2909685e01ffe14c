import type { ChannelPlan } from '../domain/channel.ts'
import { listLookupMisses, type LookupMissCount } from '../store/lookup-misses.ts'
import type { Query } from '../store/query.ts'

/** A lookup table as a channel uses it, and what it was asked for in vain. */
export interface TableStanding {
  readonly channel: string
  readonly table: string
  /** Null where the channel does not use it any more. */
  readonly rows: number | null
  readonly misses: number
  readonly lastMissAt: Date | null
  readonly values: readonly (Pick<LookupMissCount, 'kind' | 'count' | 'firstAt' | 'lastAt'> & {
    /** Null where it may be PHI, or is one of too many. */
    readonly value: string | null
    /** The table has a row for it by now. */
    readonly hasRow: boolean
  })[]
}

export async function tableStandings(query: Query, plans: readonly ChannelPlan[]): Promise<TableStanding[]> {
  const misses = Map.groupBy(await listLookupMisses(query), ({ channel, table }) => `${channel}\n${table}`)
  const used = plans.flatMap(({ name, mapping }) =>
    [...mapping.tables.values()].map((table) => standing(name, table.name, misses, table.rows)),
  )
  const unused = [...misses.values()]
    .filter(([one]) => !used.some(({ channel, table }) => channel === one!.channel && table === one!.table))
    .map(([one]) => standing(one!.channel, one!.table, misses))
  return [...used, ...unused]
}

function standing(
  channel: string,
  table: string,
  misses: ReadonlyMap<string, readonly LookupMissCount[]>,
  rows?: ReadonlyMap<string, string>,
): TableStanding {
  const counts = misses.get(`${channel}\n${table}`) ?? []
  const last = Math.max(...counts.map(({ lastAt }) => lastAt.getTime()))
  return {
    channel,
    table,
    rows: rows?.size ?? null,
    misses: counts.reduce((sum, { count }) => sum + count, 0),
    lastMissAt: counts.length === 0 ? null : new Date(last),
    values: counts.map(({ kind, value, count, firstAt, lastAt }) => ({
      ...{ kind, count, firstAt, lastAt },
      value: kind === 'shown' ? value : null,
      hasRow: kind === 'shown' && rows?.has(value) === true,
    })),
  }
}
