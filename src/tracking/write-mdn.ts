import { readDirectAddress } from '../domain/direct-address.ts'

export interface Mdn {
  /** The local recipient that received and trusted the message: it speaks, so it signs. */
  readonly from: string
  /** Who is told; see `readNotificationRequest`. */
  readonly to: string
  /**
   * `processed`: we have the message and trust its sender. `dispatched`: it reached its final destination; said only where
   * that was asked for. `failed`: after processed, it could not be delivered after all.
   */
  readonly disposition: 'processed' | 'dispatched' | 'failed'
  /** Message-ID of the message, as received. */
  readonly originalMessageId?: string
  /** Message-ID of the notification, with its angle brackets. */
  readonly messageId: string
  readonly date: Date
}

/**
 * The inner message of an MDN (RFC 8098 §3; Implementation Guide for Delivery Notification), before wrapping, signing and
 * encrypting. It asks for no notification itself, so that nothing loops. Throws where an address is no Direct address: both
 * come from a stranger’s header.
 */
export function writeMdn({ from, to, disposition, originalMessageId, messageId, date }: Mdn): Buffer {
  const [own, peer] = [from, to].map((text) => {
    const reading = readDirectAddress(text)
    if (!reading.valid) throw new Error(`an MDN needs Direct addresses: ${reading.because}`)
    return reading.address
  })
  // A Message-ID that is none cannot be quoted: it would write header fields of its own.
  const about =
    originalMessageId !== undefined && /^<[\x21-\x3b\x3d\x3f-\x7e]{1,900}>$/.test(originalMessageId)
      ? originalMessageId
      : undefined
  const { subject, words, fields } = wording[disposition]
  const boundary = `${disposition}-notification`
  return Buffer.from(
    [
      `From: ${own!.text}`,
      `To: ${peer!.text}`,
      `Date: ${date.toUTCString().replace('GMT', '+0000')}`,
      `Message-ID: ${messageId}`,
      ...(about === undefined ? [] : [`In-Reply-To: ${about}`]),
      `Subject: ${subject}`,
      'MIME-Version: 1.0',
      `Content-Type: multipart/report; report-type=disposition-notification; boundary="${boundary}"`,
      '',
      `--${boundary}`,
      'Content-Type: text/plain; charset=us-ascii',
      '',
      words,
      `--${boundary}`,
      'Content-Type: message/disposition-notification',
      '',
      `Reporting-UA: ${own!.domain}; bluepost`,
      `Final-Recipient: rfc822; ${own!.text}`,
      ...(about === undefined ? [] : [`Original-Message-ID: ${about}`]),
      `Disposition: automatic-action/MDN-sent-automatically; ${disposition}`,
      ...fields,
      '',
      `--${boundary}--`,
      '',
    ].join('\r\n'),
    'latin1',
  )
}

const wording: Record<
  Mdn['disposition'],
  { readonly subject: string; readonly words: string; readonly fields: readonly string[] }
> = {
  processed: {
    subject: 'Processed',
    words: 'The message was received, and its sender is trusted.',
    fields: [],
  },
  dispatched: {
    subject: 'Dispatched',
    words: 'The message was delivered to its final destination.',
    // The extension field that tells this from any other dispatched (the RI writes it without a value).
    fields: ['X-DIRECT-FINAL-DESTINATION-DELIVERY: true'],
  },
  failed: {
    subject: 'Failed',
    words: 'The message was received, but could not be delivered to its final destination.',
    fields: ['Failure: could not be delivered to the final destination'],
  },
}
