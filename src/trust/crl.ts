import { derContent, DerError, derRaw, expectDer, readDer, type DerValue } from '../lib/der.ts'
import type { Certificate } from './certificate.ts'
import { indexEntries, type CrlEntries } from './crl-entries.ts'
import {
  readDistributionPointName,
  readDistributionPoints,
  readReasons,
  type DistributionPoint,
  type DistributionPointName,
  type RevocationReasons,
} from './distribution-points.ts'
import { extensionValue, readTaggedExtensions } from './extension-list.ts'
import { readName, type Name } from './name.ts'
import { readSignatureAlgorithm, weaknessOf, type SignatureAlgorithm } from './signature-algorithm.ts'
import { isSignedBy } from './signed-by.ts'
import { readBitString, readBoolean, readTime, strictly, strictMembers } from './strict-der.ts'

/** A revocation list (RFC 5280 §5), its head read; its entries are looked at only once it is known who signed it. */
export interface Crl {
  readonly der: Buffer
  readonly issuer: Name
  readonly thisUpdate: Date
  readonly nextUpdate?: Date
  /** cRLNumber (§5.2.3). */
  readonly number?: bigint
  /** BaseCRLNumber of a delta (§5.2.4); absent in a complete list. */
  readonly deltaBase?: bigint
  readonly issuingPoint?: IssuingDistributionPoint
  /** Where deltas to this list are (§5.2.6). */
  readonly freshestCrl: readonly DistributionPoint[]
  readonly unknownCritical: readonly string[]
  /** The bytes that are signed. */
  readonly tbs: Buffer
  readonly signatureAlgorithm: SignatureAlgorithm
  readonly signature: Buffer
  /** SEQUENCE of the entries; a list that revokes nothing has none. */
  readonly entries?: DerValue
}

/** RFC 5280 §5.2.5. */
export interface IssuingDistributionPoint {
  /** As written, to compare scopes. */
  readonly der: Buffer
  readonly name?: DistributionPointName
  readonly onlyUserCertificates: boolean
  readonly onlyAuthorities: boolean
  readonly onlyAttributeCertificates: boolean
  readonly onlySomeReasons?: RevocationReasons
  readonly isIndirect: boolean
}

/** A list whose signature by the issuer was verified, with its entries found by serial number. */
export interface VerifiedCrl extends Omit<Crl, 'entries'> {
  readonly entries: CrlEntries
}

export type CrlReading =
  { readonly readable: true; readonly crl: Crl } | { readonly readable: false; readonly because: string }

export type CrlVerification =
  | { readonly verified: true; readonly crl: VerifiedCrl }
  | { readonly verified: false; readonly because: string }

/** Large authorities publish lists of some MB; with 20 MB half a million certificates are revoked. */
export const crlOctetsMax = 20 * 1024 * 1024

/** issuerAltName (§5.2.2) says who else the issuer is: nothing to act on, critical or not. */
const issuerAltName = '2.5.29.18'
const authorityKeyIdentifier = '2.5.29.35'

type CrlBeingRead = { -readonly [Key in keyof Crl]?: Crl[Key] }

const readers: Readonly<Record<string, (value: DerValue, into: CrlBeingRead) => void>> = {
  '2.5.29.20': (value, into) => {
    into.number = readCrlNumber(value, 'cRLNumber')
  },
  '2.5.29.27': (value, into) => {
    into.deltaBase = readCrlNumber(value, 'deltaCRLIndicator')
  },
  '2.5.29.28': (value, into) => {
    into.issuingPoint = readIssuingPoint(value)
  },
  '2.5.29.46': (value, into) => {
    into.freshestCrl = readDistributionPoints(value, 'freshestCRL')
  },
  // Hints: whose key it is, the signature tells.
  [issuerAltName]: () => {},
  [authorityKeyIdentifier]: () => {},
}

/**
 * Reads the head of a list, DER or PEM. Strict as certificates are: DER lengths, one algorithm in both places, no
 * extension twice, nothing after the end. The entries are not looked at.
 */
export function readCrl(bytes: Buffer): CrlReading {
  if (bytes.length > crlOctetsMax) return { readable: false, because: `longer than ${crlOctetsMax} octets` }
  try {
    return { readable: true, crl: parse(unarmoured(bytes)) }
  } catch (error) {
    if (!(error instanceof DerError)) throw error
    return { readable: false, because: error.message }
  }
}

/** RFC 5280 §4.2.1.13 asks for DER over HTTP; some authorities publish PEM. */
function unarmoured(bytes: Buffer): Buffer {
  if (bytes[0] === 0x30) return bytes
  const marked = /-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]*)-----END X509 CRL-----/.exec(
    bytes.toString('latin1'),
  )
  if (marked === null) throw new DerError('neither a DER nor a PEM revocation list', 0)
  return Buffer.from(marked[1]!, 'base64')
}

