import type { ChannelPlan } from '../domain/channel.ts'
import { objects } from '../domain/fhir-patient.ts'
import { appendAudit, type AuditEntry } from '../store/audit.ts'
import { forgetContent, insertEvents, recordMessages, type Undecided } from '../store/decisions.ts'
import type { Query } from '../store/query.ts'
import { authorizationsOf, eventsOf, settleWaiting, type ResourceEvent } from '../store/resource-messages.ts'
import { holdStories } from '../store/stories.ts'
import { takeEventsBack } from '../store/story-cancels.ts'
import { engineEntry } from './engine-entry.ts'
import { withdrawTakenBack } from './take-back.ts'

/** A message that says: the source deleted this resource. */
export interface ResourceDeletion {
  /** `Type/id` */
  readonly resource: string
  readonly sender: string
}

const prefix = '{"resourceType":"Bundle","type":"transaction",'

/**
 * How a deletion waits for its turn behind the messages of its resource: as an export tells it (Bulk Data, `deleted`), with
 * the name of the server it came from.
 */
export function deletionContent({ resource, sender }: ResourceDeletion): Buffer {
  const entry = [{ request: { method: 'DELETE', url: resource } }]
  return Buffer.from(`${prefix}${JSON.stringify({ meta: { source: `#${sender}` }, entry }).slice(1)}`)
}

/** Only what an export kept is one: a resource of any feed is kept inside a collection. */
export function deletionIn(
  plan: ChannelPlan | undefined,
  content: Buffer | null,
): ResourceDeletion | undefined {
  if (plan?.source.type !== 'fhir-export' || content === null) return undefined
  if (content.subarray(0, prefix.length).toString('latin1') !== prefix) return undefined
  try {
    const bundle = JSON.parse(content.toString('utf8')) as { meta: { source: string }; entry: unknown }
    const [entry] = objects(bundle.entry)
    const { url } = entry!['request'] as { url: string }
    return { resource: url, sender: bundle.meta.source.slice(1) }
  } catch {
    // A line of a file that only begins like one.
    return undefined
  }
}

/**
 * Takes back what messages of the resource have told: what is unsent and speaks for nothing else is withdrawn, what has left
 * is told to the operator, what waits for a person need not any longer. A cancel of the claim would reach further: other
 * resources may tell of the same one. The lane of the resource must be held.
 *
 * @returns the outcome, for the counters
 */
export async function followDeletion(
  query: Query,
  message: Undecided,
  { resource, sender }: ResourceDeletion,
  revision: string,
  at: Date,
): Promise<{ readonly state: string; readonly outcome: string }> {
  const { id, channel } = message
  const events = await heldEvents(query, channel, sender, resource)
  const settled = await settleWaiting(query, channel, sender, resource, 'the source deleted the resource', at)
  await forgetContent(query, [message, ...settled])
  if (events.length === 0) {
    const because = 'the source deleted a resource of which nothing stands'
    await recordMessages(
      query,
      [{ id, state: 'filtered', code: 'deletion', because, cause: null, revision }],
      at,
    )
    return { state: 'filtered', outcome: 'deletion' }
  }
  const because = 'the source deleted the resource'
  await recordMessages(
    query,
    [{ id, state: 'triggered', code: null, because: null, cause: null, revision }],
    at,
  )
  const { kind } = events.at(-1)!
  const ids = await insertEvents(
    query,
    [
      {
        messageId: id,
        channel,
        kind,
        occurredAt: message.receivedAt,
        cancels: true,
        cancelsVisit: false,
        patientKeys: keysOnce(events.flatMap(({ patientKeys }) => patientKeys)),
        // Without a story of its own: it means these events and no later one.
        encounterKey: null,
        subjectKey: null,
        outcome: 'cancel',
        because,
      },
    ],
    at,
  )
  const eventId = ids.get(id)!
  const entries: AuditEntry[] = [
    engineEntry(at, 'verdict', `event:${eventId}`, {
      message: id,
      channel,
      kind,
      outcome: 'cancel',
      because,
      authorizations: [],
    }),
  ]
  const taken = await takeEventsBack(
    query,
    events.map((event) => event.id),
    eventId,
  )
  entries.push(...(await withdrawTakenBack(query, taken, because, at)))
  await appendAudit(query, entries)
  return { state: 'triggered', outcome: 'cancel' }
}

/** The events, with their stories and authorizations held: what is written about them meanwhile is waited for. */
async function heldEvents(
  query: Query,
  channel: string,
  sender: string,
  resource: string,
): Promise<ResourceEvent[]> {
  const seen = await eventsOf(query, channel, sender, resource)
  if (seen.length === 0) return []
  const keys = keysOnce(seen.flatMap(({ encounterKey, subjectKey }) => [encounterKey, subjectKey]))
  const authorizations = await authorizationsOf(
    query,
    seen.map(({ id }) => id),
  )
  await holdStories(query, keys, authorizations)
  return eventsOf(query, channel, sender, resource)
}

function keysOnce(keys: readonly (Buffer | null)[]): Buffer[] {
  const known = new Map(keys.flatMap((key) => (key === null ? [] : [[key.toString('hex'), key] as const])))
  return [...known.values()]
}
