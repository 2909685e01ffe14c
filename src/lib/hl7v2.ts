import { decodeBytes, decodeHl7 } from './hl7v2-charset.ts'
import type { CharsetFlag } from './hl7v2-charset.ts'

/** More segments than this in one message are an attack or a batch; the largest message in the field has some 5,000. */
export const segmentsMax = 50_000

/** More fields in one segment, or repetitions of one field, than any version of HL7 knows; the rest is not looked at. */
export const fieldsMax = 1_000
export const repetitionsMax = 5_000

/** Beyond this a path names nothing that a sender could have meant. */
const pathNumberMax = 999

export type UnreadableCode =
  | 'hl7-empty'
  | 'hl7-no-msh'
  | 'hl7-separators'
  | 'hl7-batch'
  | 'hl7-charset'
  | 'hl7-too-many-segments'
  | 'hl7-too-many-repetitions'

/** These bytes are not one HL7v2 message. `because` is for people and never quotes the message. */
export class Hl7Unreadable extends Error {
  readonly code: UnreadableCode
  readonly because: string

  constructor(code: UnreadableCode, because: string) {
    super(`${code}: ${because}`)
    this.name = 'Hl7Unreadable'
    this.code = code
    this.because = because
  }
}

/** MSH-1 and MSH-2. Undefined where MSH-2 is shorter than the full set: that level does not occur in the message. */
export interface Separators {
  readonly field: string
  readonly component: string
  readonly repetition: string | undefined
  readonly escape: string | undefined
  readonly subcomponent: string | undefined
  /** The fifth character, since v2.7 (ch. 2.5.5.2). */
  readonly truncation: string | undefined
}

export type Hl7Flag = CharsetFlag | 'byte-order-mark' | 'line-feeds' | 'continuation-lines' | 'few-separators'

/** Where a value stands: `PID-3.4.1`, `PID-3[2].1`, `OBX[2]-5`. All numbers count from 1. */
export interface Hl7Path {
  readonly segment: string
  readonly occurrence?: number
  readonly field: number
  readonly repetition?: number
  readonly component?: number
  readonly subcomponent?: number
}

/** Where a value stands inside one repetition: `4.1`. */
export interface RelativePath {
  readonly component: number
  readonly subcomponent?: number
}

export type PathReading<Path> =
  { readonly valid: true; readonly path: Path } | { readonly valid: false; readonly because: string }

/**
 * Reads one HL7v2 message, lazily: nothing is split that nobody asks for. A path names one leaf; a shorter path means
 * its first component, as a receiver of an older version reads a newer message (HL7 v2.5.1 ch. 2.8.2).
 *
 * Separators come from MSH-1 and MSH-2, the character set from MSH-18. Tolerated and flagged: a byte order mark, blank
 * lines before MSH, LF and CRLF as segment ends, lines broken inside a field, undeclared high bytes.
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
  if (decoded === undefined)
    throw new Hl7Unreadable(
      'hl7-charset',
      'the character set is switched inside the message in a way that cannot be followed: declare it in MSH-18',
    )
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

  /** Every value at a path that is not empty, over all segments of that name and all repetitions, in order. */
  all(path: string | Hl7Path): string[] {
    const { segment, occurrence, field, repetition, component, subcomponent } = pathOf(path)
    const found: string[] = []
    const segments = occurrence === undefined ? this.segments(segment) : [this.segment(segment, occurrence)]
    for (const each of segments)
      for (const [index, one] of (each?.repetitions(field) ?? []).entries()) {
        if (repetition !== undefined && repetition !== index + 1) continue
        const value = one.value({ component: component ?? 1, ...(subcomponent && { subcomponent }) })
        if (value !== undefined) found.push(value)
      }
    return found
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

  /** The text of a whole field as received, not unescaped, repetitions and components included. */
  raw(path: string | Hl7Path): string | undefined {
    const { segment, occurrence, field } = pathOf(path)
    const text = this.segment(segment, occurrence)?.field(field)
    return text === '' ? undefined : text
  }
}

