import type { Query } from './query.ts'

/** Rows as lists show them: no content, no patient. */
export interface TransmissionView {
  readonly id: string
  readonly authorizationId: string
  readonly destination: string
  readonly cause: string
  readonly state: string
  readonly ambiguous: boolean
  readonly code: string | null
  readonly because: string | null
  readonly attempts: number
  readonly messageId: string | null
  readonly receivedMessage: string | null
  readonly occurredAt: Date
  readonly createdAt: Date
  readonly dueAt: Date | null
  readonly submittedAt: Date | null
  readonly processedAt: Date | null
  readonly deliveredAt: Date | null
  readonly endedAt: Date | null
}

export interface TransmissionFilter {
  readonly authorizationId?: string
  readonly state?: string
  readonly receivedMessage?: string
  /** Rows older than this one, for the next page. */
  readonly before?: string
  readonly limit: number
}

const transmissionColumns = `t.id, t.authorization_id AS "authorizationId", t.destination, t.cause, t.state, t.ambiguous, t.code,
  t.because, t.attempts, t.message_id AS "messageId", e.message_id AS "receivedMessage", t.occurred_at AS "occurredAt",
  t.created_at AS "createdAt", t.due_at AS "dueAt", t.submitted_at AS "submittedAt", t.processed_at AS "processedAt",
  t.delivered_at AS "deliveredAt", t.ended_at AS "endedAt"`

/** Newest first. */
export function listTransmissions(query: Query, filter: TransmissionFilter): Promise<TransmissionView[]> {
  return query<TransmissionView>(
    `SELECT ${transmissionColumns} FROM transmission t LEFT JOIN trigger_event e ON e.id = t.event_id
     WHERE ($1::uuid IS NULL OR t.authorization_id = $1) AND ($2::text IS NULL OR t.state = $2)
       AND ($3::bigint IS NULL OR t.id IN (
         SELECT te.transmission_id FROM trigger_event told JOIN transmission_event te ON te.event_id = told.id
         WHERE told.message_id = $3))
       AND ($4::uuid IS NULL OR (t.created_at, t.id) < (SELECT created_at, id FROM transmission WHERE id = $4))
     ORDER BY t.created_at DESC, t.id DESC LIMIT $5`,
    [
      filter.authorizationId ?? null,
      filter.state ?? null,
      filter.receivedMessage ?? null,
      filter.before ?? null,
      filter.limit,
    ],
  )
}

export interface MessageView {
  readonly id: string
  readonly channel: string
  readonly receivedAt: Date
  readonly sender: string
  readonly controlId: string
  readonly bytes: number
  readonly peer: string
  readonly state: string
  readonly code: string | null
  /** Of what is quarantined: what the messages of its group have in common. */
  readonly cause: string | null
  readonly because: string | null
  readonly flags: readonly string[]
  readonly revision: string | null
  readonly decidedAt: Date | null
}

export interface MessageFilter {
  readonly channel?: string
  readonly state?: string
  readonly controlId?: string
  readonly before?: string
  readonly limit: number
}

const messageColumns = `id, channel, received_at AS "receivedAt", sender, control_id AS "controlId", bytes, peer, state, code, cause,
  because, flags, revision, decided_at AS "decidedAt"`

/** Newest first. */
export function listMessages(query: Query, filter: MessageFilter): Promise<MessageView[]> {
  return query<MessageView>(
    `SELECT ${messageColumns} FROM message
     WHERE ($1::text IS NULL OR channel = $1) AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR control_id = $3)
       AND ($4::bigint IS NULL OR id < $4)
     ORDER BY id DESC LIMIT $5`,
    [
      filter.channel ?? null,
      filter.state ?? null,
      filter.controlId ?? null,
      filter.before ?? null,
      filter.limit,
    ],
  )
}

export async function readMessage(query: Query, id: string): Promise<MessageView | undefined> {
  const [row] = await query<MessageView>(`SELECT ${messageColumns} FROM message WHERE id = $1`, [id])
  return row
}

export interface EventView {
  readonly id: string
  readonly messageId: string
  readonly kind: string
  readonly occurredAt: Date
  readonly cancels: boolean
  readonly outcome: string
  readonly because: string
  readonly decidedAt: Date
}

export async function readEvent(query: Query, messageId: string): Promise<EventView | undefined> {
  const [row] = await query<EventView>(
    `SELECT id, message_id AS "messageId", kind, occurred_at AS "occurredAt", cancels, outcome, because, decided_at AS "decidedAt"
     FROM trigger_event WHERE message_id = $1`,
    [messageId],
  )
  return row
}

export interface VerdictView {
  readonly authorizationId: string
  readonly authorizationVersion: number
  readonly outcome: string
  readonly code: string
  readonly because: string
  readonly at: Date
}

