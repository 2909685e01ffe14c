/**
 * The only place that knows what may be tried again.
 *
 * - transient: nothing left the house and the same attempt may succeed later
 * - ambiguous: the document may have left; only the same bytes with the same Message-ID may follow
 * - permanent: trying again cannot help until somebody changes something
 * - held: a person has to look at it
 * - skipped: there is nothing to send, and nothing is wrong
 */
export type FailureClass = 'transient' | 'ambiguous' | 'permanent' | 'held' | 'skipped'

interface FailureRow {
  readonly class: FailureClass
  /** What the analyst or operator reads: what to do about it. */
  readonly advice: string
  /** RFC 3463 status for the local failure notice, where the field has one (.NET reference implementation's codes). */
  readonly status?: string
}

const table = {
  'document-missing': {
    class: 'transient',
    advice:
      'The FHIR server has no clinical document for this patient yet; it is asked again until the deadline.',
  },
  'document-stale': {
    class: 'transient',
    advice: 'The newest document is older than the event; the server is asked again until the deadline.',
  },
  'document-overdue': {
    class: 'held',
    advice:
      'No fresh document appeared before the deadline. Check the document workflow, then release or withdraw.',
  },
  'document-refused': {
    class: 'held',
    advice:
      'The document did not pass the gate. Read the reason, correct the source, then release or withdraw.',
  },
  'document-unchanged': {
    class: 'skipped',
    advice:
      'This destination has this very document, or a newer one, already; nothing was sent, and nothing has to be done.',
  },
  'document-forgotten': {
    class: 'held',
    advice:
      'The message that brought the document is past its retention. Have it sent again, then withdraw this one; or raise retention.content of the channel.',
  },
  'document-identity': {
    class: 'held',
    advice: 'The document is not provably about the patient of the authorization. A person has to decide.',
  },
  'patient-unknown': {
    class: 'held',
    advice:
      'The FHIR server does not know this patient by any identifier of the authorization. Check the identifiers.',
  },
  'fhir-unavailable': { class: 'transient', advice: 'The FHIR server did not answer; it is asked again.' },
  'fhir-refused': {
    class: 'held',
    advice: 'The FHIR server refused the request. Check its address, credentials and scopes, then release.',
  },
  'discovery-unavailable': {
    class: 'transient',
    // Given up for want of an answer, there is no certificate to use either (DCDT D12).
    status: '5.7.31',
    advice:
      'DNS or LDAP did not answer for this domain; it is asked again. This is not the same as “no certificate”.',
  },
  'recipient-no-certificate': {
    class: 'permanent',
    status: '5.7.31',
    advice: 'No certificate is published for this Direct address. Ask the receiving HISP, then retry.',
  },
  'recipient-untrusted': {
    class: 'permanent',
    status: '5.7.11',
    advice:
      'The certificate found does not chain to an anchor you trust, or is not valid. `bluepost certs` shows each step.',
  },
  'revocation-unavailable': {
    class: 'transient',
    status: '5.7.11',
    advice:
      'Whether the recipient’s certificate is good could not be found out: a place that publishes its issuer or its revocation did not answer, and is asked again. Nothing is sent before.',
  },
  'signing-key-missing': {
    class: 'held',
    advice:
      'No usable signing certificate is configured for the data holder’s address. `bluepost check` names the reason.',
  },
  'key-unavailable': {
    class: 'transient',
    advice:
      'The device with a private key of ours did not answer, or refused; it is asked again. `bluepost check` asks it, too.',
  },
  'message-refused': {
    class: 'held',
    advice:
      'A name or file name has characters that cannot stand in a message. Correct it in the authorization, then release or withdraw.',
  },
  'sealing-interrupted': {
    class: 'transient',
    advice: 'The message was being sealed when that was broken off; nothing left, and it is sealed again.',
  },
  'message-too-large': {
    class: 'permanent',
    status: '5.5.0',
    advice: 'The document is larger than the configured limit for one Direct message.',
  },
  'edge-unreachable': { class: 'transient', advice: 'The next hop did not answer; it is tried again.' },
  'edge-deferred': {
    class: 'transient',
    advice: 'The next hop asked to try later (4xx); it is tried again.',
  },
  'edge-insecure': {
    class: 'transient',
    advice:
      'The next hop offers no acceptable TLS. Set `starttls: opportunistic` on its route only if that is intended.',
  },
  'edge-refused': {
    class: 'permanent',
    status: '5.5.0',
    advice: 'The next hop refused the message for good (5xx). Read its answer.',
  },
  'edge-overdue': {
    class: 'permanent',
    status: '5.5.0',
    advice: 'The next hop did not take the message before the deadline.',
  },
  'edge-lost-after-data': {
    class: 'ambiguous',
    advice:
      'The connection broke after the message was sent and before it was acknowledged. It may have arrived; the same bytes follow.',
  },
  'processed-timeout': {
    class: 'permanent',
    status: '5.4.71',
    advice:
      'The recipient’s HISP did not confirm in time. No answer is not the same as not delivered: ask before sending again.',
  },
  'delivered-timeout': {
    class: 'permanent',
    status: '5.4.72',
    advice:
      'The recipient’s HISP took the message but did not confirm delivery in time. Ask before sending again.',
  },
  'notified-failed': {
    class: 'permanent',
    status: '5.5.0',
    advice: 'The recipient’s side reported that delivery failed.',
  },
  'relay-returned': {
    class: 'permanent',
    status: '5.5.0',
    advice:
      'A mail server of ours took the message and gave it back: it could not be delivered. Its report has the reason.',
  },
} as const satisfies Record<string, FailureRow>

