import { constants, verify } from 'node:crypto'
import type { DirectAddress } from '../domain/direct-address.ts'
import type { Binding, CertificatePurpose, DistrustCode, TrustVerdict } from '../domain/trust-verdict.ts'
import type { Certificate, Digest } from './certificate.ts'
import { covers } from './covers.ts'
import { nameViolation } from './name-constraints.ts'
import { policyViolation } from './policies.ts'

export interface ChainQuestion {
  readonly at: Date
  readonly purpose: CertificatePurpose
  /** Without one the binding is not judged, only named. */
  readonly address?: DirectAddress
  readonly limits?: Partial<ChainLimits>
}

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
 *          // { trusted: true, binding: 'address', path: ['9f2c…', '41aa…', '77b0…'] }
 */
export function validateChain(
  leaf: Certificate,
  pool: readonly Certificate[],
  anchors: readonly Certificate[],
  question: ChainQuestion,
): TrustVerdict {
  const coverage = question.address === undefined ? presumed(leaf) : covers(leaf, question.address)
  const flaw: Flaw | undefined = coverage.covered
    ? leafFlaw(leaf, question)
    : { code: 'address-not-bound', because: coverage.because }
  if (flaw !== undefined || !coverage.covered) return { trusted: false, ...flaw!, path: [leaf.fingerprint] }
  const { binding } = coverage
  if (anchors.some(({ fingerprint }) => fingerprint === leaf.fingerprint))
    return { trusted: true, binding, path: [leaf.fingerprint] }

  const search = searchPath(leaf, pool, anchors, question)
  const path = (search.path ?? search.furthestPath).map(({ fingerprint }) => fingerprint)
  return search.path === undefined
    ? { trusted: false, ...search.furthest, path }
    : { trusted: true, binding, path }
}

/** One reason against a certificate. */
export interface Flaw {
  readonly code: DistrustCode
  readonly because: string
}

/** From vague to telling; of several failures the last of this list is told. */
const furthestLast: readonly DistrustCode[] = [
  'unreadable',
  'no-path',
  'address-not-bound',
  'algorithm-refused',
  'key-too-small',
  'not-yet-valid',
  'expired',
  'key-usage',
  'extended-key-usage',
  'critical-extension',
  'not-a-ca',
  'path-too-long',
  'name-constraints',
  'bad-signature',
  'anchor-expired',
  'budget-exceeded',
  'revoked',
  'revocation-unknown',
]

/** The higher, the more a reason helps whoever has to act on it. */
export function tellingness(code: DistrustCode): number {
  return furthestLast.indexOf(code)
}

type Search =
  | { readonly path: readonly Certificate[] }
  | { readonly path?: undefined; readonly furthest: Flaw; readonly furthestPath: readonly Certificate[] }

class BudgetExceeded extends Error {}

/** Depth first from the leaf upwards; each authority is judged with everything below it before its own issuer is sought. */
function searchPath(
  leaf: Certificate,
  pool: readonly Certificate[],
  anchors: readonly Certificate[],
  question: ChainQuestion,
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
  let furthest: Flaw | undefined
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
    for (const { issuer, isAnchor } of issuers) {
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
            (isAnchor ? policyFlaw(path) : undefined))
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
  anchors: readonly Certificate[],
  at: Date,
): { issuer: Certificate; isAnchor: boolean }[] {
  const name = child.issuer.comparable
  if (name === '') return []
  const isNamed = (candidate: Certificate) => candidate.subject.comparable === name
  const trusted = anchors.filter(isNamed)
  const isInPath = (candidate: Certificate) =>
    path.some(
      (below) =>
        below.fingerprint === candidate.fingerprint ||
        (below.subject.comparable === name && below.publicKeyInfo.equals(candidate.publicKeyInfo)),
    )
  const between = new Map<string, Certificate>()
  for (const candidate of pool)
    if (isNamed(candidate) && !isInPath(candidate) && !trusted.includes(candidate))
      between.set(candidate.fingerprint, candidate)
  const unlikeliness = (candidate: Certificate) =>
    (isKeyHinted(child, candidate) ? 0 : 2) + (dateFlaw(candidate, at) === undefined ? 0 : 1)
  const byLikelihood = (a: Certificate, b: Certificate) => unlikeliness(a) - unlikeliness(b)
  return [
    ...trusted.sort(byLikelihood).map((issuer) => ({ issuer, isAnchor: true })),
    ...[...between.values()].sort(byLikelihood).map((issuer) => ({ issuer, isAnchor: false })),
  ]
}

