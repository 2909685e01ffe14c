import type { FailureNotice } from '../domain/failure-notice.ts'
import { readDirectAddress } from '../domain/direct-address.ts'

/** Characters of one line of free text. */
const lineCharactersMax = 900

/**
 * The notice as a delivery status notification (RFC 3464), from our postmaster to the address that sent. It never leaves
 * the house as it is: it is neither signed nor encrypted, and names the recipient and the Message-ID, nothing of the message.
 *
 * @param sender the Direct address that sends
 * @param id makes the Message-ID of the notice: the same failure gives the same document
 */
export function writeDsn(notice: FailureNotice, sender: string, id: string): Buffer {
  const reading = readDirectAddress(sender)
  if (!reading.valid) throw new Error(`a DSN needs a Direct address: ${reading.because}`)
  const { domain, text } = reading.address
  const boundary = 'delivery-status'
  const about = notice.originalMessageId
  return Buffer.from(
    [
      `From: postmaster@${domain}`,
      `To: ${text}`,
      `Date: ${notice.at.toUTCString().replace('GMT', '+0000')}`,
      `Message-ID: <${id}@${domain}>`,
      ...(about === undefined ? [] : [`In-Reply-To: ${about}`]),
      'Subject: Delivery Status Notification (failure)',
      'Auto-Submitted: auto-generated',
      'MIME-Version: 1.0',
      `Content-Type: multipart/report; report-type=delivery-status; boundary="${boundary}"`,
      '',
      `--${boundary}`,
      'Content-Type: text/plain; charset=us-ascii',
      '',
      `The message to ${plain(notice.recipient)} could not be delivered:`,
      // Indented: no reason, whoever wrote it, can look like a delimiter.
      `  ${plain(notice.because)}`,
      '',
      plain(notice.advice),
      `--${boundary}`,
      'Content-Type: message/delivery-status',
      '',
      `Reporting-MTA: dns; ${domain}`,
      ...(about === undefined ? [] : [`X-Original-Message-ID: ${about}`]),
      '',
      `Final-Recipient: rfc822; ${plain(notice.recipient)}`,
      'Action: failed',
      `Status: ${notice.status}`,
      `Diagnostic-Code: X-BLUEPOST; ${plain(notice.code)} (${plain(notice.because).replace(/[()\\]/g, ' ')})`,
      `Last-Attempt-Date: ${notice.at.toUTCString().replace('GMT', '+0000')}`,
      '',
      `--${boundary}--`,
      '',
    ].join('\r\n'),
    'latin1',
  )
}

/** One line of ASCII: reasons carry replies of strangers’ mail servers. */
function plain(text: string): string {
  return text
    .replace(/[‘’]/g, "'")
    .replace(/[“”]/g, '"')
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, lineCharactersMax)
}
