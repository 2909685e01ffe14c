import type { Query } from './query.ts'

export async function readCursor(query: Query, channel: string): Promise<string | undefined> {
  const [row] = await query<{ value: string }>('SELECT value FROM feed_cursor WHERE channel = $1', [channel])
  return row?.value
}

/** What was read up to here is committed: the next question begins from it. */
export async function moveCursor(query: Query, channel: string, value: string, at: Date): Promise<void> {
  await query(
    `INSERT INTO feed_cursor (channel, value, moved_at, asked_at) VALUES ($1, $2, $3, $3)
     ON CONFLICT (channel) DO UPDATE SET value = $2, moved_at = $3, asked_at = $3, because = NULL`,
    [channel, value, at],
  )
}

/** @param because undefined where the question was answered, and nothing was new */
export async function noteAsked(
  query: Query,
  channel: string,
  because: string | undefined,
  at: Date,
): Promise<void> {
  await query('UPDATE feed_cursor SET asked_at = $2, because = $3 WHERE channel = $1', [
    channel,
    at,
    because ?? null,
  ])
}
