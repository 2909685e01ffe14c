import type { DataSource } from 'typeorm'
import type { Authorization } from '../domain/authorization.ts'
import { Failed, type FailureCode } from '../domain/failure.ts'
import type { TraceStep } from '../domain/trust-verdict.ts'
import { appendAudit } from '../store/audit.ts'
import { queryOf } from '../store/query.ts'
import { trustedRecipients, type RecipientPorts } from './recipients.ts'

export interface ProbePorts extends RecipientPorts {
  readonly dataSource: DataSource
  readonly now: () => Date
}

/**
 * Looks ahead when a request is stored or changed: would its destinations find a trusted certificate today? The answer is
 * kept in the audit and decides nothing, since certificates come and go until something is sent.
 */
export async function probeDestinations(ports: ProbePorts, authorization: Authorization): Promise<void> {
  for (const { address: destination } of authorization.destinations) {
    const at = ports.now()
    const probe = await probeOne(ports, destination, at)
    await appendAudit(queryOf(ports.dataSource), [
      {
        at,
        actor: 'engine',
        action: 'destination-probed',
        subject: `authorization:${authorization.id}`,
        authorizationId: authorization.id,
        detail: { destination, ...probe },
      },
    ])
  }
}

type Probe = 'trusted' | 'untrusted' | 'absent' | 'unavailable'

const outcomes: Partial<Record<FailureCode, Probe>> = {
  'recipient-no-certificate': 'absent',
  'recipient-untrusted': 'untrusted',
  'discovery-unavailable': 'unavailable',
  'revocation-unavailable': 'unavailable',
}

async function probeOne(
  ports: ProbePorts,
  destination: string,
  at: Date,
): Promise<{ outcome: Probe; trace: readonly string[] }> {
  const told = (trace: readonly TraceStep[]) => trace.map(({ detail }) => detail)
  try {
    const { trace } = await trustedRecipients(ports, destination, at)
    return { outcome: 'trusted', trace: told(trace) }
  } catch (error) {
    const outcome = error instanceof Failed ? outcomes[error.code] : undefined
    if (outcome === undefined) throw error
    const { trace = [] } = ((error as Failed).detail ?? {}) as { trace?: readonly TraceStep[] }
    return { outcome, trace: trace.length > 0 ? told(trace) : [(error as Failed).because] }
  }
}
