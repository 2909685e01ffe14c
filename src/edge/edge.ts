/**
 * Where sealed bytes leave the house. `sta`: we are the STA and speak SMTP to the recipient’s own mail exchanger.
 * `smtp`: everything goes to one configured next hop.
 */
export interface Edge {
  readonly type: 'sta' | 'smtp'
  /** Hands one sealed message over. Never throws for what a peer, the network or the caller’s source does. */
  submit(handover: Handover): Promise<Submission>
  /** Takes no further message, finishes those under way, then closes every connection. */
  close(): Promise<void>
}

export interface Handover {
  /** MAIL FROM and RCPT TO, addr-specs. They must equal From and To/Cc of the wrapped message (tamper policy of the RI). */
  readonly envelope: { readonly from: string; readonly to: readonly string[] }
  /** Exact length of what `open` yields, in octets; declared to the next hop (SIZE, RFC 1870) and enforced. */
  readonly bytes: number
  /** The sealed bytes: CRLF line ends throughout and at the end. Opened at most once per next hop, after `beforeData`. */
  readonly open: () => AsyncIterable<Buffer>
  /**
   * The last question before the first octet of content: asked after connection, TLS, AUTH, MAIL and RCPT, while the next
   * hop waits for the content. A refusal drops the connection without the final dot, so the next hop has nothing it may
   * deliver (RFC 5321 §4.1.1.4). Asked at most once per next hop.
   */
  readonly beforeData: () => Promise<Permission>
}

export type Permission =
  { readonly permitted: true } | { readonly permitted: false; readonly because: string }

/** One entry per recipient of the envelope, in its order. */
export interface Submission {
  readonly recipients: readonly RecipientSubmission[]
}

export type RecipientSubmission = { readonly recipient: string } & SubmissionOutcome

export type SubmissionOutcome =
  /** The next hop answered 2xx to the final dot: it is responsible now (RFC 5321 §6.1). */
  | { readonly outcome: 'accepted'; readonly reply: string; readonly nextHop: string }
  /** 5xx: the same attempt cannot succeed. */
  | { readonly outcome: 'refused'; readonly code: number; readonly reply: string; readonly nextHop: string }
  /** 4xx: nothing was accepted, later it may be. */
  | { readonly outcome: 'deferred'; readonly code: number; readonly reply: string; readonly nextHop: string }
  /** Nothing was accepted: no answer, or the connection ended before the content was complete. */
  | { readonly outcome: 'unreachable'; readonly because: string; readonly cause?: unknown }
  /** The next hop offers no TLS that the route accepts. Nothing was sent. */
  | { readonly outcome: 'insecure'; readonly because: string }
  /** All of the content may have left and no answer came: it may have been accepted. Only the same bytes may follow. */
  | { readonly outcome: 'ambiguous'; readonly because: string; readonly nextHop: string }
  /** `beforeData` refused: nothing was sent. */
  | { readonly outcome: 'stopped'; readonly because: string }
