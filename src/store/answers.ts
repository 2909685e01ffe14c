import type { Query } from './query.ts'

/** An MDN that we owe somebody, from the moment we owe it to the moment the next hop has it. */
export interface Answer {
  readonly id: string
  readonly inboxId: string
  readonly disposition: 'processed' | 'dispatched' | 'failed'
  /** Our address, which signs. */
  readonly sender: string
  readonly recipient: string
  /** Of the MDN itself, with its angle brackets. */
  readonly messageId: string
  readonly originalMessageId: string | null
  readonly state: 'waiting' | 'sealed' | 'sent' | 'failed'
  /** Some attempt ended after DATA without an answer: only the same bytes may follow. */
  readonly ambiguous: boolean
  readonly onWire: boolean
  readonly blobId: string | null
  readonly code: string | null
  readonly because: string | null
  readonly attempts: number
  readonly firstAttemptAt: Date | null
  readonly dueAt: Date | null
  readonly createdAt: Date
  readonly firstSentAt: Date | null
  readonly endedAt: Date | null
}

const columns = `id, inbox_id AS "inboxId", disposition, sender, recipient, message_id AS "messageId",
  original_message_id AS "originalMessageId", state, ambiguous, on_wire AS "onWire", blob_id AS "blobId", code, because, attempts,
  first_attempt_at AS "firstAttemptAt", due_at AS "dueAt", created_at AS "createdAt", first_sent_at AS "firstSentAt",
  ended_at AS "endedAt"`

export type NewAnswer = Pick<
  Answer,
  'id' | 'inboxId' | 'disposition' | 'sender' | 'recipient' | 'messageId' | 'originalMessageId' | 'dueAt'
>

/** In the transaction that keeps the message: neither exists without the other. */
export async function insertAnswer(query: Query, answer: NewAnswer, at: Date): Promise<void> {
  await query(
    `INSERT INTO answer (id, inbox_id, disposition, sender, recipient, message_id, original_message_id, state, due_at, created_at, changed_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting', $8, $9, $9)`,
    [
      answer.id,
      answer.inboxId,
      answer.disposition,
      answer.sender,
      answer.recipient,
      answer.messageId,
      answer.originalMessageId,
      answer.dueAt,
      at,
    ],
  )
}

export async function lockAnswer(query: Query, id: string): Promise<Answer | undefined> {
  const [row] = await query<Answer>(`SELECT ${columns} FROM answer WHERE id = $1 FOR UPDATE`, [id])
  return row
}

export async function readAnswer(query: Query, id: string): Promise<Answer | undefined> {
  const [row] = await query<Answer>(`SELECT ${columns} FROM answer WHERE id = $1`, [id])
  return row
}

export function answersTo(query: Query, inboxId: string): Promise<Answer[]> {
  return query<Answer>(
    `SELECT ${columns} FROM answer WHERE inbox_id = $1
     ORDER BY disposition = 'processed' DESC, created_at`,
    [inboxId],
  )
}

/** What may be written about an answer; what is left out stays. */
export type AnswerChange = Partial<
  Pick<
    Answer,
    'state' | 'ambiguous' | 'onWire' | 'blobId' | 'code' | 'because' | 'attempts' | 'firstAttemptAt' | 'dueAt'
  >
>

const changeable: Readonly<Record<keyof AnswerChange, string>> = {
  state: 'state',
  ambiguous: 'ambiguous',
  onWire: 'on_wire',
  blobId: 'blob_id',
  code: 'code',
  because: 'because',
  attempts: 'attempts',
  firstAttemptAt: 'first_attempt_at',
  dueAt: 'due_at',
}

/** The answer must be locked in this transaction. The moments of sealing, first sending and ending are written by the way. */
export async function changeAnswer(query: Query, id: string, change: AnswerChange, at: Date): Promise<void> {
  const names = Object.keys(change) as (keyof AnswerChange)[]
  const assignments = names.map((name, index) => `${changeable[name]} = $${index + 3}`)
  if (change.state === 'sealed') assignments.push('sealed_at = $2')
  if (change.state === 'sent' || change.state === 'failed') assignments.push('ended_at = $2')
  if (change.onWire === true) assignments.push('first_sent_at = coalesce(first_sent_at, $2)')
  await query(`UPDATE answer SET changed_at = $2, ${assignments.join(', ')} WHERE id = $1`, [
    id,
    at,
    ...names.map((name) => change[name] ?? null),
  ])
}

/** The answers that waited for the one before them to be at its end. */
export async function nextAnswers(query: Query, inboxId: string, at: Date): Promise<string[]> {
  const rows = await query<{ id: string }>(
    `UPDATE answer SET due_at = $2 WHERE inbox_id = $1 AND state = 'waiting' AND due_at IS NULL RETURNING id`,
    [inboxId, at],
  )
  return rows.map(({ id }) => id)
}