export type FailureCode = keyof typeof table

/** The row of the failure table for a code. */
export function failureOf(code: FailureCode): FailureRow {
  return table[code]
}

export function isFailureCode(text: string): text is FailureCode {
  return Object.hasOwn(table, text)
}

/**
 * An attempt failed in a way the line of rooms knows. `because` is for people and carries no PHI: what, where, what to do.
 * Anything else that is thrown is a bug and stops the step.
 */
export class Failed extends Error {
  readonly code: FailureCode
  readonly because: string
  /** Evidence to keep with the transmission (traces, replies); never PHI. */
  readonly detail: unknown

  constructor(code: FailureCode, because: string, options: { detail?: unknown; cause?: unknown } = {}) {
    super(`${code}: ${because}`, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'Failed'
    this.code = code
    this.because = because
    this.detail = options.detail
  }
}

/** How patiently a class of attempts is repeated. All in milliseconds; `deadlineMs` counts from the first attempt. */
export interface RetryPlan {
  readonly firstDelayMs: number
  readonly factor: number
  readonly delayMsMax: number
  readonly deadlineMs: number
}

/**
 * When attempt `attempts + 1` is due, or undefined when the deadline has come. The last one is at the deadline itself:
 * what appears before it is never missed.
 *
 * @param attempts attempts already made, at least 1
 * @param jitter 0 ≤ jitter < 1, drawn by the caller; spreads the delay over its last quarter
 * @param waitMsMin what the other side asked for (Retry-After)
 */
export function nextAttemptAt(
  plan: RetryPlan,
  attempts: number,
  firstAttemptAt: Date,
  at: Date,
  jitter: number,
  waitMsMin = 0,
): Date | undefined {
  const delayMs = Math.min(plan.delayMsMax, plan.firstDelayMs * plan.factor ** Math.max(0, attempts - 1))
  const deadline = firstAttemptAt.getTime() + plan.deadlineMs
  if (at.getTime() >= deadline) return undefined
  const waitMs = Math.max(delayMs * (0.75 + 0.25 * jitter), waitMsMin)
  return new Date(Math.min(at.getTime() + waitMs, deadline))
}
