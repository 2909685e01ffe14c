import {
  constants,
  createCipheriv,
  createHash,
  diffieHellman,
  generateKeyPairSync,
  publicEncrypt,
  type Cipheriv,
  type KeyObject,
} from 'node:crypto'
import { Failed } from '../domain/failure.ts'
import { der, derHead, derInteger, derOid, derSetOf } from '../lib/der.ts'
import { algorithmIdentifier, contentCipherOids, nullParameters, oid, type Algorithms } from './algorithms.ts'
import { curveOctets, readCertificate } from './certificate.ts'

/** Where fresh bytes come from: `node:crypto` randomBytes; tests hand in fixed ones. */
export type Random = (bytes: number) => Buffer

/** An EnvelopedData (RFC 5652 §6) under way: the head first, then the ciphertext of exactly the announced plaintext. */
export interface Envelope {
  /** DER of ContentInfo up to the first octet of the ciphertext; every length in it is definite. */
  readonly head: Buffer
  readonly cipher: Cipheriv
  /** Octets of the ciphertext, padding included. */
  readonly cipherBytes: number
}

/** A prepared recipient: wraps a content-encryption key into its RecipientInfo. */
interface Recipient {
  readonly usesAgreement: boolean
  recipientInfo(contentKey: Buffer, algorithms: Algorithms): Buffer
}

/** Prepared recipients kept for the next message; one takes about 10 kB. */
const recipientsKeptMax = 512
const recipientsKept = new Map<string, Recipient>()

const blockBytes = 16
const keyWrapIv = Buffer.alloc(8, 0xa6)
const aes256Wrap = algorithmIdentifier('2.16.840.1.101.3.4.1.45')
const dhSinglePassSha256 = '1.3.132.1.11.1'

/**
 * @param recipients certificates in DER, each with an RSA key or an EC key on P-256, P-384 or P-521
 * @param plainBytes octets that will be encrypted, exactly
 * @throws Failed recipient-untrusted, naming the place of a certificate that cannot be encrypted to
 */
export function makeEnvelope(
  recipients: readonly Buffer[],
  plainBytes: number,
  algorithms: Algorithms,
  random: Random,
): Envelope {
  const { oid: cipherOid, keyBytes } = contentCipherOids[algorithms.content]
  const contentKey = random(keyBytes)
  const iv = random(blockBytes)
  const cipherBytes = (Math.floor(plainBytes / blockBytes) + 1) * blockBytes
  const prepared = recipients.map((one, index) => recipientOf(one, index))
  const infos = derSetOf(
    0x31,
    prepared.map((one) => one.recipientInfo(contentKey, algorithms)),
  )
  // RFC 5652 §6.1: version 2 once a recipient is not of the key transport kind.
  const version = derInteger(prepared.some((one) => one.usesAgreement) ? 2 : 0)
  const dataOid = derOid(oid.data)
  const algorithm = algorithmIdentifier(cipherOid, der(0x04, iv))
  const head = headsAround(cipherBytes, [
    { tag: 0x30, before: derOid(oid.envelopedData) },
    { tag: 0xa0, before: Buffer.alloc(0) },
    { tag: 0x30, before: Buffer.concat([version, infos]) },
    { tag: 0x30, before: Buffer.concat([dataOid, algorithm]) },
    { tag: 0x80, before: Buffer.alloc(0) },
  ])
  return { head, cipher: createCipheriv(algorithms.content, contentKey, iv), cipherBytes }
}

/** Nested values, outermost first, whose innermost content of `bytes` octets follows later. */
function headsAround(bytes: number, levels: readonly { tag: number; before: Buffer }[]): Buffer {
  let inner: Buffer = Buffer.alloc(0)
  for (const { tag, before } of [...levels].reverse()) {
    const content = before.length + inner.length + bytes
    inner = Buffer.concat([derHead(tag, content), before, inner])
  }
  return inner
}

function recipientOf(certificate: Buffer, index: number): Recipient {
  const key = createHash('sha256').update(certificate).digest('base64')
  const kept = recipientsKept.get(key)
  if (kept) return kept
  const made = prepare(certificate, index)
  if (recipientsKept.size >= recipientsKeptMax) recipientsKept.delete(recipientsKept.keys().next().value!)
  recipientsKept.set(key, made)
  return made
}

