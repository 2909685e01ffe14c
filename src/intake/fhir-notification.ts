import { objects, text } from '../domain/fhir-patient.ts'

/** What a notification says. A hint only: what is in it is fetched again from the server of the settings. */
export interface FhirNotification {
  readonly type: 'handshake' | 'heartbeat' | 'event' | 'error'
  /** As the server writes its reference, such as `Subscription/7`. */
  readonly subscription?: string
  /** References to what changed, such as `Encounter/7`; none where the server does not say what. */
  readonly focuses: readonly string[]
  /** The numbers of the events in it, in the order given. */
  readonly eventNumbers: readonly bigint[]
  /** Events since the subscription began. */
  readonly eventsSinceStart?: bigint
}

type Json = Readonly<Record<string, unknown>>

/** More events in one notification than this are not looked at one by one: the server is searched. */
const focusesMax = 1000

/**
 * Reads every shape of notification: an empty body and plain resources (R4 rest-hook), Bundles with Parameters (Backport R4)
 * or SubscriptionStatus (R4B, R5, and the ballots before them), messages (`$process-message`). What cannot be read says
 * only that something changed; it never fails.
 *
 * @param body parsed JSON; undefined where there is none
 */
export function readNotification(body: unknown): FhirNotification {
  const somethingChanged: FhirNotification = { type: 'event', focuses: [], eventNumbers: [] }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return somethingChanged
  const resource = body as Json
  if (resource['resourceType'] !== 'Bundle') {
    const focus = referenceTo(resource)
    return focus === undefined ? somethingChanged : { ...somethingChanged, focuses: [focus] }
  }
  const entries = objects(resource['entry'])
  const resources = entries.flatMap((entry) => objects([entry['resource']]))
  const [first, ...others] = resources
  switch (first?.['resourceType']) {
    case 'Parameters':
      return fromStatus(statusOfParameters(first), entries, others)
    case 'SubscriptionStatus':
      return fromStatus(first, entries, others)
    case 'MessageHeader':
      // A focus within the message (urn:uuid) has no address to ask for it again: the server is searched.
      return {
        ...somethingChanged,
        focuses: focusesOf(
          objects(first['focus'])
            .flatMap(referenceIn)
            .filter((reference) => !reference.startsWith('urn:')),
        ),
      }
    default:
      return somethingChanged
  }
}

/** Backport R4: the same facts as named parts, each with a value of some type. */
function statusOfParameters(parameters: Json): Json {
  const parts = objects(parameters['parameter'])
  const value = (named: readonly Json[], name: string): unknown => {
    const part = named.find((one) => one['name'] === name)
    const key = part && Object.keys(part).find((one) => one.startsWith('value'))
    return key === undefined ? undefined : part![key]
  }
  return {
    type: value(parts, 'type'),
    subscription: value(parts, 'subscription'),
    eventsSinceSubscriptionStart: value(parts, 'events-since-subscription-start'),
    notificationEvent: parts
      .filter((part) => part['name'] === 'notification-event')
      .map((part) => {
        const inside = objects(part['part'])
        return { eventNumber: value(inside, 'event-number'), focus: value(inside, 'focus') }
      }),
    error: parts.filter((part) => part['name'] === 'error'),
  }
}

function fromStatus(status: Json, entries: readonly Json[], others: readonly Json[]): FhirNotification {
  const events = objects(status['notificationEvent'])
  const named = events.flatMap((event) => referenceIn(event['focus']))
  // Ballots before R5 had no events in the status; the focus is the first of the other entries then.
  const beside =
    others.length > 0 ? others.flatMap((one) => referenceTo(one) ?? []) : urlsOf(entries.slice(1))
  const since = bigintOf(status['eventsSinceSubscriptionStart'])
  const subscription = referenceIn(status['subscription'])[0]
  const hasError = objects(status['error']).length > 0 || status['status'] === 'error'
  const type = text(status['type']) ?? text(status['notificationType'])
  return {
    type:
      type === 'handshake' || type === 'heartbeat'
        ? type
        : hasError && events.length === 0
          ? 'error'
          : 'event',
    focuses: focusesOf(named.length > 0 ? named : type === 'handshake' ? [] : beside),
    eventNumbers: events.flatMap((event) => bigintOf(event['eventNumber']) ?? []),
    ...(since !== undefined && { eventsSinceStart: since }),
    ...(subscription !== undefined && { subscription }),
  }
}

/** `{ reference }`; some servers write the text alone. */
function referenceIn(value: unknown): string[] {
  const reference = text(value) ?? text((value as { reference?: unknown } | null | undefined)?.reference)
  return reference === undefined ? [] : [reference]
}

function referenceTo(resource: Json): string | undefined {
  const [type, id] = [text(resource['resourceType']), text(resource['id'])]
  return type === undefined || id === undefined ? undefined : `${type}/${id}`
}

function urlsOf(entries: readonly Json[]): string[] {
  return entries.flatMap((entry) => text(entry['fullUrl']) ?? [])
}

function focusesOf(references: readonly string[]): string[] {
  const distinct = [...new Set(references)]
  return distinct.length > focusesMax ? [] : distinct
}

/** 64 bits do not fit a JSON number, so R4 and R5 write text; others write a number all the same. */
function bigintOf(value: unknown): bigint | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined
  return typeof value === 'string' && /^\d{1,19}$/.test(value) ? BigInt(value) : undefined
}
