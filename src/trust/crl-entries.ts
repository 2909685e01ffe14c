import { derContent, DerError, expectDer, readDer, type DerValue } from '../lib/der.ts'
import { extensionValue, readExtensionList } from './extension-list.ts'
import { readGeneralName } from './general-name.ts'
import type { Name } from './name.ts'
import { readTime, strictly, strictMembers } from './strict-der.ts'

/** One line of a revocation list (RFC 5280 §5.3). */
export interface CrlEntry {
  readonly revokedAt: Date
  readonly reason?: RevocationReason
  /** When the key was known or suspected to be lost (§5.3.2). */
  readonly invalidSince?: Date
}

export type RevocationReason = (typeof revocationReasons)[number]

/** In the order of their codes (RFC 5280 §5.3.1); 7 is not used. */
const revocationReasons = [
  'unspecified',
  'keyCompromise',
  'cACompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'certificateHold',
  'reason 7',
  'removeFromCRL',
  'privilegeWithdrawn',
  'aACompromise',
] as const

export interface CrlEntries {
  readonly count: number
  /**
   * Every entry with this serial number of a certificate of that issuer.
   *
   * @param serialNumber hexadecimal, as encoded
   * @throws DerError for an entry that is malformed
   */
  find(serialNumber: string, issuer: Name): CrlEntry[]
}

const reasonCode = Buffer.from('551d15', 'hex')
const holdInstruction = Buffer.from('551d17', 'hex')
const invalidityDate = Buffer.from('551d18', 'hex')
const certificateIssuer = Buffer.from('551d1d', 'hex')
/** Octets of a serial number (§4.1.2.2: 20), and one for whoever counts the sign extra. */
const serialOctetsMax = 127

/** SEQUENCE, serial number and time of the shortest entry: nothing in a list is smaller. */
const entryOctetsMin = 20

/**
 * Walks over every entry once and remembers where each serial number is, 4 bytes a slot. Nothing is made of an entry before
 * somebody asks for it.
 *
 * Serial numbers that collide in the index would cost time, and the authority chooses them: index only lists whose
 * signature was verified.
 *
 * @throws DerError where an entry is malformed, or has a critical extension nobody here understands: then the list says
 *   nothing about any certificate (§5.3)
 */
export function indexEntries(crl: {
  readonly issuer: Name
  readonly entries?: DerValue
  readonly issuingPoint?: { readonly isIndirect: boolean }
}): CrlEntries {
  if (crl.entries === undefined) return { count: 0, find: () => [] }
  const { source, contentStart, contentEnd } = crl.entries
  const isIndirect = crl.issuingPoint?.isIndirect === true
  // Where the entries of another issuer begin: it counts until the next one is named (§5.3.3).
  const issuers: { readonly from: number; readonly comparables: readonly string[] }[] = [
    { from: contentStart, comparables: [crl.issuer.comparable] },
  ]
  const entriesMax = Math.ceil((contentEnd - contentStart) / entryOctetsMin)
  const slots = new Int32Array(1 << Math.ceil(Math.log2(entriesMax * 2 + 2)))
  const mask = slots.length - 1
  let count = 0
  for (let at = contentStart; at < contentEnd; count++) {
    const entry = headOf(source, at, contentEnd, 0x30)
    const serial = headOf(source, entry.start, entry.end, 0x02)
    if (serial.end === serial.start || serial.end - serial.start > serialOctetsMax)
      throw new DerError('a serial number that is out of range', at)
    const date = headOf(source, serial.end, entry.end)
    if (entry.end - at < entryOctetsMin) throw new DerError('an entry without a time', at)
    if (date.end < entry.end && !isReasonAlone(source, date.end, entry.end)) {
      const extensions = headOf(source, date.end, entry.end, 0x30)
      if (extensions.end !== entry.end) throw new DerError('something follows an entry', extensions.end)
      const named = walkExtensions(source, extensions.start, extensions.end)
      if (named !== undefined) {
        if (!isIndirect) throw new DerError('an entry of another issuer in a list that is not indirect', at)
        issuers.push({ from: at, comparables: named })
      }
    }
    let slot = hashOf(source, serial.start, serial.end) & mask
    while (slots[slot] !== 0) slot = (slot + 1) & mask
    slots[slot] = at
    at = entry.end
  }

  const issuersAt = (start: number) => issuers.findLast(({ from }) => from <= start)!.comparables
  return {
    count,
    find(serialNumber, issuer) {
      const wanted = Buffer.from(serialNumber, 'hex')
      const found: CrlEntry[] = []
      for (let slot = hashOf(wanted, 0, wanted.length) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
        const start = slots[slot]!
        const serial = headOf(source, headOf(source, start, contentEnd, 0x30).start, contentEnd, 0x02)
        if (source.compare(wanted, 0, wanted.length, serial.start, serial.end) !== 0) continue
        if (issuersAt(start).includes(issuer.comparable)) found.push(readEntry(source, start, contentEnd))
      }
      return found
    },
  }
}

