import type { KeyObject } from 'node:crypto'
import type { KeyType } from './keys.ts'
import type { GeneralNameWish, NameWish } from './names.ts'

export type KeyUsageName = (typeof keyUsageNames)[number]

/** In the order of their bits (RFC 5280 §4.2.1.3). */
export const keyUsageNames = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const

export interface ExtensionWish {
  readonly oid: string
  readonly critical?: boolean
  /** DER of the extension's value, without the OCTET STRING around it. */
  readonly value: Buffer
}

/**
 * What a certificate shall say. Every default gives a certificate that strict openssl likes; every field can be set so
 * that it does not. `null` leaves an extension out.
 */
export interface CertificateWishes {
  /** Common name; ignored when `subject` is given. */
  readonly name?: string
  readonly subject?: NameWish | Buffer
  readonly emails?: readonly string[]
  readonly domains?: readonly string[]
  readonly otherNames?: readonly GeneralNameWish[]
  readonly altNamesCritical?: boolean
  readonly keyType?: KeyType
  /** Take this key instead of a new one (twins, cross-certificates). */
  readonly key?: KeyObject
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly serial?: bigint
  readonly version?: 1 | 2 | 3
  readonly keyUsage?: readonly KeyUsageName[] | null
  readonly keyUsageCritical?: boolean
  readonly extendedKeyUsage?: readonly string[] | null
  readonly extendedKeyUsageCritical?: boolean
  readonly basicConstraints?: { readonly ca: boolean; readonly pathLen?: number } | null
  readonly nameConstraints?: {
    readonly permitted?: readonly GeneralNameWish[]
    readonly excluded?: readonly GeneralNameWish[]
    readonly critical?: boolean
  }
  readonly policies?: readonly string[]
  readonly crlUrls?: readonly string[]
  readonly caIssuersUrls?: readonly string[]
  readonly ocspUrls?: readonly string[]
  readonly subjectKeyId?: Buffer | null
  readonly authorityKeyId?: Buffer | null
  /** Written after all others, as they are, even when they are doubled. */
  readonly extensions?: readonly ExtensionWish[]
  readonly signatureDigest?: 'sha256' | 'sha384' | 'sha512' | 'sha1' | 'md5'
  readonly signaturePadding?: 'pkcs1' | 'pss'
  /** Forgeries: the issuer's name as written, and the key that signs instead of the issuer's. */
  readonly issuerName?: NameWish | Buffer
  readonly signWith?: KeyObject
}
