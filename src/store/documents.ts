import type { Query } from './query.ts'

/** A document as it was fetched and passed the gate. */
export interface StoredDocument {
  readonly id: string
  readonly transmissionId: string
  readonly role: DocumentRole
  readonly blobId: string
  readonly bytes: number
  readonly mediaType: string
  readonly fileName: string
  /** Hexadecimal, of its bytes. */
  readonly sha256: string
  /** LOINC; null where it is no C-CDA. */
  readonly code: string | null
  readonly effectiveTime: Date | null
  /** The last moment its effectiveTime may mean. */
  readonly effectiveUntil: Date | null
  readonly setId: string | null
  readonly versionNumber: string | null
  readonly fetchedAt: Date
}

/** The clinical summary that every message has, or what stands for it; and what goes along. */
export type DocumentRole = 'clinical-summary' | 'additional'

export interface NewDocument extends Omit<StoredDocument, 'bytes' | 'sha256' | 'fetchedAt'> {
  /** Where it came from: server name and resource reference. */
  readonly source: string
  readonly findings: readonly unknown[]
}

export async function insertDocument(query: Query, document: NewDocument, at: Date): Promise<void> {
  await query(
    `INSERT INTO document (id, transmission_id, role, blob_id, media_type, file_name, source, document_code, effective_time,
       effective_until, set_id, version_number, findings, fetched_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
    [
      document.id,
      document.transmissionId,
      document.role,
      document.blobId,
      document.mediaType,
      document.fileName,
      document.source,
      document.code,
      document.effectiveTime,
      document.effectiveUntil,
      document.setId,
      document.versionNumber,
      JSON.stringify(document.findings),
      at,
    ],
  )
}

const columns = `d.id, d.transmission_id AS "transmissionId", d.role, d.blob_id AS "blobId", b.bytes, d.media_type AS "mediaType",
  d.file_name AS "fileName", encode(b.sha256, 'hex') AS sha256, d.document_code AS code, d.effective_time AS "effectiveTime",
  d.effective_until AS "effectiveUntil", d.set_id AS "setId", d.version_number AS "versionNumber",
  d.fetched_at AS "fetchedAt"`

/**
 * What a transmission sends, the clinical summary first: fetched once and together, a retry does not pick others while all
 * the bytes are there. Empty where they have to be fetched.
 */
export async function documentsOf(query: Query, transmissionId: string): Promise<StoredDocument[]> {
  const rows = await query<StoredDocument & { isForgotten: boolean }>(
    `SELECT ${columns}, b.forgotten_at IS NOT NULL AS "isForgotten"
     FROM document d JOIN blob b ON b.id = d.blob_id
     WHERE d.transmission_id = $1
       AND d.fetched_at = (SELECT max(fetched_at) FROM document WHERE transmission_id = $1)
     ORDER BY d.role DESC, d.file_name`,
    [transmissionId],
  )
  return rows.some(({ isForgotten }) => isForgotten) ? [] : rows.map(fromRow)
}

/**
 * The documents as those of another transmission of the same event, which sends the same bytes.
 *
 * @returns the id of the first one’s record, which for the transmission it was fetched for is that document itself
 */
export async function documentsFor(
  query: Query,
  documents: readonly StoredDocument[],
  transmissionId: string,
): Promise<string> {
  const [summary] = documents
  if (summary!.transmissionId === transmissionId) return summary!.id
  const rows = await query<{ id: string; role: DocumentRole }>(
    `INSERT INTO document (id, transmission_id, role, blob_id, media_type, file_name, source, document_code, effective_time,
       effective_until, set_id, version_number, findings, fetched_at)
     SELECT gen_random_uuid(), $2, role, blob_id, media_type, file_name, source, document_code, effective_time,
       effective_until, set_id, version_number, findings, fetched_at
     FROM document WHERE id = ANY ($1::uuid[]) RETURNING id, role`,
    [documents.map(({ id }) => id), transmissionId],
  )
  return rows.find(({ role }) => role === summary!.role)!.id
}

/** What left last for the same destination of the same authorization. */
export interface LastSent {
  readonly transmissionId: string
  readonly sentAt: Date
  /** The clinical summary first. */
  readonly documents: readonly StoredDocument[]
}

/** Undefined where nothing was sent there yet. What failed on its way was not sent. By index transmission_authorization. */
export async function lastSentTo(
  query: Query,
  authorizationId: string,
  destination: string,
): Promise<LastSent | undefined> {
  const [last] = await query<{ id: string; sentAt: Date; documentId: string }>(
    `SELECT id, coalesce(submitted_at, first_sent_at) AS "sentAt", document_id AS "documentId" FROM transmission
     WHERE authorization_id = $1 AND lower(destination) = lower($2) AND state IN ('submitted', 'processed', 'delivered')
       AND document_id IS NOT NULL
     ORDER BY coalesce(submitted_at, first_sent_at) DESC LIMIT 1`,
    [authorizationId, destination],
  )
  if (last === undefined) return undefined
  const rows = await query<StoredDocument>(
    `SELECT ${columns} FROM document d JOIN blob b ON b.id = d.blob_id
     WHERE d.transmission_id = $1 AND d.fetched_at = (SELECT fetched_at FROM document WHERE id = $2)
     ORDER BY d.role DESC, d.file_name`,
    [last.id, last.documentId],
  )
  return { transmissionId: last.id, sentAt: last.sentAt, documents: rows.map(fromRow) }
}

/** A message that a transmission speaks for, with its bytes as far as they are kept. */
export interface SpeakingMessage {
  readonly id: string
  readonly channel: string
  readonly receivedAt: Date
  readonly sender: string
  /** Null past the retention of its content. */
  readonly content: Buffer | null
}

/** Oldest first; those whose event was taken back are not among them. */
export function messagesBehind(query: Query, transmissionId: string): Promise<SpeakingMessage[]> {
  return query<SpeakingMessage>(
    `SELECT m.id, m.channel, m.received_at AS "receivedAt", m.sender, c.content
     FROM transmission_event te
     JOIN trigger_event e ON e.id = te.event_id AND e.taken_back_by IS NULL
     JOIN message m ON m.id = e.message_id
     LEFT JOIN message_content c ON c.received_on = m.received_on AND c.message_id = m.id
     WHERE te.transmission_id = $1 ORDER BY m.id`,
    [transmissionId],
  )
}

function fromRow(row: StoredDocument & { isForgotten?: boolean }): StoredDocument {
  const { isForgotten: _, ...document } = row
  // PostgreSQL gives bigint as text.
  return { ...document, bytes: Number(document.bytes) }
}
