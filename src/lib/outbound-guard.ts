import { lookup, Resolver } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'

export interface ResolvedAddress {
  readonly address: string
  readonly family: 4 | 6
}

export type OutboundHost =
  /** In the order of the resolver. Connect to one of these, never to the name: it may say something else by then. */
  | { readonly outcome: 'allowed'; readonly addresses: readonly ResolvedAddress[] }
  | { readonly outcome: 'refused'; readonly because: string }
  /** The resolver gave no answer now. */
  | { readonly outcome: 'failed'; readonly because: string }

/** Names and addresses as `node:dns` lookup gives them. */
export type Resolve = (host: string) => Promise<readonly ResolvedAddress[]>

export interface OutboundOptions {
  /** For laboratories and private exchanges: lets everything pass. */
  readonly allowPrivateAddresses: boolean
  readonly resolve?: Resolve
}

/** What lies on this machine, in this network, or nowhere (IANA special-purpose registries, RFC 6890). */
const special = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.31.196.0', 24],
  ['192.52.193.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['192.175.48.0', 24],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  // Multicast, reserved, broadcast.
  ['224.0.0.0', 3],
] as const)
  special.addSubnet(network, prefix, 'ipv4')
/** Public IPv6 is 2000::/3; inside it, what stands for an IPv4 address or for documentation. */
const globalUnicast = new BlockList()
globalUnicast.addSubnet('2000::', 3, 'ipv6')
const specialInside = new BlockList()
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  specialInside.addSubnet(network, prefix, 'ipv6')

/** Is this an address that anybody on the Internet may be found at? */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !special.check(address, 'ipv4')
    case 6:
      // Mapped, compatible, NAT64 (64:ff9b::/96), ULA, link-local, loopback: none is in 2000::/3.
      return (
        !address.includes('%') &&
        globalUnicast.check(address, 'ipv6') &&
        !specialInside.check(address, 'ipv6')
      )
    default:
      return false
  }
}

/**
 * Where a host lies that somebody else named (SRV targets, CRL, OCSP, AIA and IPKIX URLs, bundles), and whether we go there:
 * a certificate must not make us ask the hospital’s own machines (server-side request forgery). One address that is not
 * public spoils the name.
 */
export async function resolveOutbound(
  host: string,
  { allowPrivateAddresses, resolve = systemResolve }: OutboundOptions,
): Promise<OutboundHost> {
  const bare = host.replace(/^\[(.*)\]$/, '$1')
  const literal = isIP(bare)
  let addresses: readonly ResolvedAddress[]
  if (literal !== 0) addresses = [{ address: bare, family: literal === 4 ? 4 : 6 }]
  else if (
    !/^(?=.{1,253}\.?$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i.test(
      bare,
    )
  )
    return { outcome: 'refused', because: 'the host is no name that DNS can have' }
  else
    try {
      addresses = await resolve(bare)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'error'
      return { outcome: 'failed', because: `the name ${bare} does not resolve (${code})` }
    }
  if (addresses.length === 0) return { outcome: 'failed', because: `the name ${bare} has no address` }
  if (allowPrivateAddresses) return { outcome: 'allowed', addresses }
  const inside = addresses.find(({ address }) => !isPublicAddress(address))
  if (inside === undefined) return { outcome: 'allowed', addresses }
  return {
    outcome: 'refused',
    because: `${literal === 0 ? `${bare} is at ${inside.address}, which` : inside.address} is not a public address (discovery.allowPrivateAddresses)`,
  }
}

/** Resolves with these servers (`192.0.2.53`, `127.0.0.1:15353`); with none, as the system does. */
export function resolveBy(servers: readonly string[]): Resolve {
  if (servers.length === 0) return systemResolve
  const resolver = new Resolver({ timeout: 3000, tries: 2 })
  resolver.setServers(servers)
  return async (host) => {
    const [four, six] = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
    const addresses = [
      ...(four.status === 'fulfilled' ? four.value.map((address) => ({ address, family: 4 as const })) : []),
      ...(six.status === 'fulfilled' ? six.value.map((address) => ({ address, family: 6 as const })) : []),
    ]
    if (addresses.length === 0 && four.status === 'rejected') throw four.reason
    return addresses
  }
}

async function systemResolve(host: string): Promise<readonly ResolvedAddress[]> {
  const found = await lookup(host, { all: true })
  return found.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }))
}
