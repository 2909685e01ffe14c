import { unescapeHl7 } from './hl7v2-escape.ts'
import { part } from './hl7v2-segment.ts'
import type { Hl7Message } from './hl7v2.ts'
import { mimeParts } from './mime-parts.ts'

/** A document inside a message. `place` is where: `OBX[2]-5`. */
export type EmbeddedDocument =
  | { readonly kind: 'cda' | 'pdf'; readonly bytes: Buffer; readonly place: string }
  | { readonly kind: 'unreadable'; readonly because: string; readonly place: string }

/** Statuses of HL7 table 0085 that take a result back or are not the last word. */
const notFinal = new Set(['D', 'W', 'X', 'N', 'P', 'R', 'I', 'S', 'O'])

/**
 * The documents that an MDM or ORU brings along in OBX-5 of type ED (HL7 v2.5.1 ch. 2.A.24): C-CDA or PDF, as base64,
 * hexadecimal or escaped text, or as MIME multipart (IHE XDS-MDM). What one segment or repetition cannot hold goes on in the
 * next one with the same OBX-3. Told apart by their first bytes: what the sender calls them is not believed. Other contents
 * (pictures, programs, empty ones) are left out. The bytes are those that were put in, never altered.
 */
export function embeddedDocuments(message: Hl7Message): EmbeddedDocument[] {
  const pieces: Piece[] = []
  let observation = ''
  for (const [index, segment] of message.segments('OBX').entries()) {
    if (segment.value(2) !== 'ED' || notFinal.has(segment.value(11) ?? '')) {
      observation = ''
      continue
    }
    const identifier = segment.field(3)
    const isSame = observation !== '' && identifier === observation
    for (const [nth, repetition] of segment.repetitions(5).entries()) {
      const piece = readPiece(message, repetition.text, `OBX[${index + 1}]-5`)
      if (piece.text === '') continue
      const last = pieces.at(-1)
      if ((isSame || nth > 0) && last?.encoding === piece.encoding && !beginsDocument(piece))
        last.text += piece.text
      else pieces.push(piece)
    }
    observation = identifier
  }
  return pieces.flatMap(documentsOf)
}

interface Piece {
  readonly encoding: 'base64' | 'hex' | 'text'
  readonly place: string
  text: string
}

function readPiece({ separators, charset }: Hl7Message, repetition: string, place: string): Piece {
  const component = (n: number) => unescapeHl7(part(repetition, separators.component, n), separators, charset)
  const named = component(4).trim().toLowerCase()
  const encoding = named === 'base64' ? 'base64' : named === 'hex' ? 'hex' : 'text'
  const text = component(5)
  return { encoding, place, text: encoding === 'text' ? text : text.replace(/\s+/g, '') }
}

/** A whole number of base64 quartets; the root element of a document begins before. */
const headCharacters = 4096

function beginsDocument({ encoding, text }: Piece): boolean {
  const head = text.slice(0, headCharacters)
  const bytes = encoding === 'text' ? Buffer.from(head) : Buffer.from(head, encoding)
  return (
    kindOf(bytes) !== 'other' ||
    /^\s*(--|mime-version:|content-type:)/i.test(bytes.toString('latin1', 0, 200))
  )
}

function documentsOf({ encoding, place, text }: Piece): EmbeddedDocument[] {
  const bytes = decoded(encoding, text)
  if (bytes === undefined)
    return [{ kind: 'unreadable', place, because: `its ${encoding} is broken, or a part of it is missing` }]
  const kind = kindOf(bytes)
  if (kind !== 'other') return [{ kind, bytes, place }]
  if (!/^\s*(--|mime-version:|content-type:)/i.test(bytes.toString('latin1', 0, 200))) return []
  return mimeParts(withHeader(bytes)).flatMap(({ content }): EmbeddedDocument[] => {
    const inner = kindOf(content)
    return inner === 'other' ? [] : [{ kind: inner, bytes: content, place }]
  })
}

/** QUIRK: some senders begin with the first delimiter and leave the MIME header to the subtype in OBX-5.3. */
function withHeader(bytes: Buffer): Buffer {
  const boundary = /^\s*--([^\r\n]{1,70})\r?\n/.exec(bytes.toString('latin1', 0, 200))?.[1]?.trimEnd()
  if (boundary === undefined || boundary.includes('"')) return bytes
  return Buffer.concat([
    Buffer.from(`Content-Type: multipart/related; boundary="${boundary}"\r\n\r\n`),
    bytes,
  ])
}

function decoded(encoding: Piece['encoding'], text: string): Buffer | undefined {
  if (encoding === 'base64') return base64Of(text)
  if (encoding === 'hex') return /^(?:[0-9a-f]{2})+$/i.test(text) ? Buffer.from(text, 'hex') : undefined
  // Text was decoded with the message; it goes back to what its own declaration says.
  const declared = /^\s*<\?xml[^>]{0,100}encoding\s*=\s*["']([^"']+)/.exec(text)?.[1]?.toLowerCase()
  return Buffer.from(text, declared === 'iso-8859-1' || declared === 'us-ascii' ? 'latin1' : 'utf8')
}

/** Pieces may each have been encoded alone, so padding may stand in the middle; anything else foreign is a mistake. */
function base64Of(text: string): Buffer | undefined {
  if (!/^[A-Za-z0-9+/]/.test(text) || !/^[A-Za-z0-9+/=]*$/.test(text)) return undefined
  const runs = text.match(/[^=]+={0,2}/g) ?? []
  if (runs.join('') !== text) return undefined
  const isWhole = runs.every((run) => run.length % 4 === 0)
  return isWhole ? Buffer.concat(runs.map((run) => Buffer.from(run, 'base64'))) : undefined
}

function kindOf(bytes: Buffer): 'cda' | 'pdf' | 'other' {
  if (bytes.subarray(0, 1024).includes('%PDF-')) return 'pdf'
  const [first, second] = bytes
  const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0x3c && second === 0)
  const isUtf16Big = (first === 0xfe && second === 0xff) || (first === 0 && second === 0x3c)
  const head = bytes.subarray(0, headCharacters * 2)
  const text = isUtf16
    ? head.toString('utf16le')
    : isUtf16Big
      ? Buffer.from(head.subarray(0, head.length & ~1))
          .swap16()
          .toString('utf16le')
      : head.toString('latin1').replace(/^\xef\xbb\xbf/, '')
  return /^\ufeff?\s*</.test(text) && /<(?:[\w.-]+:)?ClinicalDocument[\s>]/.test(text) ? 'cda' : 'other'
}
