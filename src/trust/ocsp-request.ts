import { createHash } from 'node:crypto'
import { der, derChildren, derNull, derOid, expectDer, readDer } from '../lib/der.ts'
import type { Certificate } from './certificate.ts'
import { readBitString } from './strict-der.ts'

/** id-pkix-ocsp-nonce (RFC 9654). */
export const nonceOid = '1.3.6.1.5.5.7.48.1.2'

/** OID of SHA-1, in which every responder knows its certificates. */
const sha1 = '1.3.14.3.2.26'

/** Hash algorithms in which a reply may name the certificate. */
const hashes: Readonly<Record<string, string>> = {
  [sha1]: 'sha1',
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
}

/**
 * The question after one certificate (RFC 6960 §4.1), not signed.
 *
 * The CertID is in SHA-1, since responders with prepared replies know no other; it only names the certificate and proves
 * nothing.
 *
 * @param nonce 32 octets (RFC 9654 §2.1), never used before
 */
export function writeOcspRequest(certificate: Certificate, issuer: Certificate, nonce: Buffer): Buffer {
  const { nameHash, keyHash } = issuerHashes(issuer, 'sha1')
  const certId = der(
    0x30,
    der(0x30, derOid(sha1), derNull),
    der(0x04, nameHash),
    der(0x04, keyHash),
    der(0x02, Buffer.from(certificate.serialNumber, 'hex')),
  )
  const extension = der(0x30, derOid(nonceOid), der(0x04, der(0x04, nonce)))
  const requestList = der(0x30, der(0x30, certId))
  return der(0x30, der(0x30, requestList, der(0xa2, der(0x30, extension))))
}

/** Does this CertID name that certificate of that issuer? */
export function isCertIdOf(certId: CertId, certificate: Certificate, issuer: Certificate): boolean {
  const hash = hashes[certId.hashOid]
  if (hash === undefined || certId.serialNumber !== certificate.serialNumber) return false
  const { nameHash, keyHash } = issuerHashes(issuer, hash)
  return certId.nameHash.equals(nameHash) && certId.keyHash.equals(keyHash)
}

/** RFC 6960 §4.1.1. */
export interface CertId {
  readonly hashOid: string
  readonly nameHash: Buffer
  readonly keyHash: Buffer
  /** Hexadecimal, as encoded. */
  readonly serialNumber: string
}

function issuerHashes(issuer: Certificate, hash: string): { nameHash: Buffer; keyHash: Buffer } {
  return { nameHash: createHash(hash).update(issuer.subject.der).digest(), keyHash: keyHashOf(issuer, hash) }
}

/** Over the BIT STRING subjectPublicKey, its tag, length and count of unused bits left out (RFC 6960 §4.1.1). */
export function keyHashOf({ publicKeyInfo }: Certificate, hash: string): Buffer {
  const [, key] = derChildren(readDer(publicKeyInfo))
  return createHash(hash)
    .update(readBitString(expectDer(key, 0x03, 'subjectPublicKey')).octets)
    .digest()
}
