import { createHash } from 'node:crypto'

/** RFC 7292 appendix B.3. */
export const purposes = { key: 1, iv: 2, mac: 3 }

/** The key derivation of PKCS #12 (RFC 7292 appendix B.2): octets for one purpose from passphrase and salt. */
export function derive(
  digest: string,
  purpose: number,
  passphrase: string,
  salt: Buffer,
  iterations: number,
  length: number,
): Buffer {
  const block = digest === 'sha384' || digest === 'sha512' ? 128 : 64
  // Filling with nothing is refused by Buffer.alloc; of nothing it takes none.
  const filled = (octets: Buffer) =>
    octets.length === 0 ? octets : Buffer.alloc(Math.ceil(octets.length / block) * block, octets)
  // UTF-16, big endian, with its terminating zero.
  const spelled = Buffer.from(`${passphrase}\0`, 'utf16le').swap16()
  const diversifier = Buffer.alloc(block, purpose)
  let input: Buffer = Buffer.concat([filled(salt), filled(spelled)])
  const pieces: Buffer[] = []
  let have = 0
  while (have < length) {
    let hash = createHash(digest).update(diversifier).update(input).digest()
    for (let round = 1; round < iterations; round++) hash = createHash(digest).update(hash).digest()
    pieces.push(hash)
    have += hash.length
    input = addedToBlocks(input, filled(hash).subarray(0, block), block)
  }
  return Buffer.concat(pieces).subarray(0, length)
}

/** Each block, as a big-endian number, becomes block + addend + 1. */
function addedToBlocks(input: Buffer, addend: Buffer, block: number): Buffer {
  const sum = Buffer.from(input)
  for (let start = 0; start < sum.length; start += block) {
    let carry = 1
    for (let index = block - 1; index >= 0; index--) {
      carry += sum[start + index]! + addend[index]!
      sum[start + index] = carry & 0xff
      carry >>= 8
    }
  }
  return sum
}
