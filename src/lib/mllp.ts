/** MLLP release 1: <SB> content <EB><CR> (HL7 v2.5.1 appendix C / Transport Specification: MLLP, Release 1, §2). */
const startBlock = 0x0b
const endBlock = 0x1c
const carriageReturn = 0x0d
const lineFeed = 0x0a

/** Why bytes inside a frame never became one. */
export type FragmentReason =
  'start-block-inside-frame' | 'frame-too-large' | 'frame-too-slow' | 'connection-ended'

export type MllpEvent =
  /** A whole frame. `endBlockComplete` is false where 0x1C was not followed by 0x0D, as some senders do. */
  | { readonly what: 'frame'; readonly bytes: Buffer; readonly endBlockComplete: boolean }
  /** Bytes outside any frame: skipped, counted by the caller. */
  | { readonly what: 'junk'; readonly bytes: Buffer }
  /** The beginning of a frame that will never be whole. */
  | { readonly what: 'fragment'; readonly bytes: Buffer; readonly because: FragmentReason }

type Place =
  /** Between frames. */
  | 'outside'
  | 'inside'
  /** 0x1C was the last byte: the frame is whole, and what follows says whether the end block is. */
  | 'ending'
  /** As outside, but the frame before was given out by {@link MllpDecoder.settle}: its late 0x0D is no junk. */
  | 'settled'
  /** A frame was too large: where the next one begins can no longer be told. */
  | 'refused'

const partialBytesFirst = 4096

/**
 * Finds frames in a stream of bytes, however it is split. It holds no clock: {@link settle} is called by whoever owns
 * one, when a 0x1C has been the last byte for a while.
 *
 * - 0x0B inside a frame is no HL7 (content is 0x0D and bytes above 0x1F): the end was lost, so what was read so far is
 *   a fragment and a new frame begins.
 * - 0x1C ends a frame whatever follows, for the same reason. 0x0D belongs to the end block; 0x0B begins the next frame;
 *   a line feed is swallowed; anything else is junk.
 *
 * A frame that lies within one chunk is a view of that chunk, not a copy. Otherwise its bytes are copied once or twice
 * into a buffer that doubles: memory and time stay linear also where every chunk has one byte.
 *
 * @example new MllpDecoder(1024).push(Buffer.from('\x0bMSH|…\x1c\x0d', 'latin1'))
 *          // [{ what: 'frame', bytes: <MSH|…>, endBlockComplete: true }]
 */
export class MllpDecoder {
  readonly #frameBytesMax: number
  #place: Place = 'outside'
  #partial = Buffer.alloc(0)
  #held = 0

  /** @param frameBytesMax content bytes of the largest frame that is taken */
  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax
  }

  /** True between a start block and its end block: a sender that stays here is slow. */
  get isInsideFrame(): boolean {
    return this.#place === 'inside'
  }

  /** True after a 0x1C that nothing has followed yet. */
  get awaitsEndOfFrame(): boolean {
    return this.#place === 'ending'
  }

  /** Bytes of memory kept for the unfinished frame. */
  get heldBytes(): number {
    return this.#partial.length
  }

  /** Takes the next bytes of the stream, whatever they are, and says what they complete. Never throws. */
  push(chunk: Buffer): MllpEvent[] {
    const events: MllpEvent[] = []
    let at = 0
    // Where the next 0x1C is. Looked up once and kept: a chunk full of 0x0B must not be searched again from each.
    let end = -1
    while (at < chunk.length) {
      if (this.#place === 'refused') return events
      if (this.#place === 'ending') {
        const next = chunk[at]
        events.push({ what: 'frame', bytes: this.#take(), endBlockComplete: next === carriageReturn })
        if (next === carriageReturn || next === lineFeed) at++
        this.#place = 'outside'
        continue
      }
      if (this.#place === 'settled') {
        if (chunk[at] === carriageReturn) at++
        this.#place = 'outside'
        continue
      }
      if (this.#place === 'outside') {
        const start = chunk.indexOf(startBlock, at)
        const until = start === -1 ? chunk.length : start
        if (until > at) events.push({ what: 'junk', bytes: chunk.subarray(at, until) })
        at = until
        if (start !== -1) {
          at++
          this.#place = 'inside'
        }
        continue
      }
      if (end < at) {
        end = chunk.indexOf(endBlock, at)
        if (end === -1) end = chunk.length
      }
      const piece = chunk.subarray(at, end)
      const restart = piece.indexOf(startBlock)
      const content = restart === -1 ? piece : piece.subarray(0, restart)
      if (this.#held + content.length > this.#frameBytesMax) {
        this.#keep(content.subarray(0, this.#frameBytesMax - this.#held))
        events.push({ what: 'fragment', bytes: this.#take(), because: 'frame-too-large' })
        this.#place = 'refused'
        return events
      }
      at += content.length
      if (restart !== -1) {
        this.#keep(content)
        const bytes = this.#take()
        if (bytes.length > 0) events.push({ what: 'fragment', bytes, because: 'start-block-inside-frame' })
        at++
      } else if (end === chunk.length) {
        this.#keep(content)
      } else if (this.#held === 0 && chunk[end + 1] === carriageReturn) {
        events.push({ what: 'frame', bytes: content, endBlockComplete: true })
        at = end + 2
        this.#place = 'outside'
      } else {
        this.#keep(content)
        at = end + 1
        this.#place = 'ending'
      }
    }
    return events
  }

  /** Nothing has followed the 0x1C for long enough: gives the frame out, so that its sender is not left without an answer. */
  settle(): MllpEvent[] {
    if (this.#place !== 'ending') return []
    this.#place = 'settled'
    return [{ what: 'frame', bytes: this.#take(), endBlockComplete: false }]
  }

  /** The stream is over, or given up: what was begun is a fragment, and a frame that lacks only its 0x0D is a frame. */
  end(because: 'connection-ended' | 'frame-too-slow'): MllpEvent[] {
    if (this.#place === 'ending') return this.settle()
    const bytes = this.#take()
    this.#place = 'refused'
    return bytes.length === 0 ? [] : [{ what: 'fragment', bytes, because }]
  }

  #keep(piece: Buffer): void {
    const needed = this.#held + piece.length
    if (needed > this.#partial.length) {
      const doubled = Math.min(Math.max(partialBytesFirst, this.#partial.length * 2), this.#frameBytesMax)
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, doubled))
      this.#partial.copy(larger, 0, 0, this.#held)
      this.#partial = larger
    }
    piece.copy(this.#partial, this.#held)
    this.#held = needed
  }

  #take(): Buffer {
    const bytes = this.#partial.subarray(0, this.#held)
    this.#partial = Buffer.alloc(0)
    this.#held = 0
    return bytes
  }
}

/**
 * What stands between two contents on the wire. Several replies joined with it are one content for {@link frameFor}
 * and several frames for the peer.
 */
export const betweenFrames = Buffer.from([endBlock, carriageReturn, startBlock])

/** The content between its start and end block. */
export function frameFor(content: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(content.length + 3)
  frame[0] = startBlock
  frame.set(content, 1)
  frame[content.length + 1] = endBlock
  frame[content.length + 2] = carriageReturn
  return frame
}
