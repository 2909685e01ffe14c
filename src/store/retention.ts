import type { DataSource } from 'typeorm'
import { dropContentBefore } from './content-partitions.ts'
import { queryOf, type Query } from './query.ts'

/** What was decided and ended so long ago loses its bytes; that it happened, and why, stays in the audit and the rows. */
export async function dropPast(
  dataSource: DataSource,
  contentMs: number,
  finishedMs: number,
  at: Date,
): Promise<void> {
  const query = queryOf(dataSource)
  const contentBefore = new Date(at.getTime() - contentMs)
  await dropContentBefore(dataSource, contentBefore.toISOString().slice(0, 10))
  await query('DELETE FROM fragment WHERE received_at < $1', [contentBefore])
  const finishedBefore = new Date(at.getTime() - finishedMs)
  // In small portions: each is a short transaction, and the daily job comes again.
  while ((await forgetBlobs(query, finishedBefore, at)) > 0);
}

const portionBlobs = 100

/**
 * Forgets the oldest blobs whose owner ended before the moment, or that have none. Uses blob_kept, which forgotten ones
 * have left, so that a run costs what there is to forget and not what was ever stored.
 *
 * @returns how many were forgotten
 */
async function forgetBlobs(query: Query, finishedBefore: Date, at: Date): Promise<number> {
  const [row] = await query<{ count: string }>(
    `WITH past AS (
       SELECT id FROM blob
       WHERE forgotten_at IS NULL AND created_at < $1
         AND NOT EXISTS (SELECT FROM document d JOIN transmission t ON t.id = d.transmission_id
           WHERE d.blob_id = blob.id AND (t.ended_at IS NULL OR t.ended_at >= $1))
         AND NOT EXISTS (SELECT FROM sealed_message s JOIN transmission t ON t.id = s.transmission_id
           WHERE s.blob_id = blob.id AND (t.ended_at IS NULL OR t.ended_at >= $1))
         AND NOT EXISTS (SELECT FROM inbound_mail m
           WHERE m.blob_id = blob.id AND (m.state = 'received' OR m.received_at >= $1))
         AND NOT EXISTS (SELECT FROM inbox_message i WHERE i.blob_id = blob.id AND i.received_at >= $1)
         AND NOT EXISTS (SELECT FROM answer a
           WHERE a.blob_id = blob.id AND (a.ended_at IS NULL OR a.ended_at >= $1))
       ORDER BY created_at LIMIT ${portionBlobs} FOR UPDATE SKIP LOCKED
     ), gone AS (DELETE FROM blob_chunk WHERE blob_id IN (SELECT id FROM past)
     ), forgotten AS (UPDATE blob SET forgotten_at = $2 WHERE id IN (SELECT id FROM past) RETURNING id)
     SELECT count(*) FROM forgotten`,
    [finishedBefore, at],
  )
  return Number(row!.count)
}
