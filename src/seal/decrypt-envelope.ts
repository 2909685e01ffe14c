import { createDecipheriv, randomBytes, type DecipherGCM } from 'node:crypto'
import { toDer } from '../lib/ber.ts'
import {
  der,
  derChildren,
  derContent,
  DerError,
  derNumber,
  derOctetPieces,
  derOctets,
  derOidText,
  expectDer,
  type DerValue,
} from '../lib/der.ts'
import { freeMemory } from '../lib/free-memory.ts'
import {
  readableCiphers,
  refusedCiphers,
  spelled,
  type OpeningPolicy,
  type ReadableCipher,
} from './opening-policy.ts'
import type { OwnKey } from './own-key.ts'
import type { Cms } from './read-cms.ts'
import { matchesIn, type Match } from './recipient-infos.ts'

export type Decrypted =
  | {
      readonly decrypted: true
      readonly content: Buffer
      readonly with: OwnKey
      readonly cipher: string
      readonly keyTransport: string
      /** RecipientInfos in the message, ours included. */
      readonly recipients: number
    }
  | Refused

export interface Refused {
  readonly decrypted: false
  readonly refusal: DecryptionRefusal
  readonly because: string
}

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
 * @throws Failed where a device that holds a key cannot be reached
 */
export async function decryptEnvelope(
  cms: Cms,
  keys: readonly OwnKey[],
  policy: OpeningPolicy,
): Promise<Decrypted> {
  try {
    return await decrypt(cms, keys, policy)
  } catch (error) {
    if (error instanceof DerError) return refused('malformed', error.message)
    throw error
  }
}

interface EncryptedContent {
  readonly cipher: ReadableCipher
  readonly iv: Buffer
  /** The octets in order, in one piece or the many of a streaming writer. */
  readonly pieces: readonly Buffer[]
  /** Where they lie: at least as many octets, from the first of them on. */
  readonly place: Buffer
  readonly tag?: Buffer
  readonly additional?: Buffer
}

async function decrypt(cms: Cms, keys: readonly OwnKey[], policy: OpeningPolicy): Promise<Decrypted> {
  const [, wrapped] = derChildren(expectDer(cms.contentInfo, 0x30, 'ContentInfo'))
  const enveloped = derChildren(expectDer(wrapped, 0xa0, 'the content'))[0]
  const members = derChildren(expectDer(enveloped, 0x30, 'EnvelopedData'))
  derNumber(expectDer(members.shift(), 0x02, 'the version'))
  if (members[0]?.tag === 0xa0) members.shift() // originatorInfo
  const infos = expectDer(members.shift(), 0x31, 'recipientInfos')
  const info = expectDer(members.shift(), 0x30, 'encryptedContentInfo')
  const content = readContent(info, members, cms.is === 'authEnvelopedData', policy)
  if ('refusal' in content) return content

  const { matches, recipients } = matchesIn(infos, keys, policy)
  if (matches.length === 0) return refused('no-key', 'it is not encrypted to any certificate of ours')
  const usable = matches.filter((one) => one.usable).slice(0, attemptsMax)
  const unusable = matches.find((one) => !one.usable)
  if (usable.length === 0 && unusable) return refused('algorithm-refused', unusable.because)
  for (const [index, match] of usable.entries()) {
    const mayOverwrite = cms.isOwn && index === usable.length - 1
    const plain = await plainOf(content, match, mayOverwrite)
    if (plain)
      return {
        decrypted: true,
        content: plain,
        with: match.key,
        cipher: content.cipher.name,
        keyTransport: match.keyTransport,
        recipients,
      }
  }
  return refused('undecryptable', 'none of our keys opens it')
}

function refused(refusal: DecryptionRefusal, because: string): Refused {
  return { decrypted: false, refusal, because }
}

