import type { KeyPair, KeyTransport } from './cms.ts'
import type { NotificationShape, OpenedMessage, ReportedDisposition } from './direct-message.ts'

/** What lies in a mailbox: one entry per Message-ID, however often it arrived. */
export interface InboxMessage extends OpenedMessage {
  envelope: { from: string; to: string[] }
  arrivals: number
  /** One per arrival: equal where the same bytes came again. */
  sealedSha256s: string[]
  overTls: boolean
  arrivedAt: string
}

/** What was refused after it came, and why; nothing is answered to it. */
export interface RefusedMessage {
  code: string
  because: string
  envelope: { from: string; to: string[] }
}

/** What the next message (or every, without `times`) meets at the door. */
export interface DoorFault {
  at: 'connect' | 'mail' | 'rcpt' | 'data'
  /**
   * `reply`: answer `code` (451). At `data` also: `drop` the connection after the final dot without an answer, the message
   * kept; `lose`: the same, the message not kept; `wait` `delayMs` before the answer; `silence`: no answer at all, kept.
   * At `rcpt` and `data`: `hang`, nothing is said until the faults are taken away.
   */
  how?: 'reply' | 'drop' | 'lose' | 'wait' | 'silence' | 'hang'
  code?: number
  text?: string
  /** For `rcpt`: only this address. */
  to?: string
  delayMs?: number
  times?: number
}

/** How a message is answered. */
export interface AnswerPlan {
  /** Default: a processed MDN, and a dispatched one where asked for. */
  dispositions?: ReportedDisposition[]
  /** Never any answer. */
  never?: boolean
  delayMs?: number
  /** The MDN goes out, and is taken, before the 250 of the message itself. */
  before250?: boolean
  copies?: number
  shape?: NotificationShape
  /** Name of one of the `signers` in the settings: somebody else speaks for the recipient. */
  forgedBy?: string
  unsigned?: boolean
  unencrypted?: boolean
  /** For whom the MDN speaks (Final-Recipient). */
  finalRecipient?: string
  /** MAIL FROM:<> as RFC 8098 §3 has it, instead of the recipient’s address as Direct agents do. */
  nullSender?: boolean
  keyTransport?: KeyTransport
  times?: number
}

/** A message that somebody of this HISP writes. */
export interface Letter {
  from: string
  to: string
  /** The whole inner message, CRLF; it is sealed anew each time it is sent. */
  text: string
  /** Name of one of the `signers` in the settings, instead of the author’s own key. */
  signedBy?: string
}

export interface HispSettings {
  /** Whose mail is taken: an address, or a domain for all addresses of it. */
  mailboxes?: { name: string; pair: KeyPair }[]
  /** Roots of the senders we trust, PEM. */
  roots?: string[]
  /** Signers for forged MDNs: name → from address and key. */
  signers?: Record<string, { from: string; pair: KeyPair }>
  /** Where MDNs go by SMTP. */
  replyTo?: { host: string; port: number }
  /** Where senders’ certificates are found (DNS over TCP on loopback). */
  dnsPort?: number
  /** For STARTTLS; PEM. */
  tls?: KeyPair
  starttls?: 'required' | 'offered' | 'hidden'
  cms?: 'openssl' | 'pkijs'
  /** `false`: takes what comes as it is, `{ what: 'taken', bytes }`, and answers nothing: for measuring senders. */
  opens?: boolean
  /** Largest message, SMTP SIZE. */
  bytesMax?: number
}
