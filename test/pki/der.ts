/**
 * A DER writer (X.690) of its own: what tests forge must not be made by the code that is tested.
 * Every function returns the whole tag-length-value.
 */
function tlv(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents)
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content])
}

function lengthOf(bytes: number): Buffer {
  if (bytes < 0x80) return Buffer.from([bytes])
  const octets: number[] = []
  for (let rest = bytes; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256)
  return Buffer.from([0x80 | octets.length, ...octets])
}

export const sequence = (...members: readonly Buffer[]): Buffer => tlv(0x30, ...members)
export const set = (...members: readonly Buffer[]): Buffer => tlv(0x31, ...[...members].sort(Buffer.compare))
export const boolean = (yes: boolean): Buffer => tlv(0x01, Buffer.from([yes ? 0xff : 0x00]))
export const octetString = (content: Buffer): Buffer => tlv(0x04, content)
export const enumerated = (value: number): Buffer => tlv(0x0a, Buffer.from([value]))
export const nothing = (): Buffer => tlv(0x05)
export const utf8String = (text: string): Buffer => tlv(0x0c, Buffer.from(text, 'utf8'))
export const printableString = (text: string): Buffer => tlv(0x13, Buffer.from(text, 'latin1'))
export const ia5String = (text: string): Buffer => tlv(0x16, Buffer.from(text, 'latin1'))
/** `[n]` around whole values (EXPLICIT, or an IMPLICIT SEQUENCE given its members). */
export const context = (n: number, ...members: readonly Buffer[]): Buffer => tlv(0xa0 | n, ...members)
/** `[n] IMPLICIT` of a primitive value. */
export const contextPrimitive = (n: number, content: Buffer): Buffer => tlv(0x80 | n, content)

export function integer(value: number | bigint): Buffer {
  let hex = BigInt.asUintN(512, BigInt(value)).toString(16)
  if (BigInt(value) >= 0n) {
    hex = BigInt(value).toString(16)
    if (hex.length % 2 === 1) hex = `0${hex}`
    if (Number.parseInt(hex.slice(0, 2), 16) >= 0x80) hex = `00${hex}`
    return tlv(0x02, Buffer.from(hex, 'hex'))
  }
  // Two's complement, shortest form.
  while (hex.length > 2 && hex.startsWith('ff') && Number.parseInt(hex.slice(2, 4), 16) >= 0x80)
    hex = hex.slice(2)
  return tlv(0x02, Buffer.from(hex, 'hex'))
}

export function bitString(content: Buffer, unusedBits = 0): Buffer {
  return tlv(0x03, Buffer.from([unusedBits]), content)
}

/** A named bit list (X.690 §11.2.2: trailing zero bits removed); `bits` are the numbers of the bits that are set. */
export function namedBits(bits: readonly number[]): Buffer {
  if (bits.length === 0) return bitString(Buffer.alloc(0))
  const highest = Math.max(...bits)
  const octets = Buffer.alloc(Math.floor(highest / 8) + 1)
  for (const bit of bits) octets[bit >> 3]! |= 0x80 >> (bit & 7)
  return bitString(octets, 7 - (highest & 7))
}

export function oid(dotted: string): Buffer {
  const arcs = dotted.split('.').map(Number)
  const octets: number[] = []
  for (const arc of [arcs[0]! * 40 + arcs[1]!, ...arcs.slice(2)]) {
    const group = [arc % 128]
    for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128))
      group.unshift((rest % 128) | 0x80)
    octets.push(...group)
  }
  return tlv(0x06, Buffer.from(octets))
}

/** UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5). */
export function time(at: Date): Buffer {
  const digits = at.toISOString().replace(/[-:T]/g, '').slice(0, 14)
  const year = at.getUTCFullYear()
  return year >= 1950 && year < 2050
    ? tlv(0x17, Buffer.from(`${digits.slice(2)}Z`))
    : tlv(0x18, Buffer.from(`${digits}Z`))
}

/** GeneralizedTime in any year, as OCSP has it (RFC 6960 §4.2.2.1). */
export function generalizedTime(at: Date): Buffer {
  return tlv(0x18, Buffer.from(`${at.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`))
}
