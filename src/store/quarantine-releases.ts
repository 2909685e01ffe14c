import type { Query } from './query.ts'
import type { Walk } from './quarantine.ts'

/** A group on its way back to the deciders. */
export interface QuarantineRelease extends Walk {
  readonly id: string
  readonly groupId: string
  /** How many waited in the group when it was asked for. */
  readonly wanted: number
  readonly released: number
  /** Their content is past its retention: they stay where they are. */
  readonly withoutContent: number
  readonly actor: string
  readonly because: string | null
  readonly startedAt: Date
  readonly endedAt: Date | null
}

const columns = `id, group_id AS "groupId", channel, cause, until_id AS "untilId", after_id AS "afterId", wanted::int, released::int,
  without_content::int AS "withoutContent", actor, because, started_at AS "startedAt", ended_at AS "endedAt"`

/** @returns false where the group is being released already */
export async function insertRelease(
  query: Query,
  release: Omit<QuarantineRelease, 'afterId' | 'released' | 'withoutContent' | 'endedAt'>,
): Promise<boolean> {
  const rows = await query(
    `INSERT INTO quarantine_release (id, group_id, channel, cause, until_id, wanted, actor, because, started_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     ON CONFLICT (group_id) WHERE ended_at IS NULL DO NOTHING RETURNING id`,
    [
      release.id,
      release.groupId,
      release.channel,
      release.cause,
      release.untilId,
      release.wanted,
      release.actor,
      release.because,
      release.startedAt,
    ],
  )
  return rows.length > 0
}

/** The release of a group that is under way, else its last one. */
export async function releaseOf(query: Query, groupId: string): Promise<QuarantineRelease | undefined> {
  const [row] = await query<QuarantineRelease>(
    `SELECT ${columns} FROM quarantine_release WHERE group_id = $1 ORDER BY ended_at IS NULL DESC, started_at DESC LIMIT 1`,
    [groupId],
  )
  return row
}

/** Whoever has it locked is the only one who takes it further, until the transaction ends. */
export async function lockRelease(query: Query, id: string): Promise<QuarantineRelease | undefined> {
  const [row] = await query<QuarantineRelease>(
    `SELECT ${columns} FROM quarantine_release WHERE id = $1 FOR UPDATE`,
    [id],
  )
  return row
}

/** What one batch came to. */
export interface ReleasedBatch {
  /** The last message that was looked at; undefined where none was left. */
  readonly lastId: string | undefined
  readonly released: number
  readonly withoutContent: number
}

/**
 * The next messages of the release become undecided again, oldest first, as far as their bytes are there. One that came
 * back into quarantine meanwhile lies behind the walk and is not met again.
 */
export async function reopenBatch(query: Query, walk: Walk, rowsMax: number): Promise<ReleasedBatch> {
  const [row] = await query<{ last: string | null; released: number; seen: number }>(
    `WITH batch AS (
       SELECT m.id, EXISTS (SELECT FROM message_content c
         WHERE c.received_on = m.received_on AND c.message_id = m.id) AS has_content
       FROM message m
       WHERE m.state = 'quarantined' AND m.channel = $1 AND m.cause = $2 AND m.id > $3 AND m.id <= $4
       ORDER BY m.id LIMIT $5 FOR UPDATE OF m
     ), reopened AS (
       UPDATE message SET state = 'received', because = NULL, code = NULL, cause = NULL, revision = NULL, decided_at = NULL
       FROM batch WHERE message.id = batch.id AND batch.has_content RETURNING message.id
     )
     SELECT max(id) AS last, (SELECT count(*)::int FROM reopened) AS released, count(*)::int AS seen FROM batch`,
    [walk.channel, walk.cause, walk.afterId, walk.untilId, rowsMax],
  )
  const { last, released, seen } = row!
  return { lastId: last ?? undefined, released, withoutContent: seen - released }
}

export async function recordBatch(
  query: Query,
  id: string,
  batch: ReleasedBatch,
  endedAt: Date | null,
): Promise<QuarantineRelease> {
  const [row] = await query<QuarantineRelease>(
    `UPDATE quarantine_release SET after_id = coalesce($2, after_id), released = released + $3,
       without_content = without_content + $4, ended_at = $5
     WHERE id = $1 RETURNING ${columns}`,
    [id, batch.lastId ?? null, batch.released, batch.withoutContent, endedAt],
  )
  return row!
}
