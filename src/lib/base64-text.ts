/** Characters taken at a time when the text has no lines: what passes through a string stays in the cache. */
const pieceOctets = 64 * 1024

/**
 * Undoes base64 as mail carries it (RFC 2045 §6.8): in lines or not, characters outside the alphabet skipped. The result
 * is memory of its own. Text in lines of one length, as nearly all is, goes piece by piece; a string of the whole would need
 * its size once more, and V8 ends at 512 MiB.
 */
export function base64Decoded(text: Buffer): Buffer {
  const out = Buffer.allocUnsafeSlow(Math.ceil(text.length / 4) * 3)
  const line = lineOf(text)
  let at = 0
  let to = 0
  if (line !== undefined) {
    const lines = Math.max(1, Math.floor(pieceOctets / line.octets))
    const step = lines * line.octets
    const expected = (lines * line.characters * 3) / 4
    while (at + step < text.length) {
      // Fewer octets than expected: other characters in between, or the end of the base64.
      if (line.last !== undefined && text[at + step - 1] !== line.last) break
      if (out.write(text.toString('latin1', at, at + step), to, 'base64') !== expected) break
      at += step
      to += expected
    }
  }
  to += out.write(text.toString('latin1', at), to, 'base64')
  return out.subarray(0, to)
}

/** The first line as the measure of all; undefined where its characters are not whole quartets. */
function lineOf(text: Buffer): { octets: number; characters: number; last?: number } | undefined {
  const feed = text.indexOf(0x0a)
  // Without lines every character counts.
  if (feed < 0) return { octets: 4, characters: 4 }
  const characters = feed > 0 && text[feed - 1] === 0x0d ? feed - 1 : feed
  if (characters === 0 || characters % 4 !== 0 || characters > pieceOctets) return undefined
  return { octets: feed + 1, characters, last: 0x0a }
}
