import { createHmac } from 'node:crypto'
import type { TriggerKind } from '../domain/trigger-event.ts'
import type { Query } from './query.ts'

/** Advisory lock class of the stories: one pass at a time decides about one visit, whichever lanes its messages came by. */
const storyLocks = 7_210_004

/**
 * The blind index of a visit, a claim or a document. Channels with the same scope share visit numbers.
 *
 * @param name such as `encounter V7788`
 */
export function storyKey(blindKey: Buffer, scope: string, name: string): Buffer {
  const [kind, ...id] = name.split(' ')
  return createHmac('sha256', blindKey)
    .update(`${kind} ${scope} ${id.join(' ')}`)
    .digest()
    .subarray(0, 16)
}

/** Holds the stories alone for the rest of the transaction: nobody else tells of them, or gives their numbers to others. */
export async function lockStories(query: Query, keys: readonly Buffer[]): Promise<void> {
  if (keys.length === 0) return
  await query(
    `SELECT pg_advisory_xact_lock($1, lock) FROM (
       SELECT DISTINCT ('x' || encode(substring(key FOR 4), 'hex'))::bit(32)::int AS lock
       FROM unnest($2::bytea[]) AS key ORDER BY 1) AS locks`,
    [storyLocks, keys],
  )
}

/**
 * Holds the stories, then their authorizations, for the rest of the transaction; always in the same order. Whoever has
 * them may lock transmissions: revocations and steps lock the authorization before the transmission, too.
 */
export async function holdStories(
  query: Query,
  keys: readonly Buffer[],
  authorizationIds: readonly string[],
): Promise<void> {
  if (keys.length === 0 && authorizationIds.length === 0) return
  await lockStories(query, keys)
  await query(
    // An array first: with OR, or a subquery in its place, every authorization there is would be read.
    `SELECT FROM transmit_authorization WHERE id = ANY (ARRAY(
       SELECT unnest($2::uuid[])
       UNION SELECT t.authorization_id FROM trigger_event e
         JOIN transmission_event te ON te.event_id = e.id JOIN transmission t ON t.id = te.transmission_id
         WHERE e.encounter_key = ANY ($1::bytea[])
       UNION SELECT t.authorization_id FROM trigger_event e
         JOIN transmission_event te ON te.event_id = e.id JOIN transmission t ON t.id = te.transmission_id
         WHERE e.subject_key = ANY ($1::bytea[])))
     ORDER BY id FOR SHARE`,
    [keys, authorizationIds],
  )
}

/** An event as far as it decides whether another one is the same, or takes it back. */
export interface ToldEvent {
  readonly encounterKey: Buffer | null
  readonly subjectKey: Buffer | null
  /** Kinds that take the place of each other. */
  readonly kinds: readonly string[]
  readonly occurredAt: Date
}

/** The parameters of {@link told}. */
export const toldColumns = (events: readonly ToldEvent[]) => [
  events.map((event) => event.encounterKey),
  events.map((event) => event.subjectKey),
  events.map((event) => event.kinds.join(' ')),
  events.map((event) => event.occurredAt),
]

/** Events as rows, in the order given. */
export const told = `unnest($1::bytea[], $2::bytea[], $3::text[], $4::timestamptz[]) WITH ORDINALITY
  AS told (encounter_key, subject_key, kinds, occurred_at, n)`

/**
 * Which of the events were taken back before they arrived (replayed queues send A13 before A03): their positions.
 *
 * @param toleranceMs how much later than the cancel says an event may have happened and still be meant
 */
export async function takenBackBefore(
  query: Query,
  events: readonly ToldEvent[],
  toleranceMs: number,
): Promise<Set<number>> {
  if (events.every(({ encounterKey, subjectKey }) => (encounterKey ?? subjectKey) === null)) return new Set()
  const rows = await query<{ n: string }>(
    `SELECT n FROM ${told} WHERE EXISTS (
       SELECT FROM trigger_event cancel
       WHERE cancel.cancels AND cancel.occurred_at + $5 * interval '1 ms' >= told.occurred_at
         AND (cancel.cancels_visit OR cancel.kind = ANY (string_to_array(told.kinds, ' ')))
         AND CASE WHEN cancel.cancels_visit OR cancel.subject_key IS NULL
               THEN cancel.encounter_key = told.encounter_key ELSE cancel.subject_key = told.subject_key END
         -- Both are asked by index; the CASE above says which of them counts.
         AND (cancel.encounter_key = told.encounter_key OR cancel.subject_key = told.subject_key))`,
    [...toldColumns(events), toleranceMs],
  )
  return new Set(rows.map(({ n }) => Number(n) - 1))
}

/** What one event would send to one destination under one authorization. */
export interface Wanted extends ToldEvent {
  readonly authorizationId: string
  readonly destination: string
  /** The story that transmissions are looked up by. */
  readonly storyKey: Buffer
  readonly held: boolean
  readonly happensOnce: boolean
}

export interface StoryStanding {
  /** A transmission of the story that has not been sealed yet: the event can still become part of it. */
  readonly openId?: string
  /** The same event was told before, and is part of another transmission that stands. */
  readonly repeatOf?: { readonly id: string; readonly isUnsent: boolean }
}

