import { decodeHl7 } from './hl7v2-charset.ts'
import type { CharsetFlag } from './hl7v2-charset.ts'
import { pathOf } from './hl7v2-path.ts'
import type { Hl7Path } from './hl7v2-path.ts'
import type { Hl7Repetition } from './hl7v2-segment.ts'
import { Hl7Segment, isHeader, part } from './hl7v2-segment.ts'
import { readSeparators } from './hl7v2-separators.ts'
import type { Separators } from './hl7v2-separators.ts'
import { Hl7Unreadable } from './hl7v2-unreadable.ts'

/** More segments than this in one message are an attack or a batch; the largest message in the field has some 5,000. */
const segmentsMax = 50_000

export type Hl7Flag = CharsetFlag | 'byte-order-mark' | 'line-feeds' | 'continuation-lines' | 'few-separators'

/**
 * Reads one HL7v2 message, lazily: nothing is split that nobody asks for. A path names one leaf; a shorter path means
 * its first component, as a receiver of an older version reads a newer message (HL7 v2.5.1 ch. 2.8.2).
 *
 * Separators come from MSH-1 and MSH-2, the character set from MSH-18. Tolerated and flagged: a byte order mark, blank
 * lines before MSH, LF and CRLF as segment ends, lines broken inside a field, undeclared high bytes. Refused: a batch, separators
 * that cannot be told apart, a character set that nobody can read.
 *
 * @param options.charset what the sender uses where MSH-18 is empty; default: UTF-8 where valid, else windows-1252
 * @throws Hl7Unreadable and nothing else, whatever the bytes
 * @example const message = readHl7(bytes)
 *          message.first('MSH-9.2')                                   // 'A03'
 *          message.repetitions('PID-3').map((id) => id.value('4.1'))  // ['ASHBY', 'SSA']
 */
export function readHl7(bytes: Buffer, options: { readonly charset?: string } = {}): Hl7Message {
  const flags: Hl7Flag[] = []
  const start = startOfMessage(bytes, flags)
  const body = start === 0 ? bytes : bytes.subarray(start)
  // A byte order mark says more surely than MSH-18 what follows.
  const declared = start >= 3 && flags.length > 0 ? ['UTF-8'] : declaredCharsets(body)
  const decoded = decodeHl7(body, declared, options.charset)
  if (decoded.flags.length > 0) flags.push(...decoded.flags)
  const separators = readSeparators(decoded.text)
  if (separators.subcomponent === undefined) flags.push('few-separators')
  return new Hl7Message(decoded.text, separators, decoded.charset, flags)
}

/** One message: segments in the order received, each split on first use. */
export class Hl7Message {
  readonly separators: Separators
  /** How the bytes were read: `ascii`, `utf-8`, `windows-1252` … */
  readonly charset: string
  readonly flags: readonly Hl7Flag[]
  /** The whole decoded text, from MSH on. */
  readonly text: string
  readonly #segments: Hl7Segment[]

  constructor(text: string, separators: Separators, charset: string, flags: Hl7Flag[]) {
    this.text = text
    this.separators = separators
    this.charset = charset
    this.#segments = readSegments(text, separators, charset, flags)
    this.flags = flags
  }

  /** All segments, or those of one name, in order. */
  segments(name?: string): readonly Hl7Segment[] {
    return name === undefined ? this.#segments : this.#segments.filter((segment) => segment.name === name)
  }

  /** The n-th segment of a name, counted from 1. */
  segment(name: string, occurrence = 1): Hl7Segment | undefined {
    let left = occurrence
    for (const segment of this.#segments) if (segment.name === name && --left === 0) return segment
    return undefined
  }

  /**
   * The value at a path, unescaped: of the first segment of that name and its first repetition unless the path says
   * otherwise. Undefined where nothing is there, and for the HL7 null `""`, which {@link isNull} tells apart.
   */
  first(path: string | Hl7Path): string | undefined {
    const { segment, occurrence, field, repetition, component, subcomponent } = pathOf(path)
    return this.segment(segment, occurrence)?.value(field, repetition, component, subcomponent)
  }

  /** The repetitions of a field of the first (or named) segment; none where the field is empty. */
  repetitions(path: string | Hl7Path): readonly Hl7Repetition[] {
    const { segment, occurrence, field } = pathOf(path)
    return this.segment(segment, occurrence)?.repetitions(field) ?? []
  }

  /** True where the sender wrote `""` at the path: the value is to be deleted, not merely unknown (ch. 2.5.3). */
  isNull(path: string | Hl7Path): boolean {
    const { segment, occurrence, field, repetition, component, subcomponent } = pathOf(path)
    return this.segment(segment, occurrence)?.leaf(field, repetition, component, subcomponent) === '""'
  }
}

/** Skips a byte order mark and blank lines. 33 of 1,222 files from the field begin with a mark. */
function startOfMessage(bytes: Buffer, flags: Hl7Flag[]): number {
  let at = 0
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    flags.push('byte-order-mark')
    at = 3
  }
  while (at < bytes.length && (bytes[at] === 0x20 || (bytes[at]! >= 0x09 && bytes[at]! <= 0x0d))) at++
  if (at === bytes.length) throw new Hl7Unreadable('hl7-empty', 'the message is empty')
  const name = bytes.toString('latin1', at, at + 3)
  if (name === 'FHS' || name === 'BHS')
    throw new Hl7Unreadable(
      'hl7-batch',
      `it is a batch (${name}): each message must come in a frame of its own`,
    )
  if (name !== 'MSH') throw new Hl7Unreadable('hl7-no-msh', 'it does not begin with an MSH segment')
  return at
}

