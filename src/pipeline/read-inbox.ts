import type { DataSource } from 'typeorm'
import { answersTo, type Answer } from '../store/answers.ts'
import { appendAudit } from '../store/audit.ts'
import { readBlob } from '../store/blobs.ts'
import { readInboxMessage, type InboxView } from '../store/inbox.ts'
import { readMail } from '../store/mail.ts'
import { queryOf } from '../store/query.ts'

export interface ReadInboxPorts {
  readonly dataSource: DataSource
  readonly now: () => Date
}

/** What a person needs to know about an answer of ours. */
export type AnswerView = Pick<
  Answer,
  'disposition' | 'recipient' | 'messageId' | 'state' | 'code' | 'because'
> & {
  readonly attempts: number
  readonly endedAt: Date | null
}

/** A message of the inbox without its content, and what we answered to it. */
export async function describeInboxMessage(
  ports: ReadInboxPorts,
  id: string,
): Promise<(InboxView & { readonly answers: readonly AnswerView[] }) | undefined> {
  const query = queryOf(ports.dataSource)
  const found = await readInboxMessage(query, id)
  if (found === undefined) return undefined
  const { blobId: _, mailId: __, ...view } = found
  const answers = (await answersTo(query, id)).map(
    ({ disposition, recipient, messageId, state, code, because, attempts, endedAt }) => ({
      disposition,
      recipient,
      messageId,
      state,
      code,
      because,
      attempts,
      endedAt,
    }),
  )
  return { ...view, answers }
}

export type Content =
  | { readonly found: true; readonly chunks: AsyncIterable<Buffer> }
  | { readonly found: false; readonly because: string }

/** The message decrypted, for somebody named: that it was read stands in the audit before its first byte is given out. */
export async function readInboxContent(ports: ReadInboxPorts, id: string, actor: string): Promise<Content> {
  const query = queryOf(ports.dataSource)
  const found = await readInboxMessage(query, id)
  if (found === undefined) return { found: false, because: 'there is no such message' }
  if (found.blobId === null)
    return { found: false, because: 'it was refused, and nothing of it was kept (tracking.inbox)' }
  if (found.isForgotten)
    return { found: false, because: 'it is past its retention, and its bytes were dropped' }
  return given(ports, `inbox:${id}`, found.blobId, actor)
}

/** A mail that was answered by silence, as it came: encrypted where it was. */
export async function readIgnoredContent(ports: ReadInboxPorts, id: string, actor: string): Promise<Content> {
  const query = queryOf(ports.dataSource)
  const mail = await readMail(query, id)
  if (mail?.state !== 'ignored') return { found: false, because: 'there is no such mail' }
  return given(ports, `mail:${id}`, mail.blobId, actor)
}

async function given(
  ports: ReadInboxPorts,
  subject: string,
  blobId: string,
  actor: string,
): Promise<Content> {
  const query = queryOf(ports.dataSource)
  await appendAudit(query, [{ at: ports.now(), actor, action: 'inbox-read', subject, detail: {} }])
  return { found: true, chunks: readBlob(query, blobId) }
}
