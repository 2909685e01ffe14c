import { createHash, createPublicKey, randomBytes, type KeyObject } from 'node:crypto'
import { bitString, context, integer, sequence, time } from './der.ts'
import { extensionsOf } from './extensions.ts'
import { drawKey } from './keys.ts'
import { nameOf } from './names.ts'
import { signatureAlgorithm } from './signature.ts'
import type { CertificateWishes } from './wishes.ts'

export type { KeyType } from './keys.ts'
export type { CertificateWishes } from './wishes.ts'

export interface Issued {
  /** DER. */
  readonly certificate: Buffer
  readonly certificatePem: string
  readonly privateKey: KeyObject
  /** PKCS#8, not encrypted. */
  readonly privateKeyPem: string
  readonly subjectName: Buffer
  readonly subjectKeyId: Buffer
}

export interface Authority extends Issued {
  /** DER of this authority and everything above it, root last. */
  readonly chain: readonly Buffer[]
  /** An end-entity certificate: keyUsage digitalSignature + keyEncipherment, EKU emailProtection. */
  issue(wishes?: CertificateWishes): Issued
  /** An intermediate authority. */
  issueAuthority(wishes?: CertificateWishes & { readonly pathLen?: number }): Authority
}

export const emailProtection = '1.3.6.1.5.5.7.3.4'
export const serverAuth = '1.3.6.1.5.5.7.3.1'
export const anyExtendedKeyUsage = '2.5.29.37.0'

const dayMs = 86_400_000

/** A self-signed authority. */
export function makeRoot(wishes: CertificateWishes & { readonly pathLen?: number } = {}): Authority {
  const key = wishes.key ?? drawKey(wishes.keyType ?? 'rsa2048')
  const name = nameOf(wishes.subject, wishes.name ?? `Test Root ${next()}`)
  const keyId = wishes.subjectKeyId ?? keyIdOf(key)
  return authority(write(authorityWishes(wishes), { key, name, issuer: { key, name, keyId } }), [])
}

/** A certificate bound to a Direct address (rfc822Name) or to a whole domain (dNSName). */
export function issueFor(issuer: Authority, addressOrDomain: string, wishes: CertificateWishes = {}): Issued {
  return issuer.issue({
    ...(addressOrDomain.includes('@') ? { emails: [addressOrDomain] } : { domains: [addressOrDomain] }),
    ...wishes,
  })
}

/** PEM of one or several DER certificates, in their order. */
export function pemOf(...certificates: readonly Buffer[]): string {
  return certificates
    .map((der) => {
      const lines = der.toString('base64').match(/.{1,64}/g) ?? []
      return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
    })
    .join('')
}

let counter = 0
const next = (): number => ++counter

function authority(issued: Issued, above: readonly Buffer[]): Authority {
  const chain = [issued.certificate, ...above]
  const issuer = { key: issued.privateKey, name: issued.subjectName, keyId: issued.subjectKeyId }
  return {
    ...issued,
    chain,
    issue: (wishes = {}) => {
      const key = wishes.key ?? drawKey(wishes.keyType ?? 'rsa2048')
      const common = wishes.name ?? wishes.emails?.[0] ?? wishes.domains?.[0] ?? `Test Leaf ${next()}`
      return write(leafWishes(wishes, key), { key, name: nameOf(wishes.subject, common), issuer })
    },
    issueAuthority: (wishes = {}) => {
      const key = wishes.key ?? drawKey(wishes.keyType ?? 'rsa2048')
      const name = nameOf(wishes.subject, wishes.name ?? `Test Authority ${next()}`)
      return authority(write(authorityWishes(wishes), { key, name, issuer }), chain)
    },
  }
}

function authorityWishes(wishes: CertificateWishes & { readonly pathLen?: number }): CertificateWishes {
  return {
    basicConstraints: { ca: true, ...(wishes.pathLen === undefined ? {} : { pathLen: wishes.pathLen }) },
    keyUsage: ['keyCertSign', 'cRLSign'],
    ...wishes,
  }
}

function leafWishes(wishes: CertificateWishes, key: KeyObject): CertificateWishes {
  const enciphers = key.asymmetricKeyType === 'rsa' ? 'keyEncipherment' : 'keyAgreement'
  return { keyUsage: ['digitalSignature', enciphers], extendedKeyUsage: [emailProtection], ...wishes }
}

interface Issuer {
  readonly key: KeyObject
  readonly name: Buffer
  readonly keyId: Buffer
}

function write(
  wishes: CertificateWishes,
  made: { readonly key: KeyObject; readonly name: Buffer; readonly issuer: Issuer },
): Issued {
  const { key, name, issuer } = made
  const publicKeyInfo = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const signer = wishes.signWith ?? issuer.key
  const algorithm = signatureAlgorithm(signer, wishes)
  const version = wishes.version ?? 3
  const keyId = wishes.subjectKeyId ?? keyIdOf(key)
  const now = Date.now()
  const extensions = version === 3 ? extensionsOf(wishes, keyId, issuer.keyId) : []
  const tbs = sequence(
    ...(version === 1 ? [] : [context(0, integer(version - 1))]),
    integer(wishes.serial ?? BigInt(`0x40${randomBytes(15).toString('hex')}`)),
    algorithm.identifier,
    wishes.issuerName === undefined ? issuer.name : nameOf(wishes.issuerName, ''),
    sequence(
      time(wishes.notBefore ?? new Date(now - dayMs)),
      time(wishes.notAfter ?? new Date(now + 365 * dayMs)),
    ),
    name,
    publicKeyInfo,
    ...(extensions.length === 0 ? [] : [context(3, sequence(...extensions))]),
  )
  const certificate = sequence(tbs, algorithm.identifier, bitString(algorithm.sign(tbs)))
  return {
    certificate,
    certificatePem: pemOf(certificate),
    privateKey: key,
    privateKeyPem: key.export({ type: 'pkcs8', format: 'pem' }) as string,
    subjectName: name,
    subjectKeyId: keyId,
  }
}

/** RFC 5280 §4.2.1.2 method 1: SHA-1 over the public key bits. */
function keyIdOf(key: KeyObject): Buffer {
  const info = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const jwkless = info.subarray(info.length - subjectBitsLength(info))
  return createHash('sha1').update(jwkless).digest()
}

/** Length of the BIT STRING content (without its unused-bits octet) that ends a SubjectPublicKeyInfo. */
function subjectBitsLength(info: Buffer): number {
  const skip = (at: number): { start: number; end: number } => {
    const first = info[at + 1]!
    const lengthOctets = first < 0x80 ? 0 : first & 0x7f
    const length = lengthOctets === 0 ? first : info.readUIntBE(at + 2, lengthOctets)
    return { start: at + 2 + lengthOctets, end: at + 2 + lengthOctets + length }
  }
  const algorithm = skip(skip(0).start)
  const bits = skip(algorithm.end)
  return bits.end - bits.start - 1
}
