import type { Query } from './query.ts'

/** Messages of one channel that wait for the same thing to be put right. */
export interface QuarantineGroup {
  /** 12 hex digits that follow from channel and cause: the same for ever. */
  readonly id: string
  readonly channel: string
  readonly cause: string
  readonly count: number
  /** Of the newest of them. */
  readonly because: string
  readonly firstAt: Date
  readonly lastAt: Date
}

/** Reads the counters and two index entries of each group: the cost does not grow with what waits. Index: message_quarantined. */
const groupsOf = (where: string, limit = ''): string => `
  SELECT g.id, g.channel, g.cause, g.count, newest.because, oldest.received_at AS "firstAt", newest.received_at AS "lastAt"
  FROM (
    SELECT id, channel, cause, sum(count) AS count FROM (
      SELECT id, channel, cause, count FROM quarantine_group WHERE ${where}
      UNION ALL
      SELECT group_id, channel, cause, change FROM quarantine_change WHERE ${where.replaceAll('id ', 'group_id ')}
    ) AS counted GROUP BY id, channel, cause HAVING sum(count) > 0 ${limit}
  ) AS g
  CROSS JOIN LATERAL (SELECT received_at FROM message m
    WHERE m.state = 'quarantined' AND m.channel = g.channel AND m.cause = g.cause ORDER BY m.id LIMIT 1) AS oldest
  CROSS JOIN LATERAL (SELECT received_at, because FROM message m
    WHERE m.state = 'quarantined' AND m.channel = g.channel AND m.cause = g.cause ORDER BY m.id DESC LIMIT 1) AS newest`

/** Groups one answer shows; more than that is one cause told in many words. */
const groupsMax = 500

/** Groups with a message that was received since the moment, the largest first; at most 500. */
export async function listQuarantine(query: Query, since: Date | undefined): Promise<QuarantineGroup[]> {
  const rows = await query<QuarantineGroup & { count: string }>(
    // Without a moment the largest are known before anything is looked up.
    `${groupsOf('true', since === undefined ? `ORDER BY sum(count) DESC, id LIMIT ${groupsMax}` : '')} WHERE $1::timestamptz IS NULL OR newest.received_at >= $1
     ORDER BY g.count DESC, g.id LIMIT ${groupsMax}`,
    [since ?? null],
  )
  return rows.map(withCount)
}

/** Undefined where nothing waits for this any more, or ever did. */
export async function readQuarantine(query: Query, id: string): Promise<QuarantineGroup | undefined> {
  const [row] = await query<QuarantineGroup & { count: string }>(groupsOf('id = $1'), [id])
  return row && withCount(row)
}

function withCount(row: QuarantineGroup & { count: string }): QuarantineGroup {
  return { ...row, count: Number(row.count) }
}

/** A key of our own for pg_try_advisory_xact_lock: one folds at a time. */
const foldLock = 7_210_003

/** Changes that one statement folds. */
const foldRowsMax = 20_000

/**
 * Adds the changes to the counters of their groups; those that came meanwhile wait for the next time.
 *
 * @returns how many were folded; 0 where another process is at it, too
 */
export async function foldQuarantine(query: Query): Promise<number> {
  const [lock] = await query<{ mine: boolean }>('SELECT pg_try_advisory_xact_lock($1) AS mine', [foldLock])
  if (lock?.mine !== true) return 0
  const [row] = await query<{ folded: string }>(
    `WITH gone AS (
       DELETE FROM quarantine_change WHERE id IN (SELECT id FROM quarantine_change ORDER BY id LIMIT ${foldRowsMax})
       RETURNING group_id, channel, cause, change
     ), added AS (
       INSERT INTO quarantine_group (id, channel, cause, count)
       SELECT group_id, channel, cause, sum(change) FROM gone GROUP BY group_id, channel, cause
       ON CONFLICT (id) DO UPDATE SET count = quarantine_group.count + excluded.count
     )
     SELECT count(*) AS folded FROM gone`,
  )
  await query('DELETE FROM quarantine_group WHERE count = 0')
  return Number(row!.folded)
}

/** Which messages of a group: those behind a number, up to a number. */
export interface Walk {
  readonly channel: string
  readonly cause: string
  readonly afterId: string
  readonly untilId: string
}

export interface WaitingMessage {
  readonly id: string
  readonly receivedAt: Date
  /** Null where it is past its retention. */
  readonly content: Buffer | null
}

/** The next messages of a group with their bytes, oldest first. Index: message_quarantined. */
export function waitingIn(query: Query, walk: Walk, rowsMax: number): Promise<WaitingMessage[]> {
  return query<WaitingMessage>(
    `SELECT m.id, m.received_at AS "receivedAt", c.content FROM message m
     LEFT JOIN message_content c ON c.received_on = m.received_on AND c.message_id = m.id
     WHERE m.state = 'quarantined' AND m.channel = $1 AND m.cause = $2 AND m.id > $3 AND m.id <= $4 ORDER BY m.id LIMIT $5`,
    [walk.channel, walk.cause, walk.afterId, walk.untilId, rowsMax],
  )
}

/** The number of the newest message of a group; 0 where there is none. */
export async function newestIn(
  query: Query,
  { channel, cause }: Pick<Walk, 'channel' | 'cause'>,
): Promise<string> {
  const [row] = await query<{ id: string }>(
    `SELECT id FROM message WHERE state = 'quarantined' AND channel = $1 AND cause = $2 ORDER BY id DESC LIMIT 1`,
    [channel, cause],
  )
  return row?.id ?? '0'
}

/** A message of a group as lists show it: no content, no patient. */
export interface QuarantinedMessage {
  readonly id: string
  readonly receivedAt: Date
  readonly sender: string
  readonly controlId: string
  readonly because: string
}

/** Newest first. Index: message_quarantined. */
export function quarantinedIn(
  query: Query,
  { channel, cause }: Pick<Walk, 'channel' | 'cause'>,
  page: { readonly before: string | undefined; readonly limit: number },
): Promise<QuarantinedMessage[]> {
  return query<QuarantinedMessage>(
    `SELECT id, received_at AS "receivedAt", sender, control_id AS "controlId", because FROM message
     WHERE state = 'quarantined' AND channel = $1 AND cause = $2 AND ($3::bigint IS NULL OR id < $3) ORDER BY id DESC LIMIT $4`,
    [channel, cause, page.before ?? null, page.limit],
  )
}
