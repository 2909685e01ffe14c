import { createHash, timingSafeEqual } from 'node:crypto'
import { TLSSocket } from 'node:tls'
import type { Request, Response } from 'express'
import { Answer } from './problem.ts'

/** What a machine has to show that feeds a channel. */
export interface Door {
  /** Of the channel. */
  readonly name: string
  /** An HTTP header, and what it has to say. */
  readonly header: string
  readonly secret: string
}

export interface DoorRules {
  readonly now: () => Date
  /** Mutual TLS: a certificate of an authority that the listener trusts has to be shown, too. */
  readonly needsCertificate: boolean
}

/**
 * Lets in who shows the secret of the channel, no more often than `perSecondMax` (and `burstMax` at once). Whoever does not know
 * it learns nothing, not even which channels there are.
 *
 * @returns a check that throws Answer 401 or 429
 */
export function makeDoor(
  { now, needsCertificate }: DoorRules,
  { perSecondMax, burstMax }: { readonly perSecondMax: number; readonly burstMax: number },
): <Opened extends Door>(request: Request, response: Response, door: Opened | undefined) => Opened {
  const buckets = new Map<string, { left: number; atMs: number }>()

  return (request, response, door) => {
    if (needsCertificate && !(request.socket instanceof TLSSocket && request.socket.authorized))
      throw new Answer({ status: 401, title: 'A client certificate of a trusted authority is missing' })
    if (door === undefined || !isSame(request.get(door.header) ?? '', door.secret))
      throw new Answer({ status: 401, title: 'The secret of the channel is missing or wrong' })
    if (!mayTake(door.name)) {
      response.set('retry-after', '5')
      throw new Answer({ status: 429, title: 'Too many at once' })
    }
    return door
  }

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

/** In constant time, whatever the lengths. */
function isSame(said: string, secret: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(said), digest(secret)) && secret !== ''
}
