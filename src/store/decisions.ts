import { createHmac } from 'node:crypto'
import type { Identifier } from '../domain/patient.ts'
import { identifierKey } from '../domain/patient.ts'
import type { Query } from './query.ts'

/** A message that waits for its decision, with its bytes. */
export interface Undecided {
  readonly id: string
  readonly channel: string
  readonly receivedAt: Date
  readonly receivedOn: string
  readonly content: Buffer | null
}

/** Advisory lock class of the lanes: one decide pass per lane at a time, on any number of processes. */
const laneLocks = 7_210_002

/**
 * Takes those of the lanes that no other pass holds; they stay taken until the transaction ends. A statement of its own:
 * what the pass before committed is only seen by a snapshot taken after its lock was released.
 */
export async function holdLanes(query: Query, lanes: readonly number[]): Promise<number[]> {
  const rows = await query<{ lane: number }>(
    `SELECT lane FROM unnest($2::int[]) AS wanted (lane) WHERE pg_try_advisory_xact_lock($1, lane)`,
    [laneLocks, lanes],
  )
  return rows.map((row) => row.lane)
}

/** Whose turn it is: not the messages of channels that are paused, nor of those that are waited for ($1). */
const isDecided = `state = 'received' AND m.channel <> ALL ($1::text[])
  AND NOT EXISTS (SELECT FROM channel_wish w WHERE w.channel = m.channel AND w.wish = 'paused')`

/**
 * The next undecided messages of held lanes, in the order they were received.
 *
 * @param waiting channels whose messages are left for later
 */
export function undecidedIn(
  query: Query,
  lanes: readonly number[],
  waiting: readonly string[],
  rowsMax: number,
): Promise<Undecided[]> {
  return query<Undecided>(
    `SELECT m.id, m.channel, m.received_at AS "receivedAt", m.received_on::text AS "receivedOn", c.content
     FROM message m LEFT JOIN message_content c ON c.received_on = m.received_on AND c.message_id = m.id
     WHERE m.${isDecided} AND m.lane = ANY ($2::smallint[]) ORDER BY m.id LIMIT $3`,
    [waiting, lanes, rowsMax],
  )
}

/** Lanes with undecided messages; the safety net under the wake-ups. */
export async function lanesWaiting(query: Query, waiting: readonly string[]): Promise<number[]> {
  const rows = await query<{ lane: number }>(`SELECT DISTINCT lane FROM message m WHERE m.${isDecided}`, [
    waiting,
  ])
  return rows.map((row) => row.lane)
}

export type MessageState = 'triggered' | 'filtered' | 'quarantined'

export interface DecidedMessage {
  readonly id: string
  readonly state: MessageState
  readonly code: string | null
  /** Of what is quarantined, and of nothing else. */
  readonly cause: string | null
  readonly because: string | null
  readonly revision: string | null
}

export async function recordMessages(
  query: Query,
  decided: readonly DecidedMessage[],
  at: Date,
): Promise<void> {
  await query(
    `UPDATE message SET state = d.state, code = d.code, because = d.because, revision = d.revision, decided_at = $6, cause = d.cause
     FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $7::text[])
       AS d (id, state, code, because, revision, cause)
     WHERE message.id = d.id`,
    [
      decided.map((row) => row.id),
      decided.map((row) => row.state),
      decided.map((row) => row.code),
      decided.map((row) => row.because),
      decided.map((row) => row.revision),
      at,
      decided.map((row) => row.cause),
    ],
  )
}

export type Reopening = 'reopened' | 'unknown' | 'received' | 'triggered' | 'content-dropped'

/** A filtered or quarantined message becomes undecided again, if its bytes are still there. */
export async function reopenMessage(query: Query, messageId: string): Promise<Reopening> {
  const [message] = await query<{ state: MessageState | 'received'; has_content: boolean }>(
    `SELECT m.state, EXISTS (SELECT FROM message_content c
       WHERE c.received_on = m.received_on AND c.message_id = m.id) AS has_content
     FROM message m WHERE m.id = $1 FOR UPDATE OF m`,
    [messageId],
  )
  if (message === undefined) return 'unknown'
  if (message.state === 'received' || message.state === 'triggered') return message.state
  if (!message.has_content) return 'content-dropped'
  await query(
    `UPDATE message SET state = 'received', because = NULL, code = NULL, cause = NULL, revision = NULL, decided_at = NULL
     WHERE id = $1`,
    [messageId],
  )
  return 'reopened'
}