export function readVerdicts(query: Query, eventId: string): Promise<VerdictView[]> {
  return query<VerdictView>(
    `SELECT authorization_id AS "authorizationId", authorization_version AS "authorizationVersion", outcome, code, because, at
     FROM verdict WHERE event_id = $1 ORDER BY authorization_id`,
    [eventId],
  )
}

export interface NotificationView {
  readonly kind: string
  readonly at: Date
  readonly recipient: string | null
  readonly disposition: string | null
  readonly report: string
  readonly bound: boolean
  readonly effect: string
  readonly because: string
}

export function readNotifications(query: Query, transmissionId: string): Promise<NotificationView[]> {
  return query<NotificationView>(
    `SELECT kind, at, recipient, disposition, report, bound, effect, because FROM notification
     WHERE transmission_id = $1 ORDER BY id`,
    [transmissionId],
  )
}

export interface DocumentView {
  readonly role: string
  readonly bytes: number
  readonly sha256: string
  readonly mediaType: string
  readonly source: string
  readonly documentCode: string | null
  readonly effectiveTime: Date | null
  readonly findings: readonly unknown[]
  readonly fetchedAt: Date
}

export async function readDocuments(query: Query, transmissionId: string): Promise<DocumentView[]> {
  const rows = await query<DocumentView & { bytes: string | number }>(
    `SELECT d.role, b.bytes, encode(b.sha256, 'hex') AS sha256, d.media_type AS "mediaType", d.source, d.document_code AS "documentCode",
       d.effective_time AS "effectiveTime", d.findings, d.fetched_at AS "fetchedAt"
     FROM document d JOIN blob b ON b.id = d.blob_id WHERE d.transmission_id = $1 ORDER BY d.fetched_at`,
    [transmissionId],
  )
  return rows.map((row) => ({ ...row, bytes: Number(row.bytes) }))
}

/** Authorizations that hold an identifier, newest first; the provider’s search. */
export async function authorizationIdsFor(query: Query, system: string, value: string): Promise<string[]> {
  const rows = await query<{ id: string }>(
    `SELECT a.id FROM authorization_identifier i JOIN transmit_authorization a ON a.id = i.authorization_id
     WHERE i.system = $1 AND i.value = $2 ORDER BY a.created_at DESC`,
    [system, value],
  )
  return rows.map((row) => row.id)
}

/** What was heard about a patient between two moments, by blind index: the messages, newest last. */
export async function eventsOfPatient(
  query: Query,
  keys: readonly Buffer[],
  from: Date,
  until: Date,
): Promise<EventView[]> {
  return query<EventView>(
    `SELECT e.id, e.message_id AS "messageId", e.kind, e.occurred_at AS "occurredAt", e.cancels, e.outcome, e.because,
       e.decided_at AS "decidedAt"
     FROM trigger_event e JOIN message m ON m.id = e.message_id
     WHERE e.patient_keys && $1::bytea[] AND m.received_at >= $2 AND m.received_at < $3 ORDER BY e.id`,
    [keys, from, until],
  )
}

export interface OpenCounts {
  readonly states: ReadonlyMap<string, number>
  readonly overdueSeconds: number
}

/** For /metrics: what is under way. Reads the partial index of due rows and the held ones. */
export async function countOpen(query: Query, at: Date): Promise<OpenCounts> {
  const rows = await query<{ state: string; count: string }>(
    `SELECT state, count(*) FROM transmission WHERE due_at IS NOT NULL GROUP BY state
     UNION ALL SELECT 'held', count(*) FROM transmission WHERE state = 'held'`,
  )
  const [oldest] = await query<{ due_at: Date | null }>(
    'SELECT min(due_at) AS due_at FROM transmission WHERE due_at <= $1',
    [at],
  )
  return {
    states: new Map(rows.map((row) => [row.state, Number(row.count)])),
    overdueSeconds: oldest?.due_at == null ? 0 : (at.getTime() - oldest.due_at.getTime()) / 1000,
  }
}

/** Bytes that are no message: kept raw, with the reason. */
export interface FragmentView {
  readonly id: string
  readonly channel: string
  readonly receivedAt: Date
  readonly peer: string
  readonly because: string
  readonly bytes: number
}

const fragmentColumns = 'id, channel, received_at AS "receivedAt", peer, because, bytes'

/** What could not be read as a message at all, newest first. */
export function listFragments(
  query: Query,
  { limit, before }: { readonly limit: number; readonly before: string | undefined },
): Promise<FragmentView[]> {
  return query<FragmentView>(
    `SELECT ${fragmentColumns} FROM fragment WHERE $2::bigint IS NULL OR id < $2 ORDER BY id DESC LIMIT $1`,
    [limit, before ?? null],
  )
}

export async function readFragment(
  query: Query,
  id: string,
): Promise<(FragmentView & { readonly content: Buffer }) | undefined> {
  const [row] = await query<FragmentView & { content: Buffer }>(
    `SELECT ${fragmentColumns}, content FROM fragment WHERE id = $1`,
    [id],
  )
  return row
}
