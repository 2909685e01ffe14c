import type { FailureCode } from '../domain/failure.ts'
import type { TransmissionStanding } from '../domain/transmission.ts'

/** How long to wait for the recipient’s side, each in milliseconds from the first hand-over. */
export interface NotificationWaits {
  /** T1: until the recipient’s HISP must have said processed. */
  readonly processedWithinMs: number
  /** T2: until it must have said dispatched, where that was asked for. */
  readonly deliveredWithinMs: number
}

/** The next moment at which a transmission is judged for want of an answer. */
export interface Deadline {
  readonly dueAt: Date
  /** What must have come by then. */
  readonly awaiting: 'processed' | 'delivered'
  /** What to record when it has not. */
  readonly code: Extract<FailureCode, 'processed-timeout' | 'delivered-timeout'>
}

/**
 * What is awaited next, and until when; undefined where nothing is: not handed over yet, or at its end. Both times count from
 * the first hand-over, and no later event resets them, neither a resend nor a processed MDN (the RI’s
 * DecayingTimeoutCondition). A dispatched MDN is awaited only where it was requested (Implementation Guide for Delivery
 * Notification §1.3); “in most HISPs, this timeout is 60 minutes” (DirectTrust accreditation test guide).
 *
 * @param firstSentAt when the bytes may have left for the first time, an ambiguous attempt included
 */
export function nextDeadline(
  standing: Pick<TransmissionStanding, 'state' | 'deliveryRequested'>,
  firstSentAt: Date,
  { processedWithinMs, deliveredWithinMs }: NotificationWaits,
): Deadline | undefined {
  const after = (waitMs: number) => new Date(firstSentAt.getTime() + waitMs)
  if (standing.state === 'submitted')
    return { dueAt: after(processedWithinMs), awaiting: 'processed', code: 'processed-timeout' }
  if (standing.state === 'processed' && standing.deliveryRequested)
    // A T2 below T1 would fall due before the step it follows.
    return {
      dueAt: after(Math.max(processedWithinMs, deliveredWithinMs)),
      awaiting: 'delivered',
      code: 'delivered-timeout',
    }
  return undefined
}
