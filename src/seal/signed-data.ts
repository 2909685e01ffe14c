import { constants, createHash, verify } from 'node:crypto'
import {
  der,
  derChildren,
  derContent,
  DerError,
  derMembers,
  derNumber,
  derOctets,
  derOidText,
  derRaw,
  derSetOf,
  expectDer,
  type DerValue,
} from '../lib/der.ts'
import { digestOids, ecdsaOids, oid, type Digest } from './algorithms.ts'
import { readCertificate, type CmsCertificate } from './certificate.ts'

/** One SignerInfo, judged by its mathematics alone. Whether its certificate is trusted is another question. */
export interface SignerReport {
  /** DER; undefined where the message does not carry it. */
  readonly certificate?: Buffer
  readonly valid: boolean
  /** Why not, where it is not. */
  readonly because?: string
  /** `sha256`, `sha384`, `sha512`, or the object identifier of a digest that is not accepted. */
  readonly digest: string
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

/**
 * Looks at every SignerInfo of a SignedData (RFC 5652 §5).
 *
 * @param contentInfo the ContentInfo as read, BER or DER
 * @param detached what was signed, exactly as received, when the message does not carry it itself
 * @throws DerError where it is not a SignedData or exceeds a limit
 */
export function readSignedData(contentInfo: DerValue, detached: Buffer | undefined): SignedData {
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
  const digests = new Map<string, Buffer>()
  const contentDigest = (digest: Digest) => {
    const known = digests.get(digest) ?? createHash(digest).update(content).digest()
    digests.set(digest, known)
    return known
  }
  const signers: SignerReport[] = []
  for (const one of derMembers(expectDer(members.shift(), 0x31, 'signerInfos'))) {
    if (signers.length >= signersMax) throw new DerError('too many signers', one.start)
    signers.push(judge(one, certificates, derOidText(contentOid), content, contentDigest))
  }
  return {
    signers,
    certificates: certificates.map((one) => one.der),
    ...(own === undefined ? {} : { content: own }),
  }
}

function octetString(value: DerValue | undefined): DerValue {
  if (!value || (value.tag & ~0x20) !== 0x04)
    throw new DerError('what is signed is not octets', value?.start ?? 0)
  return value
}

function readable(bytes: Buffer): CmsCertificate | undefined {
  try {
    return readCertificate(bytes)
  } catch {
    return undefined
  }
}

/** Never throws: one bad signer says nothing about the next. */
function judge(
  signerInfo: DerValue,
  certificates: readonly CmsCertificate[],
  contentOid: string,
  content: Buffer,
  contentDigest: (digest: Digest) => Buffer,
): SignerReport {
  let digest = 'unknown'
  let certificate: CmsCertificate | undefined
  let signingTime: Date | undefined
  const report = (because?: string): SignerReport => ({
    ...(certificate ? { certificate: certificate.der } : {}),
    valid: because === undefined,
    ...(because === undefined ? {} : { because }),
    digest,
    ...(signingTime ? { signingTime } : {}),
  })
  try {
    const members = derChildren(expectDer(signerInfo, 0x30, 'SignerInfo'))
    derNumber(expectDer(members.shift(), 0x02, 'the version'))
    const identifier = members.shift()
    if (!identifier) return report('the signer is not named')
    certificate = certificates.find((one) => isOf(identifier, one))
    const digestOid = derOidText(derChildren(expectDer(members.shift(), 0x30, 'the digest'))[0]!)
    digest = digestNames.get(digestOid) ?? digestOid
    const attributes = members[0]?.tag === 0xa0 ? members.shift() : undefined
    const signatureAlgorithm = expectDer(members.shift(), 0x30, 'the signature algorithm')
    const signature = derOctets(octetString(members.shift()))
    if (!certificate) return report('the message does not carry the certificate of this signer')
    if (!isDigest(digest))
      return report(`its digest ${refusedDigests.get(digestOid) ?? digestOid} is not accepted`)

    let candidates = [content]
    if (attributes) {
      const signed = derChildren(attributes)
      const time = attributeValue(signed, oid.signingTime)
      signingTime = time ? timeOf(time) : undefined
      const type = attributeValue(signed, oid.contentType)
      if (!type || derOidText(type) !== contentOid)
        return report('its content type attribute is missing or wrong')
      const announced = attributeValue(signed, oid.messageDigest)
      if (!announced || !derOctets(octetString(announced)).equals(contentDigest(digest)))
        return report('what was signed has been altered: the digest differs')
      // RFC 5652 §5.4 signs the DER of the SET OF; some writers sign their own order, which stands in the message.
      const inOrder = der(0x31, derContent(attributes))
      const sorted = derSetOf(0x31, signed.map(derRaw))
      candidates = inOrder.equals(sorted) ? [sorted] : [inOrder, sorted]
    } else if (contentOid !== oid.data) return report('its signed attributes are missing')

    const check = checkOf(signatureAlgorithm, digest, certificate)
    if (typeof check === 'string') return report(check)
    return candidates.some((candidate) => check(candidate, signature))
      ? report()
      : report('the signature does not verify with the certificate of this signer')
  } catch (error) {
    return report(error instanceof DerError ? error.message : 'the signature cannot be checked')
  }
}

function isOf(identifier: DerValue, certificate: CmsCertificate): boolean {
  if (identifier.tag === 0x30) {
    const [issuer, serial] = derChildren(identifier)
    return (
      issuer !== undefined &&
      serial !== undefined &&
      derRaw(issuer).equals(certificate.issuer) &&
      derRaw(serial).equals(certificate.serial)
    )
  }
  return identifier.tag === 0x80 && certificate.subjectKeyIdentifier?.equals(derContent(identifier)) === true
}

/** The single value of a signed attribute; two values or two attributes of one type are none (RFC 5652 §5.3, §11). */
function attributeValue(attributes: readonly DerValue[], type: string): DerValue | undefined {
  const found = attributes.filter((one) => derOidText(derChildren(one)[0]!) === type)
  if (found.length !== 1) return undefined
  const values = derChildren(expectDer(derChildren(found[0]!)[1], 0x31, 'an attribute’s values'))
  return values.length === 1 ? values[0] : undefined
}

const digestNames = new Map(Object.entries(digestOids).map(([name, dotted]) => [dotted, name]))
const refusedDigests = new Map([
  ['1.3.14.3.2.26', 'SHA-1'],
  ['1.2.840.113549.2.5', 'MD5'],
  ['2.16.840.1.101.3.4.2.4', 'SHA-224'],
])
const isDigest = (name: string): name is Digest => Object.hasOwn(digestOids, name)

/** Signature algorithms whose name holds the digest, besides rsaEncryption whose digest is the SignerInfo's. */
const rsaOids = new Map<string, Digest>([
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
])
const ecdsaDigests = new Map(Object.entries(ecdsaOids).map(([name, dotted]) => [dotted, name as Digest]))

type Check = (signed: Buffer, signature: Buffer) => boolean

/** How to check, or why it is not accepted. */
function checkOf(algorithm: DerValue, digest: Digest, { publicKey }: CmsCertificate): Check | string {
  const [algorithmOid, parameters] = derChildren(algorithm)
  const dotted = derOidText(expectDer(algorithmOid, 0x06, 'the signature algorithm'))
  const type = publicKey.asymmetricKeyType
  const rsaDigest = dotted === oid.rsaEncryption ? digest : rsaOids.get(dotted)
  if (rsaDigest && type === 'rsa') {
    const key = { key: publicKey, padding: constants.RSA_PKCS1_PADDING }
    return (signed, signature) => verify(rsaDigest, signed, key, signature)
  }
  const ecdsaDigest = ecdsaDigests.get(dotted)
  if (ecdsaDigest && type === 'ec')
    return (signed, signature) => verify(ecdsaDigest, signed, publicKey, signature)
  if (dotted === oid.rsaPss && (type === 'rsa' || type === 'rsa-pss')) {
    const pss = readPss(parameters)
    if (!pss) return 'its RSA-PSS parameters are not accepted'
    const key = { key: publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: pss.saltLength }
    return (signed, signature) => verify(pss.digest, signed, key, signature)
  }
  return `its signature algorithm ${dotted} is not accepted with its key`
}

/** RSASSA-PSS-params (RFC 4055 §3.1) with one SHA-2 digest throughout; the defaults are SHA-1 and so not accepted. */
function readPss(parameters: DerValue | undefined): { digest: Digest; saltLength: number } | undefined {
  const fields = new Map(
    derChildren(expectDer(parameters, 0x30, 'the PSS parameters')).map((one) => [
      one.tag,
      derChildren(one)[0]!,
    ]),
  )
  const hash = fields.get(0xa0)
  const mask = fields.get(0xa1)
  if (!hash || !mask) return undefined
  const [maskOid, maskHash] = derChildren(mask)
  const hashOid = derOidText(derChildren(hash)[0]!)
  const digest = digestNames.get(hashOid) as Digest | undefined
  const saltLength = fields.has(0xa2) ? derNumber(fields.get(0xa2)!) : 20
  if (!digest || derOidText(maskOid!) !== oid.mgf1 || saltLength > 512) return undefined
  if (!maskHash || derOidText(derChildren(maskHash)[0]!) !== hashOid) return undefined
  return { digest, saltLength }
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