function prepare(bytes: Buffer, index: number): Recipient {
  const where = `recipient certificate ${index + 1}`
  let certificate
  try {
    certificate = readCertificate(bytes)
  } catch (cause) {
    throw new Failed('recipient-untrusted', `${where} is not readable; discover it again`, { cause })
  }
  const { publicKey, issuer, serial } = certificate
  const identifier = der(0x30, issuer, serial)
  if (publicKey.asymmetricKeyType === 'rsa')
    return {
      usesAgreement: false,
      recipientInfo: (contentKey, algorithms) => transported(identifier, publicKey, contentKey, algorithms),
    }
  if (curveOctets(publicKey) !== undefined)
    return { usesAgreement: true, recipientInfo: (contentKey) => agreed(identifier, publicKey, contentKey) }
  throw new Failed(
    'recipient-untrusted',
    `${where} has a key that is neither RSA nor EC on P-256, P-384 or P-521; ask the receiving HISP`,
  )
}

/** KeyTransRecipientInfo (RFC 5652 §6.2.1) by issuer and serial number: receivers look keys up by these. */
function transported(
  identifier: Buffer,
  publicKey: KeyObject,
  contentKey: Buffer,
  { keyTransport }: Algorithms,
): Buffer {
  const padded =
    keyTransport === 'pkcs1'
      ? publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, contentKey)
      : publicEncrypt(
          {
            key: publicKey,
            padding: constants.RSA_PKCS1_OAEP_PADDING,
            oaepHash: keyTransport === 'oaep-sha256' ? 'sha256' : 'sha1',
          },
          contentKey,
        )
  return der(0x30, derInteger(0), identifier, keyTransportAlgorithms[keyTransport], der(0x04, padded))
}

const sha256WithNull = algorithmIdentifier('2.16.840.1.101.3.4.2.1', nullParameters)
const keyTransportAlgorithms = {
  pkcs1: algorithmIdentifier(oid.rsaEncryption, nullParameters),
  // RFC 4055 §4.1: the digest and that of MGF1 are separate parameters, and both are left out when they are SHA-1.
  'oaep-sha1': algorithmIdentifier(oid.rsaOaep, der(0x30)),
  'oaep-sha256': algorithmIdentifier(
    oid.rsaOaep,
    der(0x30, der(0xa0, sha256WithNull), der(0xa1, algorithmIdentifier(oid.mgf1, sha256WithNull))),
  ),
}

/** KeyAgreeRecipientInfo (RFC 5753 §3.1): ephemeral-static ECDH, X9.63 with SHA-256, AES-256 key wrap, no ukm. */
function agreed(identifier: Buffer, publicKey: KeyObject, contentKey: Buffer): Buffer {
  const namedCurve = publicKey.asymmetricKeyDetails!.namedCurve!
  const ephemeral = generateKeyPairSync('ec', { namedCurve })
  const secret = diffieHellman({ privateKey: ephemeral.privateKey, publicKey })
  const wrappingKey = x963Key('sha256', secret, sharedInfo(aes256Wrap, undefined, 32), 32)
  const wrap = createCipheriv('id-aes256-wrap', wrappingKey, keyWrapIv)
  const wrapped = Buffer.concat([wrap.update(contentKey), wrap.final()])
  const jwk = ephemeral.publicKey.export({ format: 'jwk' })
  const point = Buffer.concat([
    Buffer.from([0, 4]),
    Buffer.from(jwk.x!, 'base64url'),
    Buffer.from(jwk.y!, 'base64url'),
  ])
  return der(
    0xa1,
    derInteger(3),
    der(0xa0, der(0xa1, algorithmIdentifier(oid.ecPublicKey), der(0x03, point))),
    algorithmIdentifier(dhSinglePassSha256, aes256Wrap),
    der(0x30, der(0x30, identifier, der(0x04, wrapped))),
  )
}

/**
 * ECC-CMS-SharedInfo (RFC 5753 §7.2).
 *
 * @param keyInfo AlgorithmIdentifier of the key wrap, as it stands in the message
 * @param ukm entityUInfo: the message's user keying material, if it has any
 * @param keyBytes octets of the wrapping key; the structure counts bits
 */
export function sharedInfo(keyInfo: Buffer, ukm: Buffer | undefined, keyBytes: number): Buffer {
  const bits = Buffer.alloc(4)
  bits.writeUInt32BE(keyBytes * 8)
  const entityInfo = ukm === undefined ? [] : [der(0xa0, der(0x04, ukm))]
  return der(0x30, keyInfo, ...entityInfo, der(0xa2, der(0x04, bits)))
}

/** ANSI X9.63 key derivation (SEC 1 §3.6.1). */
export function x963Key(digest: string, secret: Buffer, info: Buffer, keyBytes: number): Buffer {
  const blocks: Buffer[] = []
  for (let length = 0, counter = 1; length < keyBytes; counter++) {
    const count = Buffer.alloc(4)
    count.writeUInt32BE(counter)
    const block = createHash(digest).update(secret).update(count).update(info).digest()
    blocks.push(block)
    length += block.length
  }
  return Buffer.concat(blocks).subarray(0, keyBytes)
}

export { keyWrapIv }
