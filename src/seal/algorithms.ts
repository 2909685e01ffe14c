import type { KeyObject } from 'node:crypto'
import { der, derNull, derOid } from '../lib/der.ts'

/** What a message is sealed with. */
export interface Algorithms {
  /** For every signer; absent: each signs with the digest of its key, see {@link digestFor}. */
  readonly digest?: Digest
  readonly content: ContentCipher
  /** For RSA keys; to EC keys the content key goes by key agreement. */
  readonly keyTransport: KeyTransport
}

/** Digests that may stand under a signature; SHA-1 and MD5 may not (Applicability Statement 1.3 §2.8). */
export type Digest = 'sha256' | 'sha384' | 'sha512'
/** GCM makes AuthEnvelopedData (RFC 5083), which older receivers do not know: only for those that agreed to it. */
export type ContentCipher = 'aes-256-cbc' | 'aes-192-cbc' | 'aes-128-cbc' | 'aes-256-gcm' | 'aes-128-gcm'
export type KeyTransport = 'pkcs1' | 'oaep-sha256' | 'oaep-sha1'

/**
 * PKCS#1 v1.5 key transport, because every receiver tried reads it (OpenSSL cms and smime, BouncyCastle, NSS), while
 * `openssl smime` and NSS cannot read OAEP in either form. We only send it; the padding oracle it is known for is a matter of
 * who opens. Receivers must accept both OAEP forms for accreditation, so a route can be set to `oaep-sha256`; there is
 * never a silent step down.
 */
export const usualAlgorithms: Algorithms = { content: 'aes-256-cbc', keyTransport: 'pkcs1' }

/** SHA-256; for the larger curves the digest of their strength (RFC 5753 §8, RFC 5480 §4). */
export function digestFor(publicKey: KeyObject): Digest {
  const curve = publicKey.asymmetricKeyDetails?.namedCurve
  return curve === 'secp384r1' ? 'sha384' : curve === 'secp521r1' ? 'sha512' : 'sha256'
}

/** Object identifiers of CMS (RFC 5652), its algorithms (RFC 3370, 3560, 5084, 5753, 5754) and attributes (RFC 8551). */
export const oid = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  envelopedData: '1.2.840.113549.1.7.3',
  authEnvelopedData: '1.2.840.113549.1.9.16.1.23',
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingTime: '1.2.840.113549.1.9.5',
  smimeCapabilities: '1.2.840.113549.1.9.15',
  rsaEncryption: '1.2.840.113549.1.1.1',
  rsaOaep: '1.2.840.113549.1.1.7',
  mgf1: '1.2.840.113549.1.1.8',
  pSpecified: '1.2.840.113549.1.1.9',
  rsaPss: '1.2.840.113549.1.1.10',
  ecPublicKey: '1.2.840.10045.2.1',
  subjectKeyIdentifier: '2.5.29.14',
} as const

export const digestOids: Record<Digest, string> = {
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
}

/** micalg spellings of RFC 8551 §3.5.3.2. */
export const micalgs: Record<Digest, string> = { sha256: 'sha-256', sha384: 'sha-384', sha512: 'sha-512' }

export const ecdsaOids: Record<Digest, string> = {
  sha256: '1.2.840.10045.4.3.2',
  sha384: '1.2.840.10045.4.3.3',
  sha512: '1.2.840.10045.4.3.4',
}

/** Content ciphers by object identifier; DES, 3DES and RC2 are not among them. */
export const contentCiphers: ReadonlyMap<string, { name: string; keyBytes: number; mode: 'cbc' | 'gcm' }> =
  new Map([
    ['2.16.840.1.101.3.4.1.2', { name: 'aes-128-cbc', keyBytes: 16, mode: 'cbc' }],
    ['2.16.840.1.101.3.4.1.22', { name: 'aes-192-cbc', keyBytes: 24, mode: 'cbc' }],
    ['2.16.840.1.101.3.4.1.42', { name: 'aes-256-cbc', keyBytes: 32, mode: 'cbc' }],
    ['2.16.840.1.101.3.4.1.6', { name: 'aes-128-gcm', keyBytes: 16, mode: 'gcm' }],
    ['2.16.840.1.101.3.4.1.26', { name: 'aes-192-gcm', keyBytes: 24, mode: 'gcm' }],
    ['2.16.840.1.101.3.4.1.46', { name: 'aes-256-gcm', keyBytes: 32, mode: 'gcm' }],
  ])

/** The content ciphers we seal with. */
export const contentCipherOids: Record<
  ContentCipher,
  { oid: string; keyBytes: number; mode: 'cbc' | 'gcm' }
> = {
  'aes-128-cbc': { oid: '2.16.840.1.101.3.4.1.2', keyBytes: 16, mode: 'cbc' },
  'aes-192-cbc': { oid: '2.16.840.1.101.3.4.1.22', keyBytes: 24, mode: 'cbc' },
  'aes-256-cbc': { oid: '2.16.840.1.101.3.4.1.42', keyBytes: 32, mode: 'cbc' },
  'aes-128-gcm': { oid: '2.16.840.1.101.3.4.1.6', keyBytes: 16, mode: 'gcm' },
  'aes-256-gcm': { oid: '2.16.840.1.101.3.4.1.46', keyBytes: 32, mode: 'gcm' },
}

/** AES key wrap (RFC 3394) by object identifier. */
export const keyWraps: ReadonlyMap<string, { name: string; keyBytes: number }> = new Map([
  ['2.16.840.1.101.3.4.1.5', { name: 'id-aes128-wrap', keyBytes: 16 }],
  ['2.16.840.1.101.3.4.1.25', { name: 'id-aes192-wrap', keyBytes: 24 }],
  ['2.16.840.1.101.3.4.1.45', { name: 'id-aes256-wrap', keyBytes: 32 }],
])

/**
 * Key agreement schemes with the X9.63 derivation (RFC 5753 §7.1.4), standard and cofactor: the cofactor of the NIST
 * prime curves is 1, so the two give the same secret there.
 */
export const keyAgreements: ReadonlyMap<string, string> = new Map([
  ['1.3.133.16.840.63.0.2', 'sha1'],
  ['1.3.132.1.11.0', 'sha224'],
  ['1.3.132.1.11.1', 'sha256'],
  ['1.3.132.1.11.2', 'sha384'],
  ['1.3.132.1.11.3', 'sha512'],
  ['1.3.133.16.840.63.0.3', 'sha1'],
  ['1.3.132.1.14.0', 'sha224'],
  ['1.3.132.1.14.1', 'sha256'],
  ['1.3.132.1.14.2', 'sha384'],
  ['1.3.132.1.14.3', 'sha512'],
])

/** AlgorithmIdentifier ::= SEQUENCE { algorithm, parameters OPTIONAL }. */
export function algorithmIdentifier(dotted: string, ...parameters: Buffer[]): Buffer {
  return der(0x30, derOid(dotted), ...parameters)
}

export { derNull as nullParameters }
