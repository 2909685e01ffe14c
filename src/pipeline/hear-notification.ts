import type { DataSource } from 'typeorm'
import { readNotification } from '../intake/fhir-notification.ts'
import { inTransaction } from '../store/query.ts'
import { countEvents, keepHints } from '../store/subscription-hints.ts'

export interface HearPorts {
  readonly dataSource: DataSource
  readonly now: () => Date
}

export type Heard =
  | { readonly outcome: 'noted'; readonly hints: number }
  /** It speaks of another server than the one the channel was told to ask. */
  | { readonly outcome: 'refused'; readonly because: string }

/**
 * Notes durably what a server told, before it is answered. Only references are kept: whatever else stands in a notification
 * may be forged, and is fetched from the server itself. What was missed (a gap in the numbers, a server that counts anew, an
 * error) makes the whole time since the last search be searched.
 *
 * @param baseUrl of the server of the channel
 * @param body parsed JSON; undefined where there is none
 */
export async function hearNotification(
  { dataSource, now }: HearPorts,
  channel: string,
  baseUrl: string,
  body: unknown,
): Promise<Heard> {
  const { type, subscription, focuses, eventNumbers, eventsSinceStart } = readNotification(body)
  const own = focuses.map((focus) => localReference(focus, baseUrl))
  if (
    own.includes(undefined) ||
    (subscription !== undefined && localReference(subscription, baseUrl) === undefined)
  )
    return { outcome: 'refused', because: 'it names another server' }
  const at = now()
  return inTransaction(dataSource, async (query) => {
    const hints = new Set(own as string[])
    const numbers = [...eventNumbers, ...(eventsSinceStart === undefined ? [] : [eventsSinceStart])]
    let isMissing = type === 'error' || (type === 'event' && hints.size === 0)
    if (numbers.length > 0 && type !== 'handshake') {
      const last = numbers.reduce((a, b) => (b > a ? b : a))
      // A heartbeat tells how far it is: everything up to there must have been heard of.
      const first = eventNumbers.length > 0 ? eventNumbers.reduce((a, b) => (b < a ? b : a)) : last + 1n
      if (last > 0n || type === 'event')
        isMissing = (await countEvents(query, channel, subscription ?? '', { first, last }, at)) || isMissing
    }
    if (isMissing) hints.add('')
    await keepHints(query, channel, [...hints], at)
    return { outcome: 'noted', hints: hints.size }
  })
}

/** `Type/id`, where the reference is relative or below the base URL; undefined where it leads anywhere else. */
function localReference(reference: string, baseUrl: string): string | undefined {
  const base = baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`
  const relative = reference.startsWith(base) ? reference.slice(base.length) : reference
  return /^([A-Z][A-Za-z]{1,63}\/[A-Za-z0-9\-.]{1,64})(\/_history\/[A-Za-z0-9\-.]{1,64})?$/.exec(
    relative,
  )?.[1]
}
