import type { Query } from './query.ts'

/** A message that somebody we trust sent us, for one local recipient. */
export interface NewInboxMessage {
  readonly id: string
  readonly mailId: string
  readonly recipient: string
  readonly sender: string
  readonly messageId: string | null
  /** SHA-256 of the message decrypted. */
  readonly digest: Buffer
  /** Null where the mailbox takes none. */
  readonly blobId: string | null
  readonly bytes: number
  readonly signerFingerprints: readonly string[]
  readonly signerCertificates: readonly Buffer[]
  readonly carriedCertificates: readonly Buffer[]
}

/**
 * @returns false where the recipient has the same message already: a sender that lost our answer sends again
 */
export async function insertInboxMessage(query: Query, row: NewInboxMessage, at: Date): Promise<boolean> {
  const rows = await query(
    `INSERT INTO inbox_message (id, mail_id, recipient, sender, message_id, digest, blob_id, bytes, signer_fingerprints,
       signer_certificates, carried_certificates, state, received_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::bytea[], $11::bytea[], $12, $13)
     ON CONFLICT (lower(recipient), coalesce(message_id, ''), digest) DO NOTHING RETURNING id`,
    [
      row.id,
      row.mailId,
      row.recipient,
      row.sender,
      row.messageId,
      row.digest,
      row.blobId,
      row.bytes,
      row.signerFingerprints,
      row.signerCertificates,
      row.carriedCertificates,
      row.blobId === null ? 'refused' : 'kept',
      at,
    ],
  )
  return rows.length > 0
}

/** Certificates that came with a message, DER. */
export interface MessageCertificates {
  readonly signers: readonly Buffer[]
  readonly carried: readonly Buffer[]
}

export async function certificatesOf(query: Query, inboxId: string): Promise<MessageCertificates> {
  const [row] = await query<MessageCertificates>(
    `SELECT signer_certificates AS signers, carried_certificates AS carried FROM inbox_message WHERE id = $1`,
    [inboxId],
  )
  return row ?? { signers: [], carried: [] }
}

/** As lists show it: nothing of its content. */
export interface InboxView {
  readonly id: string
  readonly receivedAt: Date
  readonly sender: string
  readonly recipient: string
  readonly messageId: string | null
  readonly state: 'kept' | 'refused'
  readonly bytes: number
  /** SHA-256 of the certificates that signed it and are trusted. */
  readonly signerFingerprints: readonly string[]
  /** The bytes were dropped at retention. */
  readonly isForgotten: boolean
}

const inboxColumns = `i.id, i.received_at AS "receivedAt", i.sender, i.recipient, i.message_id AS "messageId", i.state,
  i.bytes::float8 AS bytes, i.signer_fingerprints AS "signerFingerprints", b.forgotten_at IS NOT NULL AS "isForgotten"`

/** Newest first. */
export function listInbox(
  query: Query,
  { limit, before }: { readonly limit: number; readonly before: string | undefined },
): Promise<InboxView[]> {
  return query<InboxView>(
    `SELECT ${inboxColumns} FROM inbox_message i LEFT JOIN blob b ON b.id = i.blob_id
     WHERE $2::uuid IS NULL OR (i.received_at, i.id) < (SELECT received_at, id FROM inbox_message WHERE id = $2)
     ORDER BY i.received_at DESC, i.id DESC LIMIT $1`,
    [limit, before ?? null],
  )
}

export async function readInboxMessage(
  query: Query,
  id: string,
): Promise<(InboxView & { readonly blobId: string | null; readonly mailId: string }) | undefined> {
  const [row] = await query<InboxView & { blobId: string | null; mailId: string }>(
    `SELECT ${inboxColumns}, i.blob_id AS "blobId", i.mail_id AS "mailId"
     FROM inbox_message i LEFT JOIN blob b ON b.id = i.blob_id WHERE i.id = $1`,
    [id],
  )
  return row
}

/** Mail that was answered by silence: unreadable, untrusted, tampered with; kept as it came. */
export interface IgnoredMailView {
  readonly id: string
  readonly receivedAt: Date
  readonly peer: string
  readonly envelopeFrom: string
  readonly because: string | null
}

/** Newest first. */
export function listIgnoredMail(
  query: Query,
  { limit, before }: { readonly limit: number; readonly before: string | undefined },
): Promise<IgnoredMailView[]> {
  return query<IgnoredMailView>(
    `SELECT id, received_at AS "receivedAt", peer, envelope_from AS "envelopeFrom", because FROM inbound_mail
     WHERE state = 'ignored'
       AND ($2::uuid IS NULL OR (received_at, id) < (SELECT received_at, id FROM inbound_mail WHERE id = $2))
     ORDER BY received_at DESC, id DESC LIMIT $1`,
    [limit, before ?? null],
  )
}
