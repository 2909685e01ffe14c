import express, { Router, type Request, type Response } from 'express'
import type { HttpReceipt } from '../pipeline/receive-http.ts'
import { makeDoor, type Door, type DoorRules } from './door.ts'
import { Answer } from './problem.ts'

/** A channel that is fed by POST. */
export interface FedChannel extends Door {
  readonly bytesMax: number
  readonly take: (body: Buffer, peer: string) => Promise<HttpReceipt>
}

export interface InboundPorts extends DoorRules {
  readonly channel: (name: string) => FedChannel | undefined
}

/** An interface engine that empties its queue is not slowed down; a broken one is. */
const limits = { perSecondMax: 1000, burstMax: 5000 }

/** Where interface engines post messages: the acknowledgement is the answer, once the message is on disk. */
export function inboundRoutes(ports: InboundPorts): Router {
  const router = Router()
  const admit = makeDoor(ports, limits)

  router.all('/:channel', async (request, response) => {
    if (request.method !== 'POST') {
      response.set('allow', 'POST')
      throw new Answer({ status: 405, title: 'Messages come by POST' })
    }
    // Nothing is read from strangers.
    const channel = admit(request, response, ports.channel(String(request.params['channel'])))
    const body = await bodyOf(request, response, channel.bytesMax)
    const { status, type, content } = await channel.take(body, request.socket.remoteAddress ?? '')
    if (status >= 500) response.set('retry-after', '5')
    response.status(status)
    if (content === undefined) response.end()
    else response.type(type).end(content)
  })
  return router
}

function bodyOf(request: Request, response: Response, bytesMax: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    express.raw({ type: () => true, limit: bytesMax })(request, response, (error: unknown) => {
      if (error !== undefined) reject(error instanceof Error ? error : new Error(String(error)))
      else resolve(Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0))
    })
  })
}
