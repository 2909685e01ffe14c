import type { Disposition } from './transmission.ts'

/**
 * What an MDN (RFC 8098) or a DSN (RFC 3464) says, one entry per recipient it speaks for. Every field may be missing on
 * the wire: peers leave out, misspell and decorate all of them (direct.md 5.2).
 */
export interface Notification {
  readonly kind: 'mdn' | 'dsn'
  readonly reports: readonly RecipientReport[]
  readonly messageId?: string
}

export interface RecipientReport {
  /** Message-ID this is about, with its angle brackets: Original-Message-ID, else X-Original-Message-ID, else In-Reply-To. */
  readonly originalMessageId?: string
  /** The recipient it speaks for, lower case, without `rfc822;`, brackets or display name; else From of the notification. */
  readonly recipient?: string
  /** Undefined where the report says nothing that moves a transmission (delayed, relayed, expanded, unknown). */
  readonly disposition?: Disposition
  /** The words of the report, shortened, for people: `automatic-action/MDN-sent-automatically; processed`. */
  readonly text: string
}
