import type { Query } from './query.ts'
import { told, toldColumns, type ToldEvent } from './stories.ts'

/** What a cancel takes back; see {@link takeBackEvents}. */
export interface Cancel extends ToldEvent {
  readonly eventId: string
  readonly cancelsVisit: boolean
}

const meantBy = `
  NOT e.cancels
  AND CASE WHEN $2::bytea IS NULL THEN e.encounter_key = $1 ELSE e.subject_key = $2 END
  AND ($4 OR e.kind = ANY ($3::text[]))`

/** Whether there is any event that the cancel can mean by its time, taken back already or not. */
async function isAnyMeant(query: Query, cancel: Cancel, toleranceMs: number): Promise<boolean> {
  const rows = await query(
    `SELECT 1 FROM trigger_event e WHERE ${meantBy} AND e.occurred_at <= $5::timestamptz + $6 * interval '1 ms' LIMIT 1`,
    [...keysOf(cancel), cancel.occurredAt, toleranceMs],
  )
  return rows.length > 0
}

function keysOf(cancel: Cancel): unknown[] {
  return [
    cancel.encounterKey,
    cancel.cancelsVisit ? null : cancel.subjectKey,
    cancel.kinds,
    cancel.cancelsVisit,
  ]
}

export interface TakenBack {
  /** Transmissions that spoke for an event taken back, and what they still speak for. */
  readonly transmissions: readonly {
    readonly id: string
    /** The latest of what is left; undefined where nothing is. */
    readonly left?: { readonly eventId: string; readonly kind: string; readonly occurredAt: Date }
  }[]
  /**
   * Unsent transmissions for later events, where the cancel names a time before all of them and no event it could mean has
   * been heard of: whether it means one of these, nobody can say.
   */
  readonly doubtful: readonly string[]
}

/**
 * Takes back every event of the visit (or document, or claim) that the cancel means: those of its kinds that happened no
 * later than it says. The stories must be held.
 */
export async function takeBackEvents(query: Query, cancel: Cancel, toleranceMs: number): Promise<TakenBack> {
  const taken = await query<{ id: string }>(
    `UPDATE trigger_event e SET taken_back_by = $7
     WHERE ${meantBy} AND e.taken_back_by IS NULL AND e.occurred_at <= $5::timestamptz + $6 * interval '1 ms'
     RETURNING e.id`,
    [...keysOf(cancel), cancel.occurredAt, toleranceMs, cancel.eventId],
  )
  if (taken.length === 0) {
    if (await isAnyMeant(query, cancel, toleranceMs)) return { transmissions: [], doubtful: [] }
    const doubtful = await query<{ id: string }>(
      `SELECT DISTINCT t.id FROM trigger_event e
       JOIN transmission_event te ON te.event_id = e.id JOIN transmission t ON t.id = te.transmission_id
       WHERE ${meantBy} AND e.taken_back_by IS NULL AND t.state IN ('waiting', 'preparing', 'sealed') ORDER BY t.id`,
      keysOf(cancel),
    )
    return { transmissions: [], doubtful: doubtful.map(({ id }) => id) }
  }
  return { doubtful: [], transmissions: await spokenFor(query, taken) }
}

/**
 * Takes back these events and no other, whatever else is told of their stories. The stories must be held.
 *
 * @param by the event that says so
 */
export async function takeEventsBack(
  query: Query,
  events: readonly string[],
  by: string,
): Promise<TakenBack['transmissions']> {
  const taken = await query<{ id: string }>(
    `UPDATE trigger_event SET taken_back_by = $2 WHERE id = ANY ($1::bigint[]) AND taken_back_by IS NULL RETURNING id`,
    [events, by],
  )
  return spokenFor(query, taken)
}

async function spokenFor(
  query: Query,
  taken: readonly { readonly id: string }[],
): Promise<TakenBack['transmissions']> {
  const rows = await query<{ id: string; event_id: string | null; kind: string; occurred_at: Date }>(
    `SELECT t.id, l.id AS event_id, l.kind, l.occurred_at
     FROM (SELECT DISTINCT transmission_id AS id FROM transmission_event WHERE event_id = ANY ($1::bigint[])) AS t
     LEFT JOIN LATERAL (
       SELECT e.id, e.kind, e.occurred_at FROM transmission_event te JOIN trigger_event e ON e.id = te.event_id
       WHERE te.transmission_id = t.id AND e.taken_back_by IS NULL ORDER BY e.occurred_at DESC, e.id LIMIT 1) AS l ON true
     ORDER BY t.id`,
    [taken.map(({ id }) => id)],
  )
  return rows.map(({ id, event_id, kind, occurred_at }) => ({
    id,
    ...(event_id !== null && { left: { eventId: event_id, kind, occurredAt: occurred_at } }),
  }))
}

