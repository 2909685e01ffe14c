import {
  derMembers,
  DerError,
  derOctets,
  derOidText,
  derRaw,
  expectDer,
  readDer,
  type DerValue,
} from '../lib/der.ts'
import { signerOf } from './bundle-signature.ts'
import { readCertificate, type Certificate } from './certificate.ts'

/** A trust bundle as a trust community publishes it: the anchors, and what a person should know about it. */
export interface Bundle {
  /** Each once; none of them expired. */
  readonly anchors: readonly Certificate[]
  readonly form: 'certificates' | 'certificates and metadata' | 'signed'
  /** Of those asked for, the one whose key signed it; absent where none was asked for. */
  readonly signer?: Certificate
  /** What it holds and is not used, in words. */
  readonly dropped: readonly string[]
}

export type BundleFlaw =
  | 'unreadable'
  | 'too-large'
  /** A signer is asked for, and there is no signature. */
  | 'unsigned'
  /** Signed, by somebody else or over something else. */
  | 'wrong-signer'
  | 'weak-signature'
  /** All certificates of those who may sign have expired. */
  | 'signer-expired'
  | 'no-anchors'

export type BundleReading =
  | { readonly outcome: 'read'; readonly bundle: Bundle }
  | { readonly outcome: 'refused'; readonly code: BundleFlaw; readonly because: string }

/** The largest community has some hundred anchors of 2 kB. */
export const bundleOctetsMax = 8 * 1024 * 1024
const certificatesMax = 2_000
/** Of a PKCS#7 type; a SignedData has six members. */
const membersMax = 16
const signersMax = 20

const signedData = '1.2.840.113549.1.7.2'

class Refused extends Error {
  readonly code: BundleFlaw

  constructor(code: BundleFlaw, because: string) {
    super(because)
    this.code = code
  }
}

/**
 * Reads a trust bundle in each of its forms: PKCS#7 or CMS SignedData as DER, BER, PEM or bare base64; certificates only,
 * with metadata as content, or signed around such a bundle (which may again be PEM or DER).
 *
 * What the anchors are is decided by the number of signers alone (RFC 5652 §5.1): without one they are the certificates
 * carried; with one they are those of the bundle inside, and the certificates carried are only the signers’, whom nobody
 * trusts for having signed.
 *
 * @param signers who may sign it; where any is given, nothing unsigned or otherwise signed is read
 * @param at what has expired by then is left out
 */
export function readBundle(bytes: Buffer, signers: readonly Certificate[], at: Date): BundleReading {
  try {
    return { outcome: 'read', bundle: bundleIn(bytes, signers, at) }
  } catch (error) {
    if (error instanceof Refused) return { outcome: 'refused', code: error.code, because: error.message }
    if (!(error instanceof DerError)) throw error
    return { outcome: 'refused', code: 'unreadable', because: `it is no trust bundle: ${error.message}` }
  }
}

function bundleIn(bytes: Buffer, signers: readonly Certificate[], at: Date): Bundle {
  if (bytes.length > bundleOctetsMax)
    throw new Refused('too-large', `it has more than ${bundleOctetsMax} octets`)
  const outer = readSignedData(bytes)
  if (outer.signerInfos.length === 0) {
    if (signers.length > 0)
      throw new Refused('unsigned', `it is not signed, and has to be by ${named(signers)}`)
    const form = outer.content === undefined ? 'certificates' : 'certificates and metadata'
    return { ...anchorsIn(outer.certificates, at), form }
  }
  if (outer.content === undefined) throw new Refused('unreadable', 'it is a signature without a bundle in it')
  const signer = signers.length === 0 ? undefined : requiredSigner(outer, outer.content, signers, at)
  const inner = readSignedData(outer.content)
  if (inner.signerInfos.length > 0)
    throw new Refused('unreadable', 'inside the signed bundle is another signed one')
  return {
    ...anchorsIn(inner.certificates, at),
    form: 'signed',
    ...(signer === undefined ? {} : { signer }),
  }
}

function requiredSigner(
  { contentType, signerInfos }: SignedDataParts,
  content: Buffer,
  signers: readonly Certificate[],
  at: Date,
): Certificate {
  const current = signers.filter(({ notBefore, notAfter }) => notBefore <= at && at <= notAfter)
  if (current.length === 0)
    throw new Refused('signer-expired', `the certificate of the signer is not valid now: ${named(signers)}`)
  const answer = signerOf(signerInfos, contentType, content, current)
  if (answer.outcome === 'signed') return answer.signer
  if (answer.outcome === 'weakly')
    throw new Refused('weak-signature', `its signature proves nothing: ${answer.because}`)
  throw new Refused('wrong-signer', `none of its signatures over its content is by ${named(signers)}`)
}

