import type { Query } from './query.ts'

/** Lookups of one channel in one table that found no row, since they are counted. */
export interface LookupMissCount {
  readonly channel: string
  readonly table: string
  /** `shown`: the value is a code and stands beside; `hidden`: it may be PHI; `other`: one more than are told apart. */
  readonly kind: 'shown' | 'hidden' | 'other'
  /** Empty where it is not shown. */
  readonly value: string
  readonly count: number
  readonly firstAt: Date
  readonly lastAt: Date
}

/** Values of one table on one channel that are told apart; a sender that writes nonsense fills no more rows than these. */
export const missValuesMax = 50

/** A key of our own for pg_advisory_xact_lock: one adds at a time, so that the limit holds and nobody waits in a circle. */
const countLock = 7_210_004

/** Adds to the counters. Values beyond the limit of their table are counted as `other`. */
export async function addLookupMisses(query: Query, fresh: readonly LookupMissCount[]): Promise<void> {
  if (fresh.length === 0) return
  await query('SELECT pg_advisory_xact_lock($1)', [countLock])
  const known = await query<{ channel: string; table: string; value: string }>(
    `SELECT channel, table_name AS "table", value FROM lookup_miss
     WHERE kind = 'shown' AND (channel, table_name) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
    [fresh.map((one) => one.channel), fresh.map((one) => one.table)],
  )
  const shown = new Map<string, Set<string>>()
  const shownOf = ({ channel, table }: { channel: string; table: string }): Set<string> => {
    const key = `${channel}\n${table}`
    const values = shown.get(key) ?? new Set<string>()
    shown.set(key, values)
    return values
  }
  for (const one of known) shownOf(one).add(one.value)
  const rows = fresh.map((one): LookupMissCount => {
    if (one.kind !== 'shown') return one
    const values = shownOf(one)
    if (!values.has(one.value) && values.size >= missValuesMax) return { ...one, kind: 'other', value: '' }
    values.add(one.value)
    return one
  })
  await query(
    `INSERT INTO lookup_miss (channel, table_name, kind, value, count, first_at, last_at)
     SELECT channel, table_name, kind, value, sum(count), min(first_at), max(last_at)
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[], $7::timestamptz[])
       AS fresh (channel, table_name, kind, value, count, first_at, last_at)
     GROUP BY channel, table_name, kind, value
     ON CONFLICT (channel, table_name, kind, value) DO UPDATE
       SET count = lookup_miss.count + excluded.count, last_at = greatest(lookup_miss.last_at, excluded.last_at)`,
    [
      rows.map((one) => one.channel),
      rows.map((one) => one.table),
      rows.map((one) => one.kind),
      rows.map((one) => one.value),
      rows.map((one) => one.count),
      rows.map((one) => one.firstAt),
      rows.map((one) => one.lastAt),
    ],
  )
}

/** All counters, the most frequent value of each table first. */
export async function listLookupMisses(query: Query): Promise<LookupMissCount[]> {
  const rows = await query<LookupMissCount & { count: string }>(
    `SELECT channel, table_name AS "table", kind, value, count, first_at AS "firstAt", last_at AS "lastAt" FROM lookup_miss
     ORDER BY channel, table_name, count DESC, value`,
  )
  return rows.map((row) => ({ ...row, count: Number(row.count) }))
}
