import express, { Router, type Request } from 'express'
import type { Heard } from '../pipeline/hear-notification.ts'
import { makeDoor, type Door, type DoorRules } from './door.ts'
import { Answer } from './problem.ts'

/** A channel that a FHIR server may notify. */
export interface NotifiedChannel extends Door {
  /** @param body parsed JSON; undefined where there is none */
  readonly hear: (body: unknown) => Promise<Heard>
}

export interface SubscriptionPorts extends DoorRules {
  readonly channel: (name: string) => NotifiedChannel | undefined
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
export function subscriptionRoutes(ports: SubscriptionPorts): Router {
  const router = Router()
  const admit = makeDoor(ports, { perSecondMax, burstMax })

  router.use(express.raw({ type: () => true, limit: bodyBytesMax }))
  router.all('/:channel{/*rest}', async (request, response) => {
    if (request.method !== 'POST' && request.method !== 'PUT')
      throw new Answer({ status: 405, title: 'Notifications come by POST or PUT' })
    const one = admit(request, response, ports.channel(String(request.params['channel'])))
    const heard = await one.hear(bodyOf(request))
    if (heard.outcome === 'refused') throw new Answer({ status: 422, title: `Refused: ${heard.because}` })
    response.status(200).end()
  })
  return router
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
