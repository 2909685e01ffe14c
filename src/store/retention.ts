import type { DataSource } from 'typeorm'
import { dropContentBefore } from './content-partitions.ts'
import { queryOf } from './query.ts'

/** What was decided and ended so long ago loses its bytes; that it happened, and why, stays in the audit and the rows. */
export async function dropPast(
  dataSource: DataSource,
  contentMs: number,
  finishedMs: number,
  at: Date,
): Promise<void> {
  const query = queryOf(dataSource)
  await dropContentBefore(dataSource, new Date(at.getTime() - contentMs).toISOString().slice(0, 10))
  const finishedBefore = new Date(at.getTime() - finishedMs)
  // Blobs are deleted in small portions: each is a short transaction, and the daily job comes again.
  for (;;) {
    const gone = await query(
      `WITH past AS (
         SELECT d.blob_id FROM document d JOIN transmission t ON t.id = d.transmission_id WHERE t.ended_at < $1
         UNION SELECT s.blob_id FROM sealed_message s JOIN transmission t ON t.id = s.transmission_id WHERE t.ended_at < $1
         UNION SELECT m.blob_id FROM inbound_mail m WHERE m.state <> 'received' AND m.received_at < $1)
       DELETE FROM blob_chunk WHERE blob_id IN (
         SELECT past.blob_id FROM past WHERE EXISTS (SELECT 1 FROM blob_chunk c WHERE c.blob_id = past.blob_id) LIMIT ${portionBlobs})
       RETURNING blob_id`,
      [finishedBefore],
    )
    if (gone.length === 0) return
  }
}

const portionBlobs = 100
