import type { Query } from './query.ts'

/** A decided message with what was decided, and its bytes while they are kept. */
export interface ShadowedMessage {
  readonly id: string
  readonly receivedAt: Date
  readonly state: 'triggered' | 'filtered' | 'quarantined'
  readonly code: string | null
  readonly because: string | null
  readonly kind: string | null
  readonly cancels: boolean | null
  readonly occurredAt: Date | null
  readonly patientKeys: readonly Buffer[] | null
  readonly encounterKey: Buffer | null
  readonly content: Buffer | null
}

const pageRows = 200

/** Decided messages of a channel since a moment, in the order they came, page by page. */
export async function* decidedSince(
  query: Query,
  channel: string,
  since: Date,
): AsyncGenerator<readonly ShadowedMessage[]> {
  const [first] = await query<{ id: string }>(
    'SELECT id FROM message WHERE received_at >= $1 ORDER BY received_at LIMIT 1',
    [since],
  )
  // Several connections commit in an order that is not quite that of their clocks.
  let after = first === undefined ? undefined : BigInt(first.id) - 10_000n
  while (after !== undefined) {
    const page: ShadowedMessage[] = await query<ShadowedMessage>(
      `SELECT m.id, m.received_at AS "receivedAt", m.state, m.code, m.because, e.kind, e.cancels, e.occurred_at AS "occurredAt",
         e.patient_keys AS "patientKeys", e.encounter_key AS "encounterKey", c.content
       FROM message m
       LEFT JOIN trigger_event e ON e.message_id = m.id
       LEFT JOIN message_content c ON c.received_on = m.received_on AND c.message_id = m.id
       WHERE m.id > $1 AND m.channel = $2 AND m.received_at >= $3 AND m.state <> 'received' ORDER BY m.id LIMIT ${pageRows}`,
      [String(after), channel, since],
    )
    if (page.length > 0) yield page
    after = page.length < pageRows ? undefined : BigInt(page.at(-1)!.id)
  }
}

/** One message with its bytes, as long as they are kept. */
export async function readStoredMessage(
  query: Query,
  id: string,
): Promise<
  { readonly channel: string; readonly receivedAt: Date; readonly content: Buffer | null } | undefined
> {
  const [row] = await query<{ channel: string; receivedAt: Date; content: Buffer | null }>(
    `SELECT m.channel, m.received_at AS "receivedAt", c.content
     FROM message m LEFT JOIN message_content c ON c.received_on = m.received_on AND c.message_id = m.id WHERE m.id = $1`,
    [id],
  )
  return row
}
