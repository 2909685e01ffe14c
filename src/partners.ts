import { globSync, readFileSync, statSync } from 'node:fs'
import { relative } from 'node:path'
import { makeAnswerCache } from './discovery/answer-cache.ts'
import type { DiscoveryPorts } from './discovery/discover.ts'
import { askDirectory, directoryLimitsUsual } from './discovery/ldap-directory.ts'
import { resolveCert } from './lib/dns-cert.ts'
import { resolveSrv } from './lib/dns-srv.ts'
import { makeGuardedFetch } from './lib/guarded-fetch.ts'
import { resolveBy, resolveOutbound } from './lib/outbound-guard.ts'
import { fileKeyHolder, type OwnKey } from './seal/own-key.ts'
import type { Signer } from './seal/seal.ts'
import type { Settings } from './settings.ts'
import { readAnchors, type AnchorFile } from './trust/anchors.ts'
import type { Certificate } from './trust/certificate.ts'
import { covers } from './trust/covers.ts'
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
  readonly discovery: DiscoveryPorts
  /**
   * Whole days left, negative when over: `sign` until the first signer expires, `decrypt` until the last certificate that
   * others may encrypt to does, `anchor` until the first anchor in use does.
   */
  readonly daysLeft: ReadonlyMap<'sign' | 'decrypt' | 'anchor', number>
  /** Sentences: what does not work, where, and what helps. */
  readonly problems: readonly string[]
}

/** Certificates and bundles are small; what is larger is not one. */
const fileBytesMax = 16 * 1024 * 1024

/** Reads keys and anchors from their files. Whatever is wrong with one of them leaves the others in use. */
export function readPartners(settings: Settings, at: Date): Partners {
  const problems: string[] = []
  const pairs = readPairs(settings, at, problems)
  const signing = signingPairs(pairs, settings, problems)
  const anchors = readTrusted(settings, at, problems)
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
    discovery: discoveryOf(settings),
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

function readTrusted({ trust: { anchors } }: Settings, at: Date, problems: string[]): Certificate[] {
  const files: AnchorFile[] = []
  for (const { files: pattern } of anchors) {
    const paths = /[*?[\]{}]/.test(pattern) ? globSync(pattern).sort() : [pattern]
    if (paths.length === 0)
      problems.push(`trust.anchors: no file fits ${shown(pattern)}: put the anchors’ PEM or DER files there`)
    for (const path of paths) {
      const content = readWhole(path)
      if (typeof content === 'string') problems.push(`trust.anchors: ${shown(path)}: ${content}`)
      else files.push({ name: shown(path), bytes: content })
    }
  }
  const reading = readAnchors(files, at)
  for (const { file, because } of reading.problems)
    problems.push(`trust.anchors: ${file}: ${because}: replace it by a current one, or take it out`)
  return [...reading.anchors]
}

/** One cache of each kind for the whole process. */
function discoveryOf({ discovery: { dns, ldap, allowPrivateAddresses } }: Settings): DiscoveryPorts {
  const servers = dns.servers.length === 0 ? ('system' as const) : dns.servers
  const options = { timeoutMs: dns.timeoutMs, attempts: dns.attempts, servers }
  const outbound = { allowPrivateAddresses, resolve: resolveBy(dns.servers) }
  return {
    resolveCert: (name) => resolveCert(name, options),
    fetch: makeGuardedFetch(outbound),
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
  const inUse = anchors.filter(({ notBefore, notAfter }) => notBefore <= at && at <= notAfter)
  if (inUse.length > 0) days.set('anchor', Math.min(...inUse.map(({ notAfter }) => daysUntil(notAfter, at))))
  return days
}

/** The content, or why there is none. */
function readWhole(path: string): Buffer | string {
  try {
    if (statSync(path).size > fileBytesMax)
      return `larger than ${fileBytesMax} bytes: name a certificate file`
    return readFileSync(path)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    return `cannot be read (${code}): check the path and its permissions`
  }
}

/** Paths as people wrote them, where they lie below the working directory. */
function shown(path: string): string {
  const short = relative(process.cwd(), path)
  return short.startsWith('..') ? path : short
}
