import { controlIdCharactersMax, legible, readHeader } from './msh.ts'
import { Unsplittable, type Piece, type Splitter } from './split.ts'

const [carriageReturn, lineFeed, startBlock, endBlock] = [0x0d, 0x0a, 0x0b, 0x1c]

type PartName = 'MSH' | 'FHS' | 'BHS' | 'BTS' | 'FTS'
const partNames: readonly string[] = ['MSH', 'FHS', 'BHS', 'BTS', 'FTS']

/** A batch header is a segment; behind a trailer there is nothing. */
const envelopeBytesMax = 64 * 1024

/**
 * Cuts a file of HL7v2 messages at their MSH segments: one message, several, a batch with FHS BHS … BTS FTS (HL7 v2.5.1
 * ch. 2.10.3) or without, MLLP frames; segments may end with CR, LF or both. What a batch states to hold must be there; a
 * message that is bad in itself is kept like any other, and does not take the others with it.
 */
export class Hl7File implements Splitter {
  readonly #messageBytesMax: number
  #rest: Buffer = Buffer.alloc(0)
  /** Bytes before `#rest`. */
  #offset = 0
  #scanned = 0
  #part: PartName | undefined
  #separator: number | undefined
  readonly #open: ('FHS' | 'BHS')[] = []
  #messages = 0
  #batches = 0
  #count = 0

  constructor(messageBytesMax: number) {
    this.#messageBytesMax = messageBytesMax
  }

  *push(chunk: Buffer): Iterable<Piece> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    if (this.#part === undefined && !this.#begins(false)) return
    yield* this.#cut(false)
  }

  *end(): Iterable<Piece> {
    if (this.#part === undefined && !this.#begins(true))
      throw new Unsplittable('the file is empty: ask the sender for it again')
    yield* this.#cut(true)
    yield* this.#finish(this.#rest)
    const open = this.#open.at(-1)
    if (open !== undefined)
      throw new Unsplittable(
        `${open} is not closed by ${open === 'FHS' ? 'FTS' : 'BTS'}: the file was cut off, ask the sender for it again`,
      )
  }

  /** Whether the first segment is there; blanks, a byte order mark and the start of an MLLP frame may stand before it. */
  #begins(isEnd: boolean): boolean {
    const bytes = this.#rest
    if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
      throw new Unsplittable('the file is UTF-16: let the sender write UTF-8')
    let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
    while (at < bytes.length && [0x20, 0x09, carriageReturn, lineFeed, startBlock].includes(bytes[at]!)) at++
    if (bytes.length - at < 4 && (!isEnd || bytes.length === at)) return false
    if (!isPart(bytes, at))
      throw new Unsplittable(
        `at byte ${this.#offset + at} a segment MSH, FHS or BHS should begin: the file holds no HL7v2 messages, or something stands before them`,
      )
    this.#rest = bytes.subarray(at)
    this.#offset += at
    this.#part = nameAt(bytes, at)
    this.#scanned = 1
    return true
  }

  *#cut(isEnd: boolean): Generator<Piece> {
    let start = 0
    let at = this.#scanned
    const bytes = this.#rest
    // Four bytes tell a segment; the one before them, whether a segment can begin.
    for (; at + 4 <= bytes.length; at++) {
      const before = bytes[at - 1]!
      if (before !== carriageReturn && before !== lineFeed && before !== startBlock && before !== endBlock)
        continue
      if (!isPart(bytes, at) || (this.#separator !== undefined && bytes[at + 3] !== this.#separator)) continue
      yield* this.#finish(bytes.subarray(start, at))
      this.#part = nameAt(bytes, at)
      start = at
    }
    this.#rest = bytes.subarray(start)
    this.#offset += start
    this.#scanned = Math.max(1, at - start)
    const bytesMax = this.#part === 'MSH' ? this.#messageBytesMax : envelopeBytesMax
    if (!isEnd && this.#rest.length > bytesMax)
      throw new Unsplittable(
        `${this.#part ?? 'what begins'} at byte ${this.#offset} goes on for more than ${bytesMax} bytes: no message is as long, the sender has to split it`,
      )
  }

  *#finish(bytes: Buffer): Generator<Piece> {
    const part = this.#part
    this.#separator ??= bytes[3]
    switch (part) {
      case undefined:
        return
      case 'MSH':
        this.#messages++
        yield this.#pieceOf(bytes)
        return
      case 'FHS':
      case 'BHS':
        if (part === 'BHS') this.#messages = 0
        this.#open.push(part)
        return
      case 'BTS':
        this.#batches++
        this.#close('BHS', bytes, this.#messages, 'messages')
        return
      case 'FTS':
        this.#close('FHS', bytes, this.#batches, 'batches')
        return
    }
  }

  /** A trailer that states more than came says that something was lost; senders that state less are known and harmless. */
  #close(header: 'FHS' | 'BHS', bytes: Buffer, counted: number, what: string): void {
    if (this.#open.at(-1) === header) this.#open.pop()
    const separator = String.fromCharCode(bytes[3]!)
    const stated = Number(
      /^\d{1,9}/.exec(bytes.toString('latin1', 0, 200).split(separator)[1]?.trim() ?? '')?.[0],
    )
    if (stated > counted)
      throw new Unsplittable(
        `${bytes.toString('latin1', 0, 3)} states ${stated} ${what}, and ${counted} came: ask the sender for the whole file`,
      )
  }

  #pieceOf(framed: Buffer): Piece {
    let end = framed.length
    while (end > 0 && [carriageReturn, lineFeed, startBlock, endBlock, 0x20, 0x1a].includes(framed[end - 1]!))
      end--
    this.#count++
    // The same message, framed or not, in a file or over MLLP, has the same bytes.
    const content = Buffer.concat([framed.subarray(0, end), Buffer.from([carriageReturn])])
    const reading = readHeader(content)
    return {
      content,
      controlId: reading.is === 'header' ? legible(reading.header.controlId, controlIdCharactersMax) : '',
      sender: '',
      flags: this.#open.length > 0 || this.#count > 1 ? ['in-batch'] : [],
    }
  }
}

function isPart(bytes: Buffer, at: number): boolean {
  if (!partNames.includes(bytes.toString('latin1', at, at + 3))) return false
  const separator = bytes[at + 3]
  return separator !== undefined && !/[A-Za-z0-9\s]/.test(String.fromCharCode(separator))
}

function nameAt(bytes: Buffer, at: number): PartName {
  return bytes.toString('latin1', at, at + 3) as PartName
}
