import type { Disclosure } from '../domain/authorization.ts'
import type { FailureCode } from '../domain/failure.ts'
import {
  advance,
  isFinal,
  type Advance,
  type Occurrence,
  type TransmissionStanding,
  type TransmissionState,
} from '../domain/transmission.ts'
import type { TraceStep } from '../domain/trust-verdict.ts'
import type { Query } from './query.ts'

/** A transmission as stored: where it stands, and what is known about its way. */
export interface Transmission extends TransmissionStanding {
  readonly id: string
  readonly authorizationId: string
  readonly authorizationVersion: number
  readonly destination: string
  readonly cause: Disclosure['cause']
  readonly eventId?: string
  readonly occurredAt: Date
  readonly code?: string
  readonly because?: string
  readonly attempts: number
  readonly firstAttemptAt?: Date
  readonly dueAt?: Date
  readonly messageId?: string
  readonly documentId?: string
  readonly trace?: readonly TraceStep[]
  readonly createdAt: Date
  readonly sealedAt?: Date
  readonly firstSentAt?: Date
  readonly submittedAt?: Date
  readonly processedAt?: Date
  readonly deliveredAt?: Date
  readonly endedAt?: Date
}

/** What may be written along with a move. */
export interface Circumstances {
  readonly code?: FailureCode | string
  readonly because?: string
  readonly detail?: unknown
  readonly dueAt?: Date | null
  readonly attempts?: number
  readonly firstAttemptAt?: Date | null
  readonly messageId?: string
  readonly documentId?: string
  readonly trace?: readonly TraceStep[]
  readonly authorizationVersion?: number
}

/** A new transmission; the first state is `waiting`, or `held` where identity is in doubt. */
export interface NewTransmission {
  readonly id: string
  readonly authorizationId: string
  readonly authorizationVersion: number
  readonly destination: string
  readonly cause: Disclosure['cause']
  readonly eventId: string | null
  readonly occurredAt: Date
  readonly state: 'waiting' | 'held'
  readonly code: string | null
  readonly because: string | null
  readonly dueAt: Date | null
  readonly encounterKey: Buffer | null
  readonly deliveryRequested: boolean
}

/**
 * Inserts transmissions; one that exists already (the step ran before) is left as it is.
 *
 * @returns the ids that are really new
 */
export async function insertTransmissions(
  query: Query,
  rows: readonly NewTransmission[],
  at: Date,
): Promise<Set<string>> {
  if (rows.length === 0) return new Set()
  const inserted = await query<{ id: string }>(
    `INSERT INTO transmission (id, authorization_id, authorization_version, destination, cause, event_id, occurred_at, state,
       held_from, code, because, due_at, encounter_key, delivery_requested, created_at, changed_at)
     SELECT id, authorization_id, authorization_version, destination, cause, event_id, occurred_at, state,
       CASE WHEN state = 'held' THEN 'waiting' END, code, because, due_at, encounter_key, delivery_requested, $14, $14
     FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[], $8::text[],
       $9::text[], $10::text[], $11::timestamptz[], $12::bytea[], $13::boolean[])
       AS fresh (id, authorization_id, authorization_version, destination, cause, event_id, occurred_at, state,
         code, because, due_at, encounter_key, delivery_requested)
     -- Always in the same order: two that insert the same ones wait for each other, and not in a circle.
     ORDER BY authorization_id, lower(destination), cause, occurred_at, encounter_key
     ON CONFLICT DO NOTHING RETURNING id`,
    [
      rows.map((row) => row.id),
      rows.map((row) => row.authorizationId),
      rows.map((row) => row.authorizationVersion),
      rows.map((row) => row.destination),
      rows.map((row) => row.cause),
      rows.map((row) => row.eventId),
      rows.map((row) => row.occurredAt),
      rows.map((row) => row.state),
      rows.map((row) => row.code),
      rows.map((row) => row.because),
      rows.map((row) => row.dueAt),
      rows.map((row) => row.encounterKey),
      rows.map((row) => row.deliveryRequested),
      at,
    ],
  )
  const ids = inserted.map((row) => row.id)
  await query(
    `INSERT INTO transmission_event (transmission_id, event_id)
     SELECT id, event_id FROM transmission WHERE id = ANY ($1::uuid[]) AND event_id IS NOT NULL`,
    [ids],
  )
  await query(
    `INSERT INTO occurrence (transmission_id, ordinal, at, what, from_state, to_state, code, because)
     SELECT id, 1, $2, 'created', '', state, code, because FROM transmission WHERE id = ANY ($1::uuid[])`,
    [ids, at],
  )
  return new Set(ids)
}

