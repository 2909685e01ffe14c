import { randomBytes } from 'node:crypto'
import { DerError } from '../lib/der.ts'
import type { GuardedFetch } from '../lib/guarded-fetch.ts'
import type { Certificate } from './certificate.ts'
import { makeCrlCache, type CrlStore } from './crl-cache.ts'
import { askCrl, type CrlAnswer } from './crl-status.ts'
import { allReasons, type DistributionPoint } from './distribution-points.ts'
import { makeOcspCache } from './ocsp-cache.ts'

export type RevocationStatus =
  | {
      readonly status: 'good'
      /** URL of the list or of the responder. */
      readonly source: string
      readonly asOf: Date
      readonly nextUpdate?: Date
      /** The last that was good, past its nextUpdate and within grace. */
      readonly isStale?: boolean
    }
  | { readonly status: 'revoked'; readonly source: string; readonly since: Date; readonly reason?: string }
  | {
      readonly status: 'unknown'
      readonly because: string
      readonly source?: string
      /** `soft-fail`: the certificate may be used all the same, and whoever asks is told. */
      readonly isTolerated?: boolean
    }
  /** The certificate names neither a list nor a responder. */
  | { readonly status: 'not-published' }

/** Is this certificate of this issuer revoked? The issuer is the one by whom its signature was verified. */
export type RevocationCheck = (
  certificate: Certificate,
  issuer: Certificate,
  pool: readonly Certificate[],
  at: Date,
) => Promise<RevocationStatus>

export interface RevocationOptions {
  readonly fetch: GuardedFetch
  readonly mode: 'hard-fail' | 'soft-fail'
  /** How long after its nextUpdate the last good list or reply still counts. */
  readonly graceMs: number
  readonly store?: CrlStore
  /** 32 octets never used before (RFC 9654). */
  readonly nonce?: () => Buffer
}

/** Places one certificate may send us to, for each of lists, deltas and responders, whatever it names. */
const placesMax = 6
const deltaPlacesMax = 2
const reasonsShownMax = 8

type Good = Extract<RevocationStatus, { status: 'good' }>
type Revoked = Extract<RevocationStatus, { status: 'revoked' }>
/** `because`: what was tried in vain. `stale`: good, but past its nextUpdate. */
type Finding = { readonly found?: Good | Revoked; readonly stale?: Good; readonly because: readonly string[] }

/**
 * Lists first, then OCSP. A list is fetched once for everybody an authority ever certified and then answers from memory;
 * an OCSP question costs a round trip for each certificate and tells a third party whom a patient’s record goes to. So a
 * responder is asked only where no list gives a current answer, and its word then goes before a list past its time.
 *
 * What is good: a list or a reply in its time; failing that, the last good one until grace is over. What is revoked stays
 * so, however old the news. Everything else is unknown, with each place and its reason.
 *
 * @example const check = makeRevocation({ fetch, mode: 'hard-fail', graceMs: 86_400_000 })
 *          await check(leaf, issuer, [], at) // { status: 'good', source: 'http://crl.example/a.crl', asOf: …, nextUpdate: … }
 */
