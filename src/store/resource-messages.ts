import type { Query } from './query.ts'

/** The messages of a resource `Type/id`, by the index `message_resource`; `ofResource` names its column. */
const messagesOf = (ofResource: string) => `
  m.channel = $1 AND m.sender = $2 AND m.control_id LIKE '%/\\_history/%'
  AND m.control_id ~>=~ (${ofResource} || '/_history/') AND m.control_id ~<~ (${ofResource} || '/_history0')`

/** The lanes that messages of these resources went; a resource that was never kept is left out. */
export function lanesOf(
  query: Query,
  channel: string,
  sender: string,
  resources: readonly string[],
): Promise<{ readonly resource: string; readonly lane: number }[]> {
  return query(
    `SELECT DISTINCT r.resource, m.lane FROM unnest($3::text[]) AS r (resource) JOIN message m ON ${messagesOf('r.resource')}
     ORDER BY r.resource, m.lane`,
    [channel, sender, resources],
  )
}

export interface ResourceEvent {
  readonly id: string
  readonly kind: string
  readonly patientKeys: readonly Buffer[]
  readonly encounterKey: Buffer | null
  readonly subjectKey: Buffer | null
}

/** What messages of the resource have told and nobody has taken back. */
export function eventsOf(
  query: Query,
  channel: string,
  sender: string,
  resource: string,
): Promise<ResourceEvent[]> {
  return query(
    `SELECT e.id, e.kind, e.patient_keys AS "patientKeys", e.encounter_key AS "encounterKey", e.subject_key AS "subjectKey"
     FROM message m JOIN trigger_event e ON e.message_id = m.id
     WHERE ${messagesOf('$3::text')} AND NOT e.cancels AND e.taken_back_by IS NULL ORDER BY e.id`,
    [channel, sender, resource],
  )
}

/** The authorizations that transmissions of these events go by. */
export async function authorizationsOf(query: Query, events: readonly string[]): Promise<string[]> {
  const rows = await query<{ id: string }>(
    `SELECT DISTINCT t.authorization_id AS id FROM transmission_event te JOIN transmission t ON t.id = te.transmission_id
     WHERE te.event_id = ANY ($1::bigint[])`,
    [events],
  )
  return rows.map(({ id }) => id)
}

/** Messages of the resource that wait for a person need not wait any longer. */
export function settleWaiting(
  query: Query,
  channel: string,
  sender: string,
  resource: string,
  because: string,
  at: Date,
): Promise<{ readonly id: string; readonly receivedOn: string }[]> {
  return query(
    `UPDATE message m SET state = 'filtered', code = 'deleted', because = $4, decided_at = $5
     WHERE ${messagesOf('$3::text')} AND m.state = 'quarantined' RETURNING m.id, m.received_on::text AS "receivedOn"`,
    [channel, sender, resource, because, at],
  )
}
