import type { Disposition, TransmissionStanding, TransmissionState } from './transmission.ts'

/**
 * What is known of one fact about a transmission.
 *
 * - `yes`: somebody said so, `at` when; without `at` it follows from what was said
 * - `awaited`: the answer may still come in time
 * - `not-yet`: nothing has left that could have been answered
 * - `no`: somebody said that it is not so, or it cannot be so any more
 * - `unknown`: nobody said anything in time, which is not the same as no
 * - `not-asked`: the answer was not asked for
 */
export interface Fact {
  readonly is: 'yes' | 'awaited' | 'not-yet' | 'no' | 'unknown' | 'not-asked'
  readonly at?: Date
  /** It came after we had given up: true, and the transmission stays failed. */
  readonly isLate?: boolean
}

/** Three facts that are never one: peers’ notifications are unreliable, and silence says nothing about the step before. */
export interface ThreeFacts {
  /** The next hop took the message. */
  readonly acceptedByNextHop: Fact
  /** The recipient’s HISP has it and trusts it. */
  readonly processedByHisp: Fact
  /** It reached the recipient’s own system. */
  readonly delivered: Fact
}

export interface FactsKnown extends TransmissionStanding {
  readonly code?: string
  readonly submittedAt?: Date
  readonly processedAt?: Date
  readonly deliveredAt?: Date
  /** Answers that came after the end. */
  readonly late: readonly { readonly disposition: Disposition; readonly at: Date }[]
}

/** The three facts about a transmission, each by what is known of it alone. */
export function threeFacts(known: FactsKnown): ThreeFacts {
  const lateAt = (disposition: Disposition) => known.late.find((one) => one.disposition === disposition)?.at
  const delivered = said(known.deliveredAt) ?? late(lateAt('delivered')) ?? { is: deliveredOtherwise(known) }
  const processed = said(known.processedAt) ??
    late(lateAt('processed')) ?? { is: delivered.is === 'yes' ? 'yes' : processedOtherwise(known) }
  const accepted = said(known.submittedAt) ?? {
    is: processed.is === 'yes' || wasAnswered(known) ? 'yes' : acceptedOtherwise(known),
  }
  return { acceptedByNextHop: accepted, processedByHisp: processed, delivered }
}

function said(at: Date | undefined): Fact | undefined {
  return at === undefined ? undefined : { is: 'yes', at }
}

function late(at: Date | undefined): Fact | undefined {
  return at === undefined ? undefined : { is: 'yes', at, isLate: true }
}

/** The recipient’s side spoke, or a relay gave back what it had taken. */
function wasAnswered({ state, code }: FactsKnown): boolean {
  return state === 'failed' && (code === 'notified-failed' || code === 'relay-returned')
}

function acceptedOtherwise({ state, ambiguous, onWire }: FactsKnown): Fact['is'] {
  if (ambiguous || onWire) return 'unknown'
  return isStopped(state) || state === 'failed' ? 'no' : 'not-yet'
}

function processedOtherwise({ state, ambiguous, onWire, code }: FactsKnown): Fact['is'] {
  if (state === 'submitted') return 'awaited'
  if (state === 'failed') return isSilence(code) || ambiguous ? 'unknown' : 'no'
  if (isStopped(state)) return ambiguous ? 'unknown' : 'no'
  return ambiguous || onWire ? 'awaited' : 'not-yet'
}

function deliveredOtherwise(known: FactsKnown): Fact['is'] {
  const { state, code, deliveryRequested } = known
  if (state === 'failed' && !isSilence(code) && !known.ambiguous) return 'no'
  if (!deliveryRequested && (state === 'submitted' || state === 'processed' || isSilence(code)))
    return 'not-asked'
  return state === 'processed' ? 'awaited' : processedOtherwise(known)
}

function isStopped(state: TransmissionState): boolean {
  return state === 'withdrawn' || state === 'cancelled' || state === 'skipped'
}

function isSilence(code: string | undefined): boolean {
  return code === 'processed-timeout' || code === 'delivered-timeout'
}
