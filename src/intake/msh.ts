/**
 * The header segment as it stands on the wire. Texts are the latin1 view of the bytes, so that whatever charset the
 * sender writes comes back byte by byte; {@link legible} makes them readable.
 */
export class MessageHeader {
  readonly fieldSeparator: string
  /** MSH-2, the encoding characters. */
  readonly encodingCharacters: string
  readonly #fields: readonly string[]

  /** @param fields the segment split at its field separator; the first is `MSH` */
  constructor(fieldSeparator: string, fields: readonly string[]) {
    this.fieldSeparator = fieldSeparator
    this.encodingCharacters = fields[1] ?? ''
    this.#fields = fields
  }

  get componentSeparator(): string {
    return this.encodingCharacters.charAt(0)
  }

  /** MSH-`position` whole, from 3 up; empty where it is absent. */
  field(position: number): string {
    return this.#fields[position - 1] ?? ''
  }

  component(position: number, component: number): string {
    return this.field(position).split(this.componentSeparator)[component - 1] ?? ''
  }

  get controlId(): string {
    return this.field(10)
  }
}

/** HL7 table 0357, as far as a header can break. */
export type HeaderError =
  | { readonly code: '101'; readonly text: 'Required field missing' }
  | { readonly code: '102'; readonly text: 'Data type error' }
  | { readonly code: '202'; readonly text: 'Unsupported processing id' }
  | { readonly code: '203'; readonly text: 'Unsupported version id' }
  | { readonly code: '207'; readonly text: 'Application internal error' }

export interface HeaderDefect {
  /** Stable; kept as the code of the quarantined message. */
  readonly code:
    | 'separators-unusable'
    | 'control-id-missing'
    | 'control-id-unusable'
    | 'message-type-missing'
    | 'processing-id-unsupported'
    | 'version-unsupported'
  /** What is wrong and where, without quoting the message. */
  readonly because: string
  /** The field of MSH that is wrong. */
  readonly field: number
  readonly error: HeaderError
}

export type HeaderReading =
  | { readonly is: 'header'; readonly header: MessageHeader; readonly defect?: HeaderDefect }
  /** Nobody knows how to answer this. */
  | { readonly is: 'not-hl7'; readonly because: string }

/** A header segment is a few hundred bytes; the rest is a message without segment ends. */
const headerBytesMax = 64 * 1024

/** HL7 v2.9 ch. 2.14.9.10: MSH-10 has at most 199 characters (20 before v2.7). */
export const controlIdCharactersMax = 199

const requiredFieldMissing: HeaderError = { code: '101', text: 'Required field missing' }
const dataTypeError: HeaderError = { code: '102', text: 'Data type error' }

/**
 * Reads the MSH segment from raw bytes. Assumes no separators (HL7 v2.5.1 ch. 2.5.4) and no charset, and looks past a
 * UTF-8 byte order mark and blank lines. Never throws.
 */
export function readHeader(bytes: Buffer): HeaderReading {
  const start = startOfHeader(bytes)
  if (!isHeader(bytes, start)) return { is: 'not-hl7', because: whyNotHl7(bytes, start) }
  const fieldSeparator = String.fromCharCode(bytes[start + 3]!)
  const fields = bytes.toString('latin1', start, endOfSegment(bytes, start)).split(fieldSeparator)
  const header = new MessageHeader(fieldSeparator, fields)
  const defect = defectOf(header)
  return defect === undefined ? { is: 'header', header } : { is: 'header', header, defect }
}

/** Where a message begins: behind a byte order mark, blank lines and blanks, as files and some senders have them. */
export function startOfHeader(bytes: Buffer): number {
  let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
  while (bytes[at] === 0x0d || bytes[at] === 0x0a || bytes[at] === 0x20 || bytes[at] === 0x09) at++
  return at
}

/** Segments end with 0x0D; files and some senders write 0x0A or both. */
function endOfSegment(bytes: Buffer, start: number): number {
  const window = bytes.subarray(start, start + headerBytesMax)
  const carriageReturn = window.indexOf(0x0d)
  const segment = carriageReturn === -1 ? window : window.subarray(0, carriageReturn)
  const lineFeed = segment.indexOf(0x0a)
  return start + (lineFeed === -1 ? segment.length : lineFeed)
}

function isHeader(bytes: Buffer, start: number): boolean {
  if (bytes[start] !== 0x4d || bytes[start + 1] !== 0x53 || bytes[start + 2] !== 0x48) return false
  return start + 3 < bytes.length && !noSeparator.test(String.fromCharCode(bytes[start + 3]!))
}