function readContent(
  info: DerValue,
  after: DerValue[],
  isAuthenticated: boolean,
  policy: OpeningPolicy,
): EncryptedContent | Refused {
  const [contentType, algorithm, encrypted] = derChildren(info)
  derOidText(expectDer(contentType, 0x06, 'the type of the encrypted content'))
  const [algorithmOid, parameters] = derChildren(expectDer(algorithm, 0x30, 'the content cipher'))
  const dotted = derOidText(expectDer(algorithmOid, 0x06, 'the content cipher'))
  const cipher = readableCiphers.get(dotted)
  if (!cipher || !policy.contentCiphers.has(cipher.name)) {
    const name = cipher ? spelled(cipher.name) : (refusedCiphers.get(dotted) ?? dotted)
    return refused('algorithm-refused', `its content cipher ${name} is not accepted`)
  }
  if ((cipher.mode === 'gcm') !== isAuthenticated)
    return refused('algorithm-refused', `its content cipher ${spelled(cipher.name)} does not belong there`)
  if (!encrypted || (encrypted.tag & ~0x20) !== 0x80)
    return refused('malformed', 'its encrypted content is missing')
  const pieces = derOctetPieces(encrypted)
  if (!isAuthenticated) {
    const iv = derContent(expectDer(parameters, 0x04, 'the initialization vector'))
    if (iv.length !== cipher.ivBytes)
      return refused('malformed', `its initialization vector is not ${cipher.ivBytes} octets long`)
    return { cipher, iv, pieces, place: derContent(encrypted) }
  }
  // RFC 5084 §3.2: GCMParameters ::= SEQUENCE { nonce, icvlen INTEGER DEFAULT 12 }.
  const [nonce, icvLength] = derChildren(expectDer(parameters, 0x30, 'the GCM parameters'))
  const iv = derContent(expectDer(nonce, 0x04, 'the nonce'))
  const tagLength = icvLength ? derNumber(icvLength) : 12
  const attributes = after[0]?.tag === 0xa1 ? after.shift() : undefined
  const tagValue = after.shift()
  if (tagValue === undefined || (tagValue.tag & ~0x20) !== 0x04)
    return refused('malformed', 'its authentication tag is missing')
  const tag = derOctets(tagValue)
  if (iv.length < 12 || iv.length > 16 || tagLength < 12 || tagLength > 16 || tag.length !== tagLength)
    return refused('malformed', 'its GCM nonce or tag has an odd length')
  // RFC 5083 §2.2: what is authenticated besides is the attributes as a SET OF.
  const additional = attributes ? { additional: toDer(der(0x31, derContent(attributes))) } : {}
  return { cipher, iv, pieces, place: derContent(encrypted), tag, ...additional }
}

/** Octets that go through the cipher at a time: they stay in the processor’s cache. */
const stepBytes = 64 * 1024

/**
 * The content, or nothing. A key that could not be unwrapped is replaced by a random one and used all the same. What is
 * authenticated is handed out only when its tag was right.
 *
 * @param mayOverwrite the plaintext may take the place of the ciphertext: large messages then need memory once
 */
async function plainOf(
  { cipher, iv, pieces, place, tag, additional }: EncryptedContent,
  match: Extract<Match, { usable: true }>,
  mayOverwrite: boolean,
): Promise<Buffer | undefined> {
  const stray = randomBytes(cipher.keyBytes)
  const unwrapped = await match.unwrap()
  const key = unwrapped?.length === cipher.keyBytes ? unwrapped : stray
  const decipher = createDecipheriv(
    cipher.name as 'aes-256-gcm',
    key,
    iv,
    ...((tag ? [{ authTagLength: tag.length }] : []) as [{ authTagLength: number }]),
  )
  if (tag) decipher.setAuthTag(tag)
  if (additional) decipher.setAAD(additional)
  // Plaintext never comes before its ciphertext was read, so the two can share a place.
  const out = mayOverwrite ? place : Buffer.allocUnsafeSlow(place.length)
  const length = deciphered(decipher, pieces, out)
  if (length !== undefined) return out.subarray(0, length)
  out.fill(0)
  return undefined
}

function deciphered(decipher: DecipherGCM, pieces: readonly Buffer[], out: Buffer): number | undefined {
  let to = 0
  const put = (plain: Buffer) => {
    out.set(plain, to)
    to += plain.length
    freeMemory(plain)
  }
  for (const piece of pieces)
    for (let from = 0; from < piece.length; from += stepBytes)
      put(decipher.update(piece.subarray(from, from + stepBytes)))
  try {
    put(decipher.final())
    return to
  } catch {
    return undefined
  }
}
