import type { DirectAddress } from '../domain/direct-address.ts'
import type {
  CertificatePurpose,
  RevocationFinding,
  TraceStep,
  TrustVerdict,
} from '../domain/trust-verdict.ts'
import type { AnchorSet, TrustAnchor } from './anchors.ts'
import { readCertificate, type Certificate } from './certificate.ts'
import { tellingness } from './flaws.ts'
import type { IssuerFinder } from './issuer-finder.ts'
import type { RevocationCheck, RevocationStatus } from './revocation.ts'
import { validateChain, type ChainVerdict } from './validate-chain.ts'

/** What judging asks of the world. */
export interface TrustPorts {
  readonly anchors: AnchorSet
  /** Absent: revocation is not checked. */
  readonly revocation?: RevocationCheck
  /** Absent: issuers that nobody brought along are not looked for. */
  readonly issuers?: IssuerFinder
}

export interface TrustQuestion {
  /** Whose certificates they are said to be. */
  readonly address: DirectAddress
  /** The domain of our own address: its anchors count. */
  readonly localDomain: string
  /** `outgoing`: we encrypt to them; `incoming`: they signed to us. */
  readonly direction: 'outgoing' | 'incoming'
  readonly purpose: CertificatePurpose
  readonly at: Date
  /** The moment of the look-up at which judging begins, for the trace. */
  readonly afterMs?: number
}

export interface Judgement {
  /** Every one that may be used, in the order given: all of them get the message. */
  readonly trusted: readonly {
    readonly certificate: Certificate
    readonly verdict: TrustVerdict & { trusted: true }
  }[]
  readonly refused: readonly {
    /** Absent when the bytes are no readable certificate. */
    readonly certificate?: Certificate
    readonly verdict: TrustVerdict & { trusted: false }
  }[]
  readonly trace: readonly TraceStep[]
  /** For a person, when nothing is trusted: the most telling reason, and how many others there are. Otherwise empty. */
  readonly because: string
}

/**
 * Judges each certificate that was found for an address: path to an anchor, then revocation of everything below the anchor.
 * Those found serve as possible intermediates for each other; where no path is complete, issuers are fetched from where
 * the certificates say.
 *
 * @param ders DER as found
 * @param pool further untrusted certificates that may lie in between
 */
export async function judgeCertificates(
  ders: readonly Buffer[],
  pool: readonly Certificate[],
  ports: TrustPorts,
  question: TrustQuestion,
): Promise<Judgement> {
  const begun = performance.now()
  const trusted: Judgement['trusted'][number][] = []
  const refused: Judgement['refused'][number][] = []
  const trace: TraceStep[] = []
  const tell: Tell = (outcome, detail) => {
    const afterMs = (question.afterMs ?? 0) + Math.round(performance.now() - begun)
    trace.push({ afterMs, step: 'trust', outcome, detail })
  }
  const anchors = ports.anchors.anchorsFor(question.direction, question.localDomain)
  const readings = ders.map(readCertificate)
  const gathered: Gathered = {
    known: [...pool, ...readings.flatMap((reading) => (reading.readable ? [reading.certificate] : []))],
    asked: new Map(),
  }
  for (const reading of readings) {
    if (!reading.readable) {
      const verdict = { trusted: false, code: 'unreadable', because: reading.because, path: [] } as const
      refused.push({ verdict })
      tell('refused', `unreadable: ${reading.because}`)
      continue
    }
    const { certificate } = reading
    const verdict = await judgeOne(certificate, gathered, anchors, ports, question, tell)
    const who = shown(certificate)
    if (verdict.trusted) {
      trusted.push({ certificate, verdict })
      const anchor = anchors.find((one) => one.certificate.fingerprint === verdict.path.at(-1))!
      const above = verdict.path.slice(1, -1).flatMap((fingerprint) => {
        const one = gathered.known.find((known) => known.fingerprint === fingerprint)
        return one === undefined ? [] : [`issued by “${one.subject.text}”`]
      })
      const top = verdict.path.length === 1 ? 'an anchor itself' : `below anchor ${shown(anchor.certificate)}`
      const way = [`${verdict.binding}-bound`, valid(certificate), ...above, top]
      tell('trusted', `${who}: ${way.join(', ')} (${anchor.source})`)
    } else {
      refused.push({ certificate, verdict })
      tell('refused', `${who}, ${valid(certificate)}: ${verdict.code}: ${verdict.because}`)
    }
  }
  return { trusted, refused, trace, because: trusted.length > 0 ? '' : reasonOf(refused) }
}

