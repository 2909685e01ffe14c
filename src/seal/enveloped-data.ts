import {
  constants,
  createDecipheriv,
  createPublicKey,
  diffieHellman,
  privateDecrypt,
  randomBytes,
  type KeyObject,
} from 'node:crypto'
import {
  der,
  derChildren,
  derContent,
  DerError,
  derMembers,
  derNumber,
  derOctets,
  derOid,
  derOidText,
  derRaw,
  expectDer,
  type DerValue,
} from '../lib/der.ts'
import { contentCiphers, keyAgreements, keyWraps, oid } from './algorithms.ts'
import { readCertificate, type CmsCertificate } from './certificate.ts'
import { keyWrapIv, sharedInfo, x963Key } from './envelope.ts'

/** A certificate of ours and its private key, with which messages to us may have been encrypted. */
export interface OwnKey {
  readonly certificate: Buffer
  readonly privateKey: KeyObject
}

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

/** Recipients of one message; lists of 100 exist. */
const recipientInfosMax = 1000
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

interface Match {
  readonly key: OwnKey
  readonly certificate: CmsCertificate
  readonly unwrap: (keyBytes: number) => Buffer | undefined
  readonly keyTransport: string
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

type Refused = { readonly refusal: 'malformed' | 'algorithm-refused'; readonly because: string }

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

/** What is for us among the recipients, in the order of the message. */
function matchesIn(infos: DerValue, keys: readonly OwnKey[]): (Match | Refused)[] {
  const own = keys.map((key) => ({ key, certificate: readCertificate(key.certificate) }))
  const matches: (Match | Refused)[] = []
  let count = 0
  for (const info of derMembers(infos)) {
    if (++count > recipientInfosMax) throw new DerError('too many recipients', info.start)
    if (info.tag === 0x30) {
      const [, identifier, algorithm, encryptedKey] = derChildren(info)
      const ours = own.find((one) => identifier && isFor(identifier, one.certificate))
      if (!ours) continue
      const wrapped = derOctets(expectDer(encryptedKey, 0x04, 'the encrypted key'))
      matches.push(transported(ours, expectDer(algorithm, 0x30, 'the key transport'), wrapped))
    } else if (info.tag === 0xa1) {
      const [version, originator, ...rest] = derChildren(info)
      derNumber(expectDer(version, 0x02, 'the version'))
      const ukm =
        rest[0]?.tag === 0xa1
          ? derOctets(expectDer(derChildren(rest.shift()!)[0], 0x04, 'the keying material'))
          : undefined
      const [algorithm, encryptedKeys] = rest
      for (const one of derMembers(expectDer(encryptedKeys, 0x30, 'the encrypted keys'))) {
        if (++count > recipientInfosMax) throw new DerError('too many recipients', one.start)
        const [identifier, encryptedKey] = derChildren(one)
        const ours = own.find((mine) => identifier && isFor(identifier, mine.certificate))
        if (!ours) continue
        matches.push(
          agreed(
            ours,
            expectDer(algorithm, 0x30, 'the key agreement'),
            expectDer(originator, 0xa0, 'the originator'),
            ukm,
            derOctets(expectDer(encryptedKey, 0x04, 'the encrypted key')),
          ),
        )
      }
    }
    // Password, key-encryption-key and other recipients (RFC 5652 §6.2.3 to 5) cannot be us.
  }
  return matches
}

/** By issuer and serial number, or by subject key identifier, bare or in a RecipientKeyIdentifier. */
function isFor(identifier: DerValue, certificate: CmsCertificate): boolean {
  if (identifier.tag === 0x30) {
    const [issuer, serial] = derChildren(identifier)
    return (
      issuer !== undefined &&
      serial !== undefined &&
      derRaw(issuer).equals(certificate.issuer) &&
      derRaw(serial).equals(certificate.serial)
    )
  }
  const keyIdentifier = identifier.tag === 0xa0 ? derChildren(identifier)[0] : identifier
  if (!keyIdentifier || (identifier.tag & ~0x20) !== 0x80 || !certificate.subjectKeyIdentifier) return false
  return derOctets(keyIdentifier).equals(certificate.subjectKeyIdentifier)
}

type Ours = Pick<Match, 'key' | 'certificate'>

function transported(ours: Ours, algorithm: DerValue, wrapped: Buffer): Match | Refused {
  const { privateKey } = ours.key
  const [algorithmOid, parameters] = derChildren(algorithm)
  const dotted = derOidText(expectDer(algorithmOid, 0x06, 'the key transport'))
  if (privateKey.asymmetricKeyType !== 'rsa')
    return { refusal: 'algorithm-refused', because: 'key transport to a key of ours that is not RSA' }
  if (dotted === oid.rsaEncryption)
    return {
      ...ours,
      keyTransport: 'pkcs1',
      // OpenSSL answers bad padding with random bytes that depend on key and ciphertext only (implicit rejection).
      unwrap: () =>
        unlessThrown(() =>
          privateDecrypt({ key: privateKey, padding: constants.RSA_PKCS1_PADDING }, wrapped),
        ),
    }
  if (dotted !== oid.rsaOaep)
    return { refusal: 'algorithm-refused', because: `its key transport ${dotted} is not accepted` }
  const oaep = readOaep(parameters)
  if ('because' in oaep) return oaep
  return {
    ...ours,
    keyTransport: `oaep-${oaep.digest}`,
    unwrap: () =>
      unlessThrown(() =>
        privateDecrypt(
          {
            key: privateKey,
            padding: constants.RSA_PKCS1_OAEP_PADDING,
            oaepHash: oaep.digest,
            ...(oaep.label ? { oaepLabel: oaep.label } : {}),
          },
          wrapped,
        ),
      ),
  }
}

const oaepDigests: ReadonlyMap<string, string> = new Map([
  ['1.3.14.3.2.26', 'sha1'],
  ['2.16.840.1.101.3.4.2.4', 'sha224'],
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
])

/** RSAES-OAEP-params (RFC 4055 §4.1); everything left out is SHA-1 and an empty label. */
function readOaep(parameters: DerValue | undefined): { digest: string; label?: Buffer } | Refused {
  let digest = '1.3.14.3.2.26'
  let maskDigest = digest
  let label: Buffer | undefined
  for (const one of parameters?.tag === 0x30 ? derChildren(parameters) : []) {
    const [algorithmOid, inner] = derChildren(expectDer(derChildren(one)[0], 0x30, 'an OAEP parameter'))
    const dotted = derOidText(expectDer(algorithmOid, 0x06, 'an OAEP parameter'))
    if (one.tag === 0xa0) digest = dotted
    else if (one.tag === 0xa1 && dotted === oid.mgf1)
      maskDigest = derOidText(expectDer(derChildren(expectDer(inner, 0x30, 'MGF1'))[0], 0x06, 'MGF1'))
    else if (one.tag === 0xa2 && dotted === oid.pSpecified)
      label = derOctets(expectDer(inner, 0x04, 'a label'))
    else return { refusal: 'algorithm-refused', because: 'its OAEP parameters are not known' }
  }
  const name = oaepDigests.get(digest)
  if (!name || digest !== maskDigest)
    return {
      refusal: 'algorithm-refused',
      because: `its OAEP digests ${digest} and ${maskDigest} (MGF1) are not accepted together`,
    }
  return { digest: name, ...(label && label.length > 0 ? { label } : {}) }
}

/** RFC 5753 §3.1, with and without user keying material. */
function agreed(
  ours: Ours,
  algorithm: DerValue,
  originator: DerValue,
  ukm: Buffer | undefined,
  wrapped: Buffer,
): Match | Refused {
  const { privateKey } = ours.key
  const [schemeOid, keyInfo] = derChildren(algorithm)
  const scheme = derOidText(expectDer(schemeOid, 0x06, 'the key agreement'))
  const digest = keyAgreements.get(scheme)
  const wrapDotted = derOidText(
    expectDer(derChildren(expectDer(keyInfo, 0x30, 'the key wrap'))[0], 0x06, 'the key wrap'),
  )
  const wrap = keyWraps.get(wrapDotted)
  if (!digest || !wrap)
    return {
      refusal: 'algorithm-refused',
      because: `its key agreement ${scheme} with ${wrapDotted} is not accepted`,
    }
  const namedCurve = curveOids[privateKey.asymmetricKeyDetails?.namedCurve ?? '']
  if (privateKey.asymmetricKeyType !== 'ec' || !namedCurve)
    return {
      refusal: 'algorithm-refused',
      because: 'key agreement with a key of ours that is not on a known curve',
    }
  const sender = derChildren(originator)[0]
  if (sender?.tag !== 0xa1)
    return { refusal: 'algorithm-refused', because: 'its key agreement is not ephemeral' }
  const point = derContent(expectDer(derChildren(sender)[1], 0x03, 'the ephemeral key'))
  return {
    ...ours,
    keyTransport: `ecdh-${digest}`,
    unwrap: () =>
      unlessThrown(() => {
        const spki = der(0x30, der(0x30, derOid(oid.ecPublicKey), derOid(namedCurve)), der(0x03, point))
        const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' })
        const secret = diffieHellman({ privateKey, publicKey })
        const info = sharedInfo(derRaw(keyInfo!), ukm, wrap.keyBytes)
        const unwrap = createDecipheriv(wrap.name, x963Key(digest, secret, info, wrap.keyBytes), keyWrapIv)
        return Buffer.concat([unwrap.update(wrapped), unwrap.final()])
      }),
  }
}

const curveOids: Record<string, string> = {
  prime256v1: '1.2.840.10045.3.1.7',
  secp384r1: '1.3.132.0.34',
  secp521r1: '1.3.132.0.35',
}

function unlessThrown(attempt: () => Buffer): Buffer | undefined {
  try {
    return attempt()
  } catch {
    return undefined
  }
}
