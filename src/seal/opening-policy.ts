import { contentCiphers, digestOids } from './algorithms.ts'

/** What a message to us may be made with. Everything else is refused before a key of ours is used. */
export interface OpeningPolicy {
  /** Names of {@link readableCiphers}. */
  readonly contentCiphers: ReadonlySet<string>
  /** Names of {@link readableDigests}. */
  readonly digests: ReadonlySet<string>
  /** Bits of the modulus, of our key it is encrypted to and of the key it is signed with. */
  readonly rsaBitsMin: number
}

/**
 * Applicability Statement 1.3 §2.8 and the accreditation tests: AES in CBC and GCM; SHA-2; RSA from 2048 bits, P-256 and
 * larger. No DES, 3DES, RC2, MD5 or SHA-1 under a signature.
 */
export const directPolicy: OpeningPolicy = {
  contentCiphers: new Set([...contentCiphers.values()].map(({ name }) => name)),
  digests: new Set(Object.keys(digestOids)),
  rsaBitsMin: 2048,
}

export interface ReadableCipher {
  /** As `node:crypto` calls it. */
  readonly name: string
  readonly keyBytes: number
  readonly ivBytes: number
  readonly mode: 'cbc' | 'gcm'
}

/** Content ciphers that can be told apart by object identifier; which of them are used is the policy’s to say. */
export const readableCiphers: ReadonlyMap<string, ReadableCipher> = new Map<string, ReadableCipher>([
  ...[...contentCiphers].map(([dotted, cipher]) => [dotted, { ...cipher, ivBytes: 16 }] as const),
  ['1.2.840.113549.3.7', { name: 'des-ede3-cbc', keyBytes: 24, ivBytes: 8, mode: 'cbc' }],
])

/** Ciphers that nothing here can decrypt, by the names people know them by. */
export const refusedCiphers: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.3.2', 'RC2'],
  ['1.3.14.3.2.7', 'DES'],
])

/** Digests that signatures of real messages name; OpenSSL’s name by object identifier. */
export const readableDigests: ReadonlyMap<string, string> = new Map([
  ...Object.entries(digestOids).map(([name, dotted]) => [dotted, name] as const),
  ['1.3.14.3.2.26', 'sha1'] as const,
  ['1.2.840.113549.2.5', 'md5'] as const,
  ['2.16.840.1.101.3.4.2.4', 'sha224'] as const,
])

/** For people: `sha1` → `SHA-1`, `des-ede3-cbc` → `3DES`. */
export function spelled(name: string): string {
  if (name === 'des-ede3-cbc') return '3DES'
  return name.toUpperCase().replace(/^SHA(\d)/, 'SHA-$1')
}
