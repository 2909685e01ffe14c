import type { Query } from './query.ts'

/** `paused`: received and acknowledged, not decided. `stopped`: not received. */
export type Wish = 'paused' | 'stopped'

/** What an operator wants of a channel, beside its file; it outlasts restarts. */
export interface ChannelWish {
  readonly channel: string
  readonly wish: Wish
  readonly at: Date
  readonly actor: string
  readonly because: string | null
}

export function readWishes(query: Query): Promise<ChannelWish[]> {
  return query<ChannelWish>(
    'SELECT channel, wish, at, actor, because FROM channel_wish ORDER BY channel, wish',
  )
}

/** @returns false where it was wanted before */
export async function addWish(
  query: Query,
  { channel, wish, at, actor, because }: ChannelWish,
): Promise<boolean> {
  const rows = await query(
    `INSERT INTO channel_wish (channel, wish, at, actor, because) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT DO NOTHING RETURNING 1`,
    [channel, wish, at, actor, because],
  )
  return rows.length > 0
}

/** @returns false where it was not wanted */
export async function dropWish(query: Query, channel: string, wish: Wish): Promise<boolean> {
  const rows = await query(
    'WITH gone AS (DELETE FROM channel_wish WHERE channel = $1 AND wish = $2 RETURNING 1) SELECT 1 FROM gone',
    [channel, wish],
  )
  return rows.length > 0
}

/** What the messages of a channel tell about it. */
export interface ChannelTraffic {
  readonly channel: string
  /** Stored and not decided yet. */
  readonly waiting: number
  readonly oldestWaiting: Date | null
}

/** One look at the index of what is undecided. */
export function readTraffic(query: Query): Promise<ChannelTraffic[]> {
  return query<ChannelTraffic>(
    `SELECT channel, count(*)::int AS waiting, min(received_at) AS "oldestWaiting"
     FROM message WHERE state = 'received' GROUP BY channel ORDER BY channel`,
  )
}
