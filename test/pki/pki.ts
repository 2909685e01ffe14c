import { createHash, createPublicKey, randomBytes, sign, type KeyObject } from 'node:crypto'
import {
  bitString,
  boolean,
  context,
  contextPrimitive,
  ia5String,
  integer,
  namedBits,
  nothing,
  octetString,
  oid,
  printableString,
  sequence,
  set,
  time,
  utf8String,
} from './der.ts'
import { drawKey, type KeyType } from './keys.ts'

export type { KeyType } from './keys.ts'

/** Attributes in the order they shall stand in the name. */
export type NameWish = Readonly<Partial<Record<keyof typeof nameAttributes, string>>>

export type KeyUsageName = (typeof keyUsageNames)[number]

/** A GeneralName (RFC 5280 §4.2.1.6); `raw` is its DER. */
export type GeneralNameWish =
  | { readonly email: string }
  | { readonly domain: string }
  | { readonly uri: string }
  | { readonly directory: NameWish | Buffer }
  | { readonly ip: Buffer }
  | { readonly raw: Buffer }

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

/** DER of a Name (RFC 5280 §4.1.2.4). */
export function directoryName(wish: NameWish): Buffer {
  return sequence(
    ...Object.entries(wish).map(([short, text]) => {
      const attribute = nameAttributes[short as keyof typeof nameAttributes]
      return set(sequence(oid(attribute.oid), attribute.encode(text)))
    }),
  )
}

/** DER of a GeneralName. */
export function generalName(wish: GeneralNameWish): Buffer {
  if ('raw' in wish) return wish.raw
  if ('email' in wish) return contextPrimitive(1, Buffer.from(wish.email, 'latin1'))
  if ('domain' in wish) return contextPrimitive(2, Buffer.from(wish.domain, 'latin1'))
  if ('uri' in wish) return contextPrimitive(6, Buffer.from(wish.uri, 'latin1'))
  if ('ip' in wish) return contextPrimitive(7, wish.ip)
  return context(4, Buffer.isBuffer(wish.directory) ? wish.directory : directoryName(wish.directory))
}

const nameAttributes = {
  C: { oid: '2.5.4.6', encode: printableString },
  ST: { oid: '2.5.4.8', encode: utf8String },
  L: { oid: '2.5.4.7', encode: utf8String },
  DC: { oid: '0.9.2342.19200300.100.1.25', encode: ia5String },
  O: { oid: '2.5.4.10', encode: utf8String },
  OU: { oid: '2.5.4.11', encode: utf8String },
  CN: { oid: '2.5.4.3', encode: utf8String },
  E: { oid: '1.2.840.113549.1.9.1', encode: ia5String },
} as const

/** In the order of their bits (RFC 5280 §4.2.1.3). */
const keyUsageNames = [
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

function extensionsOf(wishes: CertificateWishes, keyId: Buffer, issuerKeyId: Buffer): Buffer[] {
  const written: Buffer[] = []
  const add = (id: string, critical: boolean, value: Buffer) =>
    written.push(sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(value)))

  const basic = wishes.basicConstraints
  if (basic !== undefined && basic !== null)
    add(
      '2.5.29.19',
      true,
      sequence(
        ...(basic.ca ? [boolean(true)] : []),
        ...(basic.pathLen === undefined ? [] : [integer(basic.pathLen)]),
      ),
    )
  if (wishes.keyUsage)
    add(
      '2.5.29.15',
      wishes.keyUsageCritical ?? true,
      namedBits(wishes.keyUsage.map((use) => keyUsageNames.indexOf(use))),
    )
  if (wishes.extendedKeyUsage)
    add('2.5.29.37', wishes.extendedKeyUsageCritical ?? false, sequence(...wishes.extendedKeyUsage.map(oid)))
  const altNames: GeneralNameWish[] = [
    ...(wishes.emails ?? []).map((email) => ({ email })),
    ...(wishes.domains ?? []).map((domain) => ({ domain })),
    ...(wishes.otherNames ?? []),
  ]
  if (altNames.length > 0)
    add('2.5.29.17', wishes.altNamesCritical ?? false, sequence(...altNames.map(generalName)))
  if (wishes.nameConstraints !== undefined) {
    const { permitted, excluded, critical } = wishes.nameConstraints
    const subtrees = (names: readonly GeneralNameWish[]) => names.map((name) => sequence(generalName(name)))
    add(
      '2.5.29.30',
      critical ?? true,
      sequence(
        ...(permitted === undefined ? [] : [context(0, ...subtrees(permitted))]),
        ...(excluded === undefined ? [] : [context(1, ...subtrees(excluded))]),
      ),
    )
  }
  if (wishes.policies !== undefined)
    add('2.5.29.32', false, sequence(...wishes.policies.map((policy) => sequence(oid(policy)))))
  if (wishes.crlUrls !== undefined)
    add(
      '2.5.29.31',
      false,
      sequence(...wishes.crlUrls.map((uri) => sequence(context(0, context(0, generalName({ uri })))))),
    )
  const access = [
    ...(wishes.ocspUrls ?? []).map((uri) => sequence(oid('1.3.6.1.5.5.7.48.1'), generalName({ uri }))),
    ...(wishes.caIssuersUrls ?? []).map((uri) => sequence(oid('1.3.6.1.5.5.7.48.2'), generalName({ uri }))),
  ]
  if (access.length > 0) add('1.3.6.1.5.5.7.1.1', false, sequence(...access))
  if (wishes.subjectKeyId !== null) add('2.5.29.14', false, octetString(keyId))
  if (wishes.authorityKeyId !== null)
    add('2.5.29.35', false, sequence(contextPrimitive(0, wishes.authorityKeyId ?? issuerKeyId)))
  for (const extension of wishes.extensions ?? [])
    add(extension.oid, extension.critical ?? false, extension.value)
  return written
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

function nameOf(wish: NameWish | Buffer | undefined, commonName: string): Buffer {
  if (Buffer.isBuffer(wish)) return wish
  return directoryName(wish ?? { O: 'bluepost tests', CN: commonName })
}

function signatureAlgorithm(key: KeyObject, wishes: CertificateWishes) {
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
