import { isIP } from 'node:net'
import type { Endpoint } from './endpoint.ts'
import type { Section } from './section.ts'

export interface DiscoverySettings {
  readonly dns: DnsSettings
  readonly ldap: {
    /** Whether the directories that a domain names by SRV are asked when DNS has no certificate. */
    readonly enabled: boolean
    /** For connecting, and for each operation. */
    readonly timeoutMs: number
  }
  /** Lets SRV targets, CRL, OCSP, AIA and IPKIX URLs and bundles lie in private networks and on this machine. */
  readonly allowPrivateAddresses: boolean
}

export interface DnsSettings {
  /** Empty: those of the system. */
  readonly servers: readonly string[]
  readonly timeoutMs: number
  readonly attempts: number
}

export function readDiscovery(root: Section): DiscoverySettings {
  const discovery = root.section('discovery', ['dns', 'ldap', 'allowPrivateAddresses'])
  const ldap = discovery?.section('ldap', ['enabled', 'timeout'])
  const dns = discovery?.section('dns', ['servers', 'timeout', 'attempts'])
  const servers = dns?.texts('servers') ?? []
  for (const server of servers)
    if (readDnsServer(server) === undefined)
      dns?.problem(
        'servers',
        `“${server}” is not an IP address`,
        'write 192.0.2.53, 127.0.0.1:15353 or [2001:db8::53]:53',
      )
  return {
    dns: {
      servers,
      timeoutMs: dns?.duration('timeout') ?? 3000,
      attempts: dns?.integer('attempts', 1, 10) ?? 3,
    },
    ldap: {
      enabled: ldap?.boolean('enabled') ?? true,
      timeoutMs: ldap?.duration('timeout') ?? 5000,
    },
    allowPrivateAddresses: discovery?.boolean('allowPrivateAddresses') ?? false,
  }
}

function readDnsServer(text: string): Endpoint | undefined {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(text)
  const host = parts?.[1] ?? parts?.[2] ?? text
  return isIP(host) === 0 ? undefined : { host, port: Number(parts?.[3] ?? 53) }
}
