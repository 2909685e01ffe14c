import { createDecipheriv, createPublicKey } from 'node:crypto'
import { Failed } from '../domain/failure.ts'
import {
  der,
  derChildren,
  derContent,
  derOctets,
  derOid,
  derOidText,
  derRaw,
  expectDer,
  type DerValue,
} from '../lib/der.ts'
import { keyAgreements, keyWraps, oid } from './algorithms.ts'
import { knownCertificate } from './known-certificates.ts'
import { keyWrapIv, sharedInfo, x963Key } from './key-agreement.ts'
import { readableDigests, type OpeningPolicy } from './opening-policy.ts'
import type { KeyPadding, OaepDigest, OwnKey } from './own-key.ts'

export type Unwrapping =
  | {
      readonly usable: true
      /** Such as `pkcs1`, `oaep-sha256`, `ecdh-sha256`. */
      readonly keyTransport: string
      /** The content key, or nothing where it does not come out. */
      readonly unwrap: () => Promise<Buffer | undefined>
    }
  | { readonly usable: false; readonly because: string }

/** KeyTransRecipientInfo (RFC 5652 §6.2.1): RSA, PKCS#1 v1.5 or OAEP. */
export function transported(
  { certificate, key }: OwnKey,
  algorithm: DerValue,
  wrapped: Buffer,
  { rsaBitsMin }: OpeningPolicy,
): Unwrapping {
  const [algorithmOid, parameters] = derChildren(algorithm)
  const dotted = derOidText(expectDer(algorithmOid, 0x06, 'the key transport'))
  if (key.type !== 'rsa') return refused('key transport to a key of ours that is not RSA')
  const bits = knownCertificate(certificate).publicKey.asymmetricKeyDetails?.modulusLength ?? 0
  if (bits < rsaBitsMin)
    return refused(`it is encrypted to an RSA key of ${bits} bits; at least ${rsaBitsMin} are needed`)
  const padding =
    dotted === oid.rsaEncryption ? 'pkcs1' : dotted === oid.rsaOaep ? readOaep(parameters) : dotted
  if (typeof padding === 'object') return padding
  if (padding === dotted) return refused(`its key transport ${dotted} is not accepted`)
  return {
    usable: true,
    keyTransport: padding,
    // Bad PKCS#1 v1.5 padding is answered with a random key, here or in OpenSSL (implicit rejection).
    unwrap: () => unlessFailed(() => key.decrypt(wrapped, padding as KeyPadding)),
  }
}

const oaepDigests = new Set<string>(['sha1', 'sha224', 'sha256', 'sha384', 'sha512'])
const sha1Oid = '1.3.14.3.2.26'

/**
 * RSAES-OAEP-params (RFC 4055 §4.1); everything left out is SHA-1 and an empty label. The digest and that of MGF1 are
 * separate: Java’s OAEPWithSHA-256AndMGF1Padding means SHA-1 inside MGF1.
 */
function readOaep(parameters: DerValue | undefined): KeyPadding | Unwrapping {
  let digest = sha1Oid
  let maskDigest = sha1Oid
  for (const one of parameters?.tag === 0x30 ? derChildren(parameters) : []) {
    const [algorithmOid, inner] = derChildren(expectDer(derChildren(one)[0], 0x30, 'an OAEP parameter'))
    const dotted = derOidText(expectDer(algorithmOid, 0x06, 'an OAEP parameter'))
    if (one.tag === 0xa0) digest = dotted
    else if (one.tag === 0xa1 && dotted === oid.mgf1)
      maskDigest = derOidText(expectDer(derChildren(expectDer(inner, 0x30, 'MGF1'))[0], 0x06, 'MGF1'))
    else if (
      one.tag !== 0xa2 ||
      dotted !== oid.pSpecified ||
      derOctets(expectDer(inner, 0x04, 'a label')).length
    )
      return refused('its OAEP parameters are not known')
  }
  const [hash, mask] = [digest, maskDigest].map((dotted) => readableDigests.get(dotted) ?? '')
  if (!isOaepDigest(hash) || !isOaepDigest(mask))
    return refused(`its OAEP digests ${digest} and ${maskDigest} (MGF1) are not accepted`)
  return hash === mask ? `oaep-${hash}` : `oaep-${hash}-mgf1-${mask}`
}

function isOaepDigest(name: string | undefined): name is OaepDigest {
  return oaepDigests.has(name ?? '')
}

/** KeyAgreeRecipientInfo (RFC 5753 §3.1): ephemeral-static ECDH, with and without user keying material. */
export function agreed(
  { certificate, key }: OwnKey,
  info: {
    readonly algorithm: DerValue
    readonly originator: DerValue
    readonly ukm: Buffer | undefined
    readonly wrapped: Buffer
  },
): Unwrapping {
  const [schemeOid, keyInfo] = derChildren(info.algorithm)
  const scheme = derOidText(expectDer(schemeOid, 0x06, 'the key agreement'))
  const digest = keyAgreements.get(scheme)
  const wrapOid = derChildren(expectDer(keyInfo, 0x30, 'the key wrap'))[0]
  const wrapDotted = derOidText(expectDer(wrapOid, 0x06, 'the key wrap'))
  const wrap = keyWraps.get(wrapDotted)
  if (!digest || !wrap) return refused(`its key agreement ${scheme} with ${wrapDotted} is not accepted`)
  const curve = knownCertificate(certificate).publicKey.asymmetricKeyDetails?.namedCurve ?? ''
  const namedCurve = curveOids[curve]
  if (key.type !== 'ec' || !namedCurve)
    return refused('key agreement with a key of ours that is not on a known curve')
  const sender = derChildren(info.originator)[0]
  if (sender?.tag !== 0xa1) return refused('its key agreement is not ephemeral')
  const point = derContent(expectDer(derChildren(sender)[1], 0x03, 'the ephemeral key'))
  return {
    usable: true,
    keyTransport: `ecdh-${digest}`,
    unwrap: () =>
      unlessFailed(async () => {
        const spki = der(0x30, der(0x30, derOid(oid.ecPublicKey), derOid(namedCurve)), der(0x03, point))
        // OpenSSL refuses points that are not on the curve.
        const secret = await key.agree(createPublicKey({ key: spki, format: 'der', type: 'spki' }))
        const shared = sharedInfo(derRaw(keyInfo!), info.ukm, wrap.keyBytes)
        const unwrap = createDecipheriv(wrap.name, x963Key(digest, secret, shared, wrap.keyBytes), keyWrapIv)
        return Buffer.concat([unwrap.update(info.wrapped), unwrap.final()])
      }),
  }
}

const curveOids: Record<string, string> = {
  prime256v1: '1.2.840.10045.3.1.7',
  secp384r1: '1.3.132.0.34',
  secp521r1: '1.3.132.0.35',
}

function refused(because: string): Extract<Unwrapping, { usable: false }> {
  return { usable: false, because }
}

/** A device that cannot be reached says so with Failed, and the message is opened later; all else is a wrong key. */
async function unlessFailed(attempt: () => Promise<Buffer>): Promise<Buffer | undefined> {
  try {
    return await attempt()
  } catch (error) {
    if (error instanceof Failed) throw error
    return undefined
  }
}
