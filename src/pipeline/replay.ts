import { appendAudit } from '../store/audit.ts'
import { reopenMessage } from '../store/decisions.ts'
import { inTransaction } from '../store/query.ts'
import type { OperatePorts, OperationOutcome } from './operate.ts'

/**
 * A message that was filtered or quarantined is decided again, by the channel and the authorizations as they are now. One
 * that set something in motion is not: its transmissions can be retried one by one.
 *
 * @param messageId its number
 */
export function replay(
  { dataSource, now }: OperatePorts,
  messageId: string,
  because: string | undefined,
  actor: string,
): Promise<OperationOutcome> {
  return inTransaction(dataSource, async (query): Promise<OperationOutcome> => {
    const reopened = await reopenMessage(query, messageId)
    switch (reopened) {
      case 'unknown':
        return { outcome: 'unknown' }
      case 'received':
        return { outcome: 'refused', because: 'it has not been decided yet' }
      case 'triggered':
        return {
          outcome: 'refused',
          because: 'it was decided and set something in motion: retry its transmissions instead',
        }
      case 'content-dropped':
        return { outcome: 'refused', because: 'its content is past its retention and no longer here' }
      case 'reopened':
        break
    }
    await appendAudit(query, [
      {
        at: now(),
        actor,
        action: 'message-replayed',
        subject: `message:${messageId}`,
        detail: { because: because ?? null },
      },
    ])
    return { outcome: 'done', state: 'received' }
  })
}
