import { createHash } from 'node:crypto'
import { membersOf } from './der-reading.ts'
import { context, integer, nothing, octetString, oid, sequence, set } from './der.ts'
import type { Issued } from './pki.ts'
import { signatureAlgorithm } from './signature.ts'

const data = oid('1.2.840.113549.1.7.1')
const signedData = oid('1.2.840.113549.1.7.2')
const digestOids = { sha1: '1.3.14.3.2.26', sha256: '2.16.840.1.101.3.4.2.1' } as const

/** A certs-only bundle, or one with metadata beside the certificates. */
export function makeBundle(certificates: readonly Buffer[], metadata?: Buffer): Buffer {
  return sequence(signedData, context(0, signedDataOf({ certificates, content: metadata })))
}

export interface SignatureWishes {
  readonly digest?: 'sha1' | 'sha256'
  readonly pss?: boolean
  /** Certificates carried; usual: the signers’. */
  readonly certificates?: readonly Buffer[]
  /** Over the content itself. */
  readonly withoutAttributes?: boolean
  /** What the messageDigest attribute is made of; usual: the content. */
  readonly digestOf?: Buffer
  /** What the contentType attribute says; usual: data. */
  readonly typeInAttributes?: string
  /** Attributes written, and signed, in this order instead of that of a SET OF. */
  readonly isUnordered?: boolean
  /** `rsaEncryption` as the signature algorithm, as older writers have it. */
  readonly plainRsa?: boolean
}

/** Any content, signed by each of these. */
export function signBundle(
  content: Buffer,
  signers: readonly Issued[],
  wishes: SignatureWishes = {},
): Buffer {
  const certificates = wishes.certificates ?? signers.map(({ certificate }) => certificate)
  const signerInfos = signers.map((signer) => signerInfo(content, signer, wishes))
  return sequence(signedData, context(0, signedDataOf({ certificates, content, signerInfos })))
}

function signedDataOf({
  certificates,
  content,
  signerInfos = [],
}: {
  certificates: readonly Buffer[]
  content?: Buffer | undefined
  signerInfos?: readonly Buffer[]
}): Buffer {
  return sequence(
    integer(1),
    set(),
    content === undefined ? sequence(data) : sequence(data, context(0, octetString(content))),
    ...(certificates.length === 0 ? [] : [context(0, ...certificates)]),
    set(...signerInfos),
  )
}

function signerInfo(content: Buffer, signer: Issued, wishes: SignatureWishes): Buffer {
  const { digest = 'sha256', digestOf = content, typeInAttributes } = wishes
  const algorithm = signatureAlgorithm(signer.privateKey, {
    signatureDigest: digest,
    ...(wishes.pss === true ? { signaturePadding: 'pss' as const } : {}),
  })
  const type = typeInAttributes === undefined ? data : oid(typeInAttributes)
  const made = createHash(digest).update(digestOf).digest()
  const contentType = sequence(oid('1.2.840.113549.1.9.3'), set(type))
  const messageDigest = sequence(oid('1.2.840.113549.1.9.4'), set(octetString(made)))
  // The longer one first: no order that DER knows.
  const members = wishes.isUnordered === true ? [messageDigest, contentType] : [contentType, messageDigest]
  const tagged = context(0, ...members)
  const toSign =
    wishes.withoutAttributes === true ? content : Buffer.concat([Buffer.from([0x31]), tagged.subarray(1)])
  return sequence(
    integer(1),
    sequence(issuerOf(signer.certificate), integer(1)),
    sequence(oid(digestOids[digest]), nothing()),
    ...(wishes.withoutAttributes === true ? [] : [tagged]),
    wishes.plainRsa === true ? sequence(oid('1.2.840.113549.1.1.1'), nothing()) : algorithm.identifier,
    octetString(algorithm.sign(toSign)),
  )
}

/** The issuer Name as it stands in the certificate; the serial number beside it is wrong and must not matter. */
function issuerOf(certificate: Buffer): Buffer {
  const [whole] = membersOf(certificate)
  const [tbs] = membersOf(whole!.content)
  return membersOf(tbs!.content)[3]!.whole
}

/** The same values, with every constructed one of indefinite length and octet strings in two pieces (X.690 §8.1.3.6). */
export function asBer(der: Buffer): Buffer {
  return Buffer.concat(
    membersOf(der).map(({ tag, content }) => {
      const end = Buffer.alloc(2)
      if (tag === 0x04) {
        const cut = content.length >> 1
        const pieces = [octetString(content.subarray(0, cut)), octetString(content.subarray(cut))]
        return Buffer.concat([Buffer.from([0x24, 0x80]), ...pieces, end])
      }
      // Certificates stay as their issuers signed them.
      if ((tag & 0x20) === 0 || isCertificate(content)) return tlv(tag, content)
      return Buffer.concat([Buffer.from([tag, 0x80]), asBer(content), end])
    }),
  )
}

function isCertificate(content: Buffer): boolean {
  const [first, second, third] = content[0] === 0x30 ? membersOf(content) : []
  return first?.tag === 0x30 && second?.tag === 0x30 && third?.tag === 0x03
}

function tlv(tag: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([tag]), octetString(content).subarray(1)])
}

/** PEM under whatever label. */
export function armoured(der: Buffer, label = 'PKCS7'): Buffer {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return Buffer.from(`-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`)
}
