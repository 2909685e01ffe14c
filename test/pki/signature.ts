import { createHash, sign, type KeyObject } from 'node:crypto'
import { context, integer, nothing, oid, sequence } from './der.ts'
import type { CertificateWishes } from './wishes.ts'

/** How this key signs a certificate: the AlgorithmIdentifier, and the signature itself. */
export function signatureAlgorithm(
  key: KeyObject,
  wishes: Pick<CertificateWishes, 'signatureDigest' | 'signaturePadding'>,
) {
  const digest = wishes.signatureDigest ?? 'sha256'
  if (key.asymmetricKeyType === 'ed25519')
    return { identifier: sequence(oid('1.3.101.112')), sign: (tbs: Buffer) => sign(null, tbs, key) }
  if (key.asymmetricKeyType === 'ec')
    return {
      identifier: sequence(oid(ecdsaOids[digest])),
      sign: (tbs: Buffer) => sign(digest, tbs, key),
    }
  if (wishes.signaturePadding === 'pss') {
    const hash = sequence(oid(digestOids[digest]), nothing())
    const saltLength = createHash(digest).update('').digest().length
    return {
      identifier: sequence(
        oid('1.2.840.113549.1.1.10'),
        sequence(
          context(0, hash),
          context(1, sequence(oid('1.2.840.113549.1.1.8'), hash)),
          context(2, integer(saltLength)),
        ),
      ),
      sign: (tbs: Buffer) => sign(digest, tbs, { key, padding: 6, saltLength }), // RSA_PKCS1_PSS_PADDING
    }
  }
  return {
    identifier: sequence(oid(rsaOids[digest]), nothing()),
    sign: (tbs: Buffer) => sign(digest, tbs, key),
  }
}

const rsaOids = {
  md5: '1.2.840.113549.1.1.4',
  sha1: '1.2.840.113549.1.1.5',
  sha256: '1.2.840.113549.1.1.11',
  sha384: '1.2.840.113549.1.1.12',
  sha512: '1.2.840.113549.1.1.13',
} as const

const ecdsaOids = {
  md5: '1.2.840.10045.4.1', // there is no ecdsa-with-MD5: the SHA-1 name over an MD5 signature, which cannot verify
  sha1: '1.2.840.10045.4.1',
  sha256: '1.2.840.10045.4.3.2',
  sha384: '1.2.840.10045.4.3.3',
  sha512: '1.2.840.10045.4.3.4',
} as const

const digestOids = {
  md5: '1.2.840.113549.2.5',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
} as const