function isKeyHinted(child: Certificate, issuer: Certificate): boolean {
  const wanted = child.authorityKeyId
  const own = issuer.subjectKeyId
  return wanted === undefined || own === undefined || wanted.equals(own)
}

function noIssuer(child: Certificate, pool: readonly Certificate[], anchors: readonly Certificate[]): Flaw {
  const anchorsCounted = anchors.length === 1 ? 'the 1 anchor' : `the ${anchors.length} anchors`
  return {
    code: 'no-path',
    because:
      child.subject.comparable === child.issuer.comparable
        ? `“${child.subject.text}” is signed by itself and is not one of ${anchorsCounted}`
        : `its issuer “${child.issuer.text}” is neither one of ${anchorsCounted} nor among ${pool.length} other certificates`,
  }
}

const emailProtection = '1.3.6.1.5.5.7.3.4'
const anyExtendedKeyUsage = '2.5.29.37.0'

/** Applicability Statement §4 and NIST SP 800-131A: 112 bits of strength and more. */
const rsaBitsMin = 2048
/** Beyond this only the verifier's time grows. */
const rsaBitsMax = 8192
const curvesAllowed: readonly string[] = ['prime256v1', 'secp384r1', 'secp521r1']
const digestsAllowed: readonly Digest[] = ['sha256', 'sha384', 'sha512']

export function leafFlaw(
  leaf: Certificate,
  { at, purpose }: Pick<ChainQuestion, 'at' | 'purpose'>,
): Flaw | undefined {
  return (
    keyFlaw(leaf) ??
    dateFlaw(leaf, at) ??
    leafUsageFlaw(leaf, purpose) ??
    extendedUsageFlaw(leaf) ??
    criticalFlaw(leaf)
  )
}

function authorityFlaw(
  issuer: Certificate,
  below: readonly Certificate[],
  isAnchor: boolean,
  at: Date,
  spend: () => void,
): Flaw | undefined {
  return (
    keyFlaw(issuer) ??
    (isAnchor ? anchorDateFlaw(issuer, at) : dateFlaw(issuer, at)) ??
    (issuer.keyUsage === undefined || issuer.keyUsage.has('keyCertSign')
      ? undefined
      : {
          code: 'key-usage',
          because: `the authority ${shown(issuer)} may not sign certificates (keyCertSign)`,
        }) ??
    extendedUsageFlaw(issuer) ??
    criticalFlaw(issuer) ??
    (issuer.version === 3 && issuer.basicConstraints?.ca === true
      ? undefined
      : { code: 'not-a-ca', because: `${shown(issuer)} is not an authority (basicConstraints)` }) ??
    pathLengthFlaw(issuer, below) ??
    namesFlaw(issuer, below, spend)
  )
}

function keyFlaw(certificate: Certificate): Flaw | undefined {
  const { publicKey } = certificate
  const refused = (because: string): Flaw => ({
    code: 'algorithm-refused',
    because: `${shown(certificate)} has ${because}`,
  })
  if (publicKey.kind === 'unsupported') return refused(publicKey.because)
  if (publicKey.kind === 'ec')
    return curvesAllowed.includes(publicKey.curve)
      ? undefined
      : refused(`a key on the curve ${publicKey.curve}; P-256, P-384 and P-521 are allowed`)
  if (publicKey.exponent < 3n || publicKey.exponent % 2n === 0n)
    return refused('an RSA key that protects nothing')
  if (publicKey.bits > rsaBitsMax)
    return refused(`an RSA key of ${publicKey.bits} bits; at most ${rsaBitsMax}`)
  if (publicKey.bits >= rsaBitsMin) return undefined
  return {
    code: 'key-too-small',
    because: `${shown(certificate)} has an RSA key of ${publicKey.bits} bits; at least ${rsaBitsMin}`,
  }
}

/** The digest a certificate was signed with; that of an anchor proves nothing and is not asked for. */
function digestFlaw(certificate: Certificate): Flaw | undefined {
  const { signatureAlgorithm } = certificate
  const refused = (what: string): Flaw => ({
    code: 'algorithm-refused',
    because: `${shown(certificate)} is signed with ${what}; SHA-256 or better, by RSA or ECDSA, is needed`,
  })
  if (signatureAlgorithm.kind === 'unsupported') return refused(`the algorithm ${signatureAlgorithm.oid}`)
  return digestsAllowed.includes(signatureAlgorithm.digest)
    ? undefined
    : refused(signatureAlgorithm.digest.toUpperCase())
}

