import type { SrvAnswer, SrvRecord } from '../lib/dns-srv.ts'
import type { OutboundHost } from '../lib/outbound-guard.ts'
import type { AnswerCache } from './answer-cache.ts'
import type { DirectoryAnswer, DirectoryServer } from './ldap-directory.ts'
import { counted, nothing, type Look, type Seen } from './look.ts'
import { readableOnes } from './readable-certificate.ts'

export interface LdapPorts {
  /** {@link import('../lib/dns-srv.ts').resolveSrv} with its servers. */
  readonly resolveSrv: (name: string) => Promise<SrvAnswer>
  /** {@link import('../lib/outbound-guard.ts').resolveOutbound}: SRV targets are chosen by whoever owns the domain. */
  readonly resolveHost: (host: string) => Promise<OutboundHost>
  /** {@link import('./ldap-directory.ts').askDirectory} */
  readonly ask: (server: DirectoryServer, mails: readonly string[]) => Promise<readonly DirectoryAnswer[]>
  readonly cache?: AnswerCache<LdapAnswer>
}

/** What the directories of a domain say of one `mail` value, as it is kept. */
export type LdapAnswer =
  | {
      readonly outcome: 'answer'
      readonly certificates: readonly Buffer[]
      readonly ttlSeconds: number
      readonly server: string
    }
  | { readonly outcome: 'absent'; readonly ttlSeconds: number; readonly server: string }

/** LDAP says nothing of how long an answer is good; certificates are published for years, and withdrawn by lists. */
const keptSeconds = 3600
const absentSeconds = 300
/** SRV records that are tried; each may cost a time-out. */
const serversMax = 6
const addressesMax = 4

/**
 * Looks for certificates under a `mail` value in the directories of a domain (Certificate Discovery IG §2.1, steps 3 to 7).
 * Servers are tried by priority, then by weight, the heavier first: certification expects this order, not the draw of
 * RFC 2782. The first that answers speaks for all.
 */
export async function lookInLdap(mail: string, domain: string, ports: LdapPorts, at: Date): Promise<Look> {
  const key = `${domain} ${mail}`
  const kept = ports.cache?.get(key, at)
  if (kept !== undefined) {
    const { answer, secondsLeft } = kept
    const source = `${answer.server} (kept, good for ${secondsLeft} s more)`
    return answer.outcome === 'absent'
      ? nothing({ outcome: 'nothing', detail: `mail=${mail}: nothing at ${source}` })
      : {
          outcome: 'found',
          certificates: answer.certificates,
          seen: [{ outcome: 'found', detail: `mail=${mail}: ${counted(answer.certificates)} at ${source}` }],
        }
  }
  const asked = `SRV _ldap._tcp.${domain}`
  const srv = await ports.resolveSrv(`_ldap._tcp.${domain}`)
  if (srv.outcome === 'failed') {
    const because = `${asked}: ${srv.because}`
    return { outcome: 'open', because, seen: [{ outcome: 'failed', detail: because }] }
  }
  const servers = srv.outcome === 'absent' ? [] : inOrder(srv.records)
  if (servers.length === 0)
    return nothing({ outcome: 'nothing', detail: `${asked}: the domain has no directory (${srv.server})` })
  const seen: Seen[] = [
    {
      outcome: 'found',
      detail: `${asked}: ${servers.map(({ target, port, priority, weight }) => `${target}:${port} (priority ${priority}, weight ${weight})`).join(', ')}`,
    },
  ]
  for (const server of servers.slice(0, serversMax)) {
    const look = await lookAt(server, mail, ports, seen)
    if (look === undefined) continue
    const { outcome, certificates, name } = look
    const of = { server: name }
    if (outcome === 'nothing') {
      ports.cache?.put(key, { outcome: 'absent', ttlSeconds: absentSeconds, ...of }, at)
      return nothing(...seen)
    }
    ports.cache?.put(key, { outcome: 'answer', certificates, ttlSeconds: keptSeconds, ...of }, at)
    return { outcome: 'found', certificates, seen }
  }
  return { outcome: 'open', because: `no directory of ${domain} answered`, seen }
}

/** Ascending priority, descending weight; then by name, so that the order is always the same. */
function inOrder(records: readonly SrvRecord[]): SrvRecord[] {
  return records
    .filter(({ target }) => target !== '')
    .toSorted(
      (a, b) =>
        a.priority - b.priority ||
        b.weight - a.weight ||
        (a.target < b.target ? -1 : a.target > b.target ? 1 : a.port - b.port),
    )
}

interface Answered {
  readonly outcome: 'found' | 'nothing'
  readonly certificates: readonly Buffer[]
  readonly name: string
}

/** @returns undefined where this server gave no answer and the next one is to be asked; what happened is in `seen` */
async function lookAt(
  { target, port }: SrvRecord,
  mail: string,
  ports: LdapPorts,
  seen: Seen[],
): Promise<Answered | undefined> {
  const name = `${target}:${port}`
  const host = await ports.resolveHost(target)
  if (host.outcome !== 'allowed') {
    seen.push({
      outcome: host.outcome === 'refused' ? 'refused' : 'failed',
      detail: `${name}: ${host.because}`,
    })
    return undefined
  }
  for (const address of host.addresses.slice(0, addressesMax)) {
    const [answer] = await ports.ask({ host: target, port, address }, [mail])
    if (answer === undefined) continue
    if (answer.outcome === 'failed') {
      seen.push({ outcome: 'failed', detail: `${name} at ${address.address}: ${answer.because}` })
      continue
    }
    for (const note of answer.notes) seen.push({ outcome: 'skipped', detail: `${name}: ${note}` })
    const { certificates, unreadable } = readableOnes(answer.outcome === 'found' ? answer.certificates : [])
    if (unreadable > 0)
      seen.push({
        outcome: 'skipped',
        detail: `${name}: ${unreadable} values are not readable as certificate`,
      })
    if (certificates.length === 0) {
      seen.push({ outcome: 'nothing', detail: `mail=${mail}: nothing at ${name}` })
      return { outcome: 'nothing', certificates, name }
    }
    seen.push({ outcome: 'found', detail: `mail=${mail}: ${counted(certificates)} at ${name}` })
    return { outcome: 'found', certificates, name }
  }
  return undefined
}
