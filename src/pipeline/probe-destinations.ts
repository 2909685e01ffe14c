import type { DataSource } from 'typeorm'
import { discover, type DiscoveryPorts } from '../discovery/discover.ts'
import type { Authorization } from '../domain/authorization.ts'
import { readDirectAddress } from '../domain/direct-address.ts'
import { appendAudit } from '../store/audit.ts'
import { queryOf } from '../store/query.ts'
import type { Certificate } from '../trust/certificate.ts'
import { judgeCertificates } from '../trust/judge-certificates.ts'

export interface ProbePorts {
  readonly dataSource: DataSource
  readonly discovery: DiscoveryPorts
  readonly anchors: readonly Certificate[]
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

async function probeOne(
  { discovery: ports, anchors }: ProbePorts,
  destination: string,
  at: Date,
): Promise<{ outcome: 'trusted' | 'untrusted' | 'absent' | 'unavailable'; trace: readonly string[] }> {
  const reading = readDirectAddress(destination)
  if (!reading.valid) return { outcome: 'absent', trace: [reading.because] }
  const discovery = await discover(reading.address, ports, at)
  if (discovery.outcome !== 'found')
    return { outcome: discovery.outcome, trace: discovery.trace.map(({ detail }) => detail) }
  const judged = judgeCertificates(discovery.certificates, [], anchors, reading.address, 'encrypt', at)
  return {
    outcome: judged.trusted.length > 0 ? 'trusted' : 'untrusted',
    trace: [...discovery.trace, ...judged.trace].map(({ detail }) => detail),
  }
}
