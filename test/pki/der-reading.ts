/** As much DER as a responder needs to read a question; it shares nothing with the reader that is tested. */
export interface Tlv {
  readonly tag: number
  readonly content: Buffer
  /** Identifier, length and content. */
  readonly whole: Buffer
}

export function membersOf(content: Buffer): Tlv[] {
  const members: Tlv[] = []
  for (let at = 0; at < content.length;) {
    const first = content[at + 1]!
    const lengthOctets = first < 0x80 ? 0 : first & 0x7f
    const start = at + 2 + lengthOctets
    const end = start + (lengthOctets === 0 ? first : content.readUIntBE(at + 2, lengthOctets))
    if (end > content.length) throw new Error('not DER')
    members.push({
      tag: content[at]!,
      content: content.subarray(start, end),
      whole: content.subarray(at, end),
    })
    at = end
  }
  return members
}