function anchorsIn(certificates: readonly Buffer[], at: Date): Pick<Bundle, 'anchors' | 'dropped'> {
  const anchors = new Map<string, Certificate>()
  const dropped: string[] = []
  for (const [index, der] of certificates.entries()) {
    const reading = readCertificate(der)
    if (!reading.readable) {
      dropped.push(`certificate ${index + 1} of ${certificates.length} cannot be read: ${reading.because}`)
      continue
    }
    const { certificate } = reading
    if (at > certificate.notAfter)
      dropped.push(`“${certificate.subject.text}” expired on ${certificate.notAfter.toISOString()}`)
    else anchors.set(certificate.fingerprint, certificate)
  }
  if (anchors.size === 0)
    throw new Refused(
      'no-anchors',
      certificates.length === 0
        ? 'it has no certificates'
        : `none of its ${certificates.length} certificates can be used: ${dropped[0]}`,
    )
  return { anchors: [...anchors.values()], dropped }
}

interface SignedDataParts {
  readonly contentType: string
  /** What it signs, or the metadata of a bundle. */
  readonly content: Buffer | undefined
  /** DER as carried; other formats than X.509 are left out. */
  readonly certificates: readonly Buffer[]
  readonly signerInfos: readonly DerValue[]
}

/** RFC 5652 §5.1, RFC 2315 §9.1. */
function readSignedData(bytes: Buffer): SignedDataParts {
  const octets = unarmoured(bytes)
  const contentInfo = readDer(octets)
  if (contentInfo.end !== octets.length) throw new DerError('something follows the bundle', contentInfo.end)
  const [type, wrapped] = few(expectDer(contentInfo, 0x30, 'ContentInfo'))
  if (derOidText(expectDer(type, 0x06, 'the content type')) !== signedData)
    throw new DerError('not a SignedData', contentInfo.start)
  const members = few(expectDer(few(expectDer(wrapped, 0xa0, 'the content'))[0], 0x30, 'SignedData'))
  expectDer(members.shift(), 0x02, 'the version')
  expectDer(members.shift(), 0x31, 'digestAlgorithms')
  const [contentType, carried] = few(expectDer(members.shift(), 0x30, 'encapContentInfo'))
  const content = carried === undefined ? undefined : few(expectDer(carried, 0xa0, 'what is carried'))[0]
  if (content !== undefined && (content.tag & ~0x20) !== 0x04)
    throw new DerError('what is carried is not octets', content.start)
  const certificates: Buffer[] = []
  if (members[0]?.tag === 0xa0)
    for (const one of derMembers(members.shift()!)) {
      if (certificates.length >= certificatesMax)
        throw new Refused('too-large', `it has more than ${certificatesMax} certificates`)
      // Attribute certificates and other formats have context tags (RFC 5652 §10.2.2).
      if (one.tag === 0x30) certificates.push(derRaw(one))
    }
  if (members[0]?.tag === 0xa1) members.shift()
  const signerInfos = few(expectDer(members.shift(), 0x31, 'signerInfos'), signersMax)
  if (members.length > 0) throw new DerError('a member that SignedData does not have', members[0]!.start)
  return {
    contentType: derOidText(expectDer(contentType, 0x06, 'the type of what is carried')),
    content: content === undefined ? undefined : derOctets(content),
    certificates,
    signerInfos,
  }
}

function few(value: DerValue, most = membersMax): DerValue[] {
  const members: DerValue[] = []
  for (const member of derMembers(value)) {
    if (members.length >= most) throw new DerError(`more than ${most} members`, value.start)
    members.push(member)
  }
  return members
}

/**
 * The octets behind PEM (RFC 7468 §2, whatever its label says about PKCS#7) or bare base64. Only at the very start: what
 * somebody signed as something else shall not become a bundle because one is quoted in it.
 */
function unarmoured(bytes: Buffer): Buffer {
  if (bytes[0] === 0x30) return bytes
  const text = bytes.toString('latin1').replace(/^(?:\xef\xbb\xbf)?\s+|^\xef\xbb\xbf/, '')
  const begun = /^-----BEGIN ([A-Z0-9 #]{1,40})-----/.exec(text)
  if (begun !== null && !/^(PKCS7|PKCS #7 SIGNED DATA|CMS)$/.test(begun[1]!))
    throw new DerError(
      begun[1] === 'CERTIFICATE'
        ? 'it is a list of certificates; name it under trust.anchors instead'
        : `it holds ${begun[1]}`,
      0,
    )
  const from = begun?.[0].length ?? 0
  const to = begun === null ? text.length : text.indexOf(`-----END ${begun[1]}-----`)
  if (to < 0) throw new DerError('its PEM has no end', 0)
  const body = text.slice(from, to).replaceAll(/\s+/g, '')
  if (body.length === 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(body))
    throw new DerError('neither PKCS#7 nor base64 of it', 0)
  return Buffer.from(body, 'base64')
}

function named(signers: readonly Certificate[]): string {
  return signers
    .map(({ subject, fingerprint }) => `“${subject.text}” (${fingerprint.slice(0, 16)}…)`)
    .join(' or ')
}
