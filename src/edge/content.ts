/**
 * Passes the sealed bytes on and throws before their end where they are not exactly what was announced: a truncated or
 * lengthened message, or one with a bare CR or LF, which SMTP cannot carry unchanged (RFC 5321 §2.3.8). Throwing inside
 * DATA ends the connection without the final dot, so a damaged message is never delivered.
 *
 * @param bytes exact length announced to the next hop, in octets
 */
export async function* exactContent(chunks: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer> {
  let left = bytes
  let lineFeeds = 0
  let carriageReturns = 0
  let last = 0
  for await (const chunk of chunks) {
    left -= chunk.length
    if (left < 0) throw new Error(`the sealed bytes are longer than the announced ${bytes} octets`)
    for (let at = chunk.indexOf(LF); at !== -1; at = chunk.indexOf(LF, at + 1)) {
      if ((at === 0 ? last : chunk[at - 1]) !== CR) throw new Error('the sealed bytes have a bare LF')
      lineFeeds++
    }
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
