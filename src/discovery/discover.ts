import { X509Certificate } from 'node:crypto'
import type { DirectAddress } from '../domain/direct-address.ts'
import type { TraceStep } from '../domain/trust-verdict.ts'
import type { CertAnswer, CertRecord } from '../lib/dns-cert.ts'
import { fitsDns } from '../lib/dns-name.ts'
import type { AnswerCache } from './answer-cache.ts'

export type DiscoveryStepName = 'dns-address' | 'dns-domain'

/**
 * What was found for an address. `found` says nothing about trust: certificates that turn out to be worthless are still
 * found, and end the search (DCDT cases D5 to D8). `unavailable` is not `absent`: the question is open.
 */
export type Discovery =
  | {
      readonly outcome: 'found'
      readonly step: DiscoveryStepName
      /** DER, each once, in the order of the answer. */
      readonly certificates: readonly Buffer[]
      readonly trace: readonly TraceStep[]
    }
  | { readonly outcome: 'absent'; readonly trace: readonly TraceStep[] }
  | { readonly outcome: 'unavailable'; readonly because: string; readonly trace: readonly TraceStep[] }

export interface DiscoveryPorts {
  /** {@link import('../lib/dns-cert.ts').resolveCert} with its servers. */
  readonly resolveCert: (name: string) => Promise<CertAnswer>
  readonly cache?: AnswerCache
}

/**
 * Looks for the certificates of a Direct address: DNS CERT under the address, then under its domain (Certificate
 * Discovery IG §2.1, steps 1 and 2). The first step that finds any certificate ends the search; only *nothing found*
 * goes on, and a question left open stops it: who blocks DNS must not choose where we look next.
 *
 * @param at for the cache
 */
export async function discover(address: DirectAddress, ports: DiscoveryPorts, at: Date): Promise<Discovery> {
  const begun = performance.now()
  const trace: TraceStep[] = []
  for (const step of steps)
    for (const place of step.placesOf(address)) {
      const look = await step.look(place, ports, at)
      const afterMs = Math.round(performance.now() - begun)
      for (const seen of look.seen) trace.push({ afterMs, step: step.name, ...seen })
      if (look.outcome === 'open') return { outcome: 'unavailable', because: look.because, trace }
      if (look.outcome === 'found')
        return { outcome: 'found', step: step.name, certificates: look.certificates, trace }
    }
  return { outcome: 'absent', trace }
}

/** One place of the Certificate Discovery IG where certificates may be published; LDAP is further ones of these. */
interface DiscoveryStep {
  readonly name: DiscoveryStepName
  /** What to ask for, in order; nothing when the step does not apply. */
  readonly placesOf: (address: DirectAddress) => readonly string[]
  readonly look: (place: string, ports: DiscoveryPorts, at: Date) => Promise<Look>
}

type Seen = Pick<TraceStep, 'outcome' | 'detail'>

type Look =
  | { readonly outcome: 'found'; readonly certificates: readonly Buffer[]; readonly seen: readonly Seen[] }
  | { readonly outcome: 'nothing'; readonly seen: readonly Seen[] }
  | { readonly outcome: 'open'; readonly because: string; readonly seen: readonly Seen[] }

const steps: readonly DiscoveryStep[] = [
  { name: 'dns-address', placesOf: addressNames, look: lookInDns },
  { name: 'dns-domain', placesOf: ({ domain }) => [domain.toLowerCase()], look: lookInDns },
]

/**
 * `local.part@dom.ex` is published as `local.part.dom.ex`; dots are not escaped, odd octets stay as they are. A sub-
 * address (`bob+tag@`) is asked for as written first, then without its tag, as the reference implementation does.
 */
function addressNames({ local, domain }: DirectAddress): string[] {
  const plus = local.indexOf('+')
  const locals = plus > 0 ? [local, local.slice(0, plus)] : [local]
  return locals.map((part) => `${part}.${domain}`.toLowerCase())
}

async function lookInDns(name: string, ports: DiscoveryPorts, at: Date): Promise<Look> {
  const asked = `CERT ${name}`
  if (!fitsDns(name))
    return {
      outcome: 'nothing',
      seen: [{ outcome: 'skipped', detail: `${asked}: longer than a DNS name can be` }],
    }
  const kept = ports.cache?.get(name, at)
  const answer = kept?.answer ?? (await ports.resolveCert(name))
  if (kept === undefined) ports.cache?.put(name, answer, at)
  if (answer.outcome === 'failed') {
    const because = `${asked}: ${answer.because}`
    return { outcome: 'open', because, seen: [{ outcome: 'failed', detail: because }] }
  }
  const source = kept === undefined ? `from ${answer.server}` : `kept, good for ${kept.secondsLeft} s more`
  if (answer.outcome === 'absent') {
    const what = answer.kind === 'nxdomain' ? 'no such name' : 'no such record'
    return { outcome: 'nothing', seen: [{ outcome: 'nothing', detail: `${asked}: ${what} (${source})` }] }
  }
  const { certificates, left } = readRecords(answer.records)
  const seen: Seen[] = left.map((detail) => ({ outcome: 'skipped', detail: `${asked}: ${detail}` }))
  if (certificates.length === 0)
    return {
      outcome: 'nothing',
      seen: [...seen, { outcome: 'nothing', detail: `${asked}: no readable certificate (${source})` }],
    }
  const counted = certificates.length === 1 ? '1 certificate' : `${certificates.length} certificates`
  seen.push({ outcome: 'found', detail: `${asked}: ${counted} over ${answer.via.toUpperCase()} (${source})` })
  return { outcome: 'found', certificates, seen }
}

/** RFC 4398 §2.1. */
const certTypes: Readonly<Record<number, string>> = {
  2: 'SPKI',
  3: 'PGP',
  4: 'IPKIX',
  5: 'ISPKI',
  6: 'IPGP',
  7: 'ACPKIX',
  8: 'IACPKIX',
  253: 'URI',
  254: 'OID',
}
const typePkix = 1
/** IPKIX and URI hold the place of a certificate instead of the certificate. */
const typesByReference: readonly number[] = [4, 253]

function readRecords(records: readonly CertRecord[]): { certificates: Buffer[]; left: string[] } {
  const certificates: Buffer[] = []
  const left: string[] = []
  for (const { type, data } of records) {
    if (typesByReference.includes(type))
      left.push(`a record of type ${certTypes[type]} names a place; it was not fetched`)
    else if (type !== typePkix)
      left.push(`a record of type ${certTypes[type] ?? type} is no X.509 certificate`)
    else if (!isCertificate(data))
      left.push(`a record of ${data.length} octets is not readable as a certificate`)
    else if (!certificates.some((known) => known.equals(data))) certificates.push(data)
  }
  return { certificates, left }
}

function isCertificate(der: Buffer): boolean {
  // node:crypto would take PEM, too.
  if (der[0] !== 0x30) return false
  try {
    return new X509Certificate(der).raw.equals(der)
  } catch {
    return false
  }
}
