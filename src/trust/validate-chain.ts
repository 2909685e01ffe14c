import type { DirectAddress } from '../domain/direct-address.ts'
import type { Binding, CertificatePurpose } from '../domain/trust-verdict.ts'
import type { TrustAnchor } from './anchors.ts'
import type { Certificate } from './certificate.ts'
import { covers } from './covers.ts'
import {
  authorityFlaw,
  dateFlaw,
  digestFlaw,
  leafFlaw,
  policyFlaw,
  signatureFlaw,
  tellingness,
  type Flaw,
} from './flaws.ts'
import { isSignedBy } from './signed-by.ts'

export interface ChainQuestion {
  readonly at: Date
  readonly purpose: CertificatePurpose
  /** Without one the binding is not judged, only named. */
  readonly address?: DirectAddress
  readonly limits?: Partial<ChainLimits>
}

/** A {@link TrustVerdict} with the certificates themselves, before revocation. Leaf first, anchor last. */
export type ChainVerdict =
  | { readonly trusted: true; readonly binding: Binding; readonly path: readonly Certificate[] }
  | ({ readonly trusted: false; readonly path: readonly Certificate[] } & Flaw)

type Anchor = Pick<TrustAnchor, 'certificate' | 'policies'>

/** What one question may cost, whatever certificates somebody puts into the pool. */
export interface ChainLimits {
  /** Certificates in a path, leaf and anchor included. */
  readonly pathLengthMax: number
  readonly signaturesMax: number
  /** Certificates tried as an issuer, over all paths. */
  readonly candidatesMax: number
  /** Names compared with name constraints. */
  readonly nameComparisonsMax: number
}

/** The reference implementation stops at 5; signatures and comparisons as rustls-webpki. */
const limitsDefault: ChainLimits = {
  pathLengthMax: 8,
  signaturesMax: 100,
  candidatesMax: 1_000,
  nameComparisonsMax: 250_000,
}

/**
 * Is there a path from this certificate to an anchor, valid at that time for that purpose (RFC 5280 §6)? Decides on what
 * it is given; fetches nothing, knows no revocation.
 *
 * - An anchor is a key and a name trusted by configuration: it may be a root, an intermediate, or the leaf itself (as a
 *   whole, byte for byte). It is found by name and proven by its signature, never by its key identifier. Nothing is asked
 *   of what is above it; it must be in its dates, and its own constraints bind.
 * - Every path is tried, within the limits; of the failures the one that got furthest is told.
 *
 * @param pool other certificates that may lie in between; untrusted, in any order
 * @example validateChain(leaf, [intermediate], anchors, { at, purpose: 'encrypt', address })
 *          // { trusted: true, binding: 'address', path: [leaf, intermediate, anchor] }
 */
export function validateChain(
  leaf: Certificate,
  pool: readonly Certificate[],
  anchors: readonly Anchor[],
  question: ChainQuestion,
): ChainVerdict {
  const coverage = question.address === undefined ? presumed(leaf) : covers(leaf, question.address)
  const flaw: Flaw | undefined = coverage.covered
    ? leafFlaw(leaf, question.at, question.purpose)
    : { code: 'address-not-bound', because: coverage.because }
  if (flaw !== undefined || !coverage.covered) return { trusted: false, ...flaw!, path: [leaf] }
  const { binding } = coverage
  const itself = anchors.filter(({ certificate }) => certificate.fingerprint === leaf.fingerprint)
  const asItself = itself.map(({ policies }) => policyFlaw([leaf], policies))
  if (asItself.includes(undefined)) return { trusted: true, binding, path: [leaf] }

  const search = searchPath(leaf, pool, anchors, question, asItself[0])
  return search.path === undefined
    ? { trusted: false, ...search.furthest, path: search.furthestPath }
    : { trusted: true, binding, path: search.path }
}

type Search =
  | { readonly path: readonly Certificate[] }
  | { readonly path?: undefined; readonly furthest: Flaw; readonly furthestPath: readonly Certificate[] }

class BudgetExceeded extends Error {}

/**
 * Depth first from the leaf upwards; each authority is judged with everything below it before its own issuer is sought.
 *
 * @param alreadyFound why the leaf is not trusted as an anchor, where it is one; told unless a path gets further
 */
