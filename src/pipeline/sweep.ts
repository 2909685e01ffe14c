import type { DataSource } from 'typeorm'
import { schedule } from '../jobs/schedule.ts'
import { inTransaction } from '../store/query.ts'

/** Longer than a step takes to be picked up; what is due for longer has lost its job with a killed process. */
const overdueMs = 15_000

/** Per sweep; the next one takes the rest. */
const rowsMax = 1000

/**
 * Schedules again what is due but has not moved: the job of a killed process stays locked to it, the work does not have to
 * wait for that. Scheduling what is only slow changes nothing, since a transmission is worked on by one step at a time.
 *
 * @param graceMs how long overdue; 0 right after a start, when nothing of this process can be under way
 */
export function sweep(dataSource: DataSource, at: Date, graceMs = overdueMs): Promise<number> {
  return inTransaction(dataSource, async (query) => {
    const transmissions = await query<{ id: string }>(
      'SELECT id FROM transmission WHERE due_at <= $1 ORDER BY due_at LIMIT $2',
      [new Date(at.getTime() - graceMs), rowsMax],
    )
    const mails = await query<{ id: string }>(
      `SELECT id FROM inbound_mail WHERE state = 'received' AND coalesce(due_at, received_at) <= $1
       ORDER BY received_at LIMIT $2`,
      [new Date(at.getTime() - graceMs), rowsMax],
    )
    const answers = await query<{ id: string }>(
      'SELECT id FROM answer WHERE due_at <= $1 ORDER BY due_at LIMIT $2',
      [new Date(at.getTime() - graceMs), rowsMax],
    )
    await schedule(query, [
      ...transmissions.map(({ id }) => ({ task: 'step' as const, transmissionId: id, dueAt: at })),
      ...mails.map(({ id }) => ({ task: 'open-mail' as const, mailId: id, dueAt: at })),
      ...answers.map(({ id }) => ({ task: 'answer' as const, answerId: id, dueAt: at })),
    ])
    return transmissions.length + mails.length + answers.length
  })
}