/** One segment. Field numbers are those of the standard: MSH-1 is the field separator itself. */
export class Hl7Segment {
  readonly name: string
  readonly text: string
  readonly #separators: Separators
  readonly #charset: string
  #fields: string[] | undefined

  constructor(name: string, text: string, separators: Separators, charset: string) {
    this.name = name
    this.text = text
    this.#separators = separators
    this.#charset = charset
  }

  /** The raw text of a field; empty where there is none. */
  field(field: number): string {
    this.#fields ??= this.text.split(this.#separators.field, fieldsMax + 1)
    if (!isHeader(this.name)) return this.#fields[field] ?? ''
    return field === 1 ? this.#separators.field : (this.#fields[field - 1] ?? '')
  }

  /** The raw text of one leaf; empty where there is none. */
  leaf(field: number, repetition = 1, component = 1, subcomponent = 1): string {
    const text = this.field(field)
    if (text === '') return ''
    if (field <= 2 && isHeader(this.name)) return text
    return leafOf(
      part(text, this.#separators.repetition, repetition),
      this.#separators,
      component,
      subcomponent,
    )
  }

  value(field: number, repetition = 1, component = 1, subcomponent = 1): string | undefined {
    const leaf = this.leaf(field, repetition, component, subcomponent)
    if (leaf === '' || leaf === '""') return undefined
    if (field <= 2 && isHeader(this.name)) return leaf
    return unescapeHl7(leaf, this.#separators, this.#charset)
  }

  /** @throws Hl7Unreadable beyond {@link repetitionsMax} */
  repetitions(field: number): readonly Hl7Repetition[] {
    const text = this.field(field)
    if (text === '') return []
    const { repetition } = this.#separators
    const isWhole = repetition === undefined || (field <= 2 && isHeader(this.name))
    const parts = isWhole ? [text] : text.split(repetition, repetitionsMax + 1)
    if (parts.length > repetitionsMax)
      throw new Hl7Unreadable(
        'hl7-too-many-repetitions',
        `${this.name}-${field} has more than ${repetitionsMax} repetitions`,
      )
    return parts.map((one) => new Hl7Repetition(one, this.#separators, this.#charset))
  }
}

/** One repetition of a field, such as one identifier of PID-3. */
export class Hl7Repetition {
  readonly text: string
  readonly #separators: Separators
  readonly #charset: string

  constructor(text: string, separators: Separators, charset: string) {
    this.text = text
    this.#separators = separators
    this.#charset = charset
  }

  /** The value at `4` or `4.1` within this repetition; undefined where empty or null. */
  value(path: string | RelativePath): string | undefined {
    const leaf = this.#leaf(path)
    return leaf === '' || leaf === '""' ? undefined : unescapeHl7(leaf, this.#separators, this.#charset)
  }

  isNull(path: string | RelativePath): boolean {
    return this.#leaf(path) === '""'
  }

  #leaf(path: string | RelativePath): string {
    const { component, subcomponent = 1 } = typeof path === 'string' ? known(path, parseRelativePath) : path
    return leafOf(this.text, this.#separators, component, subcomponent)
  }
}

/**
 * Reads a path such as `PID-3.4.1`, `PID-3[2].1` or `OBX[2]-5`.
 *
 * @example parsePath('PV1-19.1')  // { valid: true, path: { segment: 'PV1', field: 19, component: 1 } }
 */
export function parsePath(text: string): PathReading<Hl7Path> {
  const found =
    /^([A-Z][A-Z0-9]{2})(?:\[([0-9]{1,4})\])?-([0-9]{1,4})(?:\[([0-9]{1,4})\])?(?:\.([0-9]{1,4})(?:\.([0-9]{1,4}))?)?$/.exec(
      text,
    )
  if (found === null)
    return {
      valid: false,
      because: `${JSON.stringify(text.slice(0, 60))} is not a path; write SEG-field.component.subcomponent, such as PID-3.4.1`,
    }
  const [, segment, occurrence, field, repetition, component, subcomponent] = found
  for (const number of [occurrence, field, repetition, component, subcomponent])
    if (number !== undefined && (Number(number) < 1 || Number(number) > pathNumberMax))
      return { valid: false, because: `numbers in a path count from 1 to ${pathNumberMax}` }
  if (component !== undefined && segment === 'MSH' && Number(field) <= 2)
    return { valid: false, because: 'MSH-1 and MSH-2 are the separators themselves and have no components' }
  return {
    valid: true,
    path: {
      segment: segment!,
      ...(occurrence !== undefined && { occurrence: Number(occurrence) }),
      field: Number(field),
      ...(repetition !== undefined && { repetition: Number(repetition) }),
      ...(component !== undefined && { component: Number(component) }),
      ...(subcomponent !== undefined && { subcomponent: Number(subcomponent) }),
    },
  }
}

/** Reads a path inside a repetition: `4` or `4.1`. */
export function parseRelativePath(text: string): PathReading<RelativePath> {
  const found = /^([0-9]{1,3})(?:\.([0-9]{1,3}))?$/.exec(text)
  if (found === null || Number(found[1]) < 1 || (found[2] !== undefined && Number(found[2]) < 1))
    return {
      valid: false,
      because: `${JSON.stringify(text.slice(0, 60))} is not a path inside a repetition; write component.subcomponent, such as 4.1`,
    }
  return {
    valid: true,
    path: { component: Number(found[1]), ...(found[2] !== undefined && { subcomponent: Number(found[2]) }) },
  }
}

/**
 * Escape sequences of HL7 v2.5.1 ch. 2.7, and \P\ of v2.7. Unknown ones, and those that switch character sets or are
 * local (\C..\ \M..\ \Z..\), stay as they are.
 */
export function unescapeHl7(text: string, separators: Separators, charset = 'utf-8'): string {
  const { escape } = separators
  if (escape === undefined) return text
  let from = text.indexOf(escape)
  if (from === -1) return text
  let result = text.slice(0, from)
  while (from !== -1) {
    const to = text.indexOf(escape, from + 1)
    if (to === -1) break
    const meaning = meaningOf(text.slice(from + 1, to), separators, charset)
    if (meaning === undefined) {
      // Not a sequence: this escape character is literal, and the next one may begin a sequence.
      result += text.slice(from, to)
      from = to
      continue
    }
    result += meaning
    from = text.indexOf(escape, to + 1)
    result += from === -1 ? text.slice(to + 1) : text.slice(to + 1, from)
  }
  return from === -1 ? result : result + text.slice(from)
}

/** The reverse of {@link unescapeHl7} for a leaf: what must be written so that exactly this text is read. */
export function escapeHl7(text: string, separators: Separators): string {
  const { escape } = separators
  if (escape === undefined) return text
  let result = ''
  for (const character of text) {
    const letter = letterOf(character, separators)
    if (letter !== undefined) result += `${escape}${letter}${escape}`
    else if (character < ' ')
      result += `${escape}X${character.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}${escape}`
    else result += character
  }
  return result
}

/** MSH-2 as it was received. */
export function encodingCharacters(separators: Separators): string {
  const { component, repetition = '', escape = '', subcomponent = '', truncation = '' } = separators
  return component + repetition + escape + subcomponent + truncation
}

function letterOf(character: string, separators: Separators): string | undefined {
  switch (character) {
    case separators.field:
      return 'F'
    case separators.component:
      return 'S'
    case separators.subcomponent:
      return 'T'
    case separators.repetition:
      return 'R'
    case separators.escape:
      return 'E'
    case separators.truncation:
      return 'P'
    default:
      return undefined
  }
}

/** A formatting command may ask for that many lines or blanks at most. */
const formattingRepeatMax = 99

function meaningOf(sequence: string, separators: Separators, charset: string): string | undefined {
  switch (sequence) {
    case 'F':
      return separators.field
    case 'S':
      return separators.component
    case 'T':
      return separators.subcomponent
    case 'R':
      return separators.repetition
    case 'E':
      return separators.escape
    case 'P':
      return separators.truncation
    case 'H':
    case 'N':
      return ''
    case '.br':
    case '.ce':
      return '\n'
    case '.fi':
    case '.nf':
      return ''
  }
  const command = /^\.(sp|sk|in|ti)([+-]?[0-9]{1,3})?$/.exec(sequence)
  if (command !== null) {
    const times = Math.min(formattingRepeatMax, Math.abs(Number(command[2] ?? 1)))
    return command[1] === 'sp' ? '\n'.repeat(times) : command[1] === 'sk' ? ' '.repeat(times) : ''
  }
  if (/^X(?:[0-9A-Fa-f]{2})+$/.test(sequence))
    return decodeBytes(Buffer.from(sequence.slice(1), 'hex'), charset)
  return undefined
}

function isHeader(name: string): boolean {
  return name === 'MSH' || name === 'FHS' || name === 'BHS'
}

/** The n-th part of a text, counted from 1; empty where there is none. */
function part(text: string, separator: string | undefined, n: number): string {
  if (separator === undefined) return n === 1 ? text : ''
  let from = 0
  for (let left = n; left > 1; left--) {
    const next = text.indexOf(separator, from)
    if (next === -1) return ''
    from = next + separator.length
  }
  const to = text.indexOf(separator, from)
  return to === -1 ? text.slice(from) : text.slice(from, to)
}

function leafOf(text: string, separators: Separators, component: number, subcomponent: number): string {
  return part(part(text, separators.component, component), separators.subcomponent, subcomponent)
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
 * HL7 v2.5.1 ch. 2.5.4: MSH-1, then component, repetition, escape, subcomponent and, since v2.7, truncation. Characters,
 * not bytes: a sender in France uses U+02DC, two bytes long, as its repetition separator.
 */
function readSeparators(text: string): Separators {
  const field = text.charAt(3)
  if (!isSeparator(field))
    throw new Hl7Unreadable(
      'hl7-separators',
      'MSH-1, the field separator, is missing or not a punctuation mark',
    )
  let end = text.indexOf(field, 4)
  const line = /[\r\n]/.exec(text.slice(4, 12))
  if (line !== null && (end === -1 || 4 + line.index < end)) end = 4 + line.index
  const characters = [...text.slice(4, end === -1 ? 16 : Math.min(end, 16))]
  if (characters.length === 0 || characters.length > 5)
    throw new Hl7Unreadable('hl7-separators', 'MSH-2 must hold one to five separators, usually ^~\\&')
  if (!characters.every(isSeparator))
    throw new Hl7Unreadable(
      'hl7-separators',
      'MSH-2 holds a letter, digit or blank where a separator belongs',
    )
  if (new Set([field, ...characters]).size !== characters.length + 1)
    throw new Hl7Unreadable('hl7-separators', 'MSH-1 and MSH-2 name the same separator twice')
  const [component, repetition, escape, subcomponent, truncation] = characters
  return { field, component: component!, repetition, escape, subcomponent, truncation }
}

function isSeparator(character: string): boolean {
  return character > ' ' && character !== '\x7f' && !/[\p{L}\p{N}\p{Z}\p{C}"]/u.test(character)
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
    if (line > 0 && startsSegment(text, line, separators.field)) {
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
  if (text.charAt(at + 3) !== separator) return false
  const [first, second, third] = [text.charCodeAt(at), text.charCodeAt(at + 1), text.charCodeAt(at + 2)]
  return isCapital(first) && (isCapital(second) || isDigit(second)) && (isCapital(third) || isDigit(third))
}

const isCapital = (code: number): boolean => code >= 0x41 && code <= 0x5a
const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39

function isBlank(text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (text.charCodeAt(at) > 0x20) return false
  return true
}

/** Paths written in code and in checked plans are few; reading each once is enough. */
const knownPathsMax = 1_000
const knownPaths = new Map<string, Hl7Path | RelativePath>()

function known<Path extends Hl7Path | RelativePath>(
  text: string,
  read: (text: string) => PathReading<Path>,
): Path {
  const found = knownPaths.get(text)
  if (found !== undefined) return found as Path
  const reading = read(text)
  if (!reading.valid) throw new TypeError(reading.because)
  if (knownPaths.size < knownPathsMax) knownPaths.set(text, reading.path)
  return reading.path
}

function pathOf(path: string | Hl7Path): Hl7Path {
  return typeof path === 'string' ? known(path, parsePath) : path
}
