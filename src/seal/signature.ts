import { sign, X509Certificate, type KeyObject } from 'node:crypto'
import { der, derInteger, derOid, derSetOf } from '../lib/der.ts'
import {
  algorithmIdentifier,
  contentCipherOids,
  digestOids,
  ecdsaOids,
  nullParameters,
  oid,
  type Digest,
} from './algorithms.ts'
import { curveOctets, readCertificate } from './certificate.ts'

/** Who signs: the certificate, its key, and the intermediates up to but without the root. Certificates in DER. */
export interface Signer {
  readonly certificate: Buffer
  readonly privateKey: KeyObject
  readonly intermediates?: readonly Buffer[]
}

/** Makes the detached SignedData (RFC 5652 §5) that every configured signer signs. */
export interface Signature {
  /** The SignedData in DER, for the digest of the content. */
  signedData(algorithm: Digest, contentDigest: Buffer, signingTime: Date): Buffer
  /** Octets it has at most; exact for RSA, while an ECDSA signature may be some octets shorter. */
  bytesMax(algorithm: Digest, signingTime: Date): number
}

const version1 = derInteger(1)
const dataOid = derOid(oid.data)
const fixedAttributes = [
  attribute(oid.contentType, dataOid),
  // RFC 8551 §2.5.2: what we can open, best first.
  attribute(
    oid.smimeCapabilities,
    der(
      0x30,
      algorithmIdentifier(contentCipherOids['aes-256-cbc'].oid),
      algorithmIdentifier(contentCipherOids['aes-128-cbc'].oid),
    ),
  ),
]

/**
 * @throws Error for a key that does not belong to its certificate, or is neither RSA nor EC on P-256, P-384, P-521
 */
export function makeSignature(signers: readonly Signer[]): Signature {
  const prepared = signers.map(prepare)
  const certificates = new Map<string, Buffer>()
  for (const signer of signers)
    for (const one of [signer.certificate, ...(signer.intermediates ?? [])])
      certificates.set(one.toString('latin1'), Buffer.from(one))
  const certificateSet = derSetOf(0xa0, [...certificates.values()])
  const lengths = new Map<string, number>()

  const assemble = (algorithm: Digest, signerInfos: readonly Buffer[]) =>
    der(
      0x30,
      derOid(oid.signedData),
      der(
        0xa0,
        der(
          0x30,
          version1,
          der(0x31, algorithmIdentifier(digestOids[algorithm])),
          der(0x30, dataOid),
          certificateSet,
          derSetOf(0x31, signerInfos),
        ),
      ),
    )

  return {
    signedData(algorithm, contentDigest, signingTime) {
      const attributes = signedAttributes(contentDigest, signingTime)
      // RFC 5652 §5.4: what is signed is the attributes as an explicit SET OF, not with their [0].
      const toSign = der(0x31, attributes)
      const infos = prepared.map((one) =>
        one.signerInfo(algorithm, attributes, sign(algorithm, toSign, one.privateKey)),
      )
      return assemble(algorithm, infos)
    },
    bytesMax(algorithm, signingTime) {
      const time = timeOf(signingTime)
      const key = `${algorithm} ${time.length}`
      const known = lengths.get(key)
      if (known !== undefined) return known
      const digestBytes = { sha256: 32, sha384: 48, sha512: 64 }[algorithm]
      const attributes = signedAttributes(Buffer.alloc(digestBytes), signingTime)
      const infos = prepared.map((one) =>
        one.signerInfo(algorithm, attributes, Buffer.alloc(one.signatureBytesMax)),
      )
      const length = assemble(algorithm, infos).length
      lengths.set(key, length)
      return length
    },
  }
}

function prepare(signer: Signer) {
  const x509 = new X509Certificate(signer.certificate)
  if (!x509.checkPrivateKey(signer.privateKey))
    throw new Error('a signing key does not belong to its certificate; configure the matching pair')
  const certificate = readCertificate(signer.certificate)
  const identifier = der(0x30, certificate.issuer, certificate.serial)
  const octets = curveOctets(signer.privateKey)
  const isRsa = signer.privateKey.asymmetricKeyType === 'rsa'
  if (!isRsa && octets === undefined)
    throw new Error('a signing key is neither RSA nor EC on P-256, P-384 or P-521; use one of these')
  const modulusBits = signer.privateKey.asymmetricKeyDetails?.modulusLength ?? 0
  return {
    privateKey: signer.privateKey,
    signatureBytesMax: octets === undefined ? Math.ceil(modulusBits / 8) : ecdsaBytesMax(octets),
    signerInfo: (algorithm: Digest, attributes: Buffer, signature: Buffer) =>
      der(
        0x30,
        version1,
        identifier,
        // RFC 5754 §2: no parameters with SHA-2. RFC 3370 §3.2: NULL with rsaEncryption. RFC 5754 §3.3: none with ECDSA.
        algorithmIdentifier(digestOids[algorithm]),
        der(0xa0, attributes),
        isRsa
          ? algorithmIdentifier(oid.rsaEncryption, nullParameters)
          : algorithmIdentifier(ecdsaOids[algorithm]),
        der(0x04, signature),
      ),
  }
}

/** Members of the SET OF, ascending: BouncyCastle, which most receivers run, refuses signatures over unsorted ones. */
function signedAttributes(contentDigest: Buffer, signingTime: Date): Buffer {
  const members = [
    ...fixedAttributes,
    attribute(oid.signingTime, timeOf(signingTime)),
    attribute(oid.messageDigest, der(0x04, contentDigest)),
  ]
  return Buffer.concat(members.sort((a, b) => Buffer.compare(a, b)))
}

function attribute(type: string, value: Buffer): Buffer {
  return der(0x30, derOid(type), der(0x31, value))
}

/** RFC 5652 §11.3: UTCTime through 2049, GeneralizedTime after. */
function timeOf(at: Date): Buffer {
  const iso = at.toISOString()
  const digits = `${iso.slice(0, 4)}${iso.slice(5, 7)}${iso.slice(8, 10)}${iso.slice(11, 13)}${iso.slice(14, 16)}${iso.slice(17, 19)}`
  return at.getUTCFullYear() < 2050
    ? der(0x17, Buffer.from(`${digits.slice(2)}Z`))
    : der(0x18, Buffer.from(`${digits}Z`))
}

/** SEQUENCE of two INTEGERs of the curve's size, each with a leading zero where the curve order's top bit allows one. */
function ecdsaBytesMax(curveOctetCount: number): number {
  const integer = 2 + curveOctetCount + (curveOctetCount === 66 ? 0 : 1)
  return der(0x30, Buffer.alloc(2 * integer)).length
}
