import { randomUUID } from 'node:crypto'
import type { DataSource } from 'typeorm'
import type { Authorization, AuthorizationChange, AuthorizationRequest } from '../domain/authorization.ts'
import { schedule } from '../jobs/schedule.ts'
import { appendAudit } from '../store/audit.ts'
import {
  insertAuthorization,
  lockAuthorization,
  markRevoked,
  updateAuthorization,
} from '../store/authorizations.ts'
import { setDue } from '../store/due-authorizations.ts'
import { forgetSealed } from '../store/deliveries.ts'
import { inTransaction, type Query } from '../store/query.ts'
import {
  insertTransmissions,
  lockTransmission,
  recordOccurrence,
  type NewTransmission,
} from '../store/transmissions.ts'

import { nextDue, startInterval } from './send-due.ts'

export interface AuthorizePorts {
  readonly dataSource: DataSource
  readonly deliveryRequested: boolean
  /** IANA name: nights and days of intervals are those of the data holder. */
  readonly timezone: string
  readonly now: () => Date
}

/** The patient’s request is stored; one that sends at once, or by interval, starts its first transmissions in the same transaction. */
export function authorize(
  ports: AuthorizePorts,
  request: AuthorizationRequest,
  actor: string,
): Promise<Authorization> {
  return inTransaction(ports.dataSource, async (query) => {
    const at = ports.now()
    const authorization = await insertAuthorization(query, request, actor, at)
    await appendAudit(query, [
      {
        at,
        actor,
        action: 'authorization-created',
        subject: `authorization:${authorization.id}`,
        authorizationId: authorization.id,
        detail: standing(authorization),
      },
    ])
    await pushOnce(ports, query, authorization, at)
    await keepInterval(ports, query, authorization, undefined, at)
    return authorization
  })
}

export type AuthorizationOutcome =
  | { readonly outcome: 'done'; readonly authorization: Authorization }
  | { readonly outcome: 'unknown' }
  | { readonly outcome: 'revoked'; readonly authorization: Authorization }
  | { readonly outcome: 'conflict'; readonly because: string }

/** Changes how often, where to and on what. Work on its way to a removed destination stops with the next judgement, at the latest. */
export function change(
  ports: AuthorizePorts,
  id: string,
  wanted: AuthorizationChange,
  actor: string,
): Promise<AuthorizationOutcome> {
  return inTransaction(ports.dataSource, async (query): Promise<AuthorizationOutcome> => {
    const at = ports.now()
    const before = await lockAuthorization(query, id, 'NO KEY UPDATE')
    if (before === undefined) return { outcome: 'unknown' }
    if (before.revokedAt !== undefined) return { outcome: 'revoked', authorization: before }
    const because = impossible(before, wanted)
    if (because !== undefined) return { outcome: 'conflict', because }
    const authorization = await updateAuthorization(query, before, wanted, actor, at)
    await appendAudit(query, [
      {
        at,
        actor,
        action: 'authorization-changed',
        subject: `authorization:${id}`,
        authorizationId: id,
        detail: { before: standing(before), after: standing(authorization) },
      },
    ])
    await stopUnsent(
      query,
      authorization,
      actor,
      at,
      'destination-removed',
      'the patient removed this destination',
      (destination) =>
        !authorization.destinations.some(
          ({ address }) => address.toLowerCase() === destination.toLowerCase(),
        ),
    )
    await pushOnce(ports, query, authorization, at)
    await keepInterval(ports, query, authorization, before, at)
    return { outcome: 'done', authorization }
  })
}

/** Prospective and immediate: everything that has not left is cancelled in the transaction that revokes. */
export function revoke(
  ports: Pick<AuthorizePorts, 'dataSource' | 'now'>,
  id: string,
  because: string | undefined,
  actor: string,
): Promise<AuthorizationOutcome> {
  return inTransaction(ports.dataSource, async (query): Promise<AuthorizationOutcome> => {
    const at = ports.now()
    const before = await lockAuthorization(query, id, 'NO KEY UPDATE')
    if (before === undefined) return { outcome: 'unknown' }
    if (before.revokedAt !== undefined) return { outcome: 'revoked', authorization: before }
    const authorization = await markRevoked(query, before, actor, because, at)
    await appendAudit(query, [
      {
        at,
        actor,
        action: 'authorization-revoked',
        subject: `authorization:${id}`,
        authorizationId: id,
        detail: { version: authorization.version, ...(because === undefined ? {} : { because }) },
      },
    ])
    await setDue(query, id, null)
    await stopUnsent(query, authorization, actor, at, 'revoked', 'the authorization was revoked', () => true)
    return { outcome: 'done', authorization }
  })
}

