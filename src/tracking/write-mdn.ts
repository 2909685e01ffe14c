import { readDirectAddress } from '../domain/direct-address.ts'

export interface ProcessedMdn {
  /** The local recipient that received and trusted the message: it speaks, so it signs. */
  readonly from: string
  /** Disposition-Notification-To of the message, else its From. */
  readonly to: string
  /** Message-ID of the message, as received. */
  readonly originalMessageId?: string
  /** Message-ID of the notification, with its angle brackets. */
  readonly messageId: string
  readonly date: Date
}

/**
 * The inner message of a processed MDN (RFC 8098), before wrapping, signing and encrypting. It asks for no notification, so
 * that nothing loops; the caller must not answer notifications with it either (Applicability Statement; direct.md 1.9).
 * Throws where an address is no Direct address: both come from a stranger’s header.
 */
export function writeProcessedMdn({ from, to, originalMessageId, messageId, date }: ProcessedMdn): Buffer {
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
  const boundary = 'processed-notification'
  return Buffer.from(
    [
      `From: ${own!.text}`,
      `To: ${peer!.text}`,
      `Date: ${date.toUTCString().replace('GMT', '+0000')}`,
      `Message-ID: ${messageId}`,
      ...(about === undefined ? [] : [`In-Reply-To: ${about}`]),
      'Subject: Processed',
      'MIME-Version: 1.0',
      `Content-Type: multipart/report; report-type=disposition-notification; boundary="${boundary}"`,
      '',
      `--${boundary}`,
      'Content-Type: text/plain; charset=us-ascii',
      '',
      'The message was received, and its sender is trusted.',
      `--${boundary}`,
      'Content-Type: message/disposition-notification',
      '',
      `Reporting-UA: ${own!.domain}; bluepost`,
      `Final-Recipient: rfc822; ${own!.text}`,
      ...(about === undefined ? [] : [`Original-Message-ID: ${about}`]),
      'Disposition: automatic-action/MDN-sent-automatically; processed',
      '',
      `--${boundary}--`,
      '',
    ].join('\r\n'),
    'latin1',
  )
}
