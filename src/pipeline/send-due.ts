import { randomUUID } from 'node:crypto'
import type { DataSource } from 'typeorm'
import type { Authorization } from '../domain/authorization.ts'
import { schedule } from '../jobs/schedule.ts'
import { nextNthNight, readCalendarSpan } from '../lib/calendar-span.ts'
import { intervalsUnderWay, setNextDue, takeDue, type DueAuthorization } from '../store/due-authorizations.ts'
import { loadAuthorizations } from '../store/matching.ts'
import { inTransaction, type Query } from '../store/query.ts'
import { insertTransmissions, type NewTransmission } from '../store/transmissions.ts'

export interface DuePorts {
  readonly dataSource: DataSource
  readonly deliveryRequested: boolean
  /** IANA name. */
  readonly timezone: string
  readonly now: () => Date
}

const rowsMax = 200
/** What is later than this was missed, and is made up for little by little. */
const lateMs = 3_600_000
const spreadMs = 4 * 3_600_000

/**
 * Starts what is due by its interval, each once, however many nights were missed; any number of processes may do so. What is sent
 * is judged when it is prepared, and ends as `skipped` where the document is the one that was sent last.
 *
 * @returns how many transmissions were started
 */
export async function sendDue(ports: DuePorts): Promise<number> {
  let started = 0
  for (let isMore = true; isMore;) {
    const { taken, fresh } = await inTransaction(ports.dataSource, (query) => sendSome(ports, query))
    started += fresh
    isMore = taken === rowsMax
  }
  return started
}

async function sendSome(ports: DuePorts, query: Query): Promise<{ taken: number; fresh: number }> {
  const at = ports.now()
  const due = await takeDue(query, at, rowsMax)
  if (due.length === 0) return { taken: 0, fresh: 0 }
  const dueOf = new Map(due.map((one) => [one.id, one]))
  const authorizations = await loadAuthorizations(query, [...dueOf.keys()])
  const running = authorizations.filter((one) => isRunning(one, at))
  const fresh = await startInterval(ports, query, running, at, ({ id }) => delayMs(id, dueOf.get(id)!, at))
  await setNextDue(
    query,
    authorizations.map((one) => ({
      id: one.id,
      nextDueAt: isRunning(one, at) ? nextDue(one, dueOf.get(one.id)!.from, at, ports.timezone) : null,
    })),
  )
  return { taken: due.length, fresh }
}

function isRunning({ frequency, revokedAt, validUntil }: Authorization, at: Date): boolean {
  return (
    frequency.type === 'interval' && revokedAt === undefined && (validUntil === undefined || at < validUntil)
  )
}

function delayMs(id: string, { dueAt }: DueAuthorization, at: Date): number {
  return at.getTime() - dueAt.getTime() > lateMs ? Math.floor(shareOf(id) * spreadMs) : 0
}

/** The night after `at` in which an authorization with an interval is due. */
export function nextDue({ id, frequency }: Authorization, from: Date, at: Date, timezone: string): Date {
  const span = frequency.type === 'interval' ? readCalendarSpan(frequency.every) : undefined
  if (span === undefined) throw new Error(`authorization ${id} has no interval`)
  return nextNthNight(from, span, at, timezone, shareOf(id))
}

/** Always the same for one authorization, anything between 0 and 1 for many: ids are random (RFC 9562 §5.4). */
function shareOf(id: string): number {
  return Number.parseInt(id.slice(0, 8), 16) / 2 ** 32
}

/** One transmission to each destination to which none is on its way. @returns how many */
export async function startInterval(
  { deliveryRequested }: Pick<DuePorts, 'deliveryRequested'>,
  query: Query,
  authorizations: readonly Authorization[],
  at: Date,
  delay: (authorization: Authorization) => number = () => 0,
): Promise<number> {
  const underWay = await intervalsUnderWay(
    query,
    authorizations.map(({ id }) => id),
  )
  const rows = authorizations.flatMap((authorization) =>
    authorization.destinations
      .filter(({ address }) => !underWay.has(`${authorization.id}, ${address.toLowerCase()}`))
      .map(({ address }): NewTransmission => ({
        id: randomUUID(),
        authorizationId: authorization.id,
        authorizationVersion: authorization.version,
        destination: address,
        cause: 'interval',
        eventId: null,
        occurredAt: at,
        state: 'waiting',
        code: null,
        because: null,
        dueAt: new Date(at.getTime() + delay(authorization)),
        encounterKey: null,
        deliveryRequested,
      })),
  )
  await insertTransmissions(query, rows, at)
  await schedule(
    query,
    rows.map(({ id, dueAt }) => ({ task: 'step' as const, transmissionId: id, dueAt: dueAt! })),
  )
  return rows.length
}
