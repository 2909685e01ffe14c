import { isSameAddress } from '../domain/direct-address.ts'
import type { Notification, RecipientReport } from '../domain/notification.ts'
import type { Disposition } from '../domain/transmission.ts'

export interface NotificationCircumstances {
  readonly kind: Notification['kind']
  /**
   * What the signing certificates are bound to that verified and chain to one of our anchors: addresses (rfc822Name) and
   * domains (dNSName). Empty where the mail was not signed, or by nobody we trust.
   */
  readonly signers: readonly string[]
  /** MAIL FROM; empty for the null sender. */
  readonly envelopeFrom: string
  /** It came in the clear from a mail server of our own, which the operator has named (tracking.relays). */
  readonly isFromOwnRelay: boolean
  /** The addresses we send from. */
  readonly ourAddresses: readonly string[]
  /** What we sent under the report’s Original-Message-ID to the report’s recipient, if anything. */
  readonly transmission?: {
    readonly messageId: string
    readonly destination: string
    /** Handed over, and nothing was heard of the recipient’s side: a relay may still have it. */
    readonly isAwaitingNextHop: boolean
  }
}

export type Acceptance =
  /** `relay`: a mail server on the way gave up; the recipient’s side said nothing. */
  | { readonly effect: 'apply'; readonly disposition: Disposition; readonly voice: 'signer' | 'relay' }
  | { readonly effect: 'ignore'; readonly because: string }

/**
 * Whether one report of a notification may move a transmission. Whatever is ignored is stored with its reason all the same.
 *
 * A report counts only when a trusted signer is bound to the recipient it speaks for: to its address, or to its whole domain
 * (a HISP that signs for its mailboxes); another mailbox of the same domain speaks for itself alone. Without this anybody
 * could forge a delivery, or a failure, by knowing a Message-ID; the Java RI does not check it.
 *
 * An unsigned bounce of a mail server on the way is evidence for people and moves nothing: if nothing arrived, no MDN comes
 * and the timer says so. The one exception is a relay of our own that the operator has named: its DSN may say that the
 * message failed, never that it arrived, and only until the recipient’s side has been heard. It could as well have dropped
 * the message, so believing it gives it no power that it has not.
 */
export function acceptNotification(
  report: RecipientReport,
  circumstances: NotificationCircumstances,
): Acceptance {
  const { kind, signers, envelopeFrom, ourAddresses, transmission } = circumstances
  const { recipient, originalMessageId, disposition } = report
  if (disposition === undefined) return ignore(`it says nothing that moves a transmission (${report.text})`)
  const isRelaysWord =
    signers.length === 0 && circumstances.isFromOwnRelay && kind === 'dsn' && envelopeFrom === ''
  if (signers.length === 0 && !isRelaysWord)
    return ignore(
      envelopeFrom === ''
        ? 'an unsigned bounce of a mail server: anybody could have written it'
        : 'it is not signed by anyone trusted: anybody could have written it',
    )
  if (recipient === undefined) return ignore('it does not say which recipient it speaks for')
  if (originalMessageId === undefined) return ignore('it does not say which message it is about')
  if (transmission === undefined)
    return ignore(
      ourAddresses.some((own) => isSameAddress(own, recipient))
        ? 'it is about a notification of our own: notifications are never notified'
        : 'we sent no message with this Message-ID to this recipient',
    )
  if (!isSameMessageId(transmission.messageId, originalMessageId))
    return ignore('its Original-Message-ID is not that of the transmission')
  if (!isSameAddress(transmission.destination, recipient))
    return ignore('it speaks for another recipient than the transmission’s')
  if (isRelaysWord) {
    if (disposition !== 'failed') return ignore('a relay can say that it failed, not that it arrived')
    return transmission.isAwaitingNextHop
      ? { effect: 'apply', disposition, voice: 'relay' }
      : ignore('a relay’s word counts only while the message may still lie at one')
  }
  if (!signers.some((signer) => isBoundTo(signer, kind, recipient)))
    return ignore(`signed for ${signers.join(', ')}, which does not speak for ${recipient}`)
  return { effect: 'apply', disposition, voice: 'signer' }
}

function ignore(because: string): Acceptance {
  return { effect: 'ignore', because }
}

/**
 * The addresses whose certificate may sign a report about a recipient: its own, and for a DSN those that mail servers write
 * from (RFC 5321 §4.5.1 postmaster; mailer-daemon by custom) in the recipient’s domain. An MDN is the mailbox’s own word.
 */
export function voicesFor(kind: Notification['kind'], recipient: string): readonly string[] {
  const domain = domainOf(recipient)
  return kind === 'dsn' ? [recipient, `postmaster@${domain}`, `mailer-daemon@${domain}`] : [recipient]
}

function isBoundTo(signer: string, kind: Notification['kind'], recipient: string): boolean {
  return signer.includes('@')
    ? voicesFor(kind, recipient).some((voice) => isSameAddress(voice, signer))
    : domainOf(signer) === domainOf(recipient)
}

function domainOf(addressOrDomain: string): string {
  return addressOrDomain
    .slice(addressOrDomain.lastIndexOf('@') + 1)
    .trim()
    .toLowerCase()
}

/** Compared without blanks and brackets, which peers drop or add; the rest is case-sensitive (RFC 5322 §3.6.4). */
function isSameMessageId(a: string, b: string): boolean {
  const bare = (id: string): string => id.replace(/[\s<>]/g, '')
  return bare(a) === bare(b)
}
