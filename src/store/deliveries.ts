import type { Query } from './query.ts'

export interface SealedMessage {
  readonly transmissionId: string
  readonly blobId: string
  readonly messageId: string
  readonly recipientFingerprints: readonly string[]
  readonly signerFingerprints: readonly string[]
}

export async function insertSealed(query: Query, sealed: SealedMessage, at: Date): Promise<void> {
  await query(
    `INSERT INTO sealed_message (transmission_id, blob_id, message_id, recipient_fingerprints, signer_fingerprints, sealed_at)
     VALUES ($1, $2, $3, $4, $5, $6)`,
    [
      sealed.transmissionId,
      sealed.blobId,
      sealed.messageId,
      sealed.recipientFingerprints,
      sealed.signerFingerprints,
      at,
    ],
  )
}

export async function sealedOf(
  query: Query,
  transmissionId: string,
): Promise<(SealedMessage & { bytes: number }) | undefined> {
  const [row] = await query<SealedMessage & { bytes: string | number }>(
    `SELECT s.transmission_id AS "transmissionId", s.blob_id AS "blobId", s.message_id AS "messageId", b.bytes,
       s.recipient_fingerprints AS "recipientFingerprints", s.signer_fingerprints AS "signerFingerprints"
     FROM sealed_message s JOIN blob b ON b.id = s.blob_id
     WHERE s.transmission_id = $1 AND b.forgotten_at IS NULL`,
    [transmissionId],
  )
  return row === undefined ? undefined : { ...row, bytes: Number(row.bytes) }
}

/** Sealed bytes of work that was never and will never be sent: the ciphertext of a stopped disclosure is not kept. */
export async function forgetSealed(query: Query, transmissionId: string): Promise<void> {
  const rows = await query<{ blob_id: string }>(
    'DELETE FROM sealed_message WHERE transmission_id = $1 RETURNING blob_id',
    [transmissionId],
  )
  // One sealed message may go to several recipients; the bytes stay for the others.
  for (const { blob_id } of rows)
    await query(
      'DELETE FROM blob WHERE id = $1 AND NOT EXISTS (SELECT FROM sealed_message WHERE blob_id = $1)',
      [blob_id],
    )
}

/** Written before the first byte leaves: what might have happened is known after any crash. */
export async function openAttempt(
  query: Query,
  transmissionId: string,
  resend: boolean,
  at: Date,
): Promise<number> {
  const [row] = await query<{ ordinal: number }>(
    `INSERT INTO attempt (transmission_id, ordinal, started_at, resend)
     SELECT $1, coalesce(max(ordinal), 0) + 1, $2, $3 FROM attempt WHERE transmission_id = $1 RETURNING ordinal`,
    [transmissionId, at, resend],
  )
  return row!.ordinal
}

export type AttemptOutcome = 'submitted' | 'refused' | 'deferred' | 'unreachable' | 'ambiguous' | 'stopped'

export async function closeAttempt(
  query: Query,
  transmissionId: string,
  outcome: AttemptOutcome,
  nextHop: string | undefined,
  reply: string | undefined,
  at: Date,
): Promise<void> {
  await query(
    `UPDATE attempt SET ended_at = $2, outcome = $3, next_hop = $4, reply = $5
     WHERE transmission_id = $1 AND ended_at IS NULL`,
    [transmissionId, at, outcome, nextHop ?? null, reply?.slice(0, 500) ?? null],
  )
}

export interface AttemptRow {
  readonly startedAt: Date
  readonly endedAt: Date | null
  readonly nextHop: string | null
  readonly outcome: AttemptOutcome | null
  readonly resend: boolean
  readonly reply: string | null
}

export function readAttempts(query: Query, transmissionId: string): Promise<AttemptRow[]> {
  return query<AttemptRow>(
    `SELECT started_at AS "startedAt", ended_at AS "endedAt", next_hop AS "nextHop", outcome, resend, reply
     FROM attempt WHERE transmission_id = $1 ORDER BY ordinal`,
    [transmissionId],
  )
}
