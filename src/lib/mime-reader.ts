import { base64Decoded } from './base64-text.ts'

/**
 * Splits a MIME entity where its raw bytes say so and never alters a byte: what was signed is what is handed on. Line
 * ends may be CRLF or LF.
 */
export interface Entity {
  readonly fields: readonly Field[]
  /** The whole entity as given: header fields, blank line, body. Shares memory, like everything here. */
  readonly raw: Buffer
  readonly body: Buffer
}

/** One header field, unfolded (RFC 5322 §2.2.3). Bytes that are not UTF-8 are read as ISO 8859-1. */
export interface Field {
  /** As spelled. */
  readonly name: string
  readonly value: string
}

/** A header field value with parameters (RFC 2045 §5.1): the value in lower case, parameter names in lower case. */
export interface Parameterized {
  readonly value: string
  readonly parameters: ReadonlyMap<string, string>
}

/** Octets of one header block; real ones stay below 20 kB. */
const headerOctetsMax = 256 * 1024
/** Fields of one header block; a long way through relays adds some 50. */
const fieldsMax = 1000
/** Parts of one multipart. */
const partsMax = 1000
/** RFC 2046 §5.1.1: characters of a boundary. */
const boundaryCharactersMax = 70
const parametersMax = 100

/** Reads the header block; a line that is no header field ends it, as does a blank line. Never throws. */
export function readEntity(raw: Buffer): Entity {
  const fields: Field[] = []
  const limit = Math.min(raw.length, headerOctetsMax)
  let at = 0
  let current: { name: string; pieces: Buffer[] } | undefined
  const flush = () => {
    if (current) fields.push({ name: current.name, value: textOf(current.pieces) })
    current = undefined
  }
  while (at < limit && fields.length < fieldsMax) {
    const feed = raw.indexOf(0x0a, at)
    const next = feed < 0 ? raw.length : feed + 1
    let lineEnd = feed < 0 ? raw.length : feed
    if (lineEnd > at && raw[lineEnd - 1] === 0x0d) lineEnd--
    const line = raw.subarray(at, lineEnd)
    if (line.length === 0) {
      flush()
      return { fields, raw, body: raw.subarray(next) }
    }
    const isFolded = line[0] === 0x20 || line[0] === 0x09
    if (isFolded && current) current.pieces.push(line)
    else if (isFolded && fields.length === 0) {
      // QUIRK: messages stored by one reference implementation begin with " Received:"; the blank is not folding.
      current = startOf(line.subarray(1)) ?? current
      if (!current) return { fields, raw, body: raw.subarray(at) }
    } else {
      const started = startOf(line)
      flush()
      if (!started) return { fields, raw, body: raw.subarray(at) }
      current = started
    }
    at = next
  }
  flush()
  return { fields, raw, body: raw.subarray(Math.min(at, raw.length)) }
}

function startOf(line: Buffer): { name: string; pieces: Buffer[] } | undefined {
  const colon = line.indexOf(0x3a)
  if (colon < 1) return undefined
  // RFC 5322 §4.5: obsolete syntax allows blanks before the colon.
  const name = line.toString('latin1', 0, colon).trimEnd()
  if (!/^[\x21-\x7e]+$/.test(name)) return undefined
  return { name, pieces: [line.subarray(colon + 1)] }
}

function textOf(pieces: readonly Buffer[]): string {
  const bytes = Buffer.concat(pieces)
  const text = bytes.toString('utf8')
  return (text.includes('\ufffd') ? bytes.toString('latin1') : text).trim()
}

/** The first header field of that name, whatever its case. */
export function fieldValue(entity: Pick<Entity, 'fields'>, name: string): string | undefined {
  const wanted = name.toLowerCase()
  return entity.fields.find((one) => one.name.toLowerCase() === wanted)?.value
}

/** Content-Type, or what RFC 2045 §5.2 says in its absence. */
export function contentType(entity: Pick<Entity, 'fields'>): Parameterized {
  const read = readParameterized(fieldValue(entity, 'content-type') ?? '')
  return read.value === '' ? { value: 'text/plain', parameters: read.parameters } : read
}

