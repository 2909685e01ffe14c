import type { Query } from './query.ts'

export interface InboundMail {
  readonly id: string
  readonly receivedAt: Date
  readonly envelopeFrom: string
  readonly envelopeTo: readonly string[]
  /** Address of who brought it, `unix` for a local socket. */
  readonly peer: string
  readonly blobId: string
  readonly state: 'received' | 'notification' | 'ignored' | 'message'
}

/**
 * @returns false where the same bytes came before (a peer that lost our 250 sends again): there is nothing more to do
 */
export async function insertMail(
  query: Query,
  mail: {
    id: string
    envelopeFrom: string
    envelopeTo: readonly string[]
    peer: string
    blobId: string
    digest: Buffer
  },
  at: Date,
): Promise<boolean> {
  const rows = await query(
    `INSERT INTO inbound_mail (id, received_at, envelope_from, envelope_to, peer, blob_id, digest, state)
     VALUES ($1, $2, $3, $4, $5, $6, $7, 'received') ON CONFLICT (digest) DO NOTHING RETURNING id`,
    [mail.id, at, mail.envelopeFrom, mail.envelopeTo, mail.peer, mail.blobId, mail.digest],
  )
  return rows.length > 0
}

const mailColumns = `id, received_at AS "receivedAt", envelope_from AS "envelopeFrom", envelope_to AS "envelopeTo", peer,
  blob_id AS "blobId", state`

export async function lockMail(query: Query, id: string): Promise<InboundMail | undefined> {
  const [row] = await query<InboundMail>(`SELECT ${mailColumns} FROM inbound_mail WHERE id = $1 FOR UPDATE`, [
    id,
  ])
  return row
}

export async function readMail(query: Query, id: string): Promise<InboundMail | undefined> {
  const [row] = await query<InboundMail>(`SELECT ${mailColumns} FROM inbound_mail WHERE id = $1`, [id])
  return row
}

export async function markMail(
  query: Query,
  id: string,
  state: InboundMail['state'],
  because: string | null,
  at: Date,
): Promise<void> {
  await query('UPDATE inbound_mail SET state = $2, because = $3, opened_at = $4 WHERE id = $1', [
    id,
    state,
    because,
    at,
  ])
}

/** It stays unopened until then: what decides about it could not be asked. */
export async function putOffMail(query: Query, id: string, dueAt: Date): Promise<void> {
  await query(`UPDATE inbound_mail SET due_at = $2 WHERE id = $1 AND state = 'received'`, [id, dueAt])
}

export interface NewNotification {
  readonly mailId: string
  readonly ordinal: number
  readonly kind: 'mdn' | 'dsn'
  readonly originalMessageId: string | null
  readonly recipient: string | null
  readonly disposition: string | null
  readonly report: string
  readonly signerFingerprint: string | null
  readonly bound: boolean
  readonly transmissionId: string | null
  readonly effect: 'moved' | 'late' | 'already-known' | 'ignored'
  readonly because: string
}

export async function insertNotification(query: Query, row: NewNotification, at: Date): Promise<void> {
  await query(
    `INSERT INTO notification (mail_id, ordinal, kind, original_message_id, recipient, disposition, report, signer_fingerprint,
       bound, transmission_id, effect, because, at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
    [
      row.mailId,
      row.ordinal,
      row.kind,
      row.originalMessageId,
      row.recipient,
      row.disposition,
      row.report,
      row.signerFingerprint,
      row.bound,
      row.transmissionId,
      row.effect,
      row.because,
      at,
    ],
  )
}

/**
 * The transmission a notification speaks of: by the Message-ID we gave it, and by the recipient where one message went to
 * several. Without a recipient, or with one we did not send to, it is one of them all the same: who judges sees the mismatch.
 */
export async function transmissionIdFor(
  query: Query,
  messageId: string,
  recipient: string | undefined,
): Promise<string | undefined> {
  const [row] = await query<{ id: string }>(
    `SELECT id FROM transmission WHERE message_id = $1
     ORDER BY (lower(destination) = lower($2)) IS TRUE DESC, created_at, id LIMIT 1`,
    [messageId, recipient ?? null],
  )
  return row?.id
}
