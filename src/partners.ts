import { relative } from 'node:path'
import { readAnchorFiles, readWhole, shown } from './anchor-files.ts'
import { makeAnswerCache } from './discovery/answer-cache.ts'
import type { DiscoveryPorts } from './discovery/discover.ts'
import { askDirectory, directoryLimitsUsual } from './discovery/ldap-directory.ts'
import { resolveCert } from './lib/dns-cert.ts'
import { resolveSrv } from './lib/dns-srv.ts'
import { makeGuardedFetch, type GuardedFetch } from './lib/guarded-fetch.ts'
import { resolveBy, resolveOutbound } from './lib/outbound-guard.ts'
import { revocationCheck } from './revocation-check.ts'
import { fileKeyHolder, type OwnKey } from './seal/own-key.ts'
import type { Signer } from './seal/seal.ts'
import type { Settings } from './settings.ts'
import type { Query } from './store/query.ts'
import { changingAnchors, type ChangingAnchors } from './trust/anchors.ts'
import type { Certificate } from './trust/certificate.ts'
import { covers } from './trust/covers.ts'
import { makeIssuerFinder } from './trust/issuer-finder.ts'
import type { TrustPorts } from './trust/judge-certificates.ts'
import { daysUntil, readOwnKey, type KeySource, type OwnKeyPair } from './trust/own-keys.ts'

/** What an installation brings to the exchange: its keys, whom it trusts, and how it finds certificates. */
export interface Partners {
  /** Each signs every message; empty where no key may sign for the data holder’s address. */
  readonly signers: readonly Signer[]
  /** SHA-256, in the order of `signers`. */
  readonly signerFingerprints: readonly string[]
  /** Every key that may decrypt, those with expired certificates included. */
  readonly ownKeys: readonly OwnKey[]
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
  const pairs = readPairs(settings, at, problems)
  const signing = signingPairs(pairs, settings, problems)
  const files = readAnchorFiles(settings.trust, at)
  problems.push(...files.problems)
  const anchorSet = changingAnchors(files.groups)
  const anchors = certificatesOf(anchorSet)
  const { allowPrivateAddresses, dns } = settings.discovery
  const fetch = makeGuardedFetch({ allowPrivateAddresses, resolve: resolveBy(dns.servers) })
  const revocation = revocationCheck(settings.trust, fetch, query)
  const decrypting = pairs.filter(({ pair }) => pair.mayDecrypt.allowed)
  if (pairs.length > 0 && decrypting.length === 0)
    problems.push(
      'keys: none of them may decrypt (keyUsage without keyEncipherment), so answers to our messages cannot be read: add the certificate and key that others encrypt to',
    )
  return {
    signers: signing.map(({ certificate, privateKey, intermediates }) => ({
      certificate: certificate.der,
      privateKey,
      intermediates: intermediates.map(({ der }) => der),
    })),
    signerFingerprints: signing.map(({ certificate }) => certificate.fingerprint),
    ownKeys: decrypting.map(({ pair }) => ({
      certificate: pair.certificate.der,
      key: fileKeyHolder(pair.privateKey),
    })),
    anchors,
    anchorSet,
    discovery: discoveryOf(settings, fetch),
    trust: {
      anchors: anchorSet,
      issuers: makeIssuerFinder(fetch),
      ...(revocation === undefined ? {} : { revocation }),
    },
    daysLeft: daysLeftOf(pairs, signing, anchors, at),
    problems,
  }
}

interface NamedPair {
  /** `keys (line 12), ashby.pem` */
  readonly name: string
  readonly pair: OwnKeyPair
}

function readPairs({ keys, file }: Settings, at: Date, problems: string[]): NamedPair[] {
  return keys.flatMap((key): NamedPair[] => {
    const path = 'pkcs12' in key ? key.pkcs12 : key.certificate
    const name = `keys (${file === undefined ? '' : `${relative(process.cwd(), file)}:`}${key.line}), ${shown(path)}`
    const content = readWhole(path)
    if (typeof content === 'string') {
      problems.push(`${name}: ${content}`)
      return []
    }
    const source: KeySource =
      'pkcs12' in key
        ? { form: 'pkcs12', bytes: content, passphrase: key.passphrase }
        : {
            form: 'pem',
            certificate: content,
            privateKey: key.privateKey,
            ...(key.passphrase === undefined ? {} : { passphrase: key.passphrase }),
          }
    const reading = readOwnKey(source, at)
    if (reading.readable) return [{ name, pair: reading.pair }]
    problems.push(`${name}: ${reading.because}: ${reading.remedy}`)
    return []
  })
}

/** A signature by a certificate that does not speak for the sender’s address is refused everywhere, without a word. */
function signingPairs(
  pairs: readonly NamedPair[],
  { dataHolder }: Settings,
  problems: string[],
): OwnKeyPair[] {
  const signing: OwnKeyPair[] = []
  const reasons: { name: string; code: string; because: string }[] = []
  for (const { name, pair } of pairs) {
    const coverage = dataHolder === undefined ? undefined : covers(pair.certificate, dataHolder.address)
    if (!pair.maySign.allowed) reasons.push({ name, ...pair.maySign })
    else if (coverage?.covered === false)
      reasons.push({ name, code: 'address-not-bound', because: coverage.because })
    else signing.push(pair)
  }
  for (const { name, code, because } of reasons) {
    // Beside a key that signs, one that only decrypts is as it should be.
    if (code === 'key-usage' && signing.length > 0) continue
    problems.push(`${name} cannot sign: ${because}: get a current certificate for the data holder’s address`)
  }
  return signing
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

function daysLeftOf(
  pairs: readonly NamedPair[],
  signing: readonly OwnKeyPair[],
  anchors: readonly Certificate[],
  at: Date,
): Partners['daysLeft'] {
  const days = new Map<'sign' | 'decrypt' | 'anchor', number>()
  const mine = pairs.map(({ pair }) => pair)
  if (signing.length > 0) days.set('sign', Math.min(...signing.map(({ daysLeft }) => daysLeft)))
  else if (mine.length > 0) days.set('sign', Math.max(...mine.map(({ daysLeft }) => daysLeft)))
  const decrypting = mine.filter(({ mayDecrypt }) => mayDecrypt.allowed)
  if (decrypting.length > 0) days.set('decrypt', Math.max(...decrypting.map(({ daysLeft }) => daysLeft)))
  const anchorDays = anchorDaysLeft(anchors, at)
  if (anchorDays !== undefined) days.set('anchor', anchorDays)
  return days
}

/** Whole days until the first anchor in use expires. */
export function anchorDaysLeft(anchors: readonly Certificate[], at: Date): number | undefined {
  const inUse = anchors.filter(({ notBefore, notAfter }) => notBefore <= at && at <= notAfter)
  return inUse.length === 0 ? undefined : Math.min(...inUse.map(({ notAfter }) => daysUntil(notAfter, at)))
}
