import { createHash } from 'node:crypto'
import type { DataSource } from 'typeorm'
import { Failed, type FailureCode } from '../domain/failure.ts'
import type { TraceStep } from '../domain/trust-verdict.ts'
import { nextNight } from '../lib/next-night.ts'
import { appendAudit } from '../store/audit.ts'
import {
  claimDueDestinations,
  recordProbe,
  type DestinationOutcome,
  type Probed,
} from '../store/destinations.ts'
import { inTransaction } from '../store/query.ts'
import { trustedRecipients, type RecipientPorts } from './recipients.ts'

export interface ProbePorts extends RecipientPorts {
  readonly dataSource: DataSource
  readonly now: () => Date
  /** Where it is night when it is night here: an IANA time zone. */
  readonly timezone: string
}

/** What one round of looking ahead did. */
export interface ProbeRound {
  readonly probed: number
  /** Destinations that could receive before and cannot now. */
  readonly lost: number
}

const atATime = 4
/** What a killed process was about to look at is looked at again after this. */
const claimMs = 10 * 60_000
/** Somebody who did not answer is asked again before the next night. */
const unavailableAgainMs = 3_600_000

/**
 * Looks ahead at the destinations whose time has come: would something sent there now find a trusted certificate, and
 * until when? At once after a request is stored or changed, then once a night for as long as it is active. What is found
 * is kept with the address and decides nothing: certificates come and go until something is sent.
 *
 * @param isStopping asked before each further look
 */
export async function probeDueDestinations(
  ports: ProbePorts,
  isStopping: () => boolean = () => false,
): Promise<ProbeRound> {
  let [probed, lost] = [0, 0]
  const errors: unknown[] = []
  while (!isStopping()) {
    const at = ports.now()
    const due = await inTransaction(ports.dataSource, (query) =>
      claimDueDestinations(query, atATime, at, new Date(at.getTime() + claimMs)),
    )
    if (due.length === 0) break
    // One that cannot be looked at does not keep the others from it.
    for (const done of await Promise.allSettled(due.map((address) => probeOne(ports, address))))
      if (done.status === 'rejected') errors.push(done.reason)
      else {
        probed++
        if (done.value) lost++
      }
  }
  if (errors.length > 0) throw errors[0]
  return { probed, lost }
}

/** @returns whether it could receive before and cannot now */
async function probeOne(ports: ProbePorts, address: string): Promise<boolean> {
  const at = ports.now()
  const found = await lookAhead(ports, address, at)
  const { outcome, because } = found
  const nextAt =
    outcome === 'unavailable'
      ? new Date(at.getTime() + unavailableAgainMs)
      : nextNight(at, ports.timezone, shareOf(address))
  return inTransaction(ports.dataSource, async (query) => {
    const before = await recordProbe(query, address, found, at, nextAt)
    if (before === outcome) return false
    await appendAudit(query, [
      {
        at,
        actor: 'engine',
        action: 'destination-probed',
        subject: `destination:${address}`,
        detail: { outcome, before, because },
      },
    ])
    return before === 'trusted' && outcome !== 'unavailable'
  })
}

const outcomes: Partial<Record<FailureCode, DestinationOutcome>> = {
  'recipient-no-certificate': 'absent',
  'recipient-untrusted': 'untrusted',
  'discovery-unavailable': 'unavailable',
  'revocation-unavailable': 'unavailable',
}

async function lookAhead(ports: RecipientPorts, address: string, at: Date): Promise<Probed> {
  try {
    const { trace, ends } = await trustedRecipients(ports, address, at)
    return { outcome: 'trusted', because: '', ends, trace }
  } catch (error) {
    const outcome = error instanceof Failed ? outcomes[error.code] : undefined
    if (outcome === undefined) throw error
    const { because, detail } = error as Failed
    const { trace = [] } = (detail ?? {}) as { trace?: readonly TraceStep[] }
    return { outcome, because, trace }
  }
}

/** Where in the night: the same one for an address every night, and all addresses spread evenly. */
function shareOf(address: string): number {
  return createHash('sha256').update(address).digest().readUInt32BE() / 2 ** 32
}
