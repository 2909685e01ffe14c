import { failureOf, isFailureCode } from './failure.ts'

/** What the sender’s side is told when a transmission has failed: a delivery status in the words of RFC 3464. */
export interface FailureNotice {
  readonly at: Date
  readonly recipient: string
  /** RFC 3463, with the .NET reference implementation’s details for what only Direct knows. */
  readonly status: string
  readonly code: string
  readonly because: string
  readonly advice: string
  /** Of the message that failed, with its angle brackets; undefined where none was made. */
  readonly originalMessageId?: string
}

/** RFC 3463 §3.6: the delivery could not be made, and nothing more exact is known. */
const otherStatus = '5.5.0'

/**
 * The notice of one failure.
 *
 * - 5.7.31 no usable certificate · 5.7.11 none that is trusted
 * - 5.4.71 no processed notification in time · 5.4.72 no dispatched one
 * - 5.5.0 could not be delivered
 */
export function failureNotice(
  transmission: { readonly destination: string; readonly messageId?: string },
  failure: { readonly at: Date; readonly code: string | null; readonly because: string | null },
): FailureNotice {
  const row = failure.code !== null && isFailureCode(failure.code) ? failureOf(failure.code) : undefined
  return {
    at: failure.at,
    recipient: transmission.destination,
    status: row?.status ?? otherStatus,
    code: failure.code ?? 'failed',
    because: failure.because ?? 'it failed',
    advice: row?.advice ?? 'Read the transmission’s story.',
    ...(transmission.messageId === undefined ? {} : { originalMessageId: transmission.messageId }),
  }
}