function parse(der: Buffer): Crl {
  const whole = strictly(readDer(der))
  if (whole.end !== der.length) throw new DerError('something follows the list', whole.end)
  const [tbs, algorithm, signature, beyond] = strictMembers(expectDer(whole, 0x30, 'the list'))
  if (beyond !== undefined) throw new DerError('a fourth member of the list', beyond.start)
  const parts = strictMembers(expectDer(tbs, 0x30, 'tbsCertList'))

  let next = 0
  // Version 1 is written by leaving the number out; 1 stands for version 2.
  const isVersion2 = parts[0]?.tag === 0x02
  if (isVersion2 && !derContent(parts[next++]!).equals(Buffer.from([1])))
    throw new DerError('a version of revocation lists that does not exist', whole.start)
  const signedWith = expectDer(parts[next++], 0x30, 'signature')
  const issuer = readName(expectDer(parts[next++], 0x30, 'issuer'))
  if (parts[next] === undefined) throw new DerError('thisUpdate is missing', whole.start)
  const thisUpdate = readTime(parts[next++]!)
  const isTime = parts[next]?.tag === 0x17 || parts[next]?.tag === 0x18
  const nextUpdate = isTime ? readTime(parts[next++]!) : undefined
  const entries = parts[next]?.tag === 0x30 ? parts[next++] : undefined
  const extensionsAt = parts[next]?.tag === 0xa0 ? parts[next++] : undefined
  if (parts[next] !== undefined) throw new DerError('an unknown member of tbsCertList', parts[next]!.start)
  if (extensionsAt !== undefined && !isVersion2)
    throw new DerError('extensions in a list that is not version 2', extensionsAt.start)

  const outer = derRaw(expectDer(algorithm, 0x30, 'signatureAlgorithm'))
  if (!outer.equals(derRaw(signedWith))) throw new DerError('two different signature algorithms', whole.start)
  const { octets, unusedBits } = readBitString(expectDer(signature, 0x03, 'signatureValue'))
  if (unusedBits !== 0) throw new DerError('a signature of odd bits', signature!.start)

  const read: CrlBeingRead = {}
  const unknownCritical: string[] = []
  for (const extension of readTaggedExtensions(extensionsAt)) {
    const reader = Object.hasOwn(readers, extension.oid) ? readers[extension.oid] : undefined
    if (reader !== undefined) reader(extensionValue(extension), read)
    else if (extension.critical) unknownCritical.push(extension.oid)
  }
  return {
    freshestCrl: [],
    ...read,
    der,
    issuer,
    thisUpdate,
    ...(nextUpdate === undefined ? {} : { nextUpdate }),
    ...(entries === undefined ? {} : { entries }),
    unknownCritical,
    tbs: derRaw(tbs!),
    signatureAlgorithm: readSignatureAlgorithm(signedWith),
    signature: octets,
  }
}

/**
 * Is this list by that authority? By name and by signature, never by key identifier; RFC 5280 §6.3.3 (f) and (g). Lists
 * that other authorities sign for it (cRLIssuer) are not used: whoever asks learns that they were not.
 */
export function verifyCrl(crl: Crl, issuer: Certificate): CrlVerification {
  const refused = (because: string): CrlVerification => ({ verified: false, because })
  if (crl.issuer.comparable === '' || crl.issuer.comparable !== issuer.subject.comparable)
    return refused(`it is by “${crl.issuer.text}”, not by “${issuer.subject.text}”`)
  if (issuer.keyUsage !== undefined && !issuer.keyUsage.has('cRLSign'))
    return refused(`“${issuer.subject.text}” may not sign revocation lists (keyUsage has no cRLSign)`)
  const weakness = weaknessOf(crl.signatureAlgorithm)
  if (weakness !== undefined) return refused(`it is signed with ${weakness}`)
  if (!isSignedBy(crl, issuer)) return refused(`it is not signed by “${issuer.subject.text}”, whom it names`)
  const [unknown] = crl.unknownCritical
  if (unknown !== undefined) return refused(`it has the unknown critical extension ${unknown}`)
  try {
    return { verified: true, crl: { ...crl, entries: indexEntries(crl) } }
  } catch (error) {
    if (!(error instanceof DerError)) throw error
    return refused(error.message)
  }
}

/** Up to 20 octets (§5.2.3), never negative. */
function readCrlNumber(value: DerValue, what: string): bigint {
  const content = derContent(expectDer(value, 0x02, what))
  if (content.length < 1 || content.length > 21 || content[0]! >= 0x80)
    throw new DerError(`${what} is out of range`, value.start)
  return BigInt(`0x${content.toString('hex')}`)
}

function readIssuingPoint(value: DerValue): IssuingDistributionPoint {
  const byTag = new Map<number, DerValue>()
  let last = 0
  for (const part of strictMembers(expectDer(value, 0x30, 'issuingDistributionPoint'))) {
    if ((part.tag & 0x1f) > 5 || part.tag <= last)
      throw new DerError('issuingDistributionPoint is malformed', part.start)
    byTag.set(part.tag & 0x1f, part)
    last = part.tag & 0x1f
  }
  const isSet = (tag: number) => byTag.has(tag) && readBoolean(byTag.get(tag)!)
  const name = byTag.get(0)
  const reasons = byTag.get(3)
  const point = {
    der: derRaw(value),
    ...(name === undefined ? {} : { name: readDistributionPointName(name) }),
    onlyUserCertificates: isSet(1),
    onlyAuthorities: isSet(2),
    onlyAttributeCertificates: isSet(5),
    ...(reasons === undefined ? {} : { onlySomeReasons: readReasons(reasons) }),
    isIndirect: isSet(4),
  }
  const kinds = [point.onlyUserCertificates, point.onlyAuthorities, point.onlyAttributeCertificates]
  if (kinds.filter(Boolean).length > 1)
    throw new DerError('issuingDistributionPoint limits the list to two kinds of certificates', value.start)
  return point
}