export function makeRevocation(options: RevocationOptions): RevocationCheck {
  const { fetch, mode, graceMs, store } = options
  const crlAt = makeCrlCache({ fetch, ...(store === undefined ? {} : { store }) })
  const ocspAt = makeOcspCache({ fetch, nonce: options.nonce ?? (() => randomBytes(32)) })

  return async (certificate, issuer, pool, at) => {
    const { crlDistributionPoints, authorityInfoAccess } = certificate
    if (crlDistributionPoints.length === 0 && authorityInfoAccess.ocsp.length === 0)
      return { status: 'not-published' }
    const byList = await askLists(certificate, issuer, at)
    if (byList.found !== undefined) return byList.found
    const byReply = await askResponders(certificate, issuer, pool, at)
    const found = byReply.found ?? byList.stale ?? byReply.stale
    if (found !== undefined) return found
    const because = [...byList.because, ...byReply.because].slice(0, reasonsShownMax).join('; ')
    return { status: 'unknown', because, ...(mode === 'soft-fail' ? { isTolerated: true } : {}) }
  }

  /** RFC 5280 §6.3.3: good only when the lists together are about every reason there is. */
  async function askLists(certificate: Certificate, issuer: Certificate, at: Date): Promise<Finding> {
    const because: string[] = []
    const good: Good[] = []
    let reasonsLeft = allReasons
    const visit = { placesLeft: placesMax, because }
    for (const point of certificate.crlDistributionPoints) {
      const { answer, source } = await askPoint(point, certificate, issuer, at, visit)
      if (answer?.says === 'revoked') {
        const { entry } = answer
        const reason = entry.reason === undefined ? {} : { reason: entry.reason }
        return { found: { status: 'revoked', source, since: entry.revokedAt, ...reason }, because }
      }
      if (answer?.says !== 'not-revoked') continue
      const { asOf, nextUpdate, isStale, reasons } = answer
      if ((reasons & reasonsLeft) === 0) continue
      reasonsLeft &= ~reasons
      good.push({ status: 'good', source, asOf, nextUpdate, ...(isStale ? { isStale } : {}) })
      if (reasonsLeft === 0) break
    }
    if (reasonsLeft === 0) return bestOf(good, because)
    if (good.length > 0) because.push('the lists that could be had are about some reasons of revocation only')
    return { because }
  }

  /** The same list may lie in several places: the first in its time is taken. */
  async function askPoint(
    point: DistributionPoint,
    certificate: Certificate,
    issuer: Certificate,
    at: Date,
    visit: Visit,
  ): Promise<{ answer?: CrlAnswer; source: string }> {
    const { because } = visit
    let stale: { answer: CrlAnswer; source: string } | undefined
    const urls = urlsOf(point)
    if (urls.length === 0) because.push('a distribution point without a URL')
    for (const url of placesOf(urls, visit)) {
      const held = await crlAt(url, issuer, at)
      if (held.crl === undefined) {
        because.push(`${shown(url)}: ${held.because}`)
        continue
      }
      const delta = await deltaOf([...certificate.freshestCrl, ...held.crl.freshestCrl], issuer, at)
      const answer = askCrl(held.crl, delta, { certificate, issuer, point, at, graceMs })
      if (answer.says === 'nothing') {
        const renewal = held.because === undefined ? '' : ` (no newer one: ${held.because})`
        because.push(`${shown(url)}: ${answer.because}${renewal}`)
      } else if (answer.says === 'revoked' || !answer.isStale) return { answer, source: url }
      else {
        because.push(`${shown(url)}: ${held.because ?? 'the list there is past its nextUpdate'}`)
        stale ??= { answer, source: url }
      }
    }
    return stale ?? { source: '' }
  }

  /** Deltas bring news early; without them the complete list says what it says until its own time is over (§6.3.3). */
  async function deltaOf(points: readonly DistributionPoint[], issuer: Certificate, at: Date) {
    for (const url of placesOf(points.flatMap(urlsOf), { placesLeft: deltaPlacesMax, because: [] })) {
      const { crl } = await crlAt(url, issuer, at)
      if (crl !== undefined) return crl
    }
    return undefined
  }

  async function askResponders(
    certificate: Certificate,
    issuer: Certificate,
    pool: readonly Certificate[],
    at: Date,
  ): Promise<Finding> {
    const because: string[] = []
    let stale: Good | undefined
    for (const url of placesOf(certificate.authorityInfoAccess.ocsp, { placesLeft: placesMax, because })) {
      const { answer, because: silence } = await answerOf(url, certificate, issuer, pool, at)
      if (silence !== undefined) because.push(`${shown(url)}: ${silence}`)
      if (answer === undefined) continue
      if (answer.says === 'revoked') {
        const { since, reason } = answer
        const revoked = { status: 'revoked', source: url, since } as const
        return { found: reason === undefined ? revoked : { ...revoked, reason }, because }
      }
      const refusal = await delegateRefusal(answer.delegate, issuer, at)
      if (refusal !== undefined) {
        because.push(`${shown(url)}: ${refusal}`)
        continue
      }
      const { asOf, nextUpdate = asOf } = answer
      const good: Good = { status: 'good', source: url, asOf, ...(nextUpdate === asOf ? {} : { nextUpdate }) }
      if (silence === undefined || at <= nextUpdate) return { found: good, because }
      if (at.getTime() <= nextUpdate.getTime() + graceMs) stale ??= { ...good, isStale: true }
    }
    return stale === undefined ? { because } : { stale, because }
  }

  /** An authority whose key OpenSSL reads and DER does not has no CertID. */
  async function answerOf(...question: Parameters<typeof ocspAt>): ReturnType<typeof ocspAt> {
    try {
      return await ocspAt(...question)
    } catch (error) {
      if (!(error instanceof DerError)) throw error
      return { because: error.message }
    }
  }

  /**
   * RFC 6960 §4.2.2.2.1: a responder without id-pkix-ocsp-nocheck that says where its own revocation is published is looked
   * up there, by lists alone: responders that vouch for each other end nowhere. One that says nothing is believed.
   */
  async function delegateRefusal(delegate: Certificate | undefined, issuer: Certificate, at: Date) {
    if (delegate === undefined || delegate.isOcspNoCheck) return undefined
    if (delegate.crlDistributionPoints.length === 0) return undefined
    const { found, stale, because } = await askLists(delegate, issuer, at)
    if (found?.status === 'revoked') return `the responder “${delegate.subject.text}” is revoked itself`
    if ((found ?? stale) !== undefined) return undefined
    return `whether the responder “${delegate.subject.text}” is revoked itself is not known: ${because.join('; ')}`
  }
}

/** Several lists that are good together are as good as the oldest of them. */
function bestOf(good: readonly Good[], because: readonly string[]): Finding {
  const [oldest] = good.toSorted(
    (a, b) => Number(b.isStale ?? false) - Number(a.isStale ?? false) || a.asOf.getTime() - b.asOf.getTime(),
  )
  return oldest!.isStale === true ? { stale: oldest!, because } : { found: oldest!, because }
}

function urlsOf({ name }: DistributionPoint): string[] {
  return name?.kind === 'full' ? name.names.flatMap((one) => (one.kind === 'uri' ? [one.text] : [])) : []
}

/** What one certificate may still cost, and what was in vain. */
interface Visit {
  placesLeft: number
  readonly because: string[]
}

/** Those that may be asked, each once; of the others is said why not. */
function* placesOf(urls: readonly string[], visit: Visit): Generator<string, void, undefined> {
  for (const url of new Set(urls)) {
    if (!/^https?:\/\//i.test(url)) visit.because.push(`${shown(url)}: only http and https are asked`)
    else if (visit.placesLeft-- > 0) yield url
    else {
      if (visit.placesLeft === -1) visit.because.push(`others were not asked: ${placesMax} places are enough`)
      return
    }
  }
}

/** URLs stand in certificates that somebody else wrote. */
function shown(url: string): string {
  const clean = url.replace(/[^!-~]/g, '?')
  return clean.length > 200 ? `${clean.slice(0, 200)}…` : clean
}
