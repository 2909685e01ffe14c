import {
  constants,
  createCipheriv,
  createHash,
  diffieHellman,
  generateKeyPairSync,
  publicEncrypt,
  randomBytes,
  X509Certificate,
  type KeyObject,
} from 'node:crypto'
import { context, contextPrimitive, integer, nothing, octetString, oid, sequence, set } from '../pki/der.ts'
import type { Issued } from '../pki/pki.ts'

export interface EnvelopeWishes {
  readonly cipher?: keyof typeof ciphers
  /** OAEP with that digest instead of PKCS#1 v1.5, for RSA keys. */
  readonly oaep?: 'sha256'
  /** Digest of the key derivation, for EC keys. */
  readonly kdf?: keyof typeof agreements
  readonly isCofactor?: boolean
  readonly wrapBytes?: 16 | 24 | 32
  readonly ukm?: Buffer
  /** Attributes that GCM authenticates besides, as the members of their SET. */
  readonly attributes?: readonly Buffer[]
  /** Instead of the tag. */
  readonly tag?: Buffer
  /** The issuer as the sender writes it. */
  readonly issuer?: Buffer
}

const ciphers = {
  'aes-128-cbc': '2.16.840.1.101.3.4.1.2',
  'aes-256-cbc': '2.16.840.1.101.3.4.1.42',
  'aes-128-gcm': '2.16.840.1.101.3.4.1.6',
  'aes-256-gcm': '2.16.840.1.101.3.4.1.46',
} as const
const wraps = {
  16: '2.16.840.1.101.3.4.1.5',
  24: '2.16.840.1.101.3.4.1.25',
  32: '2.16.840.1.101.3.4.1.45',
} as const
const agreements = {
  sha1: ['1.3.133.16.840.63.0.2', '1.3.133.16.840.63.0.3'],
  sha224: ['1.3.132.1.11.0', '1.3.132.1.14.0'],
  sha256: ['1.3.132.1.11.1', '1.3.132.1.14.1'],
  sha384: ['1.3.132.1.11.2', '1.3.132.1.14.2'],
  sha512: ['1.3.132.1.11.3', '1.3.132.1.14.3'],
} as const

/**
 * EnvelopedData, or AuthEnvelopedData with GCM, written here from RFC 5652, 5083, 5084 and 5753 with none of our own code: RSA
 * PKCS#1 v1.5 or ECDH, by the recipient's key.
 */
export function handEnveloped(plain: Buffer, recipient: Issued, wishes: EnvelopeWishes = {}): Buffer {
  const name = wishes.cipher ?? 'aes-256-cbc'
  const contentKey = randomBytes(name.includes('256') ? 32 : 16)
  const info = recipientInfo(recipient, contentKey, wishes)
  const data = oid('1.2.840.113549.1.7.1')
  if (name === 'aes-128-cbc' || name === 'aes-256-cbc') {
    const iv = randomBytes(16)
    const cipher = createCipheriv(name, contentKey, iv)
    const encrypted = Buffer.concat([cipher.update(plain), cipher.final()])
    const algorithm = sequence(oid(ciphers[name]), octetString(iv))
    const content = sequence(data, algorithm, contextPrimitive(0, encrypted))
    return contentInfo('1.2.840.113549.1.7.3', sequence(integer(0), set(info), content))
  }
  const nonce = randomBytes(12)
  const cipher = createCipheriv(name, contentKey, nonce)
  if (wishes.attributes) cipher.setAAD(set(...wishes.attributes))
  const encrypted = Buffer.concat([cipher.update(plain), cipher.final()])
  const algorithm = sequence(oid(ciphers[name]), sequence(octetString(nonce), integer(16)))
  const attributes = wishes.attributes ? [context(1, ...wishes.attributes)] : []
  return contentInfo(
    '1.2.840.113549.1.9.16.1.23',
    sequence(
      integer(0),
      set(info),
      sequence(data, algorithm, contextPrimitive(0, encrypted)),
      ...attributes,
      octetString(wishes.tag ?? cipher.getAuthTag()),
    ),
  )
}

