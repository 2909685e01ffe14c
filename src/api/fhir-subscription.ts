import { createHash, timingSafeEqual } from 'node:crypto'
import { TLSSocket } from 'node:tls'
import express, { Router, type Request } from 'express'
import type { Heard } from '../pipeline/hear-notification.ts'
import { Answer } from './problem.ts'

/** A channel that a FHIR server may notify. */
export interface NotifiedChannel {
  readonly name: string
  /** HTTP header that shows that the notification comes from the server, and what it has to say. */
  readonly header: string
  readonly secret: string
  /** @param body parsed JSON; undefined where there is none */
  readonly hear: (body: unknown) => Promise<Heard>
}

export interface SubscriptionPorts {
  readonly channel: (name: string) => NotifiedChannel | undefined
  readonly now: () => Date
  /** Mutual TLS: whoever notifies has to show a certificate of an authority that the listener trusts, too. */
  readonly needsCertificate: boolean
}

/** A full-resource Bundle with many events; what is larger is searched for instead. */
const bodyBytesMax = '2mb'
/** Notifications of one channel: a flood would make us flood the server with questions. */
const perSecondMax = 100
const burstMax = 500

/**
 * Where FHIR servers send notifications: R4 rest-hook, Backport R4 and R4B, R5; POST and PUT, with and without a body. The
 * answer is 2xx once it is noted durably. Whoever does not know the secret learns nothing, not even which channels there are.
 */
export function subscriptionRoutes({ channel, now, needsCertificate }: SubscriptionPorts): Router {
  const router = Router()
  const buckets = new Map<string, { left: number; atMs: number }>()

  router.use(express.raw({ type: () => true, limit: bodyBytesMax }))
  router.all('/:channel{/*rest}', async (request, response) => {
    if (request.method !== 'POST' && request.method !== 'PUT')
      throw new Answer({ status: 405, title: 'Notifications come by POST or PUT' })
    if (needsCertificate && !(request.socket instanceof TLSSocket && request.socket.authorized))
      throw new Answer({ status: 401, title: 'A client certificate of a trusted authority is missing' })
    const one = channel(String(request.params['channel']))
    if (one === undefined || !isSame(request.get(one.header) ?? '', one.secret))
      throw new Answer({ status: 401, title: 'The secret of the channel is missing or wrong' })
    if (!mayTake(one.name)) {
      response.set('retry-after', '5')
      throw new Answer({ status: 429, title: 'Too many notifications' })
    }
    const heard = await one.hear(bodyOf(request))
    if (heard.outcome === 'refused') throw new Answer({ status: 422, title: `Refused: ${heard.because}` })
    response.status(200).end()
  })
  return router

  function mayTake(name: string): boolean {
    const atMs = now().getTime()
    const bucket = buckets.get(name) ?? { left: burstMax, atMs }
    bucket.left = Math.min(burstMax, bucket.left + ((atMs - bucket.atMs) / 1000) * perSecondMax)
    bucket.atMs = atMs
    buckets.set(name, bucket)
    if (bucket.left < 1) return false
    bucket.left--
    return true
  }
}

/** Parsed JSON. Of XML, and of what cannot be read, it only says that something changed; a PUT names it in its path. */
function bodyOf(request: Request): unknown {
  const body: unknown = request.body
  if (Buffer.isBuffer(body) && body.length > 0)
    try {
      // Some write a byte order mark.
      return JSON.parse(body.toString('utf8').replace(/^\ufeff/, '')) as unknown
    } catch {
      return undefined
    }
  const rest: unknown = request.params['rest']
  const [resourceType, id] = Array.isArray(rest) ? (rest as string[]) : []
  return resourceType === undefined || id === undefined ? undefined : { resourceType, id }
}

/** In constant time, whatever the lengths. */
function isSame(said: string, secret: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(said), digest(secret)) && secret !== ''
}
