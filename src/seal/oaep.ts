import { createHash } from 'node:crypto'

/**
 * EME-OAEP decoding (RFC 8017 §7.1.2) with an empty label, for a digest other than that of MGF1: `node:crypto` knows only
 * one for both. What is wrong with a block is decided once, after all of it was looked at (Manger’s attack lives on the
 * difference).
 *
 * @param block as many octets as the modulus has
 * @throws Error where nothing comes out
 */
export function oaepDecoded(block: Buffer, digest: string, maskDigest: string): Buffer {
  const labelHash = createHash(digest).update('').digest()
  const hashBytes = labelHash.length
  if (block.length < 2 * hashBytes + 2) throw new Error('a key too small for its OAEP digest')
  const maskedSeed = block.subarray(1, 1 + hashBytes)
  const maskedContent = block.subarray(1 + hashBytes)
  const seed = exclusiveOr(maskedSeed, mask(maskedContent, hashBytes, maskDigest))
  const content = exclusiveOr(maskedContent, mask(seed, maskedContent.length, maskDigest))
  let wrong = block[0]!
  for (let index = 0; index < hashBytes; index++) wrong |= content[index]! ^ labelHash[index]!
  // The octet 1 after the label’s hash and any number of zeros; the first octet that is not zero ends the search.
  let isSearching = 1
  let from = 0
  for (let index = hashBytes; index < content.length; index++) {
    const octet = content[index]!
    const isZero = ((octet - 1) >>> 8) & 1
    const isOne = (((octet ^ 1) - 1) >>> 8) & 1
    wrong |= isSearching & (1 - isZero) & (1 - isOne)
    from += isSearching & isOne & (1 - isZero) ? index + 1 : 0
    isSearching &= isZero
  }
  wrong |= isSearching
  if (wrong !== 0) throw new Error('no OAEP padding')
  return content.subarray(from)
}

function exclusiveOr(one: Buffer, other: Buffer): Buffer {
  const out = Buffer.alloc(one.length)
  for (let index = 0; index < one.length; index++) out[index] = one[index]! ^ other[index]!
  return out
}

/** MGF1 (RFC 8017 §B.2.1). */
function mask(seed: Buffer, bytes: number, digest: string): Buffer {
  const blocks: Buffer[] = []
  const counter = Buffer.alloc(4)
  for (let made = 0, count = 0; made < bytes; count++) {
    counter.writeUInt32BE(count)
    const block = createHash(digest).update(seed).update(counter).digest()
    blocks.push(block)
    made += block.length
  }
  return Buffer.concat(blocks).subarray(0, bytes)
}