/** MSH-18 from the bytes, before they are text: MSH is ASCII up to there in all character sets of table 0211. */
function declaredCharsets(bytes: Buffer): readonly string[] {
  const cr = bytes.indexOf(0x0d)
  const lf = bytes.indexOf(0x0a)
  const end = cr === -1 ? lf : lf === -1 ? cr : Math.min(cr, lf)
  // MSH up to field 18 fits many times over; a message without line ends must not be copied for nothing.
  const line = bytes.toString('latin1', 0, Math.min(end === -1 ? bytes.length : end, 8192))
  const separator = line[3]
  if (separator === undefined) return []
  const field = part(line, separator, 18)
  if (field === '') return []
  const repetition = line[5]
  return repetition === undefined || repetition === separator ? [field] : field.split(repetition, 10)
}

/**
 * Segments end with CR; LF and CRLF are read, too. A line that does not begin with a segment name and a field separator
 * is the rest of a field in which somebody broke the line.
 */
function readSegments(text: string, separators: Separators, charset: string, flags: Hl7Flag[]): Hl7Segment[] {
  const segments: Hl7Segment[] = []
  const { length } = text
  let lineFeeds = false
  let continued = false
  let start = 0
  let end = 0
  const finish = (): void => {
    if (segments.length >= segmentsMax)
      throw new Hl7Unreadable('hl7-too-many-segments', `the message has more than ${segmentsMax} segments`)
    const name = text.slice(start, start + 3)
    if (segments.length > 0 && isHeader(name))
      throw new Hl7Unreadable('hl7-batch', 'it holds several messages: each must come in a frame of its own')
    segments.push(new Hl7Segment(name, text.slice(start, end), separators, charset))
  }
  let cr = text.indexOf('\r')
  let lf = text.indexOf('\n')
  for (let line = 0; line < length;) {
    if (cr !== -1 && cr < line) cr = text.indexOf('\r', line)
    if (lf !== -1 && lf < line) lf = text.indexOf('\n', line)
    let stop = cr === -1 ? lf : lf === -1 ? cr : Math.min(cr, lf)
    if (stop === -1) stop = length
    else if (stop === lf) lineFeeds = true
    if (line > 0 && (startsSegment(text, line, separators.field) || isBareName(text, line, stop))) {
      finish()
      start = line
      end = stop
    } else if (line === 0) end = stop
    else if (!isBlank(text, line, stop)) {
      continued = true
      end = stop
    }
    line = stop + (stop === cr && lf === cr + 1 ? 2 : 1)
    if (stop === cr && lf === cr + 1) lineFeeds = true
  }
  finish()
  if (lineFeeds) flags.push('line-feeds')
  if (continued) flags.push('continuation-lines')
  return segments
}

function startsSegment(text: string, at: number, separator: string): boolean {
  return text.charAt(at + 3) === separator && isName(text, at)
}

/** A segment without a single field. Only between CRs: within a text, lines are broken by LF. */
function isBareName(text: string, from: number, to: number): boolean {
  return to === from + 3 && text[from - 1] === '\r' && text[to] !== '\n' && isName(text, from)
}

function isName(text: string, at: number): boolean {
  const [first, second, third] = [text.charCodeAt(at), text.charCodeAt(at + 1), text.charCodeAt(at + 2)]
  return isCapital(first) && (isCapital(second) || isDigit(second)) && (isCapital(third) || isDigit(third))
}

const isCapital = (code: number): boolean => code >= 0x41 && code <= 0x5a
const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39

function isBlank(text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (text.charCodeAt(at) > 0x20) return false
  return true
}