function searchPath(
  leaf: Certificate,
  pool: readonly Certificate[],
  anchors: readonly Anchor[],
  question: ChainQuestion,
  alreadyFound: Flaw | undefined,
): Search {
  const limits = { ...limitsDefault, ...question.limits }
  const left = {
    signatures: limits.signaturesMax,
    candidates: limits.candidatesMax,
    nameComparisons: limits.nameComparisonsMax,
  }
  const spend = (what: keyof typeof left) => {
    if (--left[what] < 0) throw new BudgetExceeded(`more ${what} than allowed had to be looked at`)
  }
  let furthest = alreadyFound
  let furthestPath: readonly Certificate[] = [leaf]
  const note = (flaw: Flaw, path: readonly Certificate[]) => {
    const gain = furthest === undefined ? 1 : tellingness(flaw.code) - tellingness(furthest.code)
    if (gain < 0 || (gain === 0 && path.length <= furthestPath.length)) return
    furthest = flaw
    furthestPath = path
  }
  const verified = new Map<string, boolean>()
  const isSigned = (child: Certificate, issuer: Certificate) => {
    const link = child.fingerprint + issuer.publicKeyInfo.toString('latin1')
    const known = verified.get(link)
    if (known !== undefined) return known
    spend('signatures')
    const good = isSignedBy(child, issuer)
    verified.set(link, good)
    return good
  }

  const extend = (path: readonly Certificate[]): readonly Certificate[] | undefined => {
    const child = path.at(-1)!
    const issuers = issuersOf(child, path, pool, anchors, question.at)
    if (issuers.length === 0) note(noIssuer(child, pool, anchors), path)
    for (const { issuer, anchor } of issuers) {
      const isAnchor = anchor !== undefined
      spend('candidates')
      const longer = [...path, issuer]
      const flaw =
        longer.length > limits.pathLengthMax
          ? {
              code: 'budget-exceeded' as const,
              because: `a path of more than ${limits.pathLengthMax} certificates`,
            }
          : (digestFlaw(child) ??
            authorityFlaw(issuer, path, isAnchor, question.at, () => spend('nameComparisons')) ??
            (isSigned(child, issuer) ? undefined : signatureFlaw(child, issuer)) ??
            (isAnchor ? policyFlaw(path, anchor.policies) : undefined))
      if (flaw !== undefined) {
        note(flaw, longer)
        continue
      }
      const found = isAnchor ? longer : extend(longer)
      if (found !== undefined) return found
    }
    return undefined
  }

  try {
    const path = extend([leaf])
    if (path !== undefined) return { path }
  } catch (error) {
    if (!(error instanceof BudgetExceeded)) throw error
    note({ code: 'budget-exceeded', because: error.message }, [leaf])
  }
  return { furthest: furthest!, furthestPath }
}

/**
 * Who may have issued this certificate, by name: anchors first, then those of the pool, the likeliest first. Key
 * identifiers are hints for the order and nothing else (RFC 4158 §3.5.12).
 */
function issuersOf(
  child: Certificate,
  path: readonly Certificate[],
  pool: readonly Certificate[],
  anchors: readonly Anchor[],
  at: Date,
): { issuer: Certificate; anchor?: Anchor }[] {
  const name = child.issuer.comparable
  if (name === '') return []
  const isNamed = (candidate: Certificate) => candidate.subject.comparable === name
  const trusted = anchors.filter(({ certificate }) => isNamed(certificate))
  const isInPath = (candidate: Certificate) =>
    path.some(
      (below) =>
        below.fingerprint === candidate.fingerprint ||
        (below.subject.comparable === name && below.publicKeyInfo.equals(candidate.publicKeyInfo)),
    )
  const between = new Map<string, Certificate>()
  for (const candidate of pool)
    // An anchor that the path does not suit may still lie on the way to another one.
    if (isNamed(candidate) && !isInPath(candidate)) between.set(candidate.fingerprint, candidate)
  const unlikeliness = (candidate: Certificate) =>
    (isKeyHinted(child, candidate) ? 0 : 2) + (dateFlaw(candidate, at) === undefined ? 0 : 1)
  const byLikelihood = (a: Certificate, b: Certificate) => unlikeliness(a) - unlikeliness(b)
  return [
    ...trusted
      .sort((a, b) => byLikelihood(a.certificate, b.certificate))
      .map((anchor) => ({ issuer: anchor.certificate, anchor })),
    ...[...between.values()].sort(byLikelihood).map((issuer) => ({ issuer })),
  ]
}

function isKeyHinted(child: Certificate, issuer: Certificate): boolean {
  const wanted = child.authorityKeyId
  const own = issuer.subjectKeyId
  return wanted === undefined || own === undefined || wanted.equals(own)
}

function noIssuer(child: Certificate, pool: readonly Certificate[], anchors: readonly Anchor[]): Flaw {
  if (anchors.length === 0) return { code: 'no-path', because: 'no trust anchor is configured' }
  const anchorsCounted = anchors.length === 1 ? 'the 1 anchor' : `the ${anchors.length} anchors`
  return {
    code: 'no-path',
    because:
      child.subject.comparable === child.issuer.comparable
        ? `“${child.subject.text}” is signed by itself and is not one of ${anchorsCounted}`
        : `its issuer “${child.issuer.text}” is neither one of ${anchorsCounted} nor among ${pool.length} other certificates`,
  }
}

function presumed(leaf: Certificate): { covered: true; binding: Binding } {
  return { covered: true, binding: leaf.altNames.some(({ kind }) => kind === 'email') ? 'address' : 'domain' }
}
