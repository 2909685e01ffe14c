import type { DirectAddress } from '../domain/direct-address.ts'
import type { TraceStep } from '../domain/trust-verdict.ts'
import { lookInDns, type DnsPorts } from './look-in-dns.ts'
import { lookInLdap, type LdapPorts } from './look-in-ldap.ts'
import type { Look } from './look.ts'

export type DiscoveryStepName = 'dns-address' | 'dns-domain' | 'ldap-address' | 'ldap-domain'

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

export interface DiscoveryPorts extends DnsPorts {
  /** Absent: directories are not asked. */
  readonly ldap?: LdapPorts
}

/**
 * Looks for the certificates of a Direct address: DNS CERT under the address, then under its domain; then the same in the
 * LDAP directories that the domain names (Certificate Discovery IG §2.1). The first step that finds any certificate ends
 * the search; only *nothing found* goes on, and a question left open stops it: who blocks DNS must not choose where we
 * look next.
 *
 * @param at for the caches
 */
export async function discover(address: DirectAddress, ports: DiscoveryPorts, at: Date): Promise<Discovery> {
  const begun = performance.now()
  const trace: TraceStep[] = []
  for (const { name, looks } of stepsFor(address, ports, at))
    for (const begin of looks) {
      const look = await begin()
      const afterMs = Math.round(performance.now() - begun)
      for (const seen of look.seen) trace.push({ afterMs, step: name, ...seen })
      if (look.outcome === 'open') return { outcome: 'unavailable', because: look.because, trace }
      if (look.outcome === 'found')
        return { outcome: 'found', step: name, certificates: look.certificates, trace }
    }
  return { outcome: 'absent', trace }
}

/** One step of the Certificate Discovery IG: the places where it looks, in order. */
interface DiscoveryStep {
  readonly name: DiscoveryStepName
  readonly looks: readonly (() => Promise<Look>)[]
}

function stepsFor(address: DirectAddress, ports: DiscoveryPorts, at: Date): DiscoveryStep[] {
  const domain = address.domain.toLowerCase()
  const locals = localsOf(address)
  const dns = (name: string) => () => lookInDns(name, ports, at)
  const steps: DiscoveryStep[] = [
    // `local.part@dom.ex` is published as `local.part.dom.ex`; dots are not escaped, odd octets stay as they are.
    { name: 'dns-address', looks: locals.map((local) => dns(`${local}.${domain}`)) },
    { name: 'dns-domain', looks: [dns(domain)] },
  ]
  const { ldap } = ports
  if (ldap === undefined) return steps
  const directory = (mail: string) => () => lookInLdap(mail, domain, ldap, at)
  return [
    ...steps,
    { name: 'ldap-address', looks: locals.map((local) => directory(`${local}@${domain}`)) },
    { name: 'ldap-domain', looks: [directory(domain)] },
  ]
}

/**
 * A sub-address (`bob+tag@`) is asked for as written first, then without its tag, as the reference implementation does.
 * Local parts are compared without case, and asked for in lower case.
 */
function localsOf({ local }: DirectAddress): string[] {
  const plus = local.indexOf('+')
  return (plus > 0 ? [local, local.slice(0, plus)] : [local]).map((part) => part.toLowerCase())
}
