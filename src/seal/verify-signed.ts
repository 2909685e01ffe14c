import { createHash } from 'node:crypto'
import {
  derChildren,
  derContent,
  DerError,
  derMembers,
  derNumber,
  derOctets,
  derOidText,
  derRaw,
  expectDer,
  readDer,
  type DerValue,
} from '../lib/der.ts'
import { oid } from './algorithms.ts'
import type { CmsCertificate } from './certificate.ts'
import { knownCertificate } from './known-certificates.ts'
import { directPolicy, readableDigests, spelled, type OpeningPolicy } from './opening-policy.ts'
import { certificatesNamed } from './named-certificate.ts'
import { readSignedAttributes } from './signed-attributes.ts'
import { keyKind, signatureCheck } from './signature-check.ts'

/** One SignerInfo, judged by its mathematics alone. Whether its certificate is trusted is another question. */
export interface SignerReport {
  /** DER; undefined where the message does not carry it. */
  readonly certificate?: Buffer
  readonly valid: boolean
  /** Why not, where it is not. */
  readonly because?: string
  /** Such as `sha256`, or the object identifier of one that nobody knows. */
  readonly digest: string
  /** Such as `rsa-pkcs1`, `rsa-pss`, `ecdsa`, or an object identifier; undefined where it was not looked at. */
  readonly scheme?: string
  /** For people: `RSA 2048`, `P-256`. */
  readonly key?: string
  /** As the signer claims it. */
  readonly signingTime?: Date
}

export interface SignedData {
  readonly signers: readonly SignerReport[]
  /** Every certificate the message carries, DER: the pool for paths, signers' own included. */
  readonly certificates: readonly Buffer[]
  /** What an opaque message signs; undefined where the signature is detached. */
  readonly content?: Buffer
}

/** Signers of one message; a few per community are real. */
const signersMax = 20
/** Certificates carried by one message. */
const certificatesMax = 100
/** Certificates one signer can mean: renewed ones keep their key and so their key identifier. */
const candidatesMax = 4

/**
 * Looks at every SignerInfo of a SignedData (RFC 5652 §5): one that is bad says nothing about the next.
 *
 * @param contentInfo the ContentInfo as read, BER or DER
 * @param detached what was signed, exactly as received, when the message does not carry it itself
 * @throws DerError where it is not a SignedData or exceeds a limit
 */
export function readSignedData(
  contentInfo: DerValue,
  detached: Buffer | undefined,
  policy: OpeningPolicy = directPolicy,
): SignedData {
  const [type, wrapped] = derChildren(expectDer(contentInfo, 0x30, 'ContentInfo'))
  if (derOidText(expectDer(type, 0x06, 'the content type')) !== oid.signedData)
    throw new DerError('not a SignedData', contentInfo.start)
  const signedData = derChildren(expectDer(wrapped, 0xa0, 'the content'))[0]
  const members = derChildren(expectDer(signedData, 0x30, 'SignedData'))
  derNumber(expectDer(members.shift(), 0x02, 'the version'))
  expectDer(members.shift(), 0x31, 'digestAlgorithms')
  const [contentType, carried] = derChildren(expectDer(members.shift(), 0x30, 'encapContentInfo'))
  const contentOid = expectDer(contentType, 0x06, 'the type of what is signed')
  const own = carried
    ? derOctets(octetString(derChildren(expectDer(carried, 0xa0, 'what is signed'))[0]))
    : undefined
  // RFC 8551 §3.5.3.1: a detached signature carries no content; which of two was meant cannot be known.
  if (detached !== undefined && own !== undefined && !own.equals(detached))
    throw new DerError('a detached signature that carries other content', contentInfo.start)
  const content = detached ?? own
  if (content === undefined) throw new DerError('what was signed is missing', contentInfo.start)

  const certificates: CmsCertificate[] = []
  if (members[0]?.tag === 0xa0)
    for (const one of derMembers(members.shift()!)) {
      if (certificates.length >= certificatesMax) throw new DerError('too many certificates', one.start)
      // Attribute certificates and other formats have context tags (RFC 5652 §10.2.2).
      const read = one.tag === 0x30 ? readable(derRaw(one)) : undefined
      if (read) certificates.push(read)
    }
  if (members[0]?.tag === 0xa1) members.shift()
  const what: WhatIsSigned = { contentOid: derOidText(contentOid), content, digestOf: digestsOf(content) }
  const signers: SignerReport[] = []
  for (const one of derMembers(expectDer(members.shift(), 0x31, 'signerInfos'))) {
    if (signers.length >= signersMax) throw new DerError('too many signers', one.start)
    signers.push(...reportsOf(one, certificates, what, policy))
  }
  return {
    signers,
    certificates: certificates.map((one) => one.der),
    ...(own === undefined ? {} : { content: own }),
  }
}

interface WhatIsSigned {
  readonly contentOid: string
  readonly content: Buffer
  readonly digestOf: (digest: string) => Buffer
}

/** Several signers mostly use one digest: each is made once. */
function digestsOf(content: Buffer): (digest: string) => Buffer {
  const made = new Map<string, Buffer>()
  return (digest) => {
    const known = made.get(digest) ?? createHash(digest).update(content).digest()
    made.set(digest, known)
    return known
  }
}

function octetString(value: DerValue | undefined): DerValue {
  if (!value || (value.tag & ~0x20) !== 0x04)
    throw new DerError('what is signed is not octets', value?.start ?? 0)
  return value
}

