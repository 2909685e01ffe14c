/**
 * Writes DER and reads BER, one value at a time, without copying what it reads: messages of any size, certificate
 * bundles and revocation lists of any length (the general ASN.1 packages stop at 16 MiB or 10,000 nodes).
 *
 * A tag is the identifier octet itself: 0x30 SEQUENCE, 0x31 SET, 0xa0 [0] constructed, 0x80 [0] primitive (X.690 §8.1.2).
 * Tag numbers above 30 do not occur in X.509 or CMS and are refused.
 */

/** One value as it lies in `source`; offsets are bytes into it. */
export interface DerValue {
  readonly source: Buffer
  readonly tag: number
  readonly constructed: boolean
  /** Where the identifier octet is. */
  readonly start: number
  readonly contentStart: number
  readonly contentEnd: number
  /** First byte after the value, its end-of-contents octets included. */
  readonly end: number
  /** BER indefinite length: the raw bytes are not DER. */
  readonly indefinite: boolean
}

/** The bytes are not BER, or exceed a limit of this reader. */
export class DerError extends Error {
  constructor(because: string, offset: number) {
    super(`not readable as BER at byte ${offset}: ${because}`)
    this.name = 'DerError'
  }
}

/** Nesting of indefinite lengths; CMS as sent by streaming writers nests 6. */
const indefiniteDepthMax = 32
/** Pieces of octet strings in pieces of octet strings; writers nest 1, and each level is walked again. */
const pieceDepthMax = 4
/** Values walked through to find one end-of-contents; a streaming writer of 4 kB pieces needs 13,000 for 50 MB. */
const indefiniteValuesMax = 1_000_000
/** Members of one SEQUENCE or SET; revocation lists of 1,000,000 entries exist. */
const childrenMax = 5_000_000
/** Members or pieces held at once, some 100 octets each; a streaming writer of 1 kB pieces needs 50,000 for 50 MB. */
const heldMax = 250_000

/**
 * Reads the value that starts at `at`; it must end at or before `end`.
 *
 * @throws DerError where the bytes are not BER
 */
export function readDer(source: Buffer, at = 0, end = source.length): DerValue {
  return readValue(source, at, end, { values: 0 }, 0)
}

function readValue(
  source: Buffer,
  at: number,
  end: number,
  seen: { values: number },
  depth: number,
): DerValue {
  if (at + 2 > end) throw new DerError('a value is cut off', at)
  const tag = source[at]!
  if ((tag & 0x1f) === 0x1f) throw new DerError('a tag number above 30', at)
  const constructed = (tag & 0x20) !== 0
  const first = source[at + 1]!
  let contentStart = at + 2
  let length = first
  if (first === 0x80) {
    if (!constructed) throw new DerError('an indefinite length on a primitive value', at)
    if (depth >= indefiniteDepthMax) throw new DerError('indefinite lengths nested too deeply', at)
    let next = contentStart
    for (;;) {
      if (next + 2 > end) throw new DerError('no end of contents', at)
      if (source[next] === 0 && source[next + 1] === 0) break
      if (++seen.values > indefiniteValuesMax) throw new DerError('too many values', at)
      next = readValue(source, next, end, seen, depth + 1).end
    }
    return {
      source,
      tag,
      constructed,
      start: at,
      contentStart,
      contentEnd: next,
      end: next + 2,
      indefinite: true,
    }
  }
  if (first > 0x80) {
    const octets = first & 0x7f
    if (octets > 6) throw new DerError('a length of more than 6 octets', at)
    if (contentStart + octets > end) throw new DerError('a length is cut off', at)
    length = source.readUIntBE(contentStart, octets)
    contentStart += octets
  }
  if (length > end - contentStart) throw new DerError('a value is longer than what holds it', at)
  const contentEnd = contentStart + length
  return { source, tag, constructed, start: at, contentStart, contentEnd, end: contentEnd, indefinite: false }
}

/** The members of a constructed value, in order; at most 250,000, see {@link derMembers}. */
export function derChildren(value: DerValue): DerValue[] {
  const children: DerValue[] = []
  for (const child of derMembers(value)) {
    if (children.length >= heldMax) throw new DerError('too many members', value.start)
    children.push(child)
  }
  return children
}

/** The members of a constructed value, one at a time: for lists too long to hold. */
export function* derMembers(value: DerValue): Generator<DerValue, void, undefined> {
  if (!value.constructed) throw new DerError('a primitive value where members are needed', value.start)
  let at = value.contentStart
  for (let count = 0; at < value.contentEnd; count++) {
    if (count >= childrenMax) throw new DerError('too many members', value.start)
    const child = readDer(value.source, at, value.contentEnd)
    yield child
    at = child.end
  }
}

/** Like {@link readDer}, and the tag must be the given one. `what` names the value in the error. */
export function expectDer(value: DerValue | undefined, tag: number, what: string): DerValue {
  if (value === undefined) throw new DerError(`${what} is missing`, 0)
  if (value.tag !== tag)
    throw new DerError(
      `${what} has tag 0x${value.tag.toString(16)} instead of 0x${tag.toString(16)}`,
      value.start,
    )
  return value
}

