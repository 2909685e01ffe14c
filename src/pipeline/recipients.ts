import { discover, type DiscoveryPorts } from '../discovery/discover.ts'
import { readDirectAddress } from '../domain/direct-address.ts'
import { Failed } from '../domain/failure.ts'
import { isUndecided, type TraceStep } from '../domain/trust-verdict.ts'
import type { Certificate } from '../trust/certificate.ts'
import { judgeCertificates, type TrustPorts } from '../trust/judge-certificates.ts'

export interface RecipientPorts {
  readonly discovery: DiscoveryPorts
  readonly trust: TrustPorts
  /** The domain of our own address. */
  readonly localDomain: string
}

/** Whom a message is encrypted to, and how trust in them came about. */
export interface Recipients {
  /** Every one that is found and trusted. */
  readonly certificates: readonly Certificate[]
  /** When the last way to one of them ends, and with which certificate. */
  readonly ends: { readonly at: Date; readonly subject: string }
  readonly trace: readonly TraceStep[]
}

/**
 * Found, then judged; what is found but not trusted is the end of it (Certificate Discovery IG, DCDT D5 – D8).
 *
 * @throws Failed recipient-no-certificate, recipient-untrusted, discovery-unavailable, revocation-unavailable; its detail
 * has the trace
 */
export async function trustedRecipients(
  ports: RecipientPorts,
  destination: string,
  at: Date,
): Promise<Recipients> {
  const reading = readDirectAddress(destination)
  if (!reading.valid)
    throw new Failed(
      'recipient-no-certificate',
      `the destination is not a Direct address: ${reading.because}`,
    )
  const discovery = await discover(reading.address, ports.discovery, at)
  if (discovery.outcome === 'unavailable')
    throw new Failed('discovery-unavailable', discovery.because, { detail: { trace: discovery.trace } })
  if (discovery.outcome === 'absent')
    throw new Failed(
      'recipient-no-certificate',
      `no certificate is published for the address or for ${reading.address.domain}`,
      { detail: { trace: discovery.trace } },
    )
  const judged = await judgeCertificates(discovery.certificates, [], ports.trust, {
    address: reading.address,
    localDomain: ports.localDomain,
    direction: 'outgoing',
    purpose: 'encrypt',
    at,
    afterMs: discovery.trace.at(-1)?.afterMs ?? 0,
  })
  const trace = [...discovery.trace, ...judged.trace]
  if (judged.trusted.length === 0) {
    const isOpen = judged.refused.some(({ verdict }) => isUndecided(verdict.code))
    const code = isOpen ? 'revocation-unavailable' : 'recipient-untrusted'
    throw new Failed(code, judged.because, { detail: { trace } })
  }
  const ends = judged.trusted
    .map(({ verdict }) => verdict.ends)
    .reduce((last, one) => (one.at > last.at ? one : last))
  return { certificates: judged.trusted.map((one) => one.certificate), ends, trace }
}
