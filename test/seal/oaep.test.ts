import { constants, createHash, createPublicKey, publicEncrypt, randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { fileKeyHolder } from '../../src/seal/own-key.ts'
import { drawKey } from '../pki/keys.ts'

const key = drawKey('rsa2048')
const holder = fileKeyHolder(key)
const modulusBytes = 256

/** EME-OAEP encoding, RFC 8017 §7.1.1, written once more; `spoil` changes the block before it is masked. */
function encoded(
  message: Buffer,
  digest: string,
  maskDigest: string,
  spoil = (_block: Buffer) => {},
): Buffer {
  const labelHash = createHash(digest).update('').digest()
  const padding = Buffer.alloc(modulusBytes - message.length - 2 * labelHash.length - 2)
  const block = Buffer.concat([labelHash, padding, Buffer.from([1]), message])
  spoil(block)
  const seed = randomBytes(labelHash.length)
  const mask = (from: Buffer, bytes: number) => {
    const out: Buffer[] = []
    for (let count = 0; out.length * createHash(maskDigest).update('').digest().length < bytes; count++)
      out.push(
        createHash(maskDigest)
          .update(from)
          .update(Buffer.from([0, 0, 0, count]))
          .digest(),
      )
    return Buffer.concat(out).subarray(0, bytes)
  }
  const xor = (one: Buffer, other: Buffer) => Buffer.from(one.map((octet, index) => octet ^ other[index]!))
  const maskedBlock = xor(block, mask(seed, block.length))
  return Buffer.concat([Buffer.from([0]), xor(seed, mask(maskedBlock, seed.length)), maskedBlock])
}

const encrypted = (block: Buffer) =>
  publicEncrypt({ key: createPublicKey(key), padding: constants.RSA_NO_PADDING }, block)

describe('OAEP with one digest for the label and another inside MGF1', () => {
  test.each([
    ['sha256', 'sha1'],
    ['sha1', 'sha256'],
    ['sha512', 'sha1'],
    ['sha384', 'sha512'],
  ] as const)('%s and %s', async (digest, mask) => {
    for (const message of [randomBytes(16), randomBytes(32), Buffer.alloc(24), Buffer.alloc(0)]) {
      const answer = await holder.decrypt(
        encrypted(encoded(message, digest, mask)),
        `oaep-${digest}-mgf1-${mask}`,
      )
      expect(answer.equals(message)).toBe(true)
    }
  })

  test('nothing comes out of a spoiled block, wherever it is spoiled', async () => {
    const spoils: ((block: Buffer) => void)[] = [
      (block) => void (block[0]! ^= 1),
      (block) => void (block[31]! ^= 0x80),
      (block) => void (block[40] = 2),
      (block) => void block.fill(0, 32),
    ]
    for (const spoil of spoils) {
      const block = encrypted(encoded(randomBytes(16), 'sha256', 'sha1', spoil))
      await expect(holder.decrypt(block, 'oaep-sha256-mgf1-sha1')).rejects.toThrow('no OAEP padding')
    }
    const other = encrypted(encoded(randomBytes(16), 'sha256', 'sha256'))
    await expect(holder.decrypt(other, 'oaep-sha256-mgf1-sha1')).rejects.toThrow('no OAEP padding')
  })
})

test('one digest for both is the same, by our reading and by OpenSSL’s', async () => {
  const message = randomBytes(32)
  const block = encrypted(encoded(message, 'sha256', 'sha256'))
  expect((await holder.decrypt(block, 'oaep-sha256')).equals(message)).toBe(true)
  expect((await holder.decrypt(block, 'oaep-sha256-mgf1-sha256')).equals(message)).toBe(true)
})

test('PKCS#1 v1.5 with bad padding is answered with octets, the same each time', async () => {
  const block = encrypted(Buffer.concat([Buffer.from([0]), randomBytes(255)]))
  const [one, again] = [await holder.decrypt(block, 'pkcs1'), await holder.decrypt(block, 'pkcs1')]
  expect(one.equals(again)).toBe(true)
})