/** Takes the content of messages away that concern nobody who asked for anything. */
export async function forgetContent(
  query: Query,
  messages: readonly { id: string; receivedOn: string }[],
): Promise<void> {
  if (messages.length === 0) return
  await query(
    `DELETE FROM message_content USING unnest($1::date[], $2::bigint[]) AS gone (received_on, message_id)
     WHERE message_content.received_on = gone.received_on AND message_content.message_id = gone.message_id`,
    [messages.map((message) => message.receivedOn), messages.map((message) => message.id)],
  )
}

export interface NewEvent {
  readonly messageId: string
  readonly channel: string
  readonly kind: string
  readonly occurredAt: Date
  readonly cancels: boolean
  /** The whole visit, not one kind of event. */
  readonly cancelsVisit: boolean
  readonly patientKeys: readonly Buffer[]
  readonly encounterKey: Buffer | null
  readonly subjectKey: Buffer | null
  readonly outcome:
    'matched' | 'not-permitted' | 'held' | 'no-authorization' | 'cancel' | 'cancelled' | 'repeat'
  readonly because: string
}

/** @returns event id by message id */
export async function insertEvents(
  query: Query,
  events: readonly NewEvent[],
  at: Date,
): Promise<Map<string, string>> {
  if (events.length === 0) return new Map()
  const rows = await query<{ id: string; message_id: string }>(
    `INSERT INTO trigger_event (message_id, channel, kind, occurred_at, cancels, patient_keys, encounter_key, outcome, because, decided_at,
       subject_key, cancels_visit)
     SELECT message_id, channel, kind, occurred_at, cancels,
       CASE WHEN keys = '' THEN '{}' ELSE (SELECT array_agg(decode(key, 'hex')) FROM unnest(string_to_array(keys, ',')) AS key) END,
       encounter_key, outcome, because, $10, subject_key, cancels_visit
     FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::boolean[], $6::text[], $7::bytea[], $8::text[], $9::text[],
       $11::bytea[], $12::boolean[])
       AS fresh (message_id, channel, kind, occurred_at, cancels, keys, encounter_key, outcome, because, subject_key, cancels_visit)
     RETURNING id, message_id`,
    [
      events.map((event) => event.messageId),
      events.map((event) => event.channel),
      events.map((event) => event.kind),
      events.map((event) => event.occurredAt),
      events.map((event) => event.cancels),
      events.map((event) => event.patientKeys.map((key) => key.toString('hex')).join(',')),
      events.map((event) => event.encounterKey),
      events.map((event) => event.outcome),
      events.map((event) => event.because),
      at,
      events.map((event) => event.subjectKey),
      events.map((event) => event.cancelsVisit),
    ],
  )
  return new Map(rows.map((row) => [row.message_id, row.id]))
}

export interface NewVerdict {
  readonly eventId: string
  readonly authorizationId: string
  readonly authorizationVersion: number
  readonly outcome: 'matched' | 'not-permitted' | 'held'
  readonly code: string
  readonly because: string
}

export async function insertVerdicts(query: Query, verdicts: readonly NewVerdict[], at: Date): Promise<void> {
  if (verdicts.length === 0) return
  await query(
    `INSERT INTO verdict (event_id, authorization_id, authorization_version, outcome, code, because, at)
     SELECT *, $7::timestamptz FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[])`,
    [
      verdicts.map((verdict) => verdict.eventId),
      verdicts.map((verdict) => verdict.authorizationId),
      verdicts.map((verdict) => verdict.authorizationVersion),
      verdicts.map((verdict) => verdict.outcome),
      verdicts.map((verdict) => verdict.code),
      verdicts.map((verdict) => verdict.because),
      at,
    ],
  )
}

/**
 * Blind indexes: what somebody who knows the identifier can find again, and nobody can read.
 *
 * @param blindKey the installation’s own key, 32 bytes
 */
export function patientKey(blindKey: Buffer, identifier: Identifier): Buffer {
  return createHmac('sha256', blindKey)
    .update(`patient ${identifierKey(identifier)}`)
    .digest()
    .subarray(0, 16)
}

export async function readBlindKey(query: Query): Promise<Buffer> {
  const [row] = await query<{ blind_key: Buffer }>('SELECT blind_key FROM installation')
  if (row === undefined) throw new Error('the database has no installation row: run `bluepost migrate`')
  return row.blind_key
}
