import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import {
  derChildren,
  derContent,
  derNumber,
  derOidText,
  derRaw,
  expectDer,
  readDer,
  DerError,
  type DerValue,
} from '../lib/der.ts'
import { readName, type Name } from './name.ts'
import {
  readGeneralName,
  readNameConstraints,
  type GeneralName,
  type NameConstraints,
} from './general-name.ts'

/** An X.509 certificate (RFC 5280 §4.1), read once; nothing in it is judged. */
export interface Certificate {
  readonly der: Buffer
  /** SHA-256 over the DER, lower-case hexadecimal. */
  readonly fingerprint: string
  readonly version: number
  /** Hexadecimal, as encoded. */
  readonly serialNumber: string
  readonly issuer: Name
  readonly subject: Name
  readonly notBefore: Date
  readonly notAfter: Date
  /** DER of the SubjectPublicKeyInfo. */
  readonly publicKeyInfo: Buffer
  readonly publicKey: PublicKey
  /** The bytes that are signed. */
  readonly tbs: Buffer
  readonly signatureAlgorithm: SignatureAlgorithm
  readonly signature: Buffer
  readonly altNames: readonly GeneralName[]
  readonly keyUsage?: ReadonlySet<KeyUsage>
  /** Object identifiers. */
  readonly extendedKeyUsage?: readonly string[]
  readonly basicConstraints?: { readonly ca: boolean; readonly pathLen?: number }
  readonly nameConstraints?: NameConstraints
  /** Object identifiers of certificatePolicies. */
  readonly policies?: readonly string[]
  readonly policyMappings: readonly { readonly issuerPolicy: string; readonly subjectPolicy: string }[]
  readonly policyConstraints: {
    readonly requireExplicitPolicy?: number
    readonly inhibitPolicyMapping?: number
  }
  readonly inhibitAnyPolicy?: number
  readonly subjectKeyId?: Buffer
  readonly authorityKeyId?: Buffer
  /** Object identifiers of critical extensions that nobody here understands. */
  readonly unknownCritical: readonly string[]
}

export type CertificateReading =
  | { readonly readable: true; readonly certificate: Certificate }
  | { readonly readable: false; readonly because: string }

export type PublicKey =
  | { readonly kind: 'rsa'; readonly key: KeyObject; readonly bits: number; readonly exponent: bigint }
  | { readonly kind: 'ec'; readonly key: KeyObject; readonly curve: string }
  | { readonly kind: 'unsupported'; readonly because: string }

export type Digest = 'md5' | 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512'

export type SignatureAlgorithm =
  | { readonly kind: 'rsa' | 'ecdsa'; readonly digest: Digest }
  | { readonly kind: 'rsa-pss'; readonly digest: Digest; readonly saltOctets: number }
  | { readonly kind: 'unsupported'; readonly oid: string }

export type KeyUsage = (typeof keyUsages)[number]

