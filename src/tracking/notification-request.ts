import PostalMime from 'postal-mime'
import { readDirectAddress, type DirectAddress } from '../domain/direct-address.ts'
import { readNotification } from './read-notification.ts'

/** Who is to be told about a message that we received, and of what. */
interface NotificationRequest {
  readonly to: string
  readonly originalMessageId?: string
  /** A dispatched MDN is wanted, too; a processed MDN is due for every trusted message, asked for or not. */
  readonly isDeliveryRequested: boolean
}

type NotificationRequestReading =
  | { readonly answer: true; readonly request: NotificationRequest }
  | { readonly answer: false; readonly because: string }

/** Header fields stand before this. */
const headBytesMax = 128 * 1024

/**
 * Whether a decrypted, verified, unwrapped message is to be answered with an MDN. A notification never is, nor any other
 * report: MDNs about MDNs would go on for ever (RFC 8098 §3); nor what was itself an automatic answer. Call it for trusted
 * messages only: what is not trusted is answered by silence.
 *
 * It goes to Disposition-Notification-To where a trusted signer of the message speaks for that address, else to its author:
 * nobody else shall get mail from us on the author’s say. Never throws.
 *
 * @param author From, to which a trusted signer is bound
 * @param isSpokenFor whether a trusted signer is bound to this address, or to its whole domain
 */
export async function readNotificationRequest(
  innerMessage: Buffer,
  author: DirectAddress,
  isSpokenFor: (address: DirectAddress) => boolean,
): Promise<NotificationRequestReading> {
  const no = (because: string) => ({ answer: false, because }) as const
  if ((await readNotification(innerMessage)) !== undefined)
    return no('it is a notification: notifications are never notified')
  const headEnd = /\r?\n\r?\n/.exec(innerMessage.toString('latin1', 0, headBytesMax))
  const head = innerMessage.subarray(0, headEnd === null ? headBytesMax : headEnd.index + headEnd[0].length)
  let mail
  try {
    mail = await PostalMime.parse(head, { maxHeadersSize: headBytesMax })
  } catch {
    return no('its header cannot be read')
  }
  const header = (name: string): string | undefined => mail.headers.find(({ key }) => key === name)?.value
  if (/^\s*multipart\/report\b/i.test(header('content-type') ?? ''))
    return no('it is a report: reports are never notified')
  // RFC 3834 §5.1: what answers by itself is never answered by itself; what else is automatic is, where it asks.
  const automatic = /^\s*(auto-[a-z]+)/i.exec(header('auto-submitted') ?? '')?.[1]?.toLowerCase()
  if (automatic !== undefined && automatic !== 'auto-generated')
    return no(`it was submitted automatically (${automatic}): no automatic answer`)
  if (automatic !== undefined && header('disposition-notification-to') === undefined)
    return no('it was submitted automatically and asks for no notification')
  const wished = addressIn(header('disposition-notification-to'))
  const to = wished !== undefined && isSpokenFor(wished) ? wished : author
  const messageId = /^\s*(<[^<>\s]+>)\s*$/.exec(header('message-id') ?? '')?.[1]
  return {
    answer: true,
    request: {
      to: to.text,
      ...(messageId === undefined ? {} : { originalMessageId: messageId }),
      isDeliveryRequested: isDeliveryRequested(header('disposition-notification-options')),
    },
  }
}

/** One address, in angle brackets or alone; undefined for none, for several (RFC 8098 §2.1) and for a group. */
function addressIn(text: string | undefined): DirectAddress | undefined {
  if (text === undefined) return undefined
  const unquoted = text.replace(/"(?:[^"\\]|\\.)*"/g, '').replace(/\([^()]*\)/g, '')
  if (/[,;:]/.test(unquoted)) return undefined
  const reading = readDirectAddress(/<([^<>]*)>\s*$/.exec(unquoted)?.[1] ?? unquoted)
  return reading.valid ? reading.address : undefined
}

/**
 * `X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true` among the parameters of RFC 8098 §2.2, in any case. An option that is
 * written otherwise asks for nothing beyond processed (accreditation case MT 40).
 */
function isDeliveryRequested(options: string | undefined): boolean {
  return (options ?? '')
    .split(';')
    .some((option) =>
      /^\s*x-direct-final-destination-delivery\s*=\s*(optional|required)\s*,\s*true\s*$/i.test(option),
    )
}
