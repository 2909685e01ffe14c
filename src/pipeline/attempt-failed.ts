import type { DataSource } from 'typeorm'
import type { Failed } from '../domain/failure.ts'
import { failureOf, nextAttemptAt, type FailureCode, type RetryPlan } from '../domain/failure.ts'
import { schedule } from '../jobs/schedule.ts'
import { appendAudit } from '../store/audit.ts'
import { inTransaction, type Query } from '../store/query.ts'
import { lockTransmission, recordOccurrence, type Transmission } from '../store/transmissions.ts'

interface AttemptPorts {
  readonly dataSource: DataSource
  readonly now: () => Date
  readonly jitter: () => number
}

/** What becomes of a kind of failure when its deadline has passed: a person looks at documents, mail is given up. */
const overdue: Partial<Record<FailureCode, FailureCode>> = {
  'document-missing': 'document-overdue',
  'document-stale': 'document-overdue',
  'fhir-unavailable': 'document-overdue',
  'edge-unreachable': 'edge-overdue',
  'edge-deferred': 'edge-overdue',
  'edge-insecure': 'edge-overdue',
}

/** An attempt failed in a way the line knows: written down, and tried again, held or given up as the failure table says. */
export function attemptFailed(
  ports: AttemptPorts,
  transmissionId: string,
  failed: Failed,
  plan: RetryPlan,
): Promise<void> {
  return inTransaction(ports.dataSource, async (query) => {
    const transmission = await lockTransmission(query, transmissionId)
    if (transmission !== undefined)
      await recordFailure(query, transmission, failed, plan, ports.now(), ports.jitter())
  })
}

/** {@link attemptFailed} on a transmission that is locked already. */
export async function recordFailure(
  query: Query,
  transmission: Transmission,
  failed: Failed,
  plan: RetryPlan,
  at: Date,
  jitter: number,
): Promise<void> {
  const kind = failureOf(failed.code).class
  const detail = failed.detail as { trace?: unknown; retryAfterMs?: number } | undefined
  const dueAt =
    kind === 'transient' || kind === 'ambiguous'
      ? nextAttemptAt(
          plan,
          Math.max(1, transmission.attempts),
          transmission.firstAttemptAt ?? at,
          at,
          jitter,
          detail?.retryAfterMs,
        )
      : undefined
  const isOverdue = dueAt === undefined && overdue[failed.code] !== undefined
  const code = isOverdue ? overdue[failed.code]! : failed.code
  const because = isOverdue
    ? `${failed.because} (given up after ${transmission.attempts} attempts)`
    : failed.because
  const { advance, after } = await recordOccurrence(
    query,
    transmission,
    { what: 'attempt-failed', code, willRetry: dueAt !== undefined },
    at,
    {
      code,
      because,
      dueAt: dueAt ?? null,
      ...(detail === undefined ? {} : { detail }),
      ...(Array.isArray(detail?.trace) ? { trace: detail.trace } : {}),
    },
  )
  if (advance.outcome !== 'moved') return
  if (dueAt !== undefined) await schedule(query, [{ task: 'step', transmissionId: transmission.id, dueAt }])
  if (after.state === 'held' || after.state === 'failed')
    await appendAudit(query, [
      {
        at,
        actor: 'engine',
        action: after.state === 'held' ? 'transmission-held' : 'disclosure-stopped',
        subject: `transmission:${transmission.id}`,
        authorizationId: transmission.authorizationId,
        detail: { code, because },
      },
    ])
}
