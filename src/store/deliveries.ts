import type { Query } from './query.ts'

/** A document as it was fetched and passed the gate. */
export interface StoredDocument {
  readonly id: string
  readonly transmissionId: string
  readonly blobId: string
  readonly bytes: number
  readonly mediaType: string
  readonly fileName: string
}

export interface NewDocument {
  readonly id: string
  readonly transmissionId: string
  readonly blobId: string
  readonly mediaType: string
  readonly fileName: string
  /** Where it came from: server name and resource reference. */
  readonly source: string
  readonly documentCode: string | null
  readonly effectiveTime: Date | null
  readonly setId: string | null
  readonly versionNumber: string | null
  readonly findings: readonly unknown[]
}

export async function insertDocument(query: Query, document: NewDocument, at: Date): Promise<void> {
  await query(
    `INSERT INTO document (id, transmission_id, role, blob_id, media_type, file_name, source, document_code, effective_time,
       set_id, version_number, findings, fetched_at)
     VALUES ($1, $2, 'clinical-summary', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      document.id,
      document.transmissionId,
      document.blobId,
      document.mediaType,
      document.fileName,
      document.source,
      document.documentCode,
      document.effectiveTime,
      document.setId,
      document.versionNumber,
      JSON.stringify(document.findings),
      at,
    ],
  )
}

/** The document a transmission sends, fetched once: a retry does not pick another while the bytes are there. */
export async function documentOf(query: Query, transmissionId: string): Promise<StoredDocument | undefined> {
  const [row] = await query<StoredDocument & { bytes: string | number }>(
    `SELECT d.id, d.transmission_id AS "transmissionId", d.blob_id AS "blobId", b.bytes, d.media_type AS "mediaType", d.file_name AS "fileName"
     FROM document d JOIN blob b ON b.id = d.blob_id
     WHERE d.transmission_id = $1 AND b.forgotten_at IS NULL ORDER BY d.fetched_at DESC LIMIT 1`,
    [transmissionId],
  )
  return row === undefined ? undefined : { ...row, bytes: Number(row.bytes) }
}

/**
 * The document as that of another transmission of the same event, which sends the same bytes.
 *
 * @returns the id of its record, which for the transmission it was fetched for is the document itself
 */
export async function documentFor(
  query: Query,
  document: StoredDocument,
  transmissionId: string,
): Promise<string> {
  if (document.transmissionId === transmissionId) return document.id
  const [row] = await query<{ id: string }>(
    `INSERT INTO document (id, transmission_id, role, blob_id, media_type, file_name, source, document_code, effective_time,
       set_id, version_number, findings, fetched_at)
     SELECT gen_random_uuid(), $2, role, blob_id, media_type, file_name, source, document_code, effective_time,
       set_id, version_number, findings, fetched_at
     FROM document WHERE id = $1 RETURNING id`,
    [document.id, transmissionId],
  )
  return row!.id
}

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
