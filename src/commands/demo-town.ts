/** What the demo needs of test/neighbours/town.ts, which is no part of the installed package. */
export interface Town {
  readonly engine: {
    readonly url: string
    api<Answer>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Answer>
    lastWords(): string
    start(): Promise<void>
  }
  readonly hospital: {
    /** The port of the channel it sends to. */
    readonly sendsTo: number
    sends(
      message: string,
    ): Promise<{ controlId: string; ack?: string; milliseconds: number; gaveUp?: string }[]>
  }
  readonly clinic: { readonly process: Neighbour }
  readonly names: Neighbour
  readonly phr: {
    readonly process: Neighbour
    readonly opensWith: string
    readonly inbox: readonly Arrived[]
    readonly refused: readonly { code: string; because: string }[]
  }
  readonly ellensCcd: { sha256: string; bytes: number }
  authorize(): Promise<{ id: string }>
  close(): Promise<void>
}

export interface Neighbour {
  readonly port: number
  listen(listener: (happening: Record<string, unknown>) => void): () => void
}

export interface Arrived {
  messageId: string
  text: string
  attachments: { filename: string; contentType: string; bytes: number; sha256: string }[]
  request?: string
  signers: string[]
  arrivals: number
  overTls: boolean
  sealedBytes: number
  milliseconds: { decrypt: number; verify: number }
}

export interface Occurrence {
  at: string
  what: string
  to: string
  because?: string | null
  detail?: Record<string, unknown> | null
}

export interface Transmission {
  id: string
  state: string
  because?: string | null
  messageId?: string
  trace?: { step: string; outcome: string; detail: string }[]
  occurrences: Occurrence[]
  documents: { bytes: number; sha256: string; source: string; fetchedAt: string }[]
  notifications: { at: string; disposition: string; report: string; effect: string }[]
}

export interface Message {
  id: string
  state: string
  channel: string
  receivedAt: string
  decidedAt: string | null
  because: string | null
}
