import type { DataSource } from 'typeorm'
import type { Occurrence } from '../domain/transmission.ts'
import { schedule } from '../jobs/schedule.ts'
import { appendAudit, type AuditAction } from '../store/audit.ts'
import { inTransaction } from '../store/query.ts'
import { recordOccurrence } from '../store/transmissions.ts'
import { judgeAgain, lockJudged } from './judge-again.ts'

export interface OperatePorts {
  readonly dataSource: DataSource
  readonly now: () => Date
}

export type OperatorAction = 'retry' | 'release' | 'withdraw'

export type OperationOutcome =
  | { readonly outcome: 'done'; readonly state: string }
  | { readonly outcome: 'unknown' }
  | { readonly outcome: 'refused'; readonly because: string }

const occurrences = {
  retry: 'retried',
  release: 'released',
  withdraw: 'withdrawn',
} as const satisfies Record<OperatorAction, Occurrence['what']>

const audited = {
  retry: 'transmission-retried',
  release: 'transmission-released',
  withdraw: 'transmission-withdrawn',
} as const satisfies Record<OperatorAction, AuditAction>

/**
 * What an operator does to one transmission. A retry or a release is judged again by the authorization as it is now, and
 * a person’s reason goes into the audit with the action.
 */
export function operate(
  ports: OperatePorts,
  action: OperatorAction,
  transmissionId: string,
  because: string | undefined,
  actor: string,
): Promise<OperationOutcome> {
  return inTransaction(ports.dataSource, async (query): Promise<OperationOutcome> => {
    const at = ports.now()
    const locked = await lockJudged(query, transmissionId)
    if (locked === undefined) return { outcome: 'unknown' }
    // What a release lets through is the doubt about this one, not what the patient no longer permits.
    if (action === 'release' && !(await judgeAgain(query, locked, at)))
      return { outcome: 'refused', because: 'the authorization does not permit it any more' }
    const occurrence: Occurrence = { what: occurrences[action] }
    const dueAt = action === 'withdraw' ? null : at
    const { advance, after } = await recordOccurrence(query, locked.transmission, occurrence, at, {
      dueAt,
      attempts: 0,
      firstAttemptAt: null,
      because: because ?? `${action} by ${actor}`,
      detail: { actor },
    })
    if (advance.outcome !== 'moved')
      return {
        outcome: 'refused',
        because: advance.outcome === 'refused' ? advance.because : 'it is over already',
      }
    if (dueAt !== null) await schedule(query, [{ task: 'step', transmissionId, dueAt }])
    await appendAudit(query, [
      {
        at,
        actor,
        action: audited[action],
        subject: `transmission:${transmissionId}`,
        authorizationId: locked.authorization.id,
        detail: { because: because ?? null },
      },
    ])
    return { outcome: 'done', state: after.state }
  })
}
