import { derNumber, derOidText, DerError, type DerValue } from '../lib/der.ts'
import { strictMembers } from './strict-der.ts'

export type Digest = 'md5' | 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512'

export type SignatureAlgorithm =
  | { readonly kind: 'rsa' | 'ecdsa'; readonly digest: Digest }
  | { readonly kind: 'rsa-pss'; readonly digest: Digest; readonly saltOctets: number }
  | { readonly kind: 'unsupported'; readonly oid: string }

const digestsAllowed: readonly Digest[] = ['sha256', 'sha384', 'sha512']

const rsaPss = '1.2.840.113549.1.1.10'

const signatureAlgorithms: Readonly<Record<string, { kind: 'rsa' | 'ecdsa'; digest: Digest }>> = {
  '1.2.840.113549.1.1.4': { kind: 'rsa', digest: 'md5' },
  '1.2.840.113549.1.1.5': { kind: 'rsa', digest: 'sha1' },
  '1.2.840.113549.1.1.14': { kind: 'rsa', digest: 'sha224' },
  '1.2.840.113549.1.1.11': { kind: 'rsa', digest: 'sha256' },
  '1.2.840.113549.1.1.12': { kind: 'rsa', digest: 'sha384' },
  '1.2.840.113549.1.1.13': { kind: 'rsa', digest: 'sha512' },
  '1.2.840.10045.4.1': { kind: 'ecdsa', digest: 'sha1' },
  '1.2.840.10045.4.3.1': { kind: 'ecdsa', digest: 'sha224' },
  '1.2.840.10045.4.3.2': { kind: 'ecdsa', digest: 'sha256' },
  '1.2.840.10045.4.3.3': { kind: 'ecdsa', digest: 'sha384' },
  '1.2.840.10045.4.3.4': { kind: 'ecdsa', digest: 'sha512' },
}

const digests: Readonly<Record<string, Digest>> = {
  '1.3.14.3.2.26': 'sha1',
  '2.16.840.1.101.3.4.2.4': 'sha224',
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
}

/** What is too weak about it to prove anything (Applicability Statement §4, NIST SP 800-131A); undefined: nothing. */
export function weaknessOf(algorithm: SignatureAlgorithm): string | undefined {
  const refused = (what: string) => `${what}; SHA-256 or better, by RSA or ECDSA, is needed`
  if (algorithm.kind === 'unsupported') return refused(`the algorithm ${algorithm.oid}`)
  return digestsAllowed.includes(algorithm.digest) ? undefined : refused(algorithm.digest.toUpperCase())
}

export function readSignatureAlgorithm(identifier: DerValue): SignatureAlgorithm {
  const [id, parameters] = strictMembers(identifier)
  if (id === undefined) throw new DerError('an empty AlgorithmIdentifier', identifier.start)
  const oid = derOidText(id)
  if (oid === rsaPss) return readPssParameters(parameters) ?? { kind: 'unsupported', oid }
  return signatureAlgorithms[oid] ?? { kind: 'unsupported', oid }
}

/** RFC 4055 §3.1; both digests must be the same one, given in words: the default is SHA-1. */
function readPssParameters(parameters: DerValue | undefined): SignatureAlgorithm | undefined {
  if (parameters === undefined || parameters.tag !== 0x30) return undefined
  const byTag = new Map(strictMembers(parameters).map((value) => [value.tag, value]))
  const hash = digestOf(byTag.get(0xa0))
  const maskWith = byTag.get(0xa1)
  const mask = maskWith === undefined ? undefined : strictMembers(maskWith)[0]
  const [maskId, maskHash] = mask === undefined ? [] : strictMembers(mask)
  if (maskId === undefined || derOidText(maskId) !== '1.2.840.113549.1.1.8') return undefined
  if (hash === undefined || maskHash === undefined || readDigestAlgorithm(maskHash) !== hash) return undefined
  const salt = byTag.get(0xa2)
  const saltNumber = salt === undefined ? undefined : strictMembers(salt)[0]
  const saltOctets = saltNumber === undefined ? 20 : derNumber(saltNumber, 'saltLength')
  if (saltOctets > 512) return undefined
  return { kind: 'rsa-pss', digest: hash, saltOctets }
}

function digestOf(tagged: DerValue | undefined): Digest | undefined {
  const identifier = tagged === undefined ? undefined : strictMembers(tagged)[0]
  return identifier === undefined ? undefined : readDigestAlgorithm(identifier)
}

/** Undefined: a digest that nobody here knows. */
export function readDigestAlgorithm(identifier: DerValue): Digest | undefined {
  const [id] = strictMembers(identifier)
  return id === undefined ? undefined : digests[derOidText(id)]
}