function impossible(before: Authorization, wanted: AuthorizationChange): string | undefined {
  const frequency = wanted.frequency ?? before.frequency
  const triggers = wanted.triggers ?? before.triggers
  if (frequency.type === 'continuous' && triggers.length === 0)
    return 'a continuous authorization needs at least one trigger: give triggers along with the frequency'
  const validUntil = wanted.validUntil === undefined ? before.validUntil : (wanted.validUntil ?? undefined)
  if (validUntil !== undefined && validUntil <= before.validFrom)
    return 'validUntil must be later than validFrom'
  return undefined
}

/** One push per destination of a `once` authorization; one that is there already is not made again. */
async function pushOnce(
  ports: AuthorizePorts,
  query: Query,
  authorization: Authorization,
  at: Date,
): Promise<void> {
  if (authorization.frequency.type !== 'once') return
  const dueAt = authorization.validFrom > at ? authorization.validFrom : at
  const rows = authorization.destinations.map(({ address }): NewTransmission => ({
    id: randomUUID(),
    authorizationId: authorization.id,
    authorizationVersion: authorization.version,
    destination: address,
    cause: 'request',
    eventId: null,
    occurredAt: at,
    state: 'waiting',
    code: null,
    because: null,
    dueAt,
    encounterKey: null,
    deliveryRequested: ports.deliveryRequested,
  }))
  const inserted = await insertTransmissions(query, rows, at)
  await schedule(
    query,
    [...inserted].map((transmissionId) => ({ task: 'step' as const, transmissionId, dueAt })),
  )
}

/** The first push of an interval is at once, so that the patient sees that it works; then by the calendar. */
async function keepInterval(
  ports: AuthorizePorts,
  query: Query,
  authorization: Authorization,
  before: Authorization | undefined,
  at: Date,
): Promise<void> {
  const { id, frequency, validFrom } = authorization
  if (frequency.type !== 'interval') {
    if (before?.frequency.type === 'interval') await setDue(query, id, null)
    return
  }
  const was = before?.frequency
  if (was?.type === 'interval' && was.every === frequency.every) return
  const from = validFrom > at ? validFrom : at
  const isFirst = was?.type !== 'interval'
  if (isFirst && validFrom <= at) await startInterval(ports, query, [authorization], at)
  const nextDueAt = isFirst && validFrom > at ? validFrom : nextDue(authorization, from, at, ports.timezone)
  await setDue(query, id, { from, nextDueAt })
}

async function stopUnsent(
  query: Query,
  authorization: Authorization,
  actor: string,
  at: Date,
  code: string,
  because: string,
  concerns: (destination: string) => boolean,
): Promise<void> {
  const rows = await query<{ id: string; destination: string }>(
    `SELECT id, destination FROM transmission
     WHERE authorization_id = $1 AND state IN ('waiting', 'preparing', 'sealed', 'held') ORDER BY id`,
    [authorization.id],
  )
  for (const { id } of rows.filter((row) => concerns(row.destination))) {
    const transmission = await lockTransmission(query, id)
    if (transmission === undefined) continue
    const { advance } = await recordOccurrence(query, transmission, { what: 'cancelled' }, at, {
      code,
      because,
    })
    if (advance.outcome !== 'moved') continue
    // What may have arrived stays provable; what never left has no reason to be kept.
    if (!transmission.ambiguous) await forgetSealed(query, id)
    await appendAudit(query, [
      {
        at,
        actor,
        action: 'transmission-cancelled',
        subject: `transmission:${id}`,
        authorizationId: authorization.id,
        detail: { code, because },
      },
    ])
  }
}

/** What the audit keeps of an authorization: what was permitted, not who the patient is. */
function standing(authorization: Authorization): Record<string, unknown> {
  return {
    version: authorization.version,
    frequency: authorization.frequency,
    triggers: authorization.triggers,
    destinations: authorization.destinations.map(({ address }) => address),
    validFrom: authorization.validFrom,
    validUntil: authorization.validUntil ?? null,
    sensitiveData: authorization.sensitiveData,
    identityAssurance: authorization.identityAssurance,
    evidence: authorization.evidence ?? null,
  }
}
