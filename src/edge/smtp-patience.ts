/** How long to wait, in milliseconds; the defaults follow RFC 5321 §4.5.3.2. */
export interface SmtpPatience {
  /** TCP, greeting, EHLO, TLS and AUTH together. */
  readonly setupMsMax: number
  /** From MAIL until the next hop asks for the content. */
  readonly envelopeMsMax: number
  /** Between two blocks of content. */
  readonly blockMsMax: number
  /** From the final dot to its reply. Giving up earlier makes duplicates (RFC 1047). */
  readonly finalReplyMsMax: number
}

export const patienceByDefault: SmtpPatience = {
  setupMsMax: 60_000,
  envelopeMsMax: 5 * 60_000,
  blockMsMax: 3 * 60_000,
  finalReplyMsMax: 10 * 60_000,
}