type Tell = (outcome: TraceStep['outcome'], detail: string) => void

/** What may lie in between, for all certificates of one judgement: what was fetched for one serves the next. */
interface Gathered {
  known: readonly Certificate[]
  /** Fingerprints of those whose issuers were asked for, each with the places that did not answer. */
  readonly asked: Map<string, readonly string[]>
}

/** Paths tried anew because an authority in one is revoked. */
const detoursMax = 4
/** Certificates whose issuers are asked for, in one judgement. */
const fetchesMax = 8

async function judgeOne(
  leaf: Certificate,
  gathered: Gathered,
  anchors: readonly TrustAnchor[],
  ports: TrustPorts,
  question: TrustQuestion,
  tell: Tell,
): Promise<TrustVerdict> {
  const { at, purpose, address } = question
  const avoided = new Map<string, Refused>()
  let unanswered: readonly string[] | undefined
  for (let detour = 0; ; detour++) {
    const usable = gathered.known.filter(({ fingerprint }) => !avoided.has(fingerprint))
    const chain = validateChain(leaf, usable, anchors, { at, purpose, address })
    if (!chain.trusted) {
      if (unanswered === undefined && ports.issuers !== undefined && mayLackIssuer(chain)) {
        const before = gathered.known.length
        unanswered = await fetchIssuers(leaf, gathered, ports.issuers, at, tell)
        if (gathered.known.length > before) continue
      }
      // Without the revoked authority there is no other way: that is what its owner has to hear.
      return avoided.values().next().value ?? withPath(chain, unanswered)
    }
    const findings: RevocationFinding[] = []
    const obstacle = await firstObstacle(chain.path, gathered.known, ports.revocation, at, findings, tell)
    if (obstacle === undefined)
      return {
        trusted: true,
        binding: chain.binding,
        path: chain.path.map(({ fingerprint }) => fingerprint),
        revocation: findings,
        ends: firstEnd(chain.path),
      }
    if (obstacle.certificate === leaf || detour === detoursMax) return obstacle.verdict
    avoided.set(obstacle.certificate.fingerprint, obstacle.verdict)
  }
}

function firstEnd(path: readonly Certificate[]): { at: Date; subject: string } {
  const { notAfter, subject } = path.reduce((first, one) => (one.notAfter < first.notAfter ? one : first))
  return { at: notAfter, subject: subject.text }
}

type Refused = TrustVerdict & { trusted: false }

/** A flaw of the leaf itself stays, whoever issued it; `policy` is one of the leaf as an anchor only. */
function mayLackIssuer({ path, ...verdict }: ChainVerdict): boolean {
  return !verdict.trusted && (verdict.code === 'no-path' || verdict.code === 'policy' || path.length > 1)
}

/** @param unanswered places that could have had the missing issuer and did not answer */
function withPath(chain: ChainVerdict & { trusted: false }, unanswered: readonly string[] = []): Refused {
  const path = chain.path.map(({ fingerprint }) => fingerprint)
  if (chain.code !== 'no-path' || unanswered.length === 0) return { ...chain, path }
  const because = [chain.because, ...unanswered].join('; ')
  return { trusted: false, code: 'issuer-unavailable', because, path }
}

/**
 * Upwards from the leaf, one certificate after the other; what is found is gathered.
 *
 * @returns the places that did not answer, each with the reason
 */
async function fetchIssuers(
  leaf: Certificate,
  gathered: Gathered,
  issuers: IssuerFinder,
  at: Date,
  tell: Tell,
): Promise<readonly string[]> {
  const { asked } = gathered
  const found = new Map<string, Certificate>()
  const unanswered: string[] = []
  const queue = [leaf, ...issuersIn(gathered.known, leaf)]
  while (asked.size < fetchesMax && queue.length > 0) {
    const certificate = queue.shift()!
    if (certificate.authorityInfoAccess.caIssuers.length === 0) continue
    const earlier = asked.get(certificate.fingerprint)
    if (earlier !== undefined) {
      unanswered.push(...earlier)
      continue
    }
    const answer = await issuers(certificate, at)
    for (const { text, became } of answer.told) tell(became === 'unavailable' ? 'failed' : became, text)
    const silent = answer.told.filter(({ became }) => became === 'unavailable').map(({ text }) => text)
    asked.set(certificate.fingerprint, silent)
    unanswered.push(...silent)
    for (const one of answer.certificates) {
      if (one.subject.comparable !== certificate.issuer.comparable) continue
      found.set(one.fingerprint, one)
      queue.push(one)
    }
  }
  gathered.known = [...gathered.known, ...found.values()]
  return unanswered
}