/**
 * Splits `multipart/signed; micalg="sha-256"; boundary=b` into value and parameters: any case, any order, quoted or not,
 * comments skipped, RFC 2231 continuations and charsets resolved. The first of several with one name counts.
 */
export function readParameterized(text: string): Parameterized {
  const at = { index: 0 }
  const value = readUntil(text, at, ';').toLowerCase()
  const pieces = new Map<string, string>()
  while (at.index < text.length && pieces.size < parametersMax) {
    at.index++
    const name = readUntil(text, at, ';=').toLowerCase()
    if (text[at.index] !== '=') continue
    at.index++
    const content = readUntil(text, at, ';')
    if (name !== '' && !pieces.has(name)) pieces.set(name, content)
  }
  return { value, parameters: joinContinuations(pieces) }
}

/** Reads to one of `stops` outside of quotes and comments; quotes are taken off, blanks around are dropped. */
function readUntil(text: string, at: { index: number }, stops: string): string {
  let out = ''
  let quotedUpTo = 0
  let comments = 0
  for (; at.index < text.length; at.index++) {
    const character = text[at.index]!
    if (comments > 0) {
      if (character === '\\') at.index++
      else if (character === '(') comments++
      else if (character === ')') comments--
      continue
    }
    if (character === '"') {
      for (at.index++; at.index < text.length && text[at.index] !== '"'; at.index++) {
        if (text[at.index] === '\\') at.index++
        out += text[at.index] ?? ''
      }
      quotedUpTo = out.length
      continue
    }
    if (stops.includes(character)) break
    if (character === '(') comments++
    else if (out !== '' || !/\s/.test(character)) out += character
  }
  return out.slice(0, quotedUpTo) + out.slice(quotedUpTo).trimEnd()
}

