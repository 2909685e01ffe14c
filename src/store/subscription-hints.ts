import type { Query } from './query.ts'

/** @param focuses `Type/id`; empty text where something changed and nobody says what */
export async function keepHints(
  query: Query,
  channel: string,
  focuses: readonly string[],
  at: Date,
): Promise<void> {
  await query(
    `INSERT INTO subscription_hint (channel, focus, heard_at) SELECT $1, focus, $3 FROM unnest($2::text[]) AS focus
     ON CONFLICT (channel, focus) DO UPDATE SET heard_at = $3`,
    [channel, focuses, at],
  )
}

export interface Hint {
  readonly focus: string
  readonly heardAt: Date
}

/** The oldest first. */
export function hintsOf(query: Query, channel: string, limit: number): Promise<Hint[]> {
  return query(
    `SELECT focus, heard_at AS "heardAt" FROM subscription_hint WHERE channel = $1 ORDER BY heard_at, focus LIMIT $2`,
    [channel, limit],
  )
}

/** What was fetched is done with, unless it was told again meanwhile. */
export async function dropHint(query: Query, channel: string, { focus, heardAt }: Hint): Promise<void> {
  await query('DELETE FROM subscription_hint WHERE channel = $1 AND focus = $2 AND heard_at <= $3', [
    channel,
    focus,
    heardAt,
  ])
}

/**
 * Notes how far the server has counted.
 *
 * @param first the lowest and
 * @param last the highest number heard of now
 * @returns true where something in between was never heard of, or the server began to count anew
 */
export async function countEvents(
  query: Query,
  channel: string,
  subscription: string,
  { first, last }: { readonly first: bigint; readonly last: bigint },
  at: Date,
): Promise<boolean> {
  const [before] = await query<{ last_event: string }>(
    'SELECT last_event FROM subscription_count WHERE channel = $1 AND subscription = $2 FOR UPDATE',
    [channel, subscription],
  )
  const known = before === undefined ? undefined : BigInt(before.last_event)
  const isReset = known !== undefined && last < known
  await query(
    `INSERT INTO subscription_count (channel, subscription, last_event, heard_at) VALUES ($1, $2, $3, $4)
     ON CONFLICT (channel, subscription) DO UPDATE SET last_event = $3, heard_at = $4`,
    [channel, subscription, String(last), at],
  )
  // The first time, and after a reset, nobody knows what came before.
  return known === undefined ? first > 1n : isReset || first > known + 1n
}