function readable(bytes: Buffer): CmsCertificate | undefined {
  try {
    return knownCertificate(bytes)
  } catch {
    return undefined
  }
}

/** Of one SignerInfo: mostly one report, more where its signature holds with several certificates. Never throws. */
function reportsOf(
  signerInfo: DerValue,
  certificates: readonly CmsCertificate[],
  what: WhatIsSigned,
  policy: OpeningPolicy,
): SignerReport[] {
  const known: { digest: string; signingTime?: Date } = { digest: 'unknown' }
  const bad = (because: string, certificate?: CmsCertificate, scheme?: string): SignerReport => ({
    ...identityOf(certificate),
    valid: false,
    because,
    ...known,
    ...(scheme === undefined ? {} : { scheme }),
  })
  let named: readonly CmsCertificate[] = []
  try {
    const members = derChildren(expectDer(signerInfo, 0x30, 'SignerInfo'))
    derNumber(expectDer(members.shift(), 0x02, 'the version'))
    const identifier = members.shift()
    named = identifier ? certificatesNamed(identifier, certificates).slice(0, candidatesMax) : []
    const digestOid = derOidText(
      expectDer(derChildren(expectDer(members.shift(), 0x30, 'the digest'))[0], 0x06, 'the digest'),
    )
    const digest = readableDigests.get(digestOid)
    known.digest = digest ?? digestOid
    const attributes = members[0]?.tag === 0xa0 ? readSignedAttributes(members.shift()!) : undefined
    const algorithm = expectDer(members.shift(), 0x30, 'the signature algorithm')
    const signature = derOctets(octetString(members.shift()))
    const time = attributes?.value(oid.signingTime)
    const signingTime = time ? timeOf(time) : undefined
    if (signingTime) known.signingTime = signingTime
    const [first] = named
    if (first === undefined) return [bad('the message does not carry the certificate of this signer')]
    if (digest === undefined || !policy.digests.has(digest))
      return [bad(`its digest ${spelled(digest ?? digestOid)} is not accepted`, first)]
    const flaw = attributes ? flawOf(attributes, digest, digestOid, what) : flawWithoutAttributes(what)
    if (flaw !== undefined) return [bad(flaw, first)]

    const signed = attributes?.signed ?? [what.content]
    const reports = named.map((certificate): SignerReport => {
      const check = signatureCheck(algorithm, digest, certificate.publicKey, policy)
      if (!check.accepted) return bad(check.because, certificate, check.scheme)
      return signed.some((candidate) => check.holds(candidate, signature))
        ? { ...identityOf(certificate), valid: true, ...known, scheme: check.scheme }
        : bad('the signature does not verify with the certificate of this signer', certificate, check.scheme)
    })
    const valid = reports.filter((one) => one.valid)
    return valid.length > 0 ? valid : reports.slice(0, 1)
  } catch (error) {
    return [bad(error instanceof DerError ? error.message : 'the signature cannot be checked', named[0])]
  }
}

function identityOf(certificate: CmsCertificate | undefined): Pick<SignerReport, 'certificate' | 'key'> {
  return certificate ? { certificate: certificate.der, key: keyKind(certificate.publicKey) } : {}
}

const algorithmProtection = '1.2.840.113549.1.9.52'

/** What RFC 5652 §11 and RFC 6211 ask of signed attributes. */
function flawOf(
  attributes: ReturnType<typeof readSignedAttributes>,
  digest: string,
  digestOid: string,
  { contentOid, digestOf }: WhatIsSigned,
): string | undefined {
  const type = attributes.value(oid.contentType)
  if (!type || derOidText(type) !== contentOid) return 'its content type attribute is missing or wrong'
  const announced = attributes.value(oid.messageDigest)
  if (!announced || !derOctets(octetString(announced)).equals(digestOf(digest)))
    return 'what was signed has been altered: the digest differs'
  const protection = attributes.value(algorithmProtection)
  if (protection === undefined) return undefined
  const protectedDigest = derChildren(expectDer(protection, 0x30, 'CMSAlgorithmProtection'))[0]
  const named = derChildren(expectDer(protectedDigest, 0x30, 'the protected digest'))[0]
  return named && derOidText(named) === digestOid ? undefined : 'it was signed with another digest'
}

/**
 * RFC 5652 §5.3 allows none for plain data. Somebody could then present the attributes of another signature as the
 * content (RFC 5652 §14): octets that are such a SET are therefore never taken for content.
 */
function flawWithoutAttributes({ contentOid, content }: WhatIsSigned): string | undefined {
  if (contentOid !== oid.data) return 'its signed attributes are missing'
  if (content[0] !== 0x31) return undefined
  try {
    const set = readDer(content)
    const types = derChildren(set).map((one) => derChildren(one)[0]?.tag)
    if (set.end === content.length && types.every((tag) => tag === 0x06))
      return 'what it signs are the attributes of another signature'
  } catch (error) {
    if (!(error instanceof DerError)) throw error
  }
  return undefined
}

/** UTCTime or GeneralizedTime in the forms RFC 5652 §11.3 allows. */
function timeOf(value: DerValue): Date | undefined {
  const text = derContent(value).toString('latin1')
  const digits = value.tag === 0x17 ? `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}` : text
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?Z$/.exec(digits)
  if (!parts) return undefined
  const [year, month, day, hour, minute, second] = parts.slice(1).map((part) => Number(part ?? 0))
  return new Date(Date.UTC(year!, month! - 1, day, hour, minute, second ?? 0))
}
