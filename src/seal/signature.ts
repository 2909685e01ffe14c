import { der, derInteger, derOid, derSetOf } from '../lib/der.ts'
import {
  algorithmIdentifier,
  contentCipherOids,
  digestFor,
  digestOids,
  ecdsaOids,
  nullParameters,
  oid,
  type Digest,
} from './algorithms.ts'
import { isSelfIssued, readCertificate } from './certificate.ts'
import { signingKey, type PrivateKey } from './signing-key.ts'

/** Who signs: the certificate, its key, and the intermediates. Certificates in DER; a root among them is left out. */
export interface Signer {
  readonly certificate: Buffer
  readonly privateKey: PrivateKey
  readonly intermediates?: readonly Buffer[]
}

/** Makes the detached SignedData (RFC 5652 §5) that every configured signer signs. */
export interface Signature {
  /** The digests of the content that are needed: the wanted one for everybody, else that of each signer's key. */
  digests(wanted?: Digest): readonly Digest[]
  /**
   * The SignedData in DER. Each signer takes the digest of its key where that is given, else the first one.
   *
   * @throws Failed where a key is in a device and that does not sign
   */
  signedData(contentDigests: ReadonlyMap<Digest, Buffer>, signingTime: Date): Promise<Buffer>
  /** Octets it has at most; exact for RSA, while an ECDSA signature may be some octets shorter. */
  bytesMax(digests: readonly Digest[], signingTime: Date): number
}

const version1 = derInteger(1)
const dataOid = derOid(oid.data)
const fixedAttributes = [
  attribute(oid.contentType, dataOid),
  // RFC 8551 §2.5.2: what we can open, what we like best first.
  attribute(
    oid.smimeCapabilities,
    der(
      0x30,
      ...(['aes-256-cbc', 'aes-256-gcm', 'aes-192-cbc', 'aes-128-cbc', 'aes-128-gcm'] as const).map(
        (cipher) => algorithmIdentifier(contentCipherOids[cipher].oid),
      ),
    ),
  ),
]

/**
 * @throws Error for a key that does not belong to its certificate, or is neither RSA nor EC on P-256, P-384, P-521
 */
export function makeSignature(signers: readonly Signer[]): Signature {
  const prepared = signers.map(prepare)
  const certificateSet = derSetOf(0xa0, carried(signers))
  const lengths = new Map<string, number>()

  const assemble = (digests: readonly Digest[], signerInfos: readonly Buffer[]) =>
    der(
      0x30,
      derOid(oid.signedData),
      der(
        0xa0,
        der(
          0x30,
          version1,
          derSetOf(
            0x31,
            digests.map((digest) => algorithmIdentifier(digestOids[digest])),
          ),
          der(0x30, dataOid),
          certificateSet,
          derSetOf(0x31, signerInfos),
        ),
      ),
    )
  const digestOf = (one: Prepared, digests: readonly Digest[]) =>
    digests.includes(one.digest) ? one.digest : digests[0]!

  return {
    digests: (wanted) => (wanted ? [wanted] : [...new Set(prepared.map(({ digest }) => digest))].sort()),
    async signedData(contentDigests, signingTime) {
      const digests = [...contentDigests.keys()]
      const attributesOf = new Map(
        digests.map((digest) => [digest, signedAttributes(contentDigests.get(digest)!, signingTime)]),
      )
      const infos = await Promise.all(
        prepared.map(async (one) => {
          const digest = digestOf(one, digests)
          const attributes = attributesOf.get(digest)!
          // RFC 5652 §5.4: what is signed is the attributes as an explicit SET OF, not with their [0].
          const signature = await one.key.sign(digest, der(0x31, attributes))
          return signerInfo(one, digest, attributes, signature)
        }),
      )
      return assemble(digests, infos)
    },
    bytesMax(digests, signingTime) {
      const key = `${digests.join(' ')} ${timeOf(signingTime).length}`
      const known = lengths.get(key)
      if (known !== undefined) return known
      const infos = prepared.map((one) => {
        const digest = digestOf(one, digests)
        const attributes = signedAttributes(Buffer.alloc(digestBytes[digest]), signingTime)
        return signerInfo(one, digest, attributes, Buffer.alloc(one.key.signatureBytesMax))
      })
      const length = assemble(digests, infos).length
      lengths.set(key, length)
      return length
    },
  }
}

const digestBytes: Record<Digest, number> = { sha256: 32, sha384: 48, sha512: 64 }

/** Receivers need the way up to their anchor, and have the anchor. */
function carried(signers: readonly Signer[]): Buffer[] {
  const certificates = new Map<string, Buffer>()
  for (const { certificate, intermediates = [] } of signers)
    for (const one of [certificate, ...intermediates.filter((der) => !isSelfIssued(der))])
      certificates.set(one.toString('latin1'), Buffer.from(one))
  return [...certificates.values()]
}

type Prepared = ReturnType<typeof prepare>

function prepare({ certificate, privateKey }: Signer) {
  const { issuer, serial, publicKey } = readCertificate(certificate)
  return {
    key: signingKey(certificate, privateKey),
    digest: digestFor(publicKey),
    identifier: der(0x30, issuer, serial),
  }
}

/** SignerInfo (RFC 5652 §5.3) by issuer and serial number. */
function signerInfo(
  { identifier, key }: Prepared,
  digest: Digest,
  attributes: Buffer,
  signature: Buffer,
): Buffer {
  return der(
    0x30,
    version1,
    identifier,
    // RFC 5754 §2: no parameters with SHA-2. RFC 3370 §3.2: NULL with rsaEncryption. RFC 5754 §3.3: none with ECDSA.
    algorithmIdentifier(digestOids[digest]),
    der(0xa0, attributes),
    key.isRsa
      ? algorithmIdentifier(oid.rsaEncryption, nullParameters)
      : algorithmIdentifier(ecdsaOids[digest]),
    der(0x04, signature),
  )
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
