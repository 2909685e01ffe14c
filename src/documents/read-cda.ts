import { encodingSniffBytes, readEncoding } from './cda-encoding.ts'
import type { CdaHeader } from './cda-header.ts'
import { HeaderReader } from './header-reader.ts'
import { Unreadable } from './unreadable.ts'

/** Which step of the gate (domain.md 3) the bytes fail at. */
export type CdaReading =
  | { readonly readable: true; readonly header: CdaHeader }
  | { readonly readable: false; readonly step: 1 | 2 | 3 | 4 | 5; readonly because: string }

/** A document at once, or in pieces of any length. */
export type DocumentBytes = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>

/** Parsed at a time; other work gets its turn in between. */
const pieceBytes = 64 * 1024
const piecesPerTurn = 4

/**
 * Reads a C-CDA once, as a stream: decodes it, checks that it is well-formed with namespaces to its last byte, and takes
 * the facts of the header. Entities are never expanded, nothing is fetched, nothing is altered. `because` quotes nothing
 * of the document.
 */
export async function readCda(document: DocumentBytes, bytesMax: number): Promise<CdaReading> {
  try {
    return { readable: true, header: await readWhole(document, bytesMax) }
  } catch (error) {
    if (error instanceof Unreadable) return { readable: false, step: error.step, because: error.because }
    throw error
  }
}

async function readWhole(document: DocumentBytes, bytesMax: number): Promise<CdaHeader> {
  const reader = new HeaderReader()
  let decode: ((chunk: Uint8Array, isLast: boolean) => string) | undefined
  let head: Uint8Array = new Uint8Array(0)
  let bytes = 0
  let pieces = 0

  const feed = (piece: Uint8Array, isLast: boolean) => {
    let text: string
    try {
      text = decode!(piece, isLast)
    } catch {
      throw new Unreadable(2, `it has bytes that do not belong to its encoding, before byte ${bytes}`)
    }
    if (text.includes('\0')) throw new Unreadable(2, 'it contains NUL characters')
    reader.write(text)
  }
  const begin = () => {
    refuseOtherFormats(head)
    const encoding = readEncoding(head.subarray(0, encodingSniffBytes))
    if (!encoding.readable) throw new Unreadable(2, encoding.because)
    decode = encoding.decode
    feed(head, false)
  }

  const chunks = document instanceof Uint8Array ? [document] : document
  for await (const chunk of chunks) {
    for (let from = 0; from < chunk.length; from += pieceBytes) {
      const piece = chunk.subarray(from, from + pieceBytes)
      bytes += piece.length
      if (bytes > bytesMax) throw new Unreadable(1, `it is larger than ${bytesMax} bytes`)
      if (decode !== undefined) feed(piece, false)
      else {
        head = head.length === 0 ? piece : Buffer.concat([head, piece])
        if (head.length >= encodingSniffBytes) begin()
      }
      if (++pieces % piecesPerTurn === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  if (bytes === 0) throw new Unreadable(1, 'it is empty')
  if (decode === undefined) begin()
  feed(new Uint8Array(0), true)
  return reader.end()
}

/** What servers hand out instead of a document, told apart by its first bytes. */
function refuseOtherFormats(head: Uint8Array): void {
  const start = Buffer.from(head.subarray(0, 4096))
    .toString('latin1')
    .replace(/^\xef\xbb\xbf/, '')
    .trimStart()
  if (/^(<!doctype\s+html|<html)/i.test(start)) throw new Unreadable(3, 'it is an HTML page, not a document')
  if (start.startsWith('%PDF')) throw new Unreadable(3, 'it is a PDF, not a C-CDA')
  if (start.startsWith('PK\x03\x04')) throw new Unreadable(3, 'it is a ZIP archive, not a C-CDA')
  if (/^[{[]/.test(start))
    throw new Unreadable(
      3,
      /"resourceType"\s*:\s*"OperationOutcome"/.test(start)
        ? 'it is a FHIR OperationOutcome, the server’s error message, not a document'
        : 'it is JSON, not a C-CDA',
    )
}
