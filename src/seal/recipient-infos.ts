import {
  constants,
  createDecipheriv,
  createPublicKey,
  diffieHellman,
  privateDecrypt,
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
import { keyAgreements, keyWraps, oid } from './algorithms.ts'
import { readCertificate, type CmsCertificate } from './certificate.ts'
import { keyWrapIv, sharedInfo, x963Key } from './envelope.ts'

/** Recipients of one message; lists of 100 exist. */
const recipientInfosMax = 1000

/** A certificate of ours and its private key, with which messages to us may have been encrypted. */
export interface OwnKey {
  readonly certificate: Buffer
  readonly privateKey: KeyObject
}

/** A RecipientInfo that is for a key of ours. */
export interface Match {
  readonly key: OwnKey
  readonly certificate: CmsCertificate
  readonly unwrap: (keyBytes: number) => Buffer | undefined
  readonly keyTransport: string
}

export type Refused = { readonly refusal: 'malformed' | 'algorithm-refused'; readonly because: string }

/** What is for us among the recipients, in the order of the message. */
export function matchesIn(infos: DerValue, keys: readonly OwnKey[]): (Match | Refused)[] {
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
