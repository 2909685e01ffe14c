import { X509Certificate, type KeyObject } from 'node:crypto'
import { derChildren, derContent, derMembers, derOidText, derRaw, expectDer, readDer } from '../lib/der.ts'
import { oid } from './algorithms.ts'

/** What CMS needs of a certificate; whether it is trusted is judged elsewhere. */
export interface CmsCertificate {
  readonly der: Buffer
  /** The issuer Name as encoded. */
  readonly issuer: Buffer
  /** The serialNumber INTEGER as encoded, tag and length included. */
  readonly serial: Buffer
  readonly subjectKeyIdentifier?: Buffer
  readonly publicKey: KeyObject
}

/**
 * Reads one X.509 certificate (RFC 5280 §4.1).
 *
 * @throws Error where the bytes are not a certificate, or its public key is of an unknown kind
 */
export function readCertificate(bytes: Buffer): CmsCertificate {
  const x509 = new X509Certificate(bytes)
  const own = Buffer.from(x509.raw)
  const [toBeSigned] = derChildren(expectDer(readDer(own), 0x30, 'a certificate'))
  const fields = derChildren(expectDer(toBeSigned, 0x30, 'TBSCertificate'))
  if (fields[0]?.tag === 0xa0) fields.shift()
  const [serial, , issuer] = fields
  const extensions = fields.find((one) => one.tag === 0xa3)
  let keyIdentifier: Buffer | undefined
  if (extensions)
    for (const extension of derMembers(derChildren(extensions)[0]!)) {
      const members = derChildren(extension)
      if (members[0] && derOidText(members[0]) === oid.subjectKeyIdentifier)
        keyIdentifier = derContent(readDer(derContent(expectDer(members.at(-1), 0x04, 'an extension'))))
    }
  return {
    der: own,
    issuer: derRaw(expectDer(issuer, 0x30, 'the issuer')),
    serial: derRaw(expectDer(serial, 0x02, 'the serial number')),
    ...(keyIdentifier ? { subjectKeyIdentifier: keyIdentifier } : {}),
    publicKey: x509.publicKey,
  }
}

/** Octets of one coordinate of a named curve, or undefined for curves we do not take part in. */
export function curveOctets(key: KeyObject): number | undefined {
  if (key.asymmetricKeyType !== 'ec') return undefined
  return { prime256v1: 32, secp384r1: 48, secp521r1: 66 }[key.asymmetricKeyDetails?.namedCurve ?? '']
}

/** Issuer and subject are the same: a root, which receivers have or do not trust. */
export function isSelfIssued(bytes: Buffer): boolean {
  const { issuer, subject } = new X509Certificate(bytes)
  return issuer === subject
}