/** The event that a transmission is judged by first was taken back: another one that it speaks for takes its place. */
export async function rebase(
  query: Query,
  id: string,
  left: { readonly eventId: string; readonly kind: string; readonly occurredAt: Date },
  at: Date,
): Promise<void> {
  await query(
    `UPDATE transmission SET event_id = $2, cause = $3, occurred_at = $4, changed_at = $5 WHERE id = $1
       AND NOT EXISTS (SELECT FROM trigger_event e WHERE e.id = event_id AND e.taken_back_by IS NULL)`,
    [id, left.eventId, left.kind, left.occurredAt, at],
  )
  await query(
    `INSERT INTO occurrence (transmission_id, ordinal, at, what, from_state, to_state, because)
     SELECT $1, coalesce(max(ordinal), 0) + 1, $2, 'part-taken-back', t.state, t.state, 'the source took one of its events back; others stand'
     FROM transmission t LEFT JOIN occurrence o ON o.transmission_id = t.id WHERE t.id = $1 GROUP BY t.state`,
    [id, at],
  )
}

/**
 * Transmissions of these stories that are held because a cancel might have meant them, and need not be any longer: of every
 * cancel that concerns what they still speak for, an event is known that it meant.
 *
 * @param interchangeable kinds of which one takes the place of the other
 */
export async function settledDoubts(
  query: Query,
  events: readonly ToldEvent[],
  {
    code,
    toleranceMs,
    interchangeable,
  }: { readonly code: string; readonly toleranceMs: number; readonly interchangeable: readonly string[] },
): Promise<string[]> {
  if (events.length === 0) return []
  const isAbout = (cancel: string, event: string) =>
    `(${cancel}.cancels_visit OR ${cancel}.kind = ${event}.kind OR (${cancel}.kind = ANY ($7) AND ${event}.kind = ANY ($7)))
     AND CASE WHEN ${cancel}.cancels_visit OR ${cancel}.subject_key IS NULL
           THEN ${cancel}.encounter_key = ${event}.encounter_key ELSE ${cancel}.subject_key = ${event}.subject_key END`
  const rows = await query<{ id: string }>(
    `SELECT DISTINCT t.id FROM ${told}
     JOIN trigger_event near ON near.encounter_key = told.encounter_key OR near.subject_key = told.subject_key
     JOIN transmission_event te ON te.event_id = near.id JOIN transmission t ON t.id = te.transmission_id
     WHERE t.state = 'held' AND t.code = $5 AND NOT EXISTS (
       SELECT FROM transmission_event its JOIN trigger_event e ON e.id = its.event_id
       JOIN trigger_event cancel ON cancel.cancels
         AND (cancel.encounter_key = e.encounter_key OR cancel.subject_key = e.subject_key) AND ${isAbout('cancel', 'e')}
       WHERE its.transmission_id = t.id AND e.taken_back_by IS NULL AND NOT EXISTS (
         SELECT FROM trigger_event meant WHERE NOT meant.cancels
           AND (meant.encounter_key = cancel.encounter_key OR meant.subject_key = cancel.subject_key)
           AND ${isAbout('cancel', 'meant')} AND meant.occurred_at <= cancel.occurred_at + $6 * interval '1 ms'))
     ORDER BY t.id`,
    [...toldColumns(events), code, toleranceMs, interchangeable],
  )
  return rows.map(({ id }) => id)
}

/**
 * Hands what a held transmission still speaks for to another one of the same story that has not been sealed yet.
 *
 * @returns that one; undefined where there is none
 */
export async function mergeIntoOpen(query: Query, id: string, at: Date): Promise<string | undefined> {
  const [open] = await query<{ id: string }>(
    `UPDATE transmission o SET occurred_at = greatest(o.occurred_at, h.occurred_at), changed_at = $2
     FROM transmission h WHERE h.id = $1 AND o.id = (
       SELECT t.id FROM transmission t WHERE t.encounter_key = h.encounter_key AND t.authorization_id = h.authorization_id
         AND lower(t.destination) = lower(h.destination) AND t.state IN ('waiting', 'preparing') AND t.id <> h.id
       ORDER BY t.created_at, t.id LIMIT 1)
     RETURNING o.id`,
    [id, at],
  )
  if (open === undefined) return undefined
  await query(
    `INSERT INTO transmission_event (transmission_id, event_id)
     SELECT $2, te.event_id FROM transmission_event te JOIN trigger_event e ON e.id = te.event_id
     WHERE te.transmission_id = $1 AND e.taken_back_by IS NULL ON CONFLICT DO NOTHING`,
    [id, open.id],
  )
  return open.id
}
