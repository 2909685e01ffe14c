import { readAnchorFiles } from './anchor-files.ts'
import { makeAnswerCache } from './discovery/answer-cache.ts'
import type { DiscoveryPorts } from './discovery/discover.ts'
import { askDirectory, directoryLimitsUsual } from './discovery/ldap-directory.ts'
import { openKeyRing, type KeyRing } from './key-ring.ts'
import { resolveCert } from './lib/dns-cert.ts'
import { resolveSrv } from './lib/dns-srv.ts'
import { makeGuardedFetch, type GuardedFetch } from './lib/guarded-fetch.ts'
import { resolveBy, resolveOutbound } from './lib/outbound-guard.ts'
import { revocationCheck } from './revocation-check.ts'
import type { Settings } from './settings.ts'
import type { Query } from './store/query.ts'
import { changingAnchors, type ChangingAnchors } from './trust/anchors.ts'
import type { Certificate } from './trust/certificate.ts'
import { makeIssuerFinder } from './trust/issuer-finder.ts'
import type { TrustPorts } from './trust/judge-certificates.ts'
import { daysUntil } from './trust/own-keys.ts'

/** What an installation brings to the exchange: its keys, whom it trusts, and how it finds certificates. */
export interface Partners {
  /** Ask it at each use: keys come and go while the engine runs. */
  readonly keyRing: KeyRing
  readonly anchors: readonly Certificate[]
  /** Those of files; those of bundles are put beside them as they come (`engine/followed-trust.ts`). Ask it at each use. */
  readonly anchorSet: ChangingAnchors
  readonly discovery: DiscoveryPorts
  readonly trust: TrustPorts
  /**
   * Whole days left, negative when over: `sign` until the first signer expires, `decrypt` until the last certificate that
   * others may encrypt to does, `anchor` until the first anchor in use does.
   */
  readonly daysLeft: ReadonlyMap<'sign' | 'decrypt' | 'anchor', number>
  /** Sentences: what does not work, where, and what helps. */
  readonly problems: readonly string[]
}

/**
 * Reads keys and anchors from their files. Whatever is wrong with one of them leaves the others in use.
 *
 * @param query of a migrated database, where revocation lists outlive the process; commands that only look do without
 */
export function readPartners(settings: Settings, at: Date, query?: Query): Partners {
  const problems: string[] = []
  const keyRing = openKeyRing(settings, settings.dataHolder?.address, at)
  problems.push(...keyRing.problems(at))
  const files = readAnchorFiles(settings.trust, at)
  problems.push(...files.problems)
  const anchorSet = changingAnchors(files.groups)
  const anchors = certificatesOf(anchorSet)
  const { allowPrivateAddresses, dns } = settings.discovery
  const fetch = makeGuardedFetch({ allowPrivateAddresses, resolve: resolveBy(dns.servers) })
  const revocation = revocationCheck(settings.trust, fetch, query)
  return {
    keyRing,
    anchors,
    anchorSet,
    discovery: discoveryOf(settings, fetch),
    trust: {
      anchors: anchorSet,
      issuers: makeIssuerFinder(fetch),
      ...(revocation === undefined ? {} : { revocation }),
    },
    daysLeft: daysLeftOf(keyRing, anchors, at),
    problems,
  }
}

/** Each once, whatever they count for. */
export function certificatesOf({ groups }: ChangingAnchors): Certificate[] {
  const all = groups.flatMap(({ anchors }) => anchors.map(({ certificate }) => certificate))
  return [...new Map(all.map((certificate) => [certificate.fingerprint, certificate])).values()]
}

/** One cache of each kind for the whole process. */
function discoveryOf(
  { discovery: { dns, ldap, allowPrivateAddresses } }: Settings,
  fetch: GuardedFetch,
): DiscoveryPorts {
  const servers = dns.servers.length === 0 ? ('system' as const) : dns.servers
  const options = { timeoutMs: dns.timeoutMs, attempts: dns.attempts, servers }
  const outbound = { allowPrivateAddresses, resolve: resolveBy(dns.servers) }
  return {
    resolveCert: (name) => resolveCert(name, options),
    fetch,
    cache: makeAnswerCache(),
    ...(ldap.enabled
      ? {
          ldap: {
            resolveSrv: (name) => resolveSrv(name, options),
            resolveHost: (host) => resolveOutbound(host, outbound),
            ask: (server, mails) =>
              askDirectory(server, mails, { ...directoryLimitsUsual, timeoutMs: ldap.timeoutMs }),
            cache: makeAnswerCache(),
          },
        }
      : {}),
  }
}

function daysLeftOf(keyRing: KeyRing, anchors: readonly Certificate[], at: Date): Partners['daysLeft'] {
  const days = new Map<'sign' | 'decrypt' | 'anchor', number>()
  // Soonest first: that one stays.
  for (const { use, daysLeft } of keyRing.expiries(at).toReversed()) days.set(use, daysLeft)
  const anchorDays = anchorDaysLeft(anchors, at)
  if (anchorDays !== undefined) days.set('anchor', anchorDays)
  return days
}

/** Whole days until the first anchor in use expires. */
export function anchorDaysLeft(anchors: readonly Certificate[], at: Date): number | undefined {
  const inUse = anchors.filter(({ notBefore, notAfter }) => notBefore <= at && at <= notAfter)
  return inUse.length === 0 ? undefined : Math.min(...inUse.map(({ notAfter }) => daysUntil(notAfter, at)))
}