/** In the order of their bits (RFC 5280 §4.2.1.3). */
const keyUsages = [
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

/** Certificates of Direct are 1 to 3 kB; one in DNS cannot be larger than a message there. */
const certificateOctetsMax = 65_535
/** Certificates kept parsed; about 10 kB each. */
const certificatesKeptMax = 2_000
const extensionsMax = 100

const kept = new Map<string, Certificate>()

/**
 * Reads a certificate. What is kept is found again by fingerprint, so reading the same bytes twice costs one hash.
 *
 * Strict where leniency would let two readers see two things: DER lengths, one algorithm in both places, no extension
 * twice, no known extension that is malformed, nothing after the end.
 *
 * @param der bytes from anywhere; copied
 */
export function readCertificate(der: Buffer): CertificateReading {
  if (der.length > certificateOctetsMax)
    return { readable: false, because: `longer than ${certificateOctetsMax} octets` }
  const fingerprint = createHash('sha256').update(der).digest('hex')
  const known = kept.get(fingerprint)
  if (known !== undefined) return { readable: true, certificate: known }
  try {
    const certificate = parse(Buffer.from(der), fingerprint)
    kept.set(fingerprint, certificate)
    for (const oldest of kept.keys()) {
      if (kept.size <= certificatesKeptMax) break
      kept.delete(oldest)
    }
    return { readable: true, certificate }
  } catch (error) {
    if (!(error instanceof DerError)) throw error
    return { readable: false, because: error.message }
  }
}

function parse(der: Buffer, fingerprint: string): Certificate {
  const whole = strictly(readDer(der))
  if (whole.end !== der.length) throw new DerError('something follows the certificate', whole.end)
  const [tbs, algorithm, signature, beyond] = members(expectDer(whole, 0x30, 'the certificate'))
  if (beyond !== undefined) throw new DerError('a fourth member of the certificate', beyond.start)
  const parts = members(expectDer(tbs, 0x30, 'tbsCertificate'))

  let next = 0
  const version = parts[0]?.tag === 0xa0 ? readVersion(parts[next++]!) : 1
  const serial = expectDer(parts[next++], 0x02, 'serialNumber')
  if (serial.end === serial.contentStart) throw new DerError('serialNumber is empty', serial.start)
  const signedWith = expectDer(parts[next++], 0x30, 'signature')
  const issuer = readName(expectDer(parts[next++], 0x30, 'issuer'))
  const [notBefore, notAfter] = members(expectDer(parts[next++], 0x30, 'validity')).map(readTime)
  if (notBefore === undefined || notAfter === undefined)
    throw new DerError('validity is incomplete', whole.start)
  const subject = readName(expectDer(parts[next++], 0x30, 'subject'))
  const publicKeyInfo = derRaw(expectDer(parts[next++], 0x30, 'subjectPublicKeyInfo'))
  // issuerUniqueID and subjectUniqueID (RFC 5280 §4.1.2.8): allowed, never used.
  if (parts[next]?.tag === 0x81) next++
  if (parts[next]?.tag === 0x82) next++
  const extensionsAt = parts[next]?.tag === 0xa3 ? parts[next++] : undefined
  if (parts[next] !== undefined) throw new DerError('an unknown member of tbsCertificate', parts[next]!.start)
  if (extensionsAt !== undefined && version !== 3)
    throw new DerError('extensions in a certificate that is not version 3', extensionsAt.start)

  const outer = derRaw(expectDer(algorithm, 0x30, 'signatureAlgorithm'))
  if (!outer.equals(derRaw(signedWith))) throw new DerError('two different signature algorithms', whole.start)

  return {
    der,
    fingerprint,
    version,
    serialNumber: derContent(serial).toString('hex'),
    issuer,
    subject,
    notBefore,
    notAfter,
    publicKeyInfo,
    publicKey: readPublicKey(publicKeyInfo),
    tbs: derRaw(tbs!),
    signatureAlgorithm: readSignatureAlgorithm(signedWith),
    signature: readSignature(expectDer(signature, 0x03, 'signatureValue')),
    ...readExtensions(extensionsAt),
  }
}

/** The members of a SEQUENCE or SET, each in DER as far as lengths go. */
function members(value: DerValue): DerValue[] {
  return derChildren(value).map(strictly)
}

function strictly(value: DerValue): DerValue {
  if (value.indefinite) throw new DerError('an indefinite length, which DER does not have', value.start)
  const length = value.contentEnd - value.contentStart
  const lengthOctets = length < 0x80 ? 1 : length < 0x100 ? 2 : length < 0x10000 ? 3 : 4
  if (value.contentStart - value.start !== 1 + lengthOctets)
    throw new DerError('a length in more octets than needed', value.start)
  return value
}

function readSignature(value: DerValue): Buffer {
  const { octets, unusedBits } = readBitString(value)
  if (unusedBits !== 0) throw new DerError('a signature of odd bits', value.start)
  return octets
}

function readVersion(value: DerValue): number {
  const [number, beyond] = members(value)
  if (number === undefined || beyond !== undefined) throw new DerError('version is malformed', value.start)
  const version = derNumber(number, 'version') + 1
  if (version > 3) throw new DerError(`version ${version} does not exist`, value.start)
  return version
}

/** RFC 5280 §4.1.2.5: both forms with seconds and Z, no fraction. */
function readTime(value: DerValue): Date {
  const text = derContent(value).toString('latin1')
  const [, year = '', rest = ''] =
    (value.tag === 0x17 ? /^(\d{2})(\d{10})Z$/ : value.tag === 0x18 ? /^(\d{4})(\d{10})Z$/ : /^(?!)/).exec(
      text,
    ) ?? []
  if (rest === '') throw new DerError('a time that is not in the form of RFC 5280', value.start)
  const century = value.tag === 0x18 ? 0 : Number(year) >= 50 ? 1900 : 2000
  const [month, day, hour, minute, second] = rest.match(/\d{2}/g)!.map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ]
  const time = new Date(Date.UTC(2000, month - 1, day, hour, minute, second))
  time.setUTCFullYear(century + Number(year), month - 1, day)
  const isReal = time.getUTCMonth() === month - 1 && time.getUTCDate() === day && time.getUTCHours() === hour
  if (!isReal || time.getUTCMinutes() !== minute || time.getUTCSeconds() !== second)
    throw new DerError('a time that does not exist', value.start)
  return time
}