/** Those of the pool that stand above a certificate by name, nearest first. */
function issuersIn(pool: readonly Certificate[], leaf: Certificate): Certificate[] {
  const above: Certificate[] = []
  for (let level = [leaf]; level.length > 0 && above.length < fetchesMax;) {
    const names = new Set(level.map(({ issuer }) => issuer.comparable))
    level = pool.filter((one) => names.has(one.subject.comparable) && !above.includes(one) && one !== leaf)
    above.push(...level)
  }
  return above
}

/** The first certificate of a path that revocation speaks against, leaf first. The anchor is trusted by configuration. */
async function firstObstacle(
  path: readonly Certificate[],
  pool: readonly Certificate[],
  check: RevocationCheck | undefined,
  at: Date,
  findings: RevocationFinding[],
  tell: Tell,
): Promise<{ certificate: Certificate; verdict: Refused } | undefined> {
  if (check === undefined) return undefined
  for (const [index, certificate] of path.slice(0, -1).entries()) {
    const status = await check(certificate, path[index + 1]!, pool, at)
    tell(...wordsOf(certificate, status))
    const flaw = revocationFlaw(certificate, status)
    if (flaw === undefined) findings.push(findingOf(certificate, status))
    else {
      const fingerprints = path.map(({ fingerprint }) => fingerprint)
      return { certificate, verdict: { trusted: false, ...flaw, path: fingerprints } }
    }
  }
  return undefined
}

function revocationFlaw(
  certificate: Certificate,
  status: RevocationStatus,
): Pick<Refused, 'code' | 'because'> | undefined {
  if (status.status === 'revoked') {
    const reason = status.reason === undefined ? '' : ` (${status.reason})`
    return {
      code: 'revoked',
      because: `${shown(certificate)} was revoked at ${status.since.toISOString()}${reason}, says ${status.source}`,
    }
  }
  if (status.status === 'unknown' && status.isTolerated !== true)
    return {
      code: 'revocation-unknown',
      because: `whether ${shown(certificate)} is revoked cannot be found out: ${status.because}`,
    }
  return undefined
}

function findingOf({ fingerprint }: Certificate, status: RevocationStatus): RevocationFinding {
  if (status.status === 'good') {
    const { source, asOf, isStale = false } = status
    return { fingerprint, status: 'good', source, asOf, isStale }
  }
  return { fingerprint, status: status.status === 'unknown' ? 'unknown' : 'not-published' }
}

function wordsOf(certificate: Certificate, status: RevocationStatus): [TraceStep['outcome'], string] {
  const who = shown(certificate)
  switch (status.status) {
    case 'good': {
      const stale = status.isStale === true ? ', past its next update and within grace' : ''
      return ['found', `${who}: not revoked, as of ${status.asOf.toISOString()}${stale} (${status.source})`]
    }
    case 'revoked':
      return ['refused', `${who}: revoked at ${status.since.toISOString()} (${status.source})`]
    case 'unknown':
      return ['failed', `${who}: revocation unknown: ${status.because}`]
    case 'not-published':
      return ['skipped', `${who}: names neither a revocation list nor a responder`]
  }
}

function valid({ notBefore, notAfter }: Certificate): string {
  return `valid ${notBefore.toISOString().slice(0, 10)} to ${notAfter.toISOString().slice(0, 10)}`
}

function shown(certificate: Certificate): string {
  return `“${certificate.subject.text}” (SHA-256 ${certificate.fingerprint.slice(0, 16)}…)`
}

function reasonOf(refused: Judgement['refused']): string {
  const [best, ...others] = [...refused].sort(
    (a, b) => tellingness(b.verdict.code) - tellingness(a.verdict.code),
  )
  if (best === undefined) return 'there is no certificate to judge'
  const { because } = best.verdict
  const subject = best.certificate?.subject.text
  const about = subject === undefined || because.includes(subject) ? '' : `“${subject}”: `
  const more =
    others.length === 0
      ? ''
      : ` (and ${others.length === 1 ? '1 further certificate is' : `${others.length} further certificates are`} refused)`
  return `${about}${because}${more}`
}