/** One transmission, locked until the transaction ends. */
export async function lockTransmission(query: Query, id: string): Promise<Transmission | undefined> {
  const [row] = await query<TransmissionRow>('SELECT * FROM transmission WHERE id = $1 FOR UPDATE', [id])
  return row === undefined ? undefined : fromRow(row)
}

export async function readTransmission(query: Query, id: string): Promise<Transmission | undefined> {
  const [row] = await query<TransmissionRow>('SELECT * FROM transmission WHERE id = $1', [id])
  return row === undefined ? undefined : fromRow(row)
}

export async function readTransmissions(query: Query, ids: readonly string[]): Promise<Transmission[]> {
  const rows = await query<TransmissionRow>(
    'SELECT * FROM transmission WHERE id = ANY ($1::uuid[]) ORDER BY created_at, id',
    [ids],
  )
  return rows.map(fromRow)
}

/**
 * The others that the same event made under the same authorization, one per destination, which are due and not sealed
 * yet: what may travel in the same envelope.
 */
export function companionsOf(
  query: Query,
  transmission: Transmission,
  at: Date,
): Promise<{ id: string; destination: string }[]> {
  return query<{ id: string; destination: string }>(
    `SELECT id, destination FROM transmission
     WHERE authorization_id = $1 AND state IN ('waiting', 'preparing') AND cause = $2 AND occurred_at = $3
       AND event_id IS NOT DISTINCT FROM $4::bigint AND id <> $5 AND due_at <= $6
     ORDER BY lower(destination)`,
    [
      transmission.authorizationId,
      transmission.cause,
      transmission.occurredAt,
      transmission.eventId ?? null,
      transmission.id,
      at,
    ],
  )
}

/** A move as it was written: what the state machine said, and the transmission as it stands afterwards. */
export interface Recorded {
  readonly advance: Advance
  readonly after: Transmission
}

/**
 * Asks the state machine and writes down what it says. The transmission must be locked in this transaction; the caller
 * acts only where the answer is `moved`.
 */
export async function recordOccurrence(
  query: Query,
  transmission: Transmission,
  occurrence: Occurrence,
  at: Date,
  circumstances: Circumstances = {},
): Promise<Recorded> {
  const result = advance(transmission, occurrence)
  const to: TransmissionStanding = result.outcome === 'moved' ? result.to : transmission
  await query(
    `INSERT INTO occurrence (transmission_id, ordinal, at, what, from_state, to_state, code, because, detail)
     SELECT $1, coalesce(max(ordinal), 0) + 1, $2, $3, $4, $5, $6, $7, $8 FROM occurrence WHERE transmission_id = $1`,
    [
      transmission.id,
      at,
      describe(occurrence, result),
      transmission.state,
      to.state,
      circumstances.code ?? null,
      circumstances.because ?? (result.outcome === 'moved' ? null : result.because),
      circumstances.detail === undefined ? null : JSON.stringify(circumstances.detail),
    ],
  )
  if (result.outcome !== 'moved')
    return { advance: result, after: await noteFact(query, transmission, occurrence, result, at) }
  const ended = isFinal(to)
  const [row] = await query<TransmissionRow>(
    `UPDATE transmission SET state = $2, held_from = $3, ambiguous = $4, on_wire = $5, changed_at = $6,
       code = $7, because = $8,
       due_at = CASE WHEN $19 OR $2 = 'held' THEN NULL WHEN $9 THEN $10::timestamptz ELSE due_at END,
       attempts = coalesce($11, attempts),
       first_attempt_at = CASE WHEN $12 THEN $13::timestamptz ELSE first_attempt_at END,
       message_id = coalesce($14, message_id), document_id = coalesce($15, document_id), trace = coalesce($16::jsonb, trace),
       authorization_version = coalesce($17, authorization_version),
       sealed_at = CASE WHEN $18 = 'sealed' THEN $6 ELSE sealed_at END,
       -- The waits for answers count from here: an attempt that certainly failed does not begin them, and a retry begins anew.
       first_sent_at = CASE WHEN $18 = 'handing-over' THEN coalesce(first_sent_at, $6)
         WHEN $18 = 'retried' OR ($18 = 'attempt-failed' AND NOT $4) THEN NULL ELSE first_sent_at END,
       submitted_at = CASE WHEN $18 = 'submitted' THEN $6 WHEN $18 <> 'retried' THEN submitted_at END,
       processed_at = CASE WHEN $2 = 'processed' THEN coalesce(processed_at, $6) WHEN $18 <> 'retried' THEN processed_at END,
       delivered_at = CASE WHEN $2 = 'delivered' THEN coalesce(delivered_at, $6) ELSE delivered_at END,
       ended_at = CASE WHEN $19 THEN $6 END
     WHERE id = $1 RETURNING *`,
    [
      transmission.id,
      to.state,
      to.heldFrom ?? null,
      to.ambiguous,
      to.onWire,
      at,
      circumstances.code ?? null,
      circumstances.because ?? null,
      circumstances.dueAt !== undefined,
      circumstances.dueAt ?? null,
      circumstances.attempts ?? null,
      circumstances.firstAttemptAt !== undefined,
      circumstances.firstAttemptAt ?? null,
      circumstances.messageId ?? null,
      circumstances.documentId ?? null,
      circumstances.trace === undefined ? null : JSON.stringify(circumstances.trace),
      circumstances.authorizationVersion ?? null,
      occurrence.what,
      ended,
    ],
  )
  return { advance: result, after: fromRow(row!) }
}