/** Where the content of the value at `at` lies; its length as DER asks. Written out, since it runs for every entry. */
function headOf(
  source: Buffer,
  at: number,
  limit: number,
  tag = source[at]!,
): { start: number; end: number } {
  if (at + 2 > limit) throw new DerError('an entry is cut off', at)
  if (source[at] !== tag) throw new DerError('an entry is malformed', at)
  const first = source[at + 1]!
  if (first < 0x80) {
    const end = at + 2 + first
    if (end > limit) throw new DerError('an entry is longer than what holds it', at)
    return { start: at + 2, end }
  }
  const { contentStart, contentEnd } = strictly(readDer(source, at, limit))
  return { start: contentStart, end: contentEnd }
}

/** What most entries have, and nothing else: SEQUENCE { SEQUENCE { reasonCode, OCTET STRING { ENUMERATED } } }. */
const reasonAlone = Buffer.from('300c300a0603551d1504030a01', 'hex')

function isReasonAlone(source: Buffer, at: number, end: number): boolean {
  if (end - at !== reasonAlone.length + 1) return false
  for (let n = 0; n < reasonAlone.length; n++) if (source[at + n] !== reasonAlone[n]) return false
  return true
}

/** Refuses what is critical and unknown; returns the issuers that a certificateIssuer names. */
function walkExtensions(source: Buffer, start: number, end: number): readonly string[] | undefined {
  let named: readonly string[] | undefined
  for (let at = start; at < end;) {
    const extension = headOf(source, at, end, 0x30)
    const oid = headOf(source, extension.start, extension.end, 0x06)
    const isNamed = (known: Buffer) => source.compare(known, 0, known.length, oid.start, oid.end) === 0
    const isCritical = source[oid.end] === 0x01 && oid.end < extension.end
    if (isNamed(certificateIssuer)) named = readCertificateIssuer(source, at, end)
    else if (
      isCritical &&
      !isNamed(reasonCode) &&
      !isNamed(invalidityDate) &&
      !isNamed(holdInstruction) &&
      source[oid.end + 2] !== 0
    )
      throw new DerError('an entry with an unknown critical extension', at)
    at = extension.end
  }
  return named
}

function readCertificateIssuer(source: Buffer, at: number, end: number): string[] {
  const [, ...rest] = strictMembers(strictly(readDer(source, at, end)))
  const octets = expectDer(rest.at(-1), 0x04, 'certificateIssuer')
  const names = strictMembers(
    expectDer(readDer(source, octets.contentStart, octets.contentEnd), 0x30, 'certificateIssuer'),
  ).map(readGeneralName)
  return names.flatMap((name) => (name.kind === 'directory' ? [name.name.comparable] : []))
}

function readEntry(source: Buffer, start: number, limit: number): CrlEntry {
  const [, date, extensions, beyond] = strictMembers(strictly(readDer(source, start, limit)))
  if (date === undefined || beyond !== undefined) throw new DerError('an entry is malformed', start)
  const entry: { -readonly [Key in keyof CrlEntry]: CrlEntry[Key] } = { revokedAt: readTime(date) }
  for (const extension of extensions === undefined ? [] : readExtensionList(extensions)) {
    if (extension.oid === '2.5.29.21') entry.reason = readReasonCode(extensionValue(extension))
    else if (extension.oid === '2.5.29.24') entry.invalidSince = readTime(extensionValue(extension))
  }
  return entry
}

/** @param value ENUMERATED; a code nobody knows is no reason, and the certificate is revoked all the same */
export function readReasonCode(value: DerValue): RevocationReason {
  const content = derContent(expectDer(value, 0x0a, 'a reason code'))
  if (content.length !== 1) throw new DerError('a reason code that is malformed', value.start)
  return revocationReasons[content[0]!] ?? 'unspecified'
}

/** FNV-1a, 32 bits. */
function hashOf(source: Buffer, from: number, end: number): number {
  let hash = 0x811c9dc5
  for (let at = from; at < end; at++) hash = Math.imul(hash ^ source[at]!, 0x01000193)
  return hash ^ (hash >>> 15)
}