function dateFlaw(certificate: Certificate, at: Date): Flaw | undefined {
  if (at < certificate.notBefore)
    return {
      code: 'not-yet-valid',
      because: `${shown(certificate)} is valid from ${certificate.notBefore.toISOString()} on only`,
    }
  if (at > certificate.notAfter)
    return {
      code: 'expired',
      because: `${shown(certificate)} expired on ${certificate.notAfter.toISOString()}`,
    }
  return undefined
}

/** RFC 5280 §6 leaves the anchor's dates to us: an expired one is refused, in words that tell it apart. */
function anchorDateFlaw(anchor: Certificate, at: Date): Flaw | undefined {
  const flaw = dateFlaw(anchor, at)
  return flaw?.code === 'expired' ? { code: 'anchor-expired', because: `the anchor ${flaw.because}` } : flaw
}

/** Without keyUsage every use is allowed (RFC 5280 §4.2.1.3); nonRepudiation alone does not sign messages. */
function leafUsageFlaw(leaf: Certificate, purpose: CertificatePurpose): Flaw | undefined {
  const needed =
    purpose === 'sign'
      ? 'digitalSignature'
      : leaf.publicKey.kind === 'ec'
        ? 'keyAgreement'
        : 'keyEncipherment'
  if (leaf.keyUsage === undefined || leaf.keyUsage.has(needed)) return undefined
  return { code: 'key-usage', because: `its key is not meant to ${purpose} (keyUsage has no ${needed})` }
}

/** Authorities that name purposes pass on no others: RFC 5280 does not say so, everybody does it. */
function extendedUsageFlaw(certificate: Certificate): Flaw | undefined {
  const purposes = certificate.extendedKeyUsage
  if (purposes === undefined || purposes.includes(emailProtection) || purposes.includes(anyExtendedKeyUsage))
    return undefined
  return {
    code: 'extended-key-usage',
    because: `${shown(certificate)} is not meant for e-mail (extKeyUsage has no emailProtection)`,
  }
}

function criticalFlaw(certificate: Certificate): Flaw | undefined {
  const [oid] = certificate.unknownCritical
  if (oid === undefined) return undefined
  return {
    code: 'critical-extension',
    because: `${shown(certificate)} has the unknown critical extension ${oid}`,
  }
}

function pathLengthFlaw(issuer: Certificate, below: readonly Certificate[]): Flaw | undefined {
  const pathLen = issuer.basicConstraints?.pathLen
  const between = below.slice(1).filter((authority) => !isSelfIssued(authority)).length
  if (pathLen === undefined || between <= pathLen) return undefined
  return {
    code: 'path-too-long',
    because: `${shown(issuer)} allows ${pathLen} authorities below it (pathLenConstraint); there are ${between}`,
  }
}

function namesFlaw(issuer: Certificate, below: readonly Certificate[], spend: () => void): Flaw | undefined {
  if (issuer.nameConstraints === undefined) return undefined
  for (const [index, certificate] of below.entries()) {
    if (index > 0 && isSelfIssued(certificate)) continue
    const because = nameViolation(certificate, issuer.nameConstraints, spend)
    if (because !== undefined)
      return {
        code: 'name-constraints',
        because: `${shown(issuer)} may not speak for ${shown(certificate)}: ${because}`,
      }
  }
  return undefined
}

function signatureFlaw(child: Certificate, issuer: Certificate): Flaw {
  return {
    code: 'bad-signature',
    because: `${shown(child)} is not signed by ${shown(issuer)}, whom it names`,
  }
}

function policyFlaw(path: readonly Certificate[]): Flaw | undefined {
  const because = policyViolation(path)
  return because === undefined ? undefined : { code: 'critical-extension', because }
}

function isSelfIssued(certificate: Certificate): boolean {
  return certificate.subject.comparable === certificate.issuer.comparable
}

export function isSignedBy(child: Certificate, issuer: Certificate): boolean {
  const { publicKey } = issuer
  const { signatureAlgorithm: algorithm } = child
  if (publicKey.kind === 'unsupported' || algorithm.kind === 'unsupported') return false
  if ((publicKey.kind === 'ec') !== (algorithm.kind === 'ecdsa')) return false
  try {
    return algorithm.kind === 'rsa-pss'
      ? verify(
          algorithm.digest,
          child.tbs,
          { key: publicKey.key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: algorithm.saltOctets },
          child.signature,
        )
      : verify(algorithm.digest, child.tbs, publicKey.key, child.signature)
  } catch {
    return false
  }
}

function presumed(leaf: Certificate): { covered: true; binding: Binding } {
  return { covered: true, binding: leaf.altNames.some(({ kind }) => kind === 'email') ? 'address' : 'domain' }
}

function shown(certificate: Certificate): string {
  return `“${certificate.subject.text}”`
}