function whyNotHl7(bytes: Buffer, start: number): string {
  if (start >= bytes.length) return 'the frame holds nothing but blanks'
  const [first, second] = bytes
  const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)
  if (isUtf16 || bytes[start + 1] === 0 || first === 0)
    return 'the frame looks like UTF-16, which MLLP cannot carry: let the sender write UTF-8'
  return 'the frame does not begin with an MSH segment'
}

function defectOf(header: MessageHeader): HeaderDefect | undefined {
  const separators = whySeparatorsUnusable(header.fieldSeparator, header.encodingCharacters)
  if (separators !== undefined)
    return { code: 'separators-unusable', because: separators, field: 2, error: dataTypeError }
  const { controlId } = header
  if (controlId === '')
    return {
      code: 'control-id-missing',
      because: 'MSH-10 is empty: without a control id no answer can be told from another',
      field: 10,
      error: requiredFieldMissing,
    }
  if (controlId.length > controlIdCharactersMax)
    return {
      code: 'control-id-unusable',
      because: `MSH-10 has more than ${controlIdCharactersMax} characters`,
      field: 10,
      error: dataTypeError,
    }
  if (controlId.includes('\0'))
    return { code: 'control-id-unusable', because: 'MSH-10 has a NUL byte', field: 10, error: dataTypeError }
  return unsupported(header)
}

/**
 * MSH-9, 11 and 12 as far as no channel could take them (HL7 v2.5.1 ch. 2.9.2 names these three for AR). Which types
 * and events are wanted, is the channel’s to say, and no fault of the sender. MSH-11 and MSH-12 may be empty: old
 * feeds leave them so, and the filter decides.
 */
function unsupported(header: MessageHeader): HeaderDefect | undefined {
  if (header.component(9, 1).trim() === '')
    return {
      code: 'message-type-missing',
      because: 'MSH-9 is empty: nobody can tell what kind of message this is',
      field: 9,
      error: requiredFieldMissing,
    }
  if (!/^\s*[PTD]?\s*$/i.test(header.component(11, 1)))
    return {
      code: 'processing-id-unsupported',
      because: 'MSH-11 is none of P, T and D (HL7 table 0103)',
      field: 11,
      error: { code: '202', text: 'Unsupported processing id' },
    }
  // Seen: 2.3.z, 2.5^FRA^2.11, V2.4.
  if (!/^\s*(?:v?2(?:\..*)?)?\s*$/is.test(header.component(12, 1)))
    return {
      code: 'version-unsupported',
      because: 'MSH-12 names no version 2 of HL7',
      field: 12,
      error: { code: '203', text: 'Unsupported version id' },
    }
  return undefined
}

/** What separators may not be: parts of words or numbers, blanks, segment ends. */
const noSeparator = /[A-Za-z0-9\s\0]/

/**
 * Real feeds have `^~\&`, `^~\&#` (v2.7 truncation), `^~}` and other marks; they are good as long as each means one
 * thing. A repetition separator of several bytes (U+02DC typed for ~) is left to the reader of the message: nothing is
 * split at it here.
 */
function whySeparatorsUnusable(fieldSeparator: string, encodingCharacters: string): string | undefined {
  const marks = fieldSeparator + encodingCharacters
  if (encodingCharacters === '') return 'MSH-2 is empty: it must name the separators, usually ^~\\&'
  if (noSeparator.test(encodingCharacters))
    return 'MSH-2 has a letter, a digit or a blank where separators belong'
  if (/[\x80-\xff]/.test(fieldSeparator + encodingCharacters.charAt(0)))
    return 'the field or component separator is no ASCII character'
  const characters = [...decoded(marks)]
  if (characters.length > 6) return 'MSH-2 has more than five separators'
  if (new Set(characters).size < characters.length) return 'MSH-1 and MSH-2 use one separator for two things'
  return undefined
}

/** A text of the header made readable, for storing and showing: UTF-8 where it is valid, else windows-1252; no NUL. */
export function legible(latin1: string, charactersMax: number): string {
  const text = /^[\x01-\x7f]*$/.test(latin1) ? latin1 : decoded(latin1).replaceAll('\0', '␀')
  return text.length <= charactersMax ? text : text.slice(0, charactersMax).toWellFormed()
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const windows1252 = new TextDecoder('windows-1252')

function decoded(latin1: string): string {
  if (/^[\x00-\x7f]*$/.test(latin1)) return latin1
  const bytes = Buffer.from(latin1, 'latin1')
  try {
    return utf8.decode(bytes)
  } catch {
    return windows1252.decode(bytes)
  }
}
