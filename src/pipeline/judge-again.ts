import { judge, type Authorization } from '../domain/authorization.ts'
import { appendAudit } from '../store/audit.ts'
import { lockAuthorization } from '../store/authorizations.ts'
import { forgetSealed } from '../store/deliveries.ts'
import type { Query } from '../store/query.ts'
import { standingEvents } from '../store/stories.ts'
import {
  lockTransmission,
  readTransmission,
  recordOccurrence,
  type Transmission,
} from '../store/transmissions.ts'

export interface Judged {
  readonly transmission: Transmission
  readonly authorization: Authorization
}

/**
 * Locks the authorization, then the transmission: the same order as revoking does, so that neither waits for the other
 * in a circle. From here to the commit no revocation can slip in between.
 */
export async function lockJudged(query: Query, transmissionId: string): Promise<Judged | undefined> {
  const glimpse = await readTransmission(query, transmissionId)
  if (glimpse === undefined) return undefined
  const authorization = await lockAuthorization(query, glimpse.authorizationId, 'SHARE')
  const transmission = await lockTransmission(query, transmissionId)
  return authorization === undefined || transmission === undefined
    ? undefined
    : { transmission, authorization }
}

/**
 * Is it still permitted, now? Where it is not, the transmission is cancelled with the reason in this transaction.
 *
 * @returns false where the caller must not go on
 */
export async function judgeAgain(
  query: Query,
  { transmission, authorization }: Judged,
  at: Date,
): Promise<boolean> {
  const { cause, occurredAt, destination } = transmission
  const judgement = judge(authorization, { cause, occurredAt, destination }, at)
  if (judgement.permitted) return true
  const { code, because } = judgement
  // It may speak for several events of one visit: what the patient does not ask for on one, she may on another.
  if (code === 'trigger-not-covered' || code === 'before-request')
    for (const { kind, occurredAt } of await standingEvents(query, transmission.id))
      if (judge(authorization, { cause: kind, occurredAt, destination }, at).permitted) return true
  const { advance } = await recordOccurrence(query, transmission, { what: 'cancelled' }, at, {
    code,
    because,
  })
  if (advance.outcome !== 'moved') return false
  if (!transmission.ambiguous) await forgetSealed(query, transmission.id)
  await appendAudit(query, [
    {
      at,
      actor: 'engine',
      action: 'disclosure-stopped',
      subject: `transmission:${transmission.id}`,
      authorizationId: authorization.id,
      detail: { code, because, authorizationVersion: authorization.version },
    },
  ])
  return false
}