function contentInfo(type: string, content: Buffer): Buffer {
  return sequence(oid(type), context(0, content))
}

function recipientInfo(recipient: Issued, contentKey: Buffer, wishes: EnvelopeWishes): Buffer {
  const { publicKey, serialNumber } = new X509Certificate(recipient.certificate)
  const issuer = wishes.issuer ?? issuerOf(recipient.certificate)
  const identifier = sequence(issuer, integer(BigInt(`0x${serialNumber}`)))
  if (publicKey.asymmetricKeyType === 'rsa') {
    const sha256 = sequence(oid('2.16.840.1.101.3.4.2.1'), nothing())
    const mask = sequence(oid('1.2.840.113549.1.1.8'), sha256)
    const algorithm = wishes.oaep
      ? sequence(oid('1.2.840.113549.1.1.7'), sequence(context(0, sha256), context(1, mask)))
      : sequence(oid('1.2.840.113549.1.1.1'), nothing())
    const padding = wishes.oaep
      ? { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: wishes.oaep }
      : { padding: constants.RSA_PKCS1_PADDING }
    const encryptedKey = publicEncrypt({ key: publicKey, ...padding }, contentKey)
    return sequence(integer(0), identifier, algorithm, octetString(encryptedKey))
  }
  const ephemeral = generateKeyPairSync('ec', {
    namedCurve: publicKey.asymmetricKeyDetails!.namedCurve!,
  })
  const wrapBytes = wishes.wrapBytes ?? 32
  const keyWrap = sequence(oid(wraps[wrapBytes]))
  const kdf = wishes.kdf ?? 'sha256'
  const bits = Buffer.alloc(4)
  bits.writeUInt32BE(wrapBytes * 8)
  const shared = sequence(
    keyWrap,
    ...(wishes.ukm ? [context(0, octetString(wishes.ukm))] : []),
    context(2, octetString(bits)),
  )
  const secret = diffieHellman({ privateKey: ephemeral.privateKey, publicKey })
  const blocks = [1, 2].map((count) =>
    createHash(kdf)
      .update(secret)
      .update(Buffer.from([0, 0, 0, count]))
      .update(shared)
      .digest(),
  )
  const wrappingKey = Buffer.concat(blocks).subarray(0, wrapBytes)
  const wrap = createCipheriv(`id-aes${wrapBytes * 8}-wrap`, wrappingKey, Buffer.alloc(8, 0xa6))
  const wrapped = Buffer.concat([wrap.update(contentKey), wrap.final()])
  return context(
    1,
    integer(3),
    context(0, context(1, sequence(oid('1.2.840.10045.2.1')), bitsOf(ephemeral.publicKey))),
    ...(wishes.ukm ? [context(1, octetString(wishes.ukm))] : []),
    sequence(oid(agreements[kdf][wishes.isCofactor ? 1 : 0]), keyWrap),
    sequence(sequence(identifier, octetString(wrapped))),
  )
}

/** The BIT STRING that ends a SubjectPublicKeyInfo of the NIST curves. */
function bitsOf(publicKey: KeyObject): Buffer {
  const info = publicKey.export({ type: 'spki', format: 'der' })
  const at = info.indexOf(Buffer.from([0x00, 0x04])) - 1
  return info.subarray(info[at] === 0x03 ? at : info[at - 1] === 0x03 ? at - 1 : at - 2)
}

/** The issuer Name of a certificate, as it is encoded there. */
export function issuerOf(certificate: Buffer): Buffer {
  const after = (at: number) => {
    const first = certificate[at + 1]!
    const octets = first < 0x80 ? 0 : first & 0x7f
    return { content: at + 2 + octets, end: at + 2 + octets + lengthAt(certificate, at) }
  }
  let at = after(after(0).content).content
  // version, serialNumber and signature come before it.
  for (let skipped = 0; skipped < 3; skipped++) at = after(at).end
  return certificate.subarray(at, after(at).end)
}

function lengthAt(bytes: Buffer, at: number): number {
  const first = bytes[at + 1]!
  return first < 0x80 ? first : bytes.readUIntBE(at + 2, first & 0x7f)
}
