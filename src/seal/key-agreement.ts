import { createHash } from 'node:crypto'
import { der } from '../lib/der.ts'

/** The initial value of AES key wrap (RFC 3394 §2.2.3.1). */
export const keyWrapIv = Buffer.alloc(8, 0xa6)

/**
 * ECC-CMS-SharedInfo (RFC 5753 §7.2).
 *
 * @param keyInfo AlgorithmIdentifier of the key wrap, as it stands in the message
 * @param ukm entityUInfo: the message's user keying material, if it has any
 * @param keyBytes octets of the wrapping key; the structure counts bits
 */
export function sharedInfo(keyInfo: Buffer, ukm: Buffer | undefined, keyBytes: number): Buffer {
  const bits = Buffer.alloc(4)
  bits.writeUInt32BE(keyBytes * 8)
  const entityInfo = ukm === undefined ? [] : [der(0xa0, der(0x04, ukm))]
  return der(0x30, keyInfo, ...entityInfo, der(0xa2, der(0x04, bits)))
}

/** ANSI X9.63 key derivation (SEC 1 §3.6.1). */
export function x963Key(digest: string, secret: Buffer, info: Buffer, keyBytes: number): Buffer {
  const blocks: Buffer[] = []
  for (let length = 0, counter = 1; length < keyBytes; counter++) {
    const count = Buffer.alloc(4)
    count.writeUInt32BE(counter)
    const block = createHash(digest).update(secret).update(count).update(info).digest()
    blocks.push(block)
    length += block.length
  }
  return Buffer.concat(blocks).subarray(0, keyBytes)
}