/** RFC 2231 §3 and §4: `name*0*=utf-8''…`, `name*1=…`, `name*=utf-8''…`. */
function joinContinuations(pieces: ReadonlyMap<string, string>): Map<string, string> {
  const parameters = new Map<string, string>()
  for (const [name, content] of pieces) if (!name.includes('*')) parameters.set(name, content)
  const extended = new Set(
    [...pieces.keys()].filter((name) => name.includes('*')).map((name) => name.split('*')[0]!),
  )
  for (const base of extended) {
    let bytes = Buffer.alloc(0)
    let charset = 'utf-8'
    const add = (content: string, isEncoded: boolean, isFirst: boolean) => {
      let rest = content
      if (isEncoded && isFirst) {
        const mark = /^([^']*)'[^']*'/.exec(content)
        if (mark) {
          charset = mark[1]!.toLowerCase()
          rest = content.slice(mark[0].length)
        }
      }
      bytes = Buffer.concat([bytes, isEncoded ? percentDecoded(rest) : Buffer.from(rest)])
    }
    const single = pieces.get(`${base}*`)
    if (single !== undefined) add(single, true, true)
    else
      for (let index = 0; ; index++) {
        const encoded = pieces.get(`${base}*${index}*`)
        const plain = pieces.get(`${base}*${index}`)
        if (encoded !== undefined) add(encoded, true, index === 0)
        else if (plain !== undefined) add(plain, false, index === 0)
        else break
      }
    if (bytes.length > 0) parameters.set(base, bytes.toString(charset === 'iso-8859-1' ? 'latin1' : 'utf8'))
  }
  return parameters
}

function percentDecoded(text: string): Buffer {
  return Buffer.from(
    text.replaceAll(/%([0-9A-Fa-f]{2})|([^\x00-\x7f])/g, (_, hex: string | undefined, other: string) =>
      hex === undefined ? other : String.fromCharCode(parseInt(hex, 16)),
    ),
    'latin1',
  )
}

export type Split =
  | { readonly split: true; readonly parts: readonly Buffer[] }
  | { readonly split: false; readonly because: string }

/**
 * The parts of a multipart body between its delimiter lines. The line break before a delimiter belongs to the
 * delimiter (RFC 2046 §5.1.1), everything else to the part. Preamble and epilogue are dropped; a missing close
 * delimiter is refused, since what was cut off cannot be known.
 */
export function splitMultipart(body: Buffer, boundary: string): Split {
  if (boundary === '' || boundary.length > boundaryCharactersMax)
    return { split: false, because: `the boundary has ${boundary.length} characters instead of 1 to 70` }
  const delimiter = Buffer.from(`--${boundary}`, 'utf8')
  const parts: Buffer[] = []
  let partStart: number | undefined
  for (let at = body.indexOf(delimiter); at >= 0; at = body.indexOf(delimiter, at + 1)) {
    if (at > 0 && body[at - 1] !== 0x0a) continue
    const line = delimiterLine(body, at + delimiter.length)
    if (!line) continue
    if (partStart !== undefined) {
      let partEnd = at - 1
      if (partEnd > partStart && body[partEnd - 1] === 0x0d) partEnd--
      parts.push(body.subarray(partStart, Math.max(partStart, partEnd)))
      if (parts.length > partsMax) return { split: false, because: `it has more than ${partsMax} parts` }
    }
    if (line.closes) {
      return partStart === undefined
        ? { split: false, because: 'its first delimiter is the closing one' }
        : { split: true, parts }
    }
    partStart = line.end
    at = line.end - 2
  }
  return { split: false, because: 'its closing delimiter is missing' }
}

/** What follows the boundary on its line: only padding counts, else the line is text (RFC 2046 §5.1.1). */
function delimiterLine(body: Buffer, after: number): { closes: boolean; end: number } | undefined {
  const closes = body[after] === 0x2d && body[after + 1] === 0x2d
  let at = closes ? after + 2 : after
  while (body[at] === 0x20 || body[at] === 0x09) at++
  if (at >= body.length) return closes ? { closes, end: at } : undefined
  if (body[at] === 0x0d && body[at + 1] === 0x0a) return { closes, end: at + 2 }
  if (body[at] === 0x0a) return { closes, end: at + 1 }
  return undefined
}

/** The body with its Content-Transfer-Encoding undone; as it is for 7bit, 8bit, binary, none and unknown ones. */
export function decodedBody(entity: Entity): Buffer {
  const encoding = readParameterized(fieldValue(entity, 'content-transfer-encoding') ?? '').value
  if (encoding === 'base64') return base64Decoded(entity.body)
  if (encoding === 'quoted-printable') return quotedPrintableDecoded(entity.body)
  return entity.body
}

/** RFC 2045 §6.7; what is not valid there stays as it is. */
export function quotedPrintableDecoded(body: Buffer): Buffer {
  const out = Buffer.allocUnsafe(body.length)
  let to = 0
  let afterBlanks = 0
  for (let at = 0; at < body.length; at++) {
    const octet = body[at]!
    if (octet === 0x3d) {
      const hex = body.toString('latin1', at + 1, at + 3)
      if (/^[0-9A-Fa-f]{2}$/.test(hex)) {
        out[to++] = parseInt(hex, 16)
        at += 2
        afterBlanks = to
        continue
      }
      const soft = softBreakLength(body, at + 1)
      if (soft > 0) {
        at += soft
        afterBlanks = to
        continue
      }
    }
    // Blanks before a line break were added on the way.
    if (octet === 0x0a || (octet === 0x0d && body[at + 1] === 0x0a)) to = afterBlanks
    out[to++] = octet
    if (octet !== 0x20 && octet !== 0x09) afterBlanks = to
  }
  return out.subarray(0, to)
}

/** Octets of blanks and a line break after `=`, or 0. */
function softBreakLength(body: Buffer, from: number): number {
  let at = from
  while (body[at] === 0x20 || body[at] === 0x09) at++
  if (body[at] === 0x0d && body[at + 1] === 0x0a) return at + 2 - from
  if (body[at] === 0x0a) return at + 1 - from
  return 0
}