function readBitString(value: DerValue): { octets: Buffer; unusedBits: number } {
  const content = derContent(value)
  const unusedBits = content[0] ?? 8
  if (value.constructed || unusedBits > 7 || (content.length === 1 && unusedBits > 0))
    throw new DerError('a malformed BIT STRING', value.start)
  return { octets: content.subarray(1), unusedBits }
}

function readPublicKey(info: Buffer): PublicKey {
  let key: KeyObject
  try {
    key = createPublicKey({ key: info, format: 'der', type: 'spki' })
  } catch {
    return { kind: 'unsupported', because: 'a public key that cannot be read' }
  }
  const details = key.asymmetricKeyDetails
  if (key.asymmetricKeyType === 'rsa')
    return { kind: 'rsa', key, bits: details?.modulusLength ?? 0, exponent: details?.publicExponent ?? 0n }
  if (key.asymmetricKeyType === 'ec')
    return { kind: 'ec', key, curve: details?.namedCurve ?? 'with parameters of its own' }
  return { kind: 'unsupported', because: `a key of type ${key.asymmetricKeyType}` }
}

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

function readSignatureAlgorithm(identifier: DerValue): SignatureAlgorithm {
  const [id, parameters] = members(identifier)
  if (id === undefined) throw new DerError('an empty AlgorithmIdentifier', identifier.start)
  const oid = derOidText(id)
  if (oid === rsaPss) return readPssParameters(parameters) ?? { kind: 'unsupported', oid }
  return signatureAlgorithms[oid] ?? { kind: 'unsupported', oid }
}

/** RFC 4055 §3.1; both digests must be the same one, given in words: the default is SHA-1. */
function readPssParameters(parameters: DerValue | undefined): SignatureAlgorithm | undefined {
  if (parameters === undefined || parameters.tag !== 0x30) return undefined
  const byTag = new Map(members(parameters).map((value) => [value.tag, value]))
  const hash = digestOf(byTag.get(0xa0))
  const maskWith = byTag.get(0xa1)
  const mask = maskWith === undefined ? undefined : members(maskWith)[0]
  const [maskId, maskHash] = mask === undefined ? [] : members(mask)
  if (maskId === undefined || derOidText(maskId) !== '1.2.840.113549.1.1.8') return undefined
  if (hash === undefined || maskHash === undefined || digestOfIdentifier(maskHash) !== hash) return undefined
  const salt = byTag.get(0xa2)
  const saltNumber = salt === undefined ? undefined : members(salt)[0]
  const saltOctets = saltNumber === undefined ? 20 : derNumber(saltNumber, 'saltLength')
  if (saltOctets > 512) return undefined
  return { kind: 'rsa-pss', digest: hash, saltOctets }
}

