import type { DataSource } from 'typeorm'
import type { TransmissionState } from '../domain/transmission.ts'
import { schedule } from '../jobs/schedule.ts'
import { queryOf } from '../store/query.ts'
import { readTransmission, type Transmission } from '../store/transmissions.ts'
import { withStepLock } from '../store/step-lock.ts'
import { awaitAnswer, type AwaitPorts } from './await-answer.ts'
import { prepare, type PreparePorts } from './prepare.ts'
import { send, type SendPorts } from './send.ts'

export interface StepPorts {
  readonly dataSource: DataSource
  readonly prepare: PreparePorts
  /** Undefined while nothing can be sent: no data holder is configured. */
  readonly send: SendPorts | undefined
  readonly await: AwaitPorts
  readonly now: () => Date
}

/**
 * Takes a transmission one step further, whichever is next: the story of a transmission is this switch. Running it twice,
 * or in two processes at once, is harmless.
 *
 * @returns where it stands afterwards; undefined where another process is at it
 */
export async function step(ports: StepPorts, transmissionId: string): Promise<TransmissionState | undefined> {
  const before = await readTransmission(queryOf(ports.dataSource), transmissionId)
  if (before === undefined) return undefined
  const lock = lockFor(ports, before)
  const isMine = await withStepLock(ports.dataSource, lock, async () => {
    const transmission = await readTransmission(queryOf(ports.dataSource), transmissionId)
    // It moved on before the lock was ours, and needs another one now; whoever moved it made the job for that.
    if (transmission !== undefined && lockFor(ports, transmission) !== lock) return
    switch (transmission?.state) {
      case 'waiting':
      case 'preparing':
        return prepare(ports.prepare, transmissionId)
      case 'sealed':
        return ports.send === undefined ? undefined : send(ports.send, transmissionId)
      case 'submitted':
      case 'processed':
        return awaitAnswer(ports.await, transmissionId)
      case 'delivered':
      case 'held':
      case 'failed':
      case 'withdrawn':
      case 'cancelled':
      case 'skipped':
      case undefined:
        return undefined
    }
  })
  if (isMine) return (await readTransmission(queryOf(ports.dataSource), transmissionId))?.state
  // What is being done right now may be over before what made this job necessary was seen: look again.
  const dueAt = new Date(ports.now().getTime() + lookAgainMs)
  await schedule(queryOf(ports.dataSource), [{ task: 'step', transmissionId, dueAt }])
  return undefined
}

const lookAgainMs = 1000

/** What will share an envelope is prepared by one at a time; afterwards each goes its own way. */
function lockFor({ prepare: { envelope } }: StepPorts, transmission: Transmission): string {
  const isTogether =
    envelope === 'shared' && (transmission.state === 'waiting' || transmission.state === 'preparing')
  if (!isTogether) return transmission.id
  const { authorizationId, cause, occurredAt, eventId } = transmission
  return ['together', authorizationId, cause, occurredAt.toISOString(), eventId ?? ''].join(' ')
}
