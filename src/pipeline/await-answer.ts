import type { DataSource } from 'typeorm'
import { failureOf } from '../domain/failure.ts'
import { schedule } from '../jobs/schedule.ts'
import { appendAudit } from '../store/audit.ts'
import { inTransaction } from '../store/query.ts'
import { lockTransmission, recordOccurrence } from '../store/transmissions.ts'
import { nextDeadline, type NotificationWaits } from '../tracking/deadlines.ts'

export interface AwaitPorts {
  readonly dataSource: DataSource
  readonly waits: NotificationWaits
  readonly now: () => Date
}

/** submitted, processed: where the time for an answer is over, the transmission has failed for want of one. */
export function awaitAnswer(ports: AwaitPorts, transmissionId: string): Promise<void> {
  return inTransaction(ports.dataSource, async (query) => {
    const at = ports.now()
    const transmission = await lockTransmission(query, transmissionId)
    if (transmission === undefined) return
    const deadline = nextDeadline(transmission, transmission.firstSentAt ?? at, ports.waits)
    if (deadline === undefined) return
    const { awaiting, code, dueAt } = deadline
    if (at < dueAt) return schedule(query, [{ task: 'step', transmissionId, dueAt }])
    const because = `no ${awaiting === 'processed' ? 'processed' : 'dispatched'} notification by ${dueAt.toISOString()}`
    const { advance } = await recordOccurrence(query, transmission, { what: 'timed-out', awaiting }, at, {
      code,
      because,
    })
    if (advance.outcome === 'moved')
      await appendAudit(query, [
        {
          at,
          actor: 'engine',
          action: 'notification',
          subject: `transmission:${transmissionId}`,
          authorizationId: transmission.authorizationId,
          detail: { code, because, status: failureOf(code).status },
        },
      ])
  })
}
