import type { DataSource } from 'typeorm'
import { Failed, type RetryPlan } from '../domain/failure.ts'
import type { Edge, RecipientSubmission } from '../edge/edge.ts'
import { schedule } from '../jobs/schedule.ts'
import { nextDeadline, type NotificationWaits } from '../tracking/deadlines.ts'
import { appendAudit } from '../store/audit.ts'
import { readBlob } from '../store/blobs.ts'
import {
  closeAttempt,
  openAttempt,
  sealedOf,
  type AttemptOutcome,
  type SealedMessage,
} from '../store/deliveries.ts'
import { inTransaction, queryOf } from '../store/query.ts'
import {
  lockTransmission,
  readTransmission,
  recordOccurrence,
  type Transmission,
} from '../store/transmissions.ts'
import { recordFailure } from './attempt-failed.ts'
import { judgeAgain, lockJudged } from './judge-again.ts'

export interface SendPorts {
  readonly dataSource: DataSource
  readonly edge: Edge
  readonly from: string
  readonly retry: RetryPlan
  readonly waits: NotificationWaits
  readonly now: () => Date
  readonly jitter: () => number
}

/**
 * sealed → submitted: the stored bytes go to the next hop, the same ones at every attempt. The authorization is judged
 * once more in the transaction that writes “handing over”, between RCPT and the first byte of the message.
 */
export async function send(ports: SendPorts, transmissionId: string): Promise<void> {
  const transmission = await settle(ports, transmissionId)
  if (transmission === undefined) return
  const sealed = await sealedOf(queryOf(ports.dataSource), transmissionId)
  if (sealed === undefined) {
    // It was stopped meanwhile: its bytes went with it.
    if ((await readTransmission(queryOf(ports.dataSource), transmissionId))?.state !== 'sealed') return
    throw new Error(`transmission ${transmissionId} is sealed but has no sealed bytes`)
  }
  const submission = await ports.edge.submit({
    envelope: { from: ports.from, to: [transmission.destination] },
    bytes: sealed.bytes,
    open: () => readBlob(queryOf(ports.dataSource), sealed.blobId),
    beforeData: () => handOver(ports, transmissionId, sealed),
  })
  await settleSubmission(ports, transmissionId, submission.recipients[0]!)
}

/** A hand-over that a crash cut short may have arrived: that is written down before anything else is tried. */
function settle(ports: SendPorts, transmissionId: string): Promise<Transmission | undefined> {
  return inTransaction(ports.dataSource, async (query) => {
    const at = ports.now()
    const locked = await lockJudged(query, transmissionId)
    if (locked === undefined || locked.transmission.state !== 'sealed') return undefined
    let { transmission } = locked
    if (transmission.onWire) {
      const because = 'the process ended while the next hop was taking the message'
      await closeAttempt(query, transmissionId, 'ambiguous', undefined, undefined, at)
      const cut = { what: 'attempt-failed', code: 'edge-lost-after-data', willRetry: true } as const
      transmission = (await recordOccurrence(query, transmission, cut, at, { code: cut.code, because })).after
    }
    return (await judgeAgain(query, { ...locked, transmission }, at)) ? transmission : undefined
  })
}

function handOver(
  ports: SendPorts,
  transmissionId: string,
  sealed: SealedMessage,
): Promise<{ permitted: true } | { permitted: false; because: string }> {
  return inTransaction(ports.dataSource, async (query) => {
    const at = ports.now()
    const locked = await lockJudged(query, transmissionId)
    if (locked === undefined) return { permitted: false, because: 'the transmission is gone' }
    const { transmission, authorization } = locked
    if (transmission.state !== 'sealed' || transmission.onWire)
      return { permitted: false, because: `the transmission is ${transmission.state}` }
    if (!(await judgeAgain(query, locked, at)))
      return { permitted: false, because: 'the authorization does not permit it any more' }
    await recordOccurrence(query, transmission, { what: 'handing-over' }, at, {
      attempts: transmission.attempts + 1,
      firstAttemptAt: transmission.firstAttemptAt ?? at,
      authorizationVersion: authorization.version,
    })
    const attempt = await openAttempt(query, transmissionId, transmission.ambiguous, at)
    await appendAudit(query, [
      {
        at,
        actor: 'engine',
        action: 'disclosure',
        subject: `transmission:${transmissionId}`,
        authorizationId: authorization.id,
        detail: {
          destination: transmission.destination,
          messageId: sealed.messageId,
          attempt,
          resend: transmission.ambiguous,
          authorizationVersion: authorization.version,
          certificates: sealed.recipientFingerprints,
          signers: sealed.signerFingerprints,
        },
      },
    ])
    return { permitted: true }
  })
}

