import { constants, verify, type KeyObject } from 'node:crypto'
import { derChildren, derNumber, derOidText, expectDer, type DerValue } from '../lib/der.ts'
import { ecdsaOids, oid } from './algorithms.ts'
import { readableDigests, type OpeningPolicy } from './opening-policy.ts'

export type SignatureCheck =
  | {
      readonly accepted: true
      /** Such as `rsa-pkcs1`, `rsa-pss`, `ecdsa`. */
      readonly scheme: string
      readonly holds: (signed: Buffer, signature: Buffer) => boolean
    }
  | { readonly accepted: false; readonly scheme: string; readonly because: string }

/** A modulus above it makes one check take longer than all others of a message; OpenSSL itself ends at 16384. */
const rsaBitsMax = 8192
const curves = new Set(['prime256v1', 'secp384r1', 'secp521r1'])

/** Signature algorithms that hold a digest: RFC 8017 appendix C, RFC 5758 §3.2. */
const rsaDigests = new Map([
  ['1.2.840.113549.1.1.4', 'md5'],
  ['1.2.840.113549.1.1.5', 'sha1'],
  ['1.2.840.113549.1.1.14', 'sha224'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
])
const ecdsaDigests = new Map([
  ['1.2.840.10045.4.1', 'sha1'],
  ['1.2.840.10045.4.3.1', 'sha224'],
  ...Object.entries(ecdsaOids).map(([name, dotted]) => [dotted, name] as const),
])

/**
 * How a signature is checked with a key, or why it is not accepted. The digest that the algorithm names must be the
 * SignerInfo’s (RFC 8933 §3.1): no signature is stronger than the weaker of two.
 *
 * @param digest of the SignerInfo, accepted already
 * @throws DerError where the algorithm is not readable
 */
export function signatureCheck(
  algorithm: DerValue,
  digest: string,
  key: KeyObject,
  policy: OpeningPolicy,
): SignatureCheck {
  const [algorithmOid, parameters] = derChildren(algorithm)
  const dotted = derOidText(expectDer(algorithmOid, 0x06, 'the signature algorithm'))
  const type = key.asymmetricKeyType
  const weakness = weaknessOf(key, policy)
  const judged = (scheme: string, named: string | undefined, padding?: object): SignatureCheck => {
    if (named !== digest)
      return refused(scheme, `its signature is over ${named ?? 'another digest'}, its digest is ${digest}`)
    if (weakness !== undefined) return refused(scheme, weakness)
    const options = padding === undefined ? key : { key, ...padding }
    return {
      accepted: true,
      scheme,
      holds: (signed, signature) => verify(digest, signed, options, signature),
    }
  }
  if (type === 'rsa' && (dotted === oid.rsaEncryption || rsaDigests.has(dotted)))
    return judged('rsa-pkcs1', rsaDigests.get(dotted) ?? digest, { padding: constants.RSA_PKCS1_PADDING })
  if (type === 'ec' && ecdsaDigests.has(dotted)) return judged('ecdsa', ecdsaDigests.get(dotted))
  if ((type === 'rsa' || type === 'rsa-pss') && dotted === oid.rsaPss) {
    const pss = readPss(parameters)
    if (!pss) return refused('rsa-pss', 'its RSA-PSS parameters are not accepted')
    return judged('rsa-pss', pss.digest, {
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: pss.saltLength,
    })
  }
  return refused(dotted, `its signature algorithm ${dotted} is not accepted with its ${keyKind(key)} key`)
}

const kinds = new WeakMap<KeyObject, string>()

/** For people: `RSA 2048`, `P-256`. */
export function keyKind(key: KeyObject): string {
  const kind = kinds.get(key) ?? kindOf(key)
  kinds.set(key, kind)
  return kind
}

function kindOf(key: KeyObject): string {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type === 'rsa' || type === 'rsa-pss') return `RSA ${details?.modulusLength ?? '?'}`
  const curve = details?.namedCurve
  if (type === 'ec')
    return { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' }[curve ?? ''] ?? `EC ${curve}`
  return (type ?? 'unknown').toUpperCase()
}

function weaknessOf(key: KeyObject, { rsaBitsMin }: OpeningPolicy): string | undefined {
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {}
  if (modulusLength !== undefined && modulusLength < rsaBitsMin)
    return `its RSA key has ${modulusLength} bits; at least ${rsaBitsMin} are needed`
  if (modulusLength !== undefined && modulusLength > rsaBitsMax)
    return `its RSA key has ${modulusLength} bits; at most ${rsaBitsMax} are checked`
  if (key.asymmetricKeyType === 'ec' && !curves.has(namedCurve ?? ''))
    return `its key is on the curve ${namedCurve ?? 'without a name'}; P-256, P-384 and P-521 are accepted`
  return undefined
}

function refused(scheme: string, because: string): SignatureCheck {
  return { accepted: false, scheme, because }
}

/** RSASSA-PSS-params (RFC 4055 §3.1) with one digest throughout; what is left out is SHA-1 and a salt of 20 octets. */
function readPss(parameters: DerValue | undefined): { digest: string; saltLength: number } | undefined {
  const fields = new Map(
    (parameters?.tag === 0x30 ? derChildren(parameters) : []).map((one) => [one.tag, derChildren(one)[0]]),
  )
  const hash = fields.get(0xa0)
  const mask = fields.get(0xa1)
  const salt = fields.get(0xa2)
  const sha1 = '1.3.14.3.2.26'
  const hashOid = hash ? derOidText(expectDer(derChildren(hash)[0], 0x06, 'the PSS digest')) : sha1
  let maskHashOid = sha1
  if (mask) {
    const [maskOid, maskHash] = derChildren(mask)
    if (derOidText(expectDer(maskOid, 0x06, 'the PSS mask')) !== oid.mgf1) return undefined
    maskHashOid = derOidText(
      expectDer(derChildren(expectDer(maskHash, 0x30, 'MGF1'))[0], 0x06, 'the digest of MGF1'),
    )
  }
  const digest = readableDigests.get(hashOid)
  const saltLength = salt ? derNumber(salt) : 20
  if (digest === undefined || hashOid !== maskHashOid || saltLength > 512) return undefined
  return { digest, saltLength }
}