function digestOf(tagged: DerValue | undefined): Digest | undefined {
  const identifier = tagged === undefined ? undefined : members(tagged)[0]
  return identifier === undefined ? undefined : digestOfIdentifier(identifier)
}

function digestOfIdentifier(identifier: DerValue): Digest | undefined {
  const [id] = members(identifier)
  return id === undefined ? undefined : digests[derOidText(id)]
}

type Extensions = Omit<
  Certificate,
  | 'der'
  | 'fingerprint'
  | 'version'
  | 'serialNumber'
  | 'issuer'
  | 'subject'
  | 'notBefore'
  | 'notAfter'
  | 'publicKeyInfo'
  | 'publicKey'
  | 'tbs'
  | 'signatureAlgorithm'
  | 'signature'
>

type ExtensionsBeingRead = { -readonly [Key in keyof Extensions]: Extensions[Key] }

/** How each extension we honour is read into the certificate. Those beyond this list must not be critical. */
const readers: Readonly<Record<string, (value: DerValue, into: ExtensionsBeingRead) => void>> = {
  '2.5.29.14': (value, into) => {
    into.subjectKeyId = derContent(expectDer(value, 0x04, 'subjectKeyIdentifier'))
  },
  '2.5.29.15': (value, into) => {
    into.keyUsage = readKeyUsage(value)
  },
  '2.5.29.17': (value, into) => {
    const names = members(expectDer(value, 0x30, 'subjectAltName'))
    if (names.length === 0) throw new DerError('subjectAltName is empty', value.start)
    into.altNames = names.map(readGeneralName)
  },
  '2.5.29.19': (value, into) => {
    into.basicConstraints = readBasicConstraints(value)
  },
  '2.5.29.30': (value, into) => {
    into.nameConstraints = readNameConstraints(value)
  },
  '2.5.29.32': (value, into) => {
    into.policies = readPolicies(value)
  },
  '2.5.29.33': (value, into) => {
    into.policyMappings = readPolicyMappings(value)
  },
  '2.5.29.35': (value, into) => {
    const keyId = members(expectDer(value, 0x30, 'authorityKeyIdentifier')).find(({ tag }) => tag === 0x80)
    if (keyId !== undefined) into.authorityKeyId = derContent(keyId)
  },
  '2.5.29.36': (value, into) => {
    into.policyConstraints = readPolicyConstraints(value)
  },
  '2.5.29.37': (value, into) => {
    const purposes = members(expectDer(value, 0x30, 'extKeyUsage'))
    if (purposes.length === 0) throw new DerError('extKeyUsage is empty', value.start)
    into.extendedKeyUsage = purposes.map(derOidText)
  },
  '2.5.29.54': (value, into) => {
    into.inhibitAnyPolicy = derNumber(value, 'inhibitAnyPolicy')
  },
}