/** The whole value as received, identifier and length included. Shares memory. */
export function derRaw(value: DerValue): Buffer {
  return value.source.subarray(value.start, value.end)
}

/** What the value holds, without identifier and length. Shares memory. */
export function derContent(value: DerValue): Buffer {
  return value.source.subarray(value.contentStart, value.contentEnd)
}

/**
 * The octets of an OCTET STRING, whatever its tag; the pieces of a constructed one (X.690 §8.7.3) are joined, which
 * copies. A primitive one shares memory.
 */
export function derOctets(value: DerValue): Buffer {
  if (!value.constructed) return derContent(value)
  return Buffer.concat(derOctetPieces(value))
}

/**
 * The octets of an OCTET STRING, whatever its tag, as they lie in the message: one piece, or those of a constructed one.
 * Shares memory.
 */
export function derOctetPieces(value: DerValue): Buffer[] {
  if (!value.constructed) return [derContent(value)]
  const pieces: Buffer[] = []
  collectOctets(value, pieces, 0)
  return pieces
}

function collectOctets(value: DerValue, pieces: Buffer[], depth: number): void {
  if (depth > pieceDepthMax) throw new DerError('pieces nested too deeply', value.start)
  for (const piece of derMembers(value)) {
    if ((piece.tag & ~0x20) !== 0x04) throw new DerError('a piece that is not an OCTET STRING', piece.start)
    if (piece.constructed) collectOctets(piece, pieces, depth + 1)
    else if (piece.contentEnd > piece.contentStart) pieces.push(derContent(piece))
    if (pieces.length > heldMax) throw new DerError('too many pieces', value.start)
  }
}

/** A small non-negative INTEGER. */
export function derNumber(value: DerValue, what = 'an INTEGER'): number {
  expectDer(value, 0x02, what)
  const octets = value.contentEnd - value.contentStart
  if (octets < 1 || octets > 6) throw new DerError(`${what} is out of range`, value.start)
  const number = value.source.readIntBE(value.contentStart, octets)
  if (number < 0) throw new DerError(`${what} is negative`, value.start)
  return number
}

/** An OBJECT IDENTIFIER in dotted form: `2.16.840.1.101.3.4.2.1`. */
export function derOidText(value: DerValue): string {
  expectDer(value, 0x06, 'an object identifier')
  const content = derContent(value)
  if (content.length === 0 || content.length > 64)
    throw new DerError('an object identifier of odd length', value.start)
  const arcs: string[] = []
  let arc = 0n
  for (const [index, octet] of content.entries()) {
    if (arc === 0n && octet === 0x80) throw new DerError('an object identifier with padding', value.start)
    arc = (arc << 7n) | BigInt(octet & 0x7f)
    if (octet & 0x80) {
      if (index === content.length - 1) throw new DerError('an object identifier is cut off', value.start)
      continue
    }
    if (arcs.length === 0) {
      const root = arc < 40n ? 0n : arc < 80n ? 1n : 2n
      arcs.push(String(root), String(arc - root * 40n))
    } else arcs.push(String(arc))
    arc = 0n
  }
  return arcs.join('.')
}

/** A value with the given identifier octet that holds the given parts. */
export function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  let length = 0
  for (const part of parts) length += part.length
  return Buffer.concat([derHead(tag, length), ...parts])
}

/** Identifier and length octets alone, for a value whose content follows later; `length` in bytes. */
export function derHead(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.from([tag, length])
  const octets: number[] = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256)
  return Buffer.from([tag, 0x80 | octets.length, ...octets])
}

/** A SET OF: members in ascending order of their encodings (X.690 §11.6). */
export function derSetOf(tag: number, members: readonly Buffer[]): Buffer {
  return der(tag, ...[...members].sort((a, b) => Buffer.compare(a, b)))
}

/** Identifiers that programs write are constants, some dozens, and each message needs twenty of them. */
const oidsKeptMax = 200
const oidsKept = new Map<string, Buffer>()

/** An OBJECT IDENTIFIER from its dotted form. Do not write into it: the next caller gets the same bytes. */
export function derOid(dotted: string): Buffer {
  const known = oidsKept.get(dotted)
  if (known !== undefined) return known
  const made = encodedOid(dotted)
  if (oidsKept.size < oidsKeptMax) oidsKept.set(dotted, made)
  return made
}

function encodedOid(dotted: string): Buffer {
  const [root = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const content: number[] = []
  for (const arc of [root * 40 + second, ...rest]) {
    const septets = [arc % 128]
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      septets.unshift((left % 128) | 0x80)
    content.push(...septets)
  }
  return der(0x06, Buffer.from(content))
}

/** A non-negative INTEGER below 2^31. */
export function derInteger(value: number): Buffer {
  const octets = Buffer.alloc(4)
  octets.writeInt32BE(value)
  let from = 0
  while (from < 3 && octets[from] === 0 && octets[from + 1]! < 0x80) from++
  return der(0x02, octets.subarray(from))
}

export const derNull = Buffer.from([0x05, 0x00])
