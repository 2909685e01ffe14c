/** One line of a file of resources (NDJSON). */
export interface NdjsonLine {
  /** From 1; empty lines count and are not given. */
  readonly number: number
  /** Without its end; undefined where it is longer than allowed. */
  readonly bytes: Buffer | undefined
  /** False for what stands behind the last line feed: whole in some files, the remains of a line in others. */
  readonly isEnded: boolean
}

/**
 * Cuts a stream into lines, whatever its length: one chunk and one line are in memory. A line that is too long is passed
 * over, and told.
 */
export async function* ndjsonLines(
  chunks: AsyncIterable<Buffer>,
  lineBytesMax: number,
): AsyncGenerator<NdjsonLine[]> {
  let parts: Buffer[] = []
  let bytes = 0
  let number = 0

  const take = (part: Buffer): void => {
    bytes += part.length
    if (bytes <= lineBytesMax) parts.push(part)
    else parts = []
  }
  const end = (isEnded: boolean): NdjsonLine[] => {
    number++
    const line = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
    const isTooLong = bytes > lineBytesMax
    parts = []
    bytes = 0
    if (isTooLong) return [{ number, bytes: undefined, isEnded }]
    const text = number === 1 ? withoutMark(line) : line
    return isBlank(text) ? [] : [{ number, bytes: text, isEnded }]
  }

  for await (const chunk of chunks) {
    const lines: NdjsonLine[] = []
    let start = 0
    for (let feed = chunk.indexOf(0x0a); feed !== -1; feed = chunk.indexOf(0x0a, start)) {
      take(chunk.subarray(start, feed))
      lines.push(...end(true))
      start = feed + 1
    }
    if (start < chunk.length) take(chunk.subarray(start))
    if (lines.length > 0) yield lines
  }
  if (bytes > 0) {
    const last = end(false)
    if (last.length > 0) yield last
  }
}

/** The byte order mark that some systems begin a file with. */
function withoutMark(line: Buffer): Buffer {
  return line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf ? line.subarray(3) : line
}

function isBlank(line: Buffer): boolean {
  return line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d)
}