function readExtensions(tagged: DerValue | undefined): Extensions {
  const into: ExtensionsBeingRead = {
    altNames: [],
    policyMappings: [],
    policyConstraints: {},
    unknownCritical: [],
  }
  if (tagged === undefined) return into
  const [list, beyond] = members(tagged)
  if (beyond !== undefined) throw new DerError('extensions are malformed', tagged.start)
  const extensions = members(expectDer(list, 0x30, 'extensions'))
  if (extensions.length > extensionsMax)
    throw new DerError(`more than ${extensionsMax} extensions`, tagged.start)
  const seen = new Set<string>()
  const unknownCritical: string[] = []
  for (const extension of extensions) {
    const [id, ...rest] = members(expectDer(extension, 0x30, 'an extension'))
    if (id === undefined) throw new DerError('an extension without a name', extension.start)
    const oid = derOidText(id)
    if (seen.has(oid)) throw new DerError(`the extension ${oid} is there twice`, extension.start)
    seen.add(oid)
    const critical = rest[0]?.tag === 0x01 ? readBoolean(rest.shift()!) : false
    const octets = expectDer(rest[0], 0x04, `the value of extension ${oid}`)
    if (rest.length !== 1) throw new DerError(`the extension ${oid} is malformed`, extension.start)
    const reader = Object.hasOwn(readers, oid) ? readers[oid] : undefined
    if (reader !== undefined) {
      const value = strictly(readDer(octets.source, octets.contentStart, octets.contentEnd))
      if (value.end !== octets.contentEnd)
        throw new DerError(`something follows in extension ${oid}`, value.end)
      reader(value, into)
    } else if (critical) unknownCritical.push(oid)
  }
  into.unknownCritical = unknownCritical
  return into
}

/** X.690 §11.1: TRUE is 0xff. */
function readBoolean(value: DerValue): boolean {
  const content = derContent(value)
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff))
    throw new DerError('a malformed BOOLEAN', value.start)
  return content[0] === 0xff
}

function readKeyUsage(value: DerValue): ReadonlySet<KeyUsage> {
  const { octets } = readBitString(expectDer(value, 0x03, 'keyUsage'))
  return new Set(keyUsages.filter((_, bit) => ((octets[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0))
}

function readBasicConstraints(value: DerValue): { ca: boolean; pathLen?: number } {
  const parts = members(expectDer(value, 0x30, 'basicConstraints'))
  const ca = parts[0]?.tag === 0x01 ? readBoolean(parts.shift()!) : false
  const pathLen = parts[0]?.tag === 0x02 ? derNumber(parts.shift()!, 'pathLenConstraint') : undefined
  if (parts.length > 0) throw new DerError('basicConstraints is malformed', value.start)
  return pathLen === undefined ? { ca } : { ca, pathLen }
}

function readPolicies(value: DerValue): string[] {
  const policies = members(expectDer(value, 0x30, 'certificatePolicies')).map((information) => {
    const [id] = members(expectDer(information, 0x30, 'a certificate policy'))
    if (id === undefined) throw new DerError('a certificate policy without a name', information.start)
    return derOidText(id)
  })
  if (policies.length === 0 || new Set(policies).size !== policies.length)
    throw new DerError('certificatePolicies is empty or names a policy twice', value.start)
  return policies
}

function readPolicyMappings(value: DerValue): { issuerPolicy: string; subjectPolicy: string }[] {
  return members(expectDer(value, 0x30, 'policyMappings')).map((mapping) => {
    const [issuerPolicy, subjectPolicy] = members(expectDer(mapping, 0x30, 'a policy mapping')).map(
      derOidText,
    )
    if (issuerPolicy === undefined || subjectPolicy === undefined)
      throw new DerError('an incomplete policy mapping', mapping.start)
    return { issuerPolicy, subjectPolicy }
  })
}

function readPolicyConstraints(value: DerValue): Certificate['policyConstraints'] {
  const constraints: { requireExplicitPolicy?: number; inhibitPolicyMapping?: number } = {}
  for (const part of members(expectDer(value, 0x30, 'policyConstraints'))) {
    const skip = readImplicitNumber(part)
    if (part.tag === 0x80) constraints.requireExplicitPolicy = skip
    else if (part.tag === 0x81) constraints.inhibitPolicyMapping = skip
    else throw new DerError('policyConstraints is malformed', part.start)
  }
  return constraints
}

function readImplicitNumber(value: DerValue): number {
  const content = derContent(value)
  if (content.length < 1 || content.length > 6 || content[0]! >= 0x80)
    throw new DerError('a number that is out of range', value.start)
  return content.readUIntBE(0, content.length)
}
