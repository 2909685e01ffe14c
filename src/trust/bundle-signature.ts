import { createHash } from 'node:crypto'
import { toDer } from '../lib/ber.ts'
import {
  der,
  derContent,
  DerError,
  derOctets,
  derOidText,
  derRaw,
  expectDer,
  readDer,
  type DerValue,
} from '../lib/der.ts'
import type { Certificate } from './certificate.ts'
import {
  readDigestAlgorithm,
  readSignatureAlgorithm,
  weaknessOf,
  type Digest,
  type SignatureAlgorithm,
} from './signature-algorithm.ts'
import { isSignedBy } from './signed-by.ts'
import { strictMembers } from './strict-der.ts'

export type BundleSigner =
  | { readonly outcome: 'signed'; readonly signer: Certificate }
  /** By one of them, with an algorithm that others can forge. */
  | { readonly outcome: 'weakly'; readonly because: string }
  | { readonly outcome: 'by-nobody' }

const rsaEncryption = '1.2.840.113549.1.1.1'
const plainData = '1.2.840.113549.1.7.1'
const contentTypeAttribute = '1.2.840.113549.1.9.3'
const messageDigestAttribute = '1.2.840.113549.1.9.4'

/**
 * Whose key made one of these SignerInfos (RFC 5652 §5.3) over this content? Names and key identifiers in them are not
 * looked at, nor certificates that came along: a signature belongs to whose key verifies it.
 *
 * @param contentType dotted, of the content
 */
export function signerOf(
  signerInfos: readonly DerValue[],
  contentType: string,
  content: Buffer,
  signers: readonly Certificate[],
): BundleSigner {
  let weak: BundleSigner | undefined
  for (const one of signerInfos) {
    const claim = readable(one)
    if (claim === undefined || !fits(claim, contentType, content)) continue
    const signed = claim.attributes?.signed ?? [content]
    const { signatureAlgorithm, signature } = claim
    const signer = signers.find((candidate) =>
      signed.some((tbs) => isSignedBy({ tbs, signatureAlgorithm, signature }, candidate)),
    )
    if (signer === undefined) continue
    const because = weaknessOf(signatureAlgorithm) ?? weaknessOf({ kind: 'rsa', digest: claim.digest })
    if (because === undefined) return { outcome: 'signed', signer }
    weak = { outcome: 'weakly', because }
  }
  return weak ?? { outcome: 'by-nobody' }
}

interface Claim {
  readonly digest: Digest
  readonly attributes: Attributes | undefined
  readonly signatureAlgorithm: SignatureAlgorithm
  readonly signature: Buffer
}

interface Attributes {
  /** The single value of each attribute that stands once and has one. */
  readonly values: ReadonlyMap<string, DerValue>
  /** What the signature may be over, likeliest first. */
  readonly signed: readonly Buffer[]
}

function readable(signerInfo: DerValue): Claim | undefined {
  try {
    return readClaim(signerInfo)
  } catch (error) {
    // One that cannot be read says nothing about the next.
    if (error instanceof DerError) return undefined
    throw error
  }
}

function readClaim(signerInfo: DerValue): Claim | undefined {
  const members = strictMembers(expectDer(readDer(toDer(derRaw(signerInfo))), 0x30, 'SignerInfo'))
  expectDer(members.shift(), 0x02, 'the version')
  members.shift()
  const digest = readDigestAlgorithm(expectDer(members.shift(), 0x30, 'the digest'))
  const attributes = members[0]?.tag === 0xa0 ? readAttributes(members.shift()!) : undefined
  const algorithm = readSignatureAlgorithm(expectDer(members.shift(), 0x30, 'the signature algorithm'))
  const signature = derOctets(expectDer(members.shift(), 0x04, 'the signature'))
  if (digest === undefined) return undefined
  // RFC 5754 §3.2: rsaEncryption alone leaves the digest to be that of the message.
  const signatureAlgorithm: SignatureAlgorithm =
    algorithm.kind === 'unsupported' && algorithm.oid === rsaEncryption ? { kind: 'rsa', digest } : algorithm
  return { digest, attributes, signatureAlgorithm, signature }
}

function readAttributes(tagged: DerValue): Attributes {
  // RFC 5652 §5.4: signed with the tag of a SET OF, in its order.
  const asWritten = der(0x31, derContent(tagged))
  const inOrder = toDer(asWritten)
  const values = new Map<string, DerValue>()
  const seen = new Set<string>()
  for (const attribute of strictMembers(readDer(inOrder))) {
    const [type, set] = strictMembers(expectDer(attribute, 0x30, 'an attribute'))
    const name = derOidText(expectDer(type, 0x06, 'the type of an attribute'))
    const [value, another] = strictMembers(expectDer(set, 0x31, 'the values of an attribute'))
    if (seen.has(name)) values.delete(name)
    else if (value !== undefined && another === undefined) values.set(name, value)
    seen.add(name)
  }
  // QUIRK: some writers sign the order that they write.
  return { values, signed: inOrder.equals(asWritten) ? [inOrder] : [inOrder, asWritten] }
}

/** RFC 5652 §5.3, §5.6 and §11.1: the attributes are about this content; without any, the content has to be plain data. */
function fits({ attributes, digest }: Claim, contentType: string, content: Buffer): boolean {
  if (attributes === undefined) return contentType === plainData
  const type = attributes.values.get(contentTypeAttribute)
  const made = attributes.values.get(messageDigestAttribute)
  return (
    type?.tag === 0x06 &&
    derOidText(type) === contentType &&
    made?.tag === 0x04 &&
    derContent(made).equals(createHash(digest).update(content).digest())
  )
}
