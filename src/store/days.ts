import type { Query } from './query.ts'

/** What a channel received on a day. */
export interface ChannelDay {
  readonly channel: string
  readonly received: number
  readonly first: Date | null
  readonly last: Date | null
  readonly quarantined: number
  readonly waiting: number
  /** Of the 30 days before, where nothing was received on this one. */
  readonly lastBefore: Date | null
}

const lookbackDays = 30

/** One row for each of the channels, and for each other one that received something, by name. */
export function readChannelDay(
  query: Query,
  channels: readonly string[],
  from: Date,
  until: Date,
): Promise<ChannelDay[]> {
  return query<ChannelDay>(
    `WITH day AS (
       SELECT channel, count(*)::int AS received, min(received_at) AS first, max(received_at) AS last,
         count(*) FILTER (WHERE state = 'quarantined')::int AS quarantined,
         count(*) FILTER (WHERE state = 'received')::int AS waiting
       FROM message WHERE received_at >= $2 AND received_at < $3 GROUP BY channel)
     SELECT coalesce(day.channel, named.channel) AS channel, coalesce(received, 0) AS received, first, last,
       coalesce(quarantined, 0) AS quarantined, coalesce(waiting, 0) AS waiting,
       CASE WHEN day.channel IS NULL THEN (
         SELECT received_at FROM message m WHERE m.channel = named.channel AND m.received_at < $2
           AND m.received_at >= $2::timestamptz - make_interval(days => ${lookbackDays})
         ORDER BY received_at DESC LIMIT 1) END AS "lastBefore"
     FROM unnest($1::text[]) AS named (channel) FULL JOIN day ON day.channel = named.channel ORDER BY 1`,
    [channels, from, until],
  )
}

export interface EngineDay {
  readonly stops: readonly { readonly stoppedAt: Date; readonly startedAt: Date | null }[]
  readonly fragments: number
}

/** When the engine was told to stop on a day, and what came in that is no message. */
export async function readEngineDay(query: Query, from: Date, until: Date): Promise<EngineDay> {
  const stops = await query<{ stoppedAt: Date; startedAt: Date | null }>(
    `SELECT a.at AS "stoppedAt", (SELECT min(b.at) FROM audit b WHERE b.subject = 'engine' AND b.action = 'engine-started' AND b.at >= a.at AND b.at < $2) AS "startedAt"
     FROM audit a WHERE a.subject = 'engine' AND a.action = 'engine-stopped' AND a.at >= $1 AND a.at < $2 ORDER BY a.at LIMIT 20`,
    [from, until],
  )
  const [row] = await query<{ count: number }>(
    'SELECT count(*)::int AS count FROM fragment WHERE received_at >= $1 AND received_at < $2',
    [from, until],
  )
  return { stops, fragments: row?.count ?? 0 }
}
