import { createDecipheriv, randomBytes } from 'node:crypto'
import {
  der,
  derChildren,
  derContent,
  DerError,
  derNumber,
  derOctets,
  derOidText,
  expectDer,
  type DerValue,
} from '../lib/der.ts'
import { contentCiphers, oid } from './algorithms.ts'
import { matchesIn, type Match, type OwnKey, type Refused } from './recipient-infos.ts'

export type Decrypted =
  | {
      readonly decrypted: true
      readonly content: Buffer
      readonly with: OwnKey
      readonly cipher: string
      readonly keyTransport: string
    }
  | { readonly decrypted: false; readonly refusal: DecryptionRefusal; readonly because: string }

/**
 * `undecryptable` does not say whether the wrapped key or the content was wrong, and nobody may tell from how long it
 * took: a sender who could would be able to decrypt what others sent to us (RFC 3218).
 */
export type DecryptionRefusal = 'malformed' | 'no-key' | 'algorithm-refused' | 'undecryptable'

/** RecipientInfos for keys of ours that are tried; each costs a pass over the content. */
const attemptsMax = 8

/**
 * Decrypts an EnvelopedData (RFC 5652 §6) or AuthEnvelopedData (RFC 5083) with the first of our keys that opens it.
 *
 * @param contentInfo the ContentInfo as read, BER or DER
 */
export function decryptEnvelope(contentInfo: DerValue, keys: readonly OwnKey[]): Decrypted {
  try {
    return decrypt(contentInfo, keys)
  } catch (error) {
    if (error instanceof DerError) return { decrypted: false, refusal: 'malformed', because: error.message }
    throw error
  }
}

interface EncryptedContent {
  readonly cipher: { name: string; keyBytes: number; mode: 'cbc' | 'gcm' }
  readonly iv: Buffer
  readonly octets: Buffer
  readonly tag?: Buffer
  readonly additional?: Buffer
}

function decrypt(contentInfo: DerValue, keys: readonly OwnKey[]): Decrypted {
  const [type, wrapped] = derChildren(expectDer(contentInfo, 0x30, 'ContentInfo'))
  const isAuthenticated = derOidText(expectDer(type, 0x06, 'the content type')) === oid.authEnvelopedData
  const enveloped = derChildren(expectDer(wrapped, 0xa0, 'the content'))[0]
  const members = derChildren(expectDer(enveloped, 0x30, 'EnvelopedData'))
  derNumber(expectDer(members.shift(), 0x02, 'the version'))
  if (members[0]?.tag === 0xa0) members.shift() // originatorInfo
  const infos = expectDer(members.shift(), 0x31, 'recipientInfos')
  const content = readContent(
    expectDer(members.shift(), 0x30, 'encryptedContentInfo'),
    members,
    isAuthenticated,
  )
  if ('because' in content) return { decrypted: false, refusal: content.refusal, because: content.because }

  const matches = matchesIn(infos, keys)
  if (matches.length === 0)
    return { decrypted: false, refusal: 'no-key', because: 'it is not encrypted to any certificate of ours' }
  const usable = matches.filter((one): one is Match => !('because' in one))
  const refused = matches.find((one) => 'because' in one)
  if (usable.length === 0 && refused && 'because' in refused)
    return { decrypted: false, refusal: 'algorithm-refused', because: refused.because }
  for (const match of usable.slice(0, attemptsMax)) {
    const plain = opened(content, match)
    if (plain)
      return {
        decrypted: true,
        content: plain,
        with: match.key,
        cipher: content.cipher.name,
        keyTransport: match.keyTransport,
      }
  }
  return { decrypted: false, refusal: 'undecryptable', because: 'none of our keys opens it' }
}

function readContent(
  info: DerValue,
  after: DerValue[],
  isAuthenticated: boolean,
): EncryptedContent | Refused {
  const [contentType, algorithm, encrypted] = derChildren(info)
  derOidText(expectDer(contentType, 0x06, 'the type of the encrypted content'))
  const [algorithmOid, parameters] = derChildren(expectDer(algorithm, 0x30, 'the content cipher'))
  const dotted = derOidText(expectDer(algorithmOid, 0x06, 'the content cipher'))
  const cipher = contentCiphers.get(dotted)
  if (!cipher || (cipher.mode === 'gcm') !== isAuthenticated)
    return { refusal: 'algorithm-refused', because: `its content cipher ${dotted} is not accepted` }
  if (!encrypted || (encrypted.tag & ~0x20) !== 0x80)
    return { refusal: 'malformed', because: 'its encrypted content is missing' }
  const octets = derOctets(encrypted)
  if (!isAuthenticated) {
    const iv = derContent(expectDer(parameters, 0x04, 'the initialization vector'))
    if (iv.length !== 16)
      return { refusal: 'malformed', because: 'its initialization vector is not 16 octets long' }
    return { cipher, iv, octets }
  }
  // RFC 5084 §3.2: GCMParameters ::= SEQUENCE { nonce, icvlen INTEGER DEFAULT 12 }.
  const [nonce, icvLength] = derChildren(expectDer(parameters, 0x30, 'the GCM parameters'))
  const iv = derContent(expectDer(nonce, 0x04, 'the nonce'))
  const tagLength = icvLength ? derNumber(icvLength) : 12
  const attributes = after[0]?.tag === 0xa1 ? after.shift() : undefined
  const tag = derOctets(expectDer(after.shift(), 0x04, 'the authentication tag'))
  if (iv.length < 12 || iv.length > 16 || tagLength < 12 || tagLength > 16 || tag.length !== tagLength)
    return { refusal: 'malformed', because: 'its GCM nonce or tag has an odd length' }
  // RFC 5083 §2.2: what is authenticated besides is the attributes as a SET OF.
  return { cipher, iv, octets, tag, ...(attributes ? { additional: der(0x31, derContent(attributes)) } : {}) }
}

/** The content, or nothing. A key that could not be unwrapped is replaced by a random one and used all the same. */
function opened(content: EncryptedContent, match: Match): Buffer | undefined {
  const { name, keyBytes } = content.cipher
  const stray = randomBytes(keyBytes)
  const unwrapped = match.unwrap(keyBytes)
  const key = unwrapped?.length === keyBytes ? unwrapped : stray
  try {
    if (!content.tag) {
      const decipher = createDecipheriv(name, key, content.iv)
      return Buffer.concat([decipher.update(content.octets), decipher.final()])
    }
    const decipher = createDecipheriv(name as 'aes-256-gcm', key, content.iv, {
      authTagLength: content.tag.length,
    })
    decipher.setAuthTag(content.tag)
    if (content.additional) decipher.setAAD(content.additional)
    return Buffer.concat([decipher.update(content.octets), decipher.final()])
  } catch {
    return undefined
  }
}