/**
 * The next hop’s 250 and the HISP’s processed are facts of their own: where a later one overtook them they move nothing,
 * and their moment is written down all the same.
 */
async function noteFact(
  query: Query,
  transmission: Transmission,
  occurrence: Occurrence,
  result: Advance,
  at: Date,
): Promise<Transmission> {
  if (result.outcome !== 'recorded' || result.because !== 'already-known') return transmission
  const column =
    occurrence.what === 'submitted'
      ? 'submitted_at'
      : occurrence.what === 'notified' && occurrence.disposition === 'processed'
        ? 'processed_at'
        : undefined
  if (column === undefined) return transmission
  const [row] = await query<TransmissionRow>(
    `UPDATE transmission SET ${column} = coalesce(${column}, $2) WHERE id = $1 RETURNING *`,
    [transmission.id, at],
  )
  return fromRow(row!)
}

function describe(occurrence: Occurrence, result: Advance): string {
  const what = occurrence.what === 'notified' ? `notified-${occurrence.disposition}` : occurrence.what
  return result.outcome === 'moved' ? what : `${what} (${result.outcome})`
}

interface TransmissionRow {
  id: string
  authorization_id: string
  authorization_version: number
  destination: string
  cause: Disclosure['cause']
  event_id: string | null
  occurred_at: Date
  state: TransmissionState
  held_from: 'waiting' | 'preparing' | 'sealed' | null
  ambiguous: boolean
  on_wire: boolean
  delivery_requested: boolean
  code: string | null
  because: string | null
  attempts: number
  first_attempt_at: Date | null
  due_at: Date | null
  message_id: string | null
  document_id: string | null
  trace: readonly TraceStep[] | null
  created_at: Date
  sealed_at: Date | null
  first_sent_at: Date | null
  submitted_at: Date | null
  processed_at: Date | null
  delivered_at: Date | null
  ended_at: Date | null
}

function fromRow(row: TransmissionRow): Transmission {
  return {
    id: row.id,
    authorizationId: row.authorization_id,
    authorizationVersion: row.authorization_version,
    destination: row.destination,
    cause: row.cause,
    occurredAt: row.occurred_at,
    state: row.state,
    ambiguous: row.ambiguous,
    onWire: row.on_wire,
    deliveryRequested: row.delivery_requested,
    attempts: row.attempts,
    createdAt: row.created_at,
    ...present({
      eventId: row.event_id,
      heldFrom: row.held_from,
      code: row.code,
      because: row.because,
      firstAttemptAt: row.first_attempt_at,
      dueAt: row.due_at,
      messageId: row.message_id,
      documentId: row.document_id,
      trace: row.trace,
      sealedAt: row.sealed_at,
      firstSentAt: row.first_sent_at,
      submittedAt: row.submitted_at,
      processedAt: row.processed_at,
      deliveredAt: row.delivered_at,
      endedAt: row.ended_at,
    }),
  }
}

type Present<Row> = { [Column in keyof Row]?: NonNullable<Row[Column]> }

/** Drops the columns that are NULL: absent in the domain is absent, not null. */
function present<Row extends Record<string, unknown>>(row: Row): Present<Row> {
  return Object.fromEntries(
    Object.entries(row).filter(([, value]) => value !== null && value !== undefined),
  ) as Present<Row>
}
