import type { DataSource } from 'typeorm'
import { failureOf } from '../domain/failure.ts'
import { schedule } from '../jobs/schedule.ts'
import { appendAudit } from '../store/audit.ts'
import { inTransaction } from '../store/query.ts'
import { lockTransmission, recordOccurrence } from '../store/transmissions.ts'
import { answerDueAt, type AnswerTimes } from '../tracking/deadlines.ts'

export interface AwaitPorts {
  readonly dataSource: DataSource
  readonly answers: AnswerTimes
  readonly now: () => Date
}

/** submitted, processed: where the time for an answer is over, the transmission has failed for want of one. */
export function awaitAnswer(ports: AwaitPorts, transmissionId: string): Promise<void> {
  return inTransaction(ports.dataSource, async (query) => {
    const at = ports.now()
    const transmission = await lockTransmission(query, transmissionId)
    if (
      transmission === undefined ||
      (transmission.state !== 'submitted' && transmission.state !== 'processed')
    )
      return
    const awaiting = transmission.state === 'submitted' ? 'processed' : 'delivered'
    if (awaiting === 'delivered' && !transmission.deliveryRequested) return
    const dueAt = answerDueAt({ ...ports.answers, firstSentAt: transmission.firstSentAt ?? at }, awaiting)
    if (at < dueAt) return schedule(query, [{ task: 'step', transmissionId, dueAt }])
    const code = awaiting === 'processed' ? 'processed-timeout' : 'delivered-timeout'
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
