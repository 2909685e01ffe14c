import type { CertificatePurpose, DistrustCode } from '../domain/trust-verdict.ts'
import type { Certificate } from './certificate.ts'
import { nameViolation } from './name-constraints.ts'
import { policyViolation } from './policies.ts'
import { weaknessOf } from './signature-algorithm.ts'

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
  'policy',
  'name-constraints',
  'bad-signature',
  'anchor-expired',
  'budget-exceeded',
  'issuer-unavailable',
  'revoked',
  'revocation-unknown',
]

/** The higher, the more a reason helps whoever has to act on it. */
export function tellingness(code: DistrustCode): number {
  return furthestLast.indexOf(code)
}

const emailProtection = '1.3.6.1.5.5.7.3.4'
const anyExtendedKeyUsage = '2.5.29.37.0'

/** Applicability Statement §4 and NIST SP 800-131A: 112 bits of strength and more. */
const rsaBitsMin = 2048
/** Beyond this only the verifier's time grows. */
const rsaBitsMax = 8192
const curvesAllowed: readonly string[] = ['prime256v1', 'secp384r1', 'secp521r1']

export function leafFlaw(leaf: Certificate, at: Date, purpose: CertificatePurpose): Flaw | undefined {
  return (
    keyFlaw(leaf) ??
    dateFlaw(leaf, at) ??
    leafUsageFlaw(leaf, purpose) ??
    extendedUsageFlaw(leaf) ??
    criticalFlaw(leaf)
  )
}

export function authorityFlaw(
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

/** Is its key one that proves anything, and that does not cost the verifier too much? */
export function keyFlaw(certificate: Certificate): Flaw | undefined {
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
export function digestFlaw(certificate: Certificate): Flaw | undefined {
  const weakness = weaknessOf(certificate.signatureAlgorithm)
  if (weakness === undefined) return undefined
  return { code: 'algorithm-refused', because: `${shown(certificate)} is signed with ${weakness}` }
}

export function dateFlaw(certificate: Certificate, at: Date): Flaw | undefined {
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

export function signatureFlaw(child: Certificate, issuer: Certificate): Flaw {
  return {
    code: 'bad-signature',
    because: `${shown(child)} is not signed by ${shown(issuer)}, whom it names`,
  }
}

export function policyFlaw(path: readonly Certificate[], wanted?: readonly string[]): Flaw | undefined {
  const because = policyViolation(path, wanted)
  return because === undefined ? undefined : { code: 'policy', because }
}

function isSelfIssued(certificate: Certificate): boolean {
  return certificate.subject.comparable === certificate.issuer.comparable
}

function shown(certificate: Certificate): string {
  return `“${certificate.subject.text}”`
}
