import { lookup, Resolver } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'
import type { Route } from './route.ts'

/** One address to try, with the name its certificate must have. */
export interface NextHop {
  readonly host: string
  readonly address: string
  readonly port: number
}

export type NextHops =
  | { readonly found: true; readonly hops: readonly NextHop[] }
  /** The domain takes no mail, says DNS itself: permanent. `code` and `reply` in the words of RFC 7505 / RFC 3463. */
  | { readonly found: false; readonly code: number; readonly reply: string }
  /** DNS did not answer, or what it answered must not be used: later it may. */
  | { readonly found: undefined; readonly because: string }

export interface MailExchangerSettings {
  /** DNS servers, `ip` or `ip:port`; the system’s by default. */
  readonly servers?: readonly string[]
  /** SMTP port of mail exchangers; 25 but for tests. */
  readonly port?: number
  /** Let a mail exchanger have a loopback, private or link-local address. Off: DNS of strangers must not steer us inward. */
  readonly allowPrivateAddresses?: boolean
}

/** Mail exchangers of one domain that are tried; Postfix tries 5 (smtp_mx_address_limit counts addresses, 5 by default). */
const addressesMax = 8
const queryTimeoutMs = 5_000
const queryTriesMax = 3

/** Addresses of a configured route, by the system’s resolver: /etc/hosts and search domains count. */
export async function nextHopsOfRoute(route: Route): Promise<NextHops> {
  if (isIP(route.host) !== 0)
    return { found: true, hops: [{ host: route.host, address: route.host, port: route.port }] }
  try {
    const addresses = await lookup(route.host, { all: true })
    const hops = addresses.map(({ address }) => ({ host: route.host, address, port: route.port }))
    return { found: true, hops: hops.slice(0, addressesMax) }
  } catch (error) {
    return {
      found: undefined,
      because: `the configured next hop ${route.host} has no address (${dnsCode(error)})`,
    }
  }
}

/**
 * Mail exchangers of a recipient domain (RFC 5321 §5.1): by preference, equal preference in the order of the answer, the
 * domain’s own addresses where it has no MX, and none at all where it publishes a null MX (RFC 7505).
 */
export async function nextHopsOfDomain(domain: string, settings: MailExchangerSettings): Promise<NextHops> {
  const resolver = new Resolver({ timeout: queryTimeoutMs, tries: queryTriesMax })
  if (settings.servers !== undefined) resolver.setServers([...settings.servers])
  const port = settings.port ?? 25
  let hosts: string[]
  try {
    const exchangers = await resolver.resolveMx(domain)
    if (exchangers.some(({ exchange }) => exchange === '' || exchange === '.'))
      // RFC 7505 §3: a null MX is alone. One beside others is an error of the zone; what it says stays plain.
      if (exchangers.length === 1)
        return { found: false, code: 556, reply: `556 5.1.10 ${domain} publishes a null MX (RFC 7505)` }
    hosts = exchangers
      .filter(({ exchange }) => exchange !== '' && exchange !== '.')
      .sort((a, b) => a.priority - b.priority) // Array.prototype.sort is stable
      .map(({ exchange }) => exchange.toLowerCase().replace(/\.$/, ''))
  } catch (error) {
    const code = dnsCode(error)
    if (code === 'ENOTFOUND')
      return { found: false, code: 550, reply: `550 5.1.2 DNS says that ${domain} does not exist` }
    if (code !== 'ENODATA')
      return { found: undefined, because: `DNS did not say who takes mail for ${domain} (${code})` }
    hosts = [domain]
  }

  const hops: NextHop[] = []
  const troubles: string[] = []
  for (const host of new Set(hosts)) {
    if (hops.length >= addressesMax) break
    const addresses = await addressesOf(resolver, host)
    if (addresses.trouble !== undefined) troubles.push(`${host}: ${addresses.trouble}`)
    for (const address of addresses.found) {
      if (settings.allowPrivateAddresses !== true && isPrivate(address))
        troubles.push(`${host}: its address is private`)
      else if (hops.length < addressesMax) hops.push({ host, address, port })
    }
  }
  if (hops.length > 0) return { found: true, hops }
  if (troubles.length > 0)
    return { found: undefined, because: `no usable mail exchanger for ${domain} (${troubles.join('; ')})` }
  return {
    found: false,
    code: 550,
    reply: `550 5.1.2 DNS names no mail exchanger with an address for ${domain}`,
  }
}

async function addressesOf(
  resolver: Resolver,
  host: string,
): Promise<{ readonly found: readonly string[]; readonly trouble?: string }> {
  const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
  const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  const trouble = answers
    .filter((answer) => answer.status === 'rejected')
    .map((answer) => dnsCode(answer.reason))
    .find((code) => code !== 'ENODATA' && code !== 'ENOTFOUND')
  return found.length > 0 || trouble === undefined ? { found } : { found, trouble: `no answer (${trouble})` }
}

function dnsCode(error: unknown): string {
  const code = (error as { readonly code?: unknown } | null)?.code
  return typeof code === 'string' ? code : 'error'
}

const privateAddresses = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['224.0.0.0', 3],
] as const)
  privateAddresses.addSubnet(network, prefix, 'ipv4')
for (const [network, prefix] of [
  ['::', 127],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  privateAddresses.addSubnet(network, prefix, 'ipv6')

/** RFC 6890: addresses that are not of the public Internet. IPv4-mapped IPv6 counts as its IPv4. */
function isPrivate(address: string): boolean {
  return privateAddresses.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}
