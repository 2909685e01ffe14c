/**
 * Base64 in lines of 76 characters with CRLF (RFC 2045 §6.8), as the bytes come. `push` returns what is complete; the
 * last, shorter line comes from `end`. Both return buffers of their own that no one else writes to.
 */
export interface Base64Lines {
  push(bytes: Uint8Array): Buffer
  end(): Buffer
}

/** Bytes in one full line. Blocks that are multiples of it need no carrying over. */
const lineBytes = 57
const lineCharacters = 76
const lineOctets = lineCharacters + 2

/** Length in octets of the lines that `bytes` bytes become, the final CRLF included. */
export function base64LinesLength(bytes: number): number {
  const characters = Math.ceil(bytes / 3) * 4
  return characters + 2 * Math.ceil(characters / lineCharacters)
}

export function base64Lines(): Base64Lines {
  let carried = Buffer.alloc(0)
  return {
    push(bytes) {
      let from = 0
      const parts: Buffer[] = []
      if (carried.length > 0) {
        from = Math.min(lineBytes - carried.length, bytes.length)
        carried = Buffer.concat([carried, bytes.subarray(0, from)])
        if (carried.length < lineBytes) return Buffer.alloc(0)
        parts.push(carried)
      }
      const whole = bytes.length - from - ((bytes.length - from) % lineBytes)
      const block = viewOf(bytes).subarray(from, from + whole)
      carried = Buffer.from(bytes.subarray(from + whole))
      if (parts.length === 0) return foldedBase64([block])
      return foldedBase64([parts[0]!, block])
    },
    end() {
      const last = carried
      carried = Buffer.alloc(0)
      return foldedBase64([last])
    },
  }
}

/** All of it at once. */
export function base64InLines(bytes: Uint8Array): Buffer {
  return foldedBase64([viewOf(bytes)])
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Unfolded text passes through here in pieces; one per thread. 1,024 lines. */
const pieceBytes = lineBytes * 1024
const scratch = Buffer.alloc((pieceBytes / 3) * 4)
const scratchView = new DataView(scratch.buffer, scratch.byteOffset, scratch.byteLength)

/** Every block but the last is a multiple of 57 bytes long. */
function foldedBase64(blocks: readonly Buffer[]): Buffer {
  let length = 0
  for (const block of blocks) length += base64LinesLength(block.length)
  const out = Buffer.allocUnsafeSlow(length)
  const outView = new DataView(out.buffer, out.byteOffset, out.byteLength)
  let at = 0
  for (const block of blocks)
    for (let from = 0; from < block.length; from += pieceBytes) {
      const to = Math.min(from + pieceBytes, block.length)
      const characters = scratch.write(block.toString('base64', from, to), 'latin1')
      at = fold(characters, outView, out, at)
    }
  return out
}

/**
 * Copies lines from the scratch with a CRLF after each. Folding is the dearest step of sealing after the cipher, so a
 * line moves as 9 doubles and one 32-bit word: DataView compiles to plain unaligned loads and stores, at twice the speed of a
 * `set` per line. Base64 characters are below 0x7f, so no eight of them are a NaN whose bits a copy might change.
 */
function fold(characters: number, outView: DataView, out: Buffer, start: number): number {
  const lines = Math.floor(characters / lineCharacters)
  let from = 0
  let to = start
  for (let line = 0; line < lines; line++) {
    outView.setFloat64(to, scratchView.getFloat64(from, true), true)
    outView.setFloat64(to + 8, scratchView.getFloat64(from + 8, true), true)
    outView.setFloat64(to + 16, scratchView.getFloat64(from + 16, true), true)
    outView.setFloat64(to + 24, scratchView.getFloat64(from + 24, true), true)
    outView.setFloat64(to + 32, scratchView.getFloat64(from + 32, true), true)
    outView.setFloat64(to + 40, scratchView.getFloat64(from + 40, true), true)
    outView.setFloat64(to + 48, scratchView.getFloat64(from + 48, true), true)
    outView.setFloat64(to + 56, scratchView.getFloat64(from + 56, true), true)
    outView.setFloat64(to + 64, scratchView.getFloat64(from + 64, true), true)
    outView.setInt32(to + 72, scratchView.getInt32(from + 72, true), true)
    outView.setUint16(to + 76, 0x0a0d, true)
    from += lineCharacters
    to += lineOctets
  }
  if (from < characters) {
    scratch.copy(out, to, from, characters)
    to += characters - from
    out[to++] = 13
    out[to++] = 10
  }
  return to
}
