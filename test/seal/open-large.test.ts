import { constants, createCipheriv, publicEncrypt, randomBytes, X509Certificate } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { open } from '../../src/seal/open.ts'
import { contextPrimitive, integer, nothing, octetString, oid, sequence, set } from '../pki/der.ts'
import { handEnveloped, issuerOf } from './by-hand-envelope.ts'
import { handSigned } from './by-hand-signed.ts'
import { ownKey } from './own-keys.ts'
import { keysOf, message, opened, refusal, town } from './by-hand.ts'

const head = Buffer.from('Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: binary\r\n\r\n')
const binary = (cms: Buffer) => Buffer.concat([head, cms])
const endless = (tag: number, ...members: Buffer[]) =>
  Buffer.concat([Buffer.from([tag, 0x80]), ...members, Buffer.alloc(2)])

function recipientInfo(contentKey: Buffer, serial?: bigint): Buffer {
  const { publicKey, serialNumber } = new X509Certificate(town.phr.certificate)
  return sequence(
    integer(0),
    sequence(issuerOf(town.phr.certificate), integer(serial ?? BigInt(`0x${serialNumber}`))),
    sequence(oid('1.2.840.113549.1.1.1'), nothing()),
    octetString(publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, contentKey)),
  )
}

/** BER as streaming writers make it, the ciphertext in pieces. */
function streamed(plain: Buffer, pieceBytes: number, infos: (contentKey: Buffer) => Buffer[]): Buffer {
  const [contentKey, iv] = [randomBytes(32), randomBytes(16)]
  const cipher = createCipheriv('aes-256-cbc', contentKey, iv)
  const encrypted = Buffer.concat([cipher.update(plain), cipher.final()])
  const pieces: Buffer[] = []
  for (let from = 0; from < encrypted.length; from += pieceBytes)
    pieces.push(octetString(encrypted.subarray(from, from + pieceBytes)))
  const algorithm = sequence(oid('2.16.840.1.101.3.4.1.42'), octetString(iv))
  const content = endless(0x30, oid('1.2.840.113549.1.7.1'), algorithm, endless(0xa0, ...pieces))
  const enveloped = endless(0x30, integer(0), set(...infos(contentKey)), content)
  return endless(0x30, oid('1.2.840.113549.1.7.3'), endless(0xa0, enveloped))
}

function entityOf(content: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from('Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n'),
    content,
    Buffer.from('\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\n'),
    handSigned(content, [town.ashby]),
    Buffer.from('\r\n--b--\r\n'),
  ])
}
const wrapped = (body: Buffer) => Buffer.concat([Buffer.from('Content-Type: message/rfc822\r\n\r\n'), body])

describe('large and many', () => {
  test.each([1000, 4096, 65_536])(
    '25 MB of BER in pieces of %d octets',
    async (pieceBytes) => {
      const body = Buffer.concat([message, Buffer.alloc(25_000_000, `${'x'.repeat(74)}\r\n`)])
      const read = await opened(
        binary(streamed(entityOf(wrapped(body)), pieceBytes, (key) => [recipientInfo(key)])),
      )
      expect(read.signers.map((one) => one.valid)).toEqual([true])
      expect(read.message.equals(body)).toBe(true)
    },
    60_000,
  )

  test('the message as received stays as it was, so that it can be opened again', async () => {
    const raw = binary(handEnveloped(entityOf(wrapped(message)), town.phr))
    const before = Buffer.from(raw)
    for (let round = 0; round < 2; round++) expect((await opened(raw)).message.equals(message)).toBe(true)
    expect(raw.equals(before)).toBe(true)
  })

  test('the right one of several entries for us is found, and more than a few wrong ones are not tried', async () => {
    const plain = entityOf(wrapped(message))
    const stray = () => recipientInfo(randomBytes(32))
    const few = (key: Buffer) => [stray(), stray(), stray(), recipientInfo(key), stray()]
    expect((await opened(binary(streamed(plain, 100, few)))).recipients).toBe(5)
    const many = () => Array.from({ length: 40 }, stray)
    const { key, certificate } = ownKey(town.phr)
    let tried = 0
    const decrypt: typeof key.decrypt = (bytes, padding) => {
      tried++
      return key.decrypt(bytes, padding)
    }
    const keys = [{ certificate, key: { ...key, decrypt } }]
    const read = await open(binary(streamed(plain, 100, many)), { keys })
    expect(read.opened).toBe(false)
    // One wrong key in 256 leaves content whose padding looks right: then the search ends sooner.
    expect(tried).toBeLessThanOrEqual(8)
  })

  test('1,000 recipients are read, 1,001 are not', async () => {
    const others = (count: number) => {
      const other = recipientInfo(randomBytes(32), 5n)
      return (key: Buffer) => [...Array.from({ length: count - 1 }, () => other), recipientInfo(key)]
    }
    const plain = entityOf(wrapped(message))
    expect((await opened(binary(streamed(plain, 100, others(1000))))).recipients).toBe(1000)
    expect(await refusal(binary(streamed(plain, 100, others(1001))))).toBe('malformed')
  })

  test.each<[string, Buffer]>([
    ['millions of empty pieces', Buffer.alloc(8_000_000, Buffer.from([0x04, 0x00]))],
    ['millions of pieces of one octet', Buffer.alloc(8_000_001, Buffer.from([0x04, 0x01, 0x00]))],
    ['heads without end', Buffer.alloc(4_000_000, Buffer.from([0x30, 0x80]))],
    ['pieces in pieces', Buffer.alloc(4_000_000, Buffer.from([0x24, 0x80]))],
    ['nothing but zeros', Buffer.alloc(8_000_000)],
  ])(
    '%s end in a refusal, not in all memory',
    async (_name, bytes) => {
      const before = process.memoryUsage().rss
      const content = sequence(
        oid('1.2.840.113549.1.7.1'),
        sequence(oid('2.16.840.1.101.3.4.1.42'), octetString(randomBytes(16))),
        Buffer.concat([Buffer.from([0xa0, 0x84]), lengthOf(bytes), bytes]),
      )
      const enveloped = sequence(integer(0), set(recipientInfo(randomBytes(32))), content)
      const cms = sequence(
        oid('1.2.840.113549.1.7.3'),
        Buffer.concat([Buffer.from([0xa0, 0x84]), lengthOf(enveloped), enveloped]),
      )
      for (const raw of [
        binary(cms),
        binary(bytes),
        binary(sequence(bytes)),
        binary(set(contextPrimitive(0, bytes))),
      ]) {
        const read = await open(raw, keysOf(town.phr))
        expect(read.opened).toBe(false)
      }
      expect(process.memoryUsage().rss - before).toBeLessThan(500_000_000)
    },
    60_000,
  )
})

function lengthOf(bytes: Buffer): Buffer {
  const octets = Buffer.alloc(4)
  octets.writeUInt32BE(bytes.length)
  return octets
}
