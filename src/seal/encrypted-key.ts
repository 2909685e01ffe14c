import {
  constants,
  createCipheriv,
  createHash,
  diffieHellman,
  generateKeyPairSync,
  publicEncrypt,
  type KeyObject,
} from 'node:crypto'
import { Failed } from '../domain/failure.ts'
import { der, derInteger } from '../lib/der.ts'
import { algorithmIdentifier, nullParameters, oid, type KeyTransport } from './algorithms.ts'
import { curveOctets, readCertificate } from './certificate.ts'
import { keyWrapIv, sharedInfo, x963Key } from './key-agreement.ts'

/** A certificate that can be encrypted to, read once. */
export interface Recipient {
  /** Its RecipientInfo is of the key agreement kind. */
  readonly usesAgreement: boolean
  /** RecipientInfo (RFC 5652 §6.2) with the content key; `keyTransport` is for RSA keys. */
  recipientInfo(contentKey: Buffer, keyTransport: KeyTransport): Buffer
}

/** Recipients kept for the next message; one takes about 10 kB. */
const recipientsKeptMax = 512
const recipientsKept = new Map<string, Recipient>()

/**
 * @param certificate in DER, with an RSA key or an EC key on P-256, P-384 or P-521
 * @param index its place, for the failure
 * @throws Failed recipient-untrusted for a certificate that cannot be encrypted to
 */
export function recipientOf(certificate: Buffer, index: number): Recipient {
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
      recipientInfo: (contentKey, keyTransport) =>
        transported(identifier, publicKey, contentKey, keyTransport),
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
  keyTransport: KeyTransport,
): Buffer {
  const padding =
    keyTransport === 'pkcs1'
      ? { padding: constants.RSA_PKCS1_PADDING }
      : // The digest of OAEP is that of MGF1, too.
        {
          padding: constants.RSA_PKCS1_OAEP_PADDING,
          oaepHash: keyTransport === 'oaep-sha256' ? 'sha256' : 'sha1',
        }
  const encrypted = publicEncrypt({ key: publicKey, ...padding }, contentKey)
  return der(0x30, derInteger(0), identifier, keyTransportAlgorithms[keyTransport], der(0x04, encrypted))
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

/** RFC 5753 §7.1.4 and 5: the derivation of the curve's strength, and one key wrap that is strong enough for every content key. */
const agreements: Record<string, { readonly digest: string; readonly scheme: string }> = {
  prime256v1: { digest: 'sha256', scheme: '1.3.132.1.11.1' },
  secp384r1: { digest: 'sha384', scheme: '1.3.132.1.11.2' },
  secp521r1: { digest: 'sha512', scheme: '1.3.132.1.11.3' },
}
const aes256Wrap = algorithmIdentifier('2.16.840.1.101.3.4.1.45')
const wrappingKeyBytes = 32

/** KeyAgreeRecipientInfo (RFC 5753 §3.1): ephemeral-static ECDH, the X9.63 derivation, AES-256 key wrap, no ukm. */
function agreed(identifier: Buffer, publicKey: KeyObject, contentKey: Buffer): Buffer {
  const namedCurve = publicKey.asymmetricKeyDetails!.namedCurve!
  const { digest, scheme } = agreements[namedCurve]!
  const ephemeral = generateKeyPairSync('ec', { namedCurve })
  const secret = diffieHellman({ privateKey: ephemeral.privateKey, publicKey })
  const info = sharedInfo(aes256Wrap, undefined, wrappingKeyBytes)
  const wrappingKey = x963Key(digest, secret, info, wrappingKeyBytes)
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
    algorithmIdentifier(scheme, aes256Wrap),
    der(0x30, der(0x30, identifier, der(0x04, wrapped))),
  )
}
