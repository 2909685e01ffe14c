import { isSameAddress } from './direct-address.ts'
import type { Patient } from './patient.ts'
import type { TriggerKind } from './trigger-event.ts'

/** `once`: one push, at once. `continuous`: on every trigger. `interval`: an ISO 8601 duration, for systems without triggers. */
export type Frequency =
  | { readonly type: 'once' }
  | { readonly type: 'continuous' }
  | { readonly type: 'interval'; readonly every: string }

export interface Destination {
  readonly id: string
  readonly address: string
}

/** How the patient’s identity was established before anything may be sent (Blue Button+ transmit §A). */
export interface IdentityAssurance {
  readonly method: 'portal-login' | 'in-person' | 'known-to-provider' | 'written' | 'oral'
  /** Who verified it: a person or a system, by name or account. */
  readonly verifiedBy: string
  readonly verifiedAt: Date
}

/** The patient’s request that her record be sent (Blue Button+ transmit §B). */
export interface Authorization {
  readonly id: string
  /** Counts up with every change; each transmission remembers the version it was judged by. */
  readonly version: number
  readonly patient: Patient
  readonly destinations: readonly Destination[]
  readonly frequency: Frequency
  readonly triggers: readonly TriggerKind[]
  readonly validFrom: Date
  readonly validUntil?: Date
  readonly revokedAt?: Date
  readonly identityAssurance: IdentityAssurance
  /** Where the signed request or the portal record can be found. */
  readonly evidence?: string
  /** Whether documents marked restricted are covered; they are held otherwise. */
  readonly sensitiveData: 'excluded' | 'included'
}

/** What the patient asks for: an authorization without what storing it adds (Blue Button+ transmit §B). */
export interface AuthorizationRequest {
  readonly patient: Patient
  /** Direct addresses. */
  readonly destinations: readonly string[]
  readonly frequency: Frequency
  readonly triggers: readonly TriggerKind[]
  readonly validFrom: Date
  readonly validUntil?: Date
  readonly identityAssurance: IdentityAssurance
  readonly evidence?: string
  readonly sensitiveData: 'excluded' | 'included'
}

/** What a change may touch: how often, where to, on what, until when. Who the patient is needs a new request. */
export interface AuthorizationChange {
  readonly destinations?: readonly string[]
  readonly frequency?: Frequency
  readonly triggers?: readonly TriggerKind[]
  readonly validUntil?: Date | null
  readonly sensitiveData?: 'excluded' | 'included'
}

/** What is about to be sent, as far as the authorization has a say in it. */
export interface Disclosure {
  /** The trigger, or `request` for the one push of a `once` authorization. */
  readonly cause: TriggerKind | 'request'
  readonly occurredAt: Date
  readonly destination: string
}

export type Judgement =
  | { readonly permitted: true }
  | { readonly permitted: false; readonly code: RefusalCode; readonly because: string }

export type RefusalCode =
  | 'revoked'
  | 'not-yet-valid'
  | 'expired'
  | 'before-request'
  | 'trigger-not-covered'
  | 'destination-removed'
  | 'once-only'

/**
 * How far before the start of an authorization an event may lie and still count: a discharge is often entered hours
 * after it happened. Older events are the past, which a new request does not replay.
 */
export const eventLookbackMs = 24 * 60 * 60 * 1000

/**
 * May this be sent under this authorization at this moment? Asked at match and again at every send, retry, replay and
 * release; revocation is prospective and immediate (Blue Button+ transmit §C).
 */
export function judge(authorization: Authorization, disclosure: Disclosure, at: Date): Judgement {
  const { revokedAt, validFrom, validUntil, frequency } = authorization
  if (revokedAt !== undefined && revokedAt <= at)
    return refusal('revoked', `the authorization was revoked at ${revokedAt.toISOString()}`)
  if (at < validFrom)
    return refusal('not-yet-valid', `the authorization starts at ${validFrom.toISOString()}`)
  if (validUntil !== undefined && at >= validUntil)
    return refusal('expired', `the authorization ended at ${validUntil.toISOString()}`)
  if (
    !authorization.destinations.some((destination) =>
      isSameAddress(destination.address, disclosure.destination),
    )
  )
    return refusal('destination-removed', 'the destination is no longer part of the authorization')
  if (disclosure.cause === 'request') return { permitted: true }
  if (frequency.type === 'once')
    return refusal('once-only', 'the authorization covers one push only, not triggers')
  if (
    disclosure.cause === 'interval'
      ? frequency.type !== 'interval'
      : !authorization.triggers.includes(disclosure.cause)
  )
    return refusal(
      'trigger-not-covered',
      `the authorization does not cover the trigger “${disclosure.cause}”`,
    )
  if (disclosure.occurredAt.getTime() < validFrom.getTime() - eventLookbackMs)
    return refusal(
      'before-request',
      `it happened at ${disclosure.occurredAt.toISOString()}, before the request`,
    )
  return { permitted: true }
}

function refusal(code: RefusalCode, because: string): Judgement {
  return { permitted: false, code, because }
}