/** What is there already for each of these. The stories must be held. */
export async function standingOf(query: Query, wanted: readonly Wanted[]): Promise<StoryStanding[]> {
  if (wanted.length === 0) return []
  const rows = await query<{
    open_id: string | null
    repeat_id: string | null
    repeat_unsent: boolean | null
  }>(
    `SELECT open.id AS open_id, repeat.id AS repeat_id, repeat.unsent AS repeat_unsent
     FROM ${told} JOIN unnest($5::uuid[], $6::text[], $7::bytea[], $8::boolean[], $9::boolean[]) WITH ORDINALITY
       AS w (authorization_id, destination, story_key, held, once, n) USING (n)
     LEFT JOIN LATERAL (
       SELECT t.id FROM transmission t
       WHERE t.encounter_key = w.story_key AND t.authorization_id = w.authorization_id
         AND lower(t.destination) = lower(w.destination) AND t.state NOT IN ('failed', 'withdrawn', 'cancelled')
         AND CASE WHEN w.held THEN t.state = 'held' AND t.held_from = 'waiting' ELSE t.state IN ('waiting', 'preparing') END
       ORDER BY t.created_at, t.id LIMIT 1) AS open ON true
     LEFT JOIN LATERAL (
       SELECT t.id, t.state IN ('waiting', 'preparing', 'sealed', 'held') AS unsent FROM trigger_event e
       JOIN transmission_event te ON te.event_id = e.id JOIN transmission t ON t.id = te.transmission_id
       WHERE (e.encounter_key = told.encounter_key OR e.subject_key = told.subject_key)
         AND e.kind = ANY (string_to_array(told.kinds, ' ')) AND NOT e.cancels AND e.taken_back_by IS NULL
         AND (w.once OR (e.subject_key IS NOT DISTINCT FROM told.subject_key AND e.occurred_at = told.occurred_at))
         AND t.authorization_id = w.authorization_id AND lower(t.destination) = lower(w.destination)
         AND t.state NOT IN ('failed', 'withdrawn', 'cancelled') AND t.id IS DISTINCT FROM open.id
       ORDER BY unsent, t.created_at, t.id LIMIT 1) AS repeat ON true
     ORDER BY n`,
    [
      ...toldColumns(wanted),
      wanted.map((one) => one.authorizationId),
      wanted.map((one) => one.destination),
      wanted.map((one) => one.storyKey),
      wanted.map((one) => one.held),
      wanted.map((one) => one.happensOnce),
    ],
  )
  return rows.map(({ open_id, repeat_id, repeat_unsent }) => ({
    ...(open_id !== null && { openId: open_id }),
    ...(repeat_id !== null && { repeatOf: { id: repeat_id, isUnsent: repeat_unsent === true } }),
  }))
}

/** Events become part of transmissions; what is part already stays so. */
export async function joinEvents(
  query: Query,
  pairs: readonly { readonly transmissionId: string; readonly eventId: string }[],
): Promise<void> {
  if (pairs.length === 0) return
  await query(
    `INSERT INTO transmission_event (transmission_id, event_id)
     SELECT * FROM unnest($1::uuid[], $2::bigint[]) ON CONFLICT DO NOTHING`,
    [pairs.map((pair) => pair.transmissionId), pairs.map((pair) => pair.eventId)],
  )
}

/**
 * A transmission speaks for one more event: its document must not be older than the event, and it waits for quiet again,
 * though not for ever.
 *
 * @returns when it is due now; undefined where it moved on meanwhile
 */
export async function extendTransmission(
  query: Query,
  id: string,
  event: {
    readonly eventId: string
    readonly occurredAt: Date
    readonly dueAt: Date | null
    readonly waitMsMax: number
  },
  at: Date,
): Promise<{ readonly dueAt: Date | null } | undefined> {
  const [row] = await query<{ due_at: Date | null }>(
    `UPDATE transmission SET occurred_at = greatest(occurred_at, $2), changed_at = $5,
       due_at = CASE WHEN state = 'held' THEN NULL
                WHEN state = 'waiting' THEN greatest(due_at, least($3, created_at + $4 * interval '1 ms')) ELSE $3 END
     WHERE id = $1 AND state IN ('waiting', 'preparing', 'held') RETURNING due_at`,
    [id, event.occurredAt, event.dueAt, event.waitMsMax, at],
  )
  if (row === undefined) return undefined
  await query(
    `INSERT INTO occurrence (transmission_id, ordinal, at, what, from_state, to_state, because, detail)
     SELECT $1, coalesce(max(ordinal), 0) + 1, $2, 'joined', t.state, t.state, 'another event of the same visit, document or claim',
       json_build_object('event', $3::text)
     FROM transmission t LEFT JOIN occurrence o ON o.transmission_id = t.id WHERE t.id = $1 GROUP BY t.state`,
    [id, at, event.eventId],
  )
  return { dueAt: row.due_at }
}

/**
 * Unsent transmissions of an authorization, in the order of their ids.
 *
 * @param visits only those that speak for an event of one of these; null: all
 */
export async function unsentOf(
  query: Query,
  authorizationId: string,
  visits: readonly Buffer[] | null,
): Promise<string[]> {
  const rows = await query<{ id: string }>(
    `SELECT id FROM transmission t WHERE authorization_id = $1 AND state IN ('waiting', 'preparing', 'sealed')
       AND ($2::bytea[] IS NULL OR EXISTS (
         SELECT FROM transmission_event te JOIN trigger_event e ON e.id = te.event_id
         WHERE te.transmission_id = t.id AND e.encounter_key = ANY ($2)))
     ORDER BY id`,
    [authorizationId, visits],
  )
  return rows.map(({ id }) => id)
}

/** Every event that a transmission speaks for and that was not taken back: each may be what permits it. */
export function standingEvents(
  query: Query,
  transmissionId: string,
): Promise<{ readonly kind: TriggerKind; readonly occurredAt: Date }[]> {
  return query(
    `SELECT e.kind, e.occurred_at AS "occurredAt" FROM transmission_event te JOIN trigger_event e ON e.id = te.event_id
     WHERE te.transmission_id = $1 AND e.taken_back_by IS NULL ORDER BY e.id`,
    [transmissionId],
  )
}
