import { derChildren, derContent, DerError, type DerValue } from '../lib/der.ts'

/** The members of a SEQUENCE or SET, each in DER as far as lengths go. */
export function strictMembers(value: DerValue): DerValue[] {
  return derChildren(value).map(strictly)
}

/** The value itself, when its own length is written as DER asks (X.690 §10.1). */
export function strictly(value: DerValue): DerValue {
  if (value.indefinite) throw new DerError('an indefinite length, which DER does not have', value.start)
  const length = value.contentEnd - value.contentStart
  const lengthOctets =
    length < 0x80 ? 1 : length < 0x100 ? 2 : length < 0x10000 ? 3 : length < 0x1000000 ? 4 : 5
  if (value.contentStart - value.start !== 1 + lengthOctets)
    throw new DerError('a length in more octets than needed', value.start)
  return value
}

export function readBitString(value: DerValue): { octets: Buffer; unusedBits: number } {
  const content = derContent(value)
  const unusedBits = content[0] ?? 8
  if (value.constructed || unusedBits > 7 || (content.length === 1 && unusedBits > 0))
    throw new DerError('a malformed BIT STRING', value.start)
  return { octets: content.subarray(1), unusedBits }
}

/** X.690 §11.1: TRUE is 0xff. */
export function readBoolean(value: DerValue): boolean {
  const content = derContent(value)
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff))
    throw new DerError('a malformed BOOLEAN', value.start)
  return content[0] === 0xff
}

/** RFC 5280 §4.1.2.5: both forms with seconds and Z, no fraction. */
export function readTime(value: DerValue): Date {
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