function settleSubmission(
  ports: SendPorts,
  transmissionId: string,
  result: RecipientSubmission,
): Promise<void> {
  return inTransaction(ports.dataSource, async (query) => {
    const at = ports.now()
    const transmission = await lockTransmission(query, transmissionId)
    if (transmission === undefined) return
    await closeAttempt(
      query,
      transmissionId,
      attemptOutcomes[result.outcome],
      nextHopOf(result),
      replyOf(result),
      at,
    )
    if (result.outcome === 'stopped') {
      // The refusal wrote its own end; only a hand-over that began must not look unfinished.
      if (transmission.onWire)
        await recordFailure(
          query,
          transmission,
          new Failed('edge-unreachable', result.because),
          ports.retry,
          at,
          ports.jitter(),
        )
      return
    }
    if (result.outcome !== 'accepted') {
      // Attempts are counted at the hand-over; those that never came so far count here.
      const counted = transmission.onWire
        ? transmission
        : { ...transmission, attempts: transmission.attempts + 1 }
      await countAttempt(query, counted, transmission, at)
      await recordFailure(query, counted, failureFrom(result), ports.retry, at, ports.jitter())
      return
    }
    const standing = { state: 'submitted', deliveryRequested: transmission.deliveryRequested } as const
    const dueAt = nextDeadline(standing, transmission.firstSentAt ?? at, ports.waits)!.dueAt
    const { after } = await recordOccurrence(query, transmission, { what: 'submitted' }, at, {
      dueAt,
      because: `accepted by ${result.nextHop}`,
      detail: { reply: result.reply.slice(0, 200) },
    })
    if (after.state === 'submitted') await schedule(query, [{ task: 'step', transmissionId, dueAt }])
  })
}

async function countAttempt(
  query: Parameters<typeof lockTransmission>[0],
  counted: Transmission,
  before: Transmission,
  at: Date,
): Promise<void> {
  if (counted === before) return
  await query(
    'UPDATE transmission SET attempts = $2, first_attempt_at = coalesce(first_attempt_at, $3) WHERE id = $1',
    [before.id, counted.attempts, at],
  )
}

const attemptOutcomes: Record<RecipientSubmission['outcome'], AttemptOutcome> = {
  accepted: 'submitted',
  refused: 'refused',
  deferred: 'deferred',
  unreachable: 'unreachable',
  insecure: 'unreachable',
  ambiguous: 'ambiguous',
  stopped: 'stopped',
}

export function failureFrom(
  result: Exclude<RecipientSubmission, { outcome: 'accepted' | 'stopped' }>,
): Failed {
  switch (result.outcome) {
    case 'refused':
      return new Failed('edge-refused', `${result.nextHop} refused the message: ${result.reply}`)
    case 'deferred':
      return new Failed('edge-deferred', `${result.nextHop} asked to try later: ${result.reply}`)
    case 'unreachable':
      return new Failed('edge-unreachable', result.because)
    case 'insecure':
      return new Failed('edge-insecure', result.because)
    case 'ambiguous':
      return new Failed('edge-lost-after-data', `${result.nextHop}: ${result.because}`)
  }
}

function nextHopOf(result: RecipientSubmission): string | undefined {
  return 'nextHop' in result ? result.nextHop : undefined
}

function replyOf(result: RecipientSubmission): string | undefined {
  return 'reply' in result ? result.reply : 'because' in result ? result.because : undefined
}
