import {
  der,
  derContent,
  derOidText,
  DerError,
  derRaw,
  expectDer,
  readDer,
  type DerValue,
} from '../lib/der.ts'
import { readGeneralName, type GeneralName } from './general-name.ts'
import { readName } from './name.ts'
import { readBitString, strictMembers } from './strict-der.ts'

/** One DistributionPoint of cRLDistributionPoints or freshestCRL (RFC 5280 §4.2.1.13). */
export interface DistributionPoint {
  readonly name?: DistributionPointName
  /** The reasons its list is for; absent: all of them. */
  readonly reasons?: RevocationReasons
  /** Who signs the list where it is not the issuer of the certificate. */
  readonly crlIssuer?: readonly GeneralName[]
}

/** RFC 5280 §4.2.1.13: full names, or what has to be appended to the name of whoever signs the list. */
export type DistributionPointName =
  | { readonly kind: 'full'; readonly names: readonly GeneralName[]; readonly comparable: readonly string[] }
  | { readonly kind: 'relative'; readonly rdn: string }

/** A set of bits, 1 << n for the n-th name of ReasonFlags; bit 0 (“unused”) never set. */
export type RevocationReasons = number

/** keyCompromise to aACompromise: bits 1 to 8. */
export const allReasons: RevocationReasons = 0b1_1111_1110

/** Of authorityInfoAccess (RFC 5280 §4.2.2.1): the URLs, in their order; other methods and forms of name are passed over. */
export interface AuthorityInfoAccess {
  readonly ocsp: readonly string[]
  readonly caIssuers: readonly string[]
}

export function readDistributionPoints(value: DerValue, what: string): DistributionPoint[] {
  const points = strictMembers(expectDer(value, 0x30, what)).map((point) => {
    const read: { -readonly [Key in keyof DistributionPoint]: DistributionPoint[Key] } = {}
    for (const part of strictMembers(expectDer(point, 0x30, 'a distribution point'))) {
      if (part.tag === 0xa0) read.name = readDistributionPointName(part)
      else if (part.tag === 0x81) read.reasons = readReasons(part)
      else if (part.tag === 0xa2) read.crlIssuer = strictMembers(part).map(readGeneralName)
      else throw new DerError('a distribution point is malformed', part.start)
    }
    if (read.name === undefined && read.crlIssuer === undefined)
      throw new DerError('a distribution point names nothing', point.start)
    return read
  })
  if (points.length === 0) throw new DerError(`${what} is empty`, value.start)
  return points
}

/** @param tagged the [0] around the CHOICE */
export function readDistributionPointName(tagged: DerValue): DistributionPointName {
  const [choice, beyond] = strictMembers(tagged)
  if (choice === undefined || beyond !== undefined)
    throw new DerError('the name of a distribution point is malformed', tagged.start)
  if (choice.tag === 0xa0) {
    const members = strictMembers(choice)
    if (members.length === 0) throw new DerError('a distribution point without names', choice.start)
    const names = members.map(readGeneralName)
    return { kind: 'full', names, comparable: names.map((name, n) => comparableName(name, members[n]!)) }
  }
  if (choice.tag !== 0xa1) throw new DerError('the name of a distribution point is malformed', choice.start)
  // [1] IMPLICIT RelativeDistinguishedName: the SET under another tag.
  const [rdn = ''] = readName(readDer(der(0x30, der(0x31, derContent(choice))))).rdns
  return { kind: 'relative', rdn }
}

/** Equal for equal names: directory names as names compare, all others octet for octet. */
function comparableName(name: GeneralName, value: DerValue): string {
  return name.kind === 'directory' ? `directory ${name.name.comparable}` : derRaw(value).toString('hex')
}

/** @param value ReasonFlags, whatever its tag */
export function readReasons(value: DerValue): RevocationReasons {
  const { octets } = readBitString(value)
  let reasons = 0
  for (let bit = 1; bit <= 8; bit++)
    if (((octets[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0) reasons |= 1 << bit
  return reasons
}

export function readAuthorityInfoAccess(value: DerValue): AuthorityInfoAccess {
  const access = { ocsp: [] as string[], caIssuers: [] as string[] }
  const descriptions = strictMembers(expectDer(value, 0x30, 'authorityInfoAccess'))
  if (descriptions.length === 0) throw new DerError('authorityInfoAccess is empty', value.start)
  for (const description of descriptions) {
    const [method, location, beyond] = strictMembers(expectDer(description, 0x30, 'an accessDescription'))
    if (method === undefined || location === undefined || beyond !== undefined)
      throw new DerError('an accessDescription is malformed', description.start)
    const name = readGeneralName(location)
    if (name.kind !== 'uri') continue
    const oid = derOidText(method)
    if (oid === '1.3.6.1.5.5.7.48.1') access.ocsp.push(name.text)
    else if (oid === '1.3.6.1.5.5.7.48.2') access.caIssuers.push(name.text)
  }
  return access
}
