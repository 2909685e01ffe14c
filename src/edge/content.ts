import { isAscii } from 'node:buffer'

/**
 * Passes the sealed bytes on and throws before their end where they are not exactly what was announced: a truncated or
 * lengthened message, or one that SMTP cannot carry unchanged: a bare CR or LF (RFC 5321 §2.3.8), an octet above 127 (8BITMIME
 * is a promise of every relay on the way, RFC 6152; sealed bytes are base64 and need none), a line that a relay would break
 * (§4.5.3.1.6). Throwing inside DATA ends the connection without the final dot, so a damaged message is never delivered.
 *
 * @param bytes exact length announced to the next hop, in octets
 */
export async function* exactContent(chunks: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer> {
  let left = bytes
  let lineFeeds = 0
  let carriageReturns = 0
  let last = 0
  let lineOctets = 0
  for await (const chunk of chunks) {
    left -= chunk.length
    if (left < 0) throw new Error(`the sealed bytes are longer than the announced ${bytes} octets`)
    if (!isAscii(chunk)) throw new Error('the sealed bytes have an octet above 127')
    let lineStart = 0
    for (let at = chunk.indexOf(LF); at !== -1; at = chunk.indexOf(LF, at + 1)) {
      if ((at === 0 ? last : chunk[at - 1]) !== CR) throw new Error('the sealed bytes have a bare LF')
      requireShort(lineOctets + at + 1 - lineStart)
      lineOctets = 0
      lineStart = at + 1
      lineFeeds++
    }
    lineOctets += chunk.length - lineStart
    requireShort(lineOctets)
    for (let at = chunk.indexOf(CR); at !== -1; at = chunk.indexOf(CR, at + 1)) carriageReturns++
    if (chunk.length > 0) last = chunk[chunk.length - 1]!
    yield chunk
  }
  if (left > 0) throw new Error(`the sealed bytes are ${left} octets shorter than the announced ${bytes}`)
  // Every LF has its CR, so equal numbers mean that every CR has its LF.
  if (carriageReturns !== lineFeeds) throw new Error('the sealed bytes have a bare CR')
  if (last !== LF) throw new Error('the sealed bytes do not end with CRLF')
}

const CR = 0x0d
const LF = 0x0a

/** RFC 5321 §4.5.3.1.6, with its CRLF. */
const lineOctetsMax = 1_000

function requireShort(octets: number): void {
  if (octets > lineOctetsMax)
    throw new Error(`the sealed bytes have a line of more than ${lineOctetsMax} octets`)
}
