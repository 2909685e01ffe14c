import type { Job } from '../jobs/schedule.ts'
import { cancelToleranceMs, visitEnds } from '../domain/story.ts'
import { unsentStates, type TransmissionState } from '../domain/transmission.ts'
import type { AuditEntry } from '../store/audit.ts'
import type { Query } from '../store/query.ts'
import type { ToldEvent } from '../store/stories.ts'
import {
  mergeIntoOpen,
  rebase,
  settledDoubts,
  takeBackEvents,
  type Cancel,
  type TakenBack,
} from '../store/story-cancels.ts'
import { lockTransmission, recordOccurrence, type Transmission } from '../store/transmissions.ts'
import { engineEntry } from './engine-entry.ts'

/** Why a transmission is held that a cancel may have meant: nobody can say without the event the cancel names. */
const unclearCode = 'cancel-unclear'

/**
 * A cancel takes back what it means: a transmission that speaks for nothing else any more is withdrawn; what has left is
 * told to the operator. The stories must be held.
 */
export async function takeBack(query: Query, cancel: Cancel, at: Date): Promise<AuditEntry[]> {
  const { transmissions, doubtful } = await takeBackEvents(query, cancel, cancelToleranceMs)
  const because = `${cancel.cancelsVisit ? 'the visit' : cancel.kinds[0]} was taken back by the source`
  const entries = await withdrawTakenBack(query, transmissions, because, at)
  for (const id of doubtful) {
    const transmission = await lockTransmission(query, id)
    if (transmission === undefined) continue
    await recordOccurrence(query, transmission, { what: 'held' }, at, {
      code: unclearCode,
      because:
        'a cancel came that names an earlier time and an event nobody has heard of: release this one if it still stands',
    })
  }
  return entries
}

/** What spoke for an event taken back is withdrawn, speaks for what is left of it, or is told to the operator. */
export async function withdrawTakenBack(
  query: Query,
  transmissions: TakenBack['transmissions'],
  because: string,
  at: Date,
): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = []
  for (const { id, left } of transmissions) {
    const transmission = await lockTransmission(query, id)
    if (transmission === undefined) continue
    if (!isUnsent(transmission)) {
      if (transmission.firstSentAt !== undefined && left === undefined)
        entries.push(withdrawal(transmission, at, { because, tooLate: true }))
    } else if (left !== undefined) {
      await rebase(query, id, left, at)
    } else {
      const { advance } = await recordOccurrence(query, transmission, { what: 'withdrawn' }, at, {
        code: 'taken-back',
        because,
      })
      if (advance.outcome === 'moved') entries.push(withdrawal(transmission, at, { because }))
      else entries.push(withdrawal(transmission, at, { because, tooLate: true }))
    }
  }
  return entries
}

/** What a cancel meant is known after all: what was held because it might have been meant goes on. */
export async function settleDoubt(
  query: Query,
  events: readonly ToldEvent[],
  at: Date,
): Promise<{ readonly jobs: Job[]; readonly audit: AuditEntry[] }> {
  const jobs: Job[] = []
  const audit: AuditEntry[] = []
  const settled = await settledDoubts(query, events, {
    code: unclearCode,
    toleranceMs: cancelToleranceMs,
    interchangeable: visitEnds,
  })
  for (const id of settled) {
    const transmission = await lockTransmission(query, id)
    if (transmission?.code !== unclearCode) continue
    const other = await mergeIntoOpen(query, id, at)
    if (other !== undefined) {
      await recordOccurrence(query, transmission, { what: 'withdrawn' }, at, {
        code: 'joined',
        because: `it goes on as part of transmission ${other}, which the same visit made meanwhile`,
      })
      continue
    }
    const because = 'what the cancel meant is known now, and it is not this'
    const { advance } = await recordOccurrence(query, transmission, { what: 'released' }, at, {
      because,
      dueAt: at,
    })
    if (advance.outcome !== 'moved') continue
    jobs.push({ task: 'step', transmissionId: id, dueAt: at })
    audit.push(
      engineEntry(
        at,
        'transmission-released',
        `transmission:${id}`,
        { because },
        transmission.authorizationId,
      ),
    )
  }
  return { jobs, audit }
}

function isUnsent({ state }: Transmission): boolean {
  return (unsentStates as readonly TransmissionState[]).includes(state)
}

function withdrawal({ id, authorizationId }: Transmission, at: Date, detail: object): AuditEntry {
  return engineEntry(at, 'transmission-withdrawn', `transmission:${id}`, { ...detail }, authorizationId)
}
