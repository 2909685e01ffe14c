import { createCipheriv, createHmac, pbkdf2Sync, type BinaryLike } from 'node:crypto'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readPkcs12 } from '../../src/trust/pkcs12.ts'
import { ec } from '../pki/chains/chain-case.ts'
import { context, integer, nothing, octetString, oid, sequence } from '../pki/der.ts'
import { makeRoot } from '../pki/pki.ts'

const passphrase = 'horse ☂ staple'
const { certificate, privateKey } = makeRoot(ec)
const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' })
const salt = Buffer.from('salt of the test')
const sha256 = '1.2.840.113549.2.9'

const pbkdf2 = (iterations: number) =>
  sequence(
    oid('1.2.840.113549.1.5.12'),
    sequence(octetString(salt), integer(iterations), sequence(oid(sha256), nothing())),
  )
const keyOf = (octets: number) => pbkdf2Sync(passphrase, salt, 2, octets, 'sha256')

/** RFC 9579; Node has no derivation of PKCS #12 to make the older MAC with. */
function pfx(content: Buffer, { safe = octetString(content), mac = macOf(content) } = {}): Buffer {
  return sequence(integer(3), sequence(oid('1.2.840.113549.1.7.1'), context(0, safe)), mac)
}
function macOf(content: BinaryLike, iterations = 2): Buffer {
  const parameters = sequence(pbkdf2(iterations), sequence(oid(sha256), nothing()))
  const value = createHmac('sha256', keyOf(32)).update(content).digest()
  return sequence(
    sequence(sequence(oid('1.2.840.113549.1.5.14'), parameters), octetString(value)),
    octetString(Buffer.from('NOT USED')),
    integer(1),
  )
}

const bag = (kind: number, value: Buffer) =>
  sequence(oid(`1.2.840.113549.1.12.10.1.${kind}`), context(0, value))
const certBag = (content: Buffer, type = '1.2.840.113549.1.9.22.1') =>
  bag(3, sequence(oid(type), context(0, octetString(content))))
const open = (...bags: readonly Buffer[]) =>
  sequence(oid('1.2.840.113549.1.7.1'), context(0, octetString(sequence(...bags))))
const fileOf = (...bags: readonly Buffer[]) => pfx(sequence(open(...bags)))

function encrypted(octets: Buffer, iterations = 2): { algorithm: Buffer; content: Buffer } {
  const iv = Buffer.alloc(16, 7)
  const cipher = createCipheriv('aes-256-cbc', keyOf(32), iv)
  return {
    algorithm: sequence(
      oid('1.2.840.113549.1.5.13'),
      sequence(pbkdf2(iterations), sequence(oid('2.16.840.1.101.3.4.1.42'), octetString(iv))),
    ),
    content: Buffer.concat([cipher.update(octets), cipher.final()]),
  }
}
function shrouded(iterations = 2): Buffer {
  const { algorithm, content } = encrypted(pkcs8, iterations)
  return bag(2, sequence(algorithm, octetString(content)))
}

/** BER of a streaming writer: an indefinite length around what was there. */
const endless = (tag: number, ...members: readonly Buffer[]) =>
  Buffer.concat([Buffer.from([tag, 0x80]), ...members, Buffer.alloc(2)])
/** A constructed OCTET STRING whose pieces are constructed again. */
const inPieces = (content: Buffer, tag = 0x24) => {
  const half = content.length >> 1
  return endless(
    tag,
    endless(0x24, octetString(content.subarray(0, 1)), octetString(content.subarray(1, half))),
    octetString(content.subarray(half)),
  )
}

const read = (file: Buffer) => readPkcs12(file, passphrase)
const because = (file: Buffer) => {
  const reading = read(file)
  return reading.readable ? 'readable' : reading.because
}
/** In the words of the file, so that a difference is not 2,000 octets long. */
const found = (file: Buffer) => {
  const reading = read(file)
  if (!reading.readable) return reading.because
  return `${reading.privateKeys.filter((key) => key.equals(privateKey)).length} keys, ${reading.certificates.filter((der) => der.equals(certificate)).length} certificates`
}

test('key and certificate come out, with the integrity of RFC 9579 (PBMAC1), shrouded or in the open', () => {
  expect(found(fileOf(shrouded(), certBag(certificate)))).toBe('1 keys, 1 certificates')
  expect(found(fileOf(bag(1, pkcs8), certBag(certificate)))).toBe('1 keys, 1 certificates')
  expect(found(fileOf(bag(6, sequence(shrouded(), bag(6, sequence(certBag(certificate)))))))).toBe(
    '1 keys, 1 certificates',
  )
})

test('indefinite lengths and octets in pieces, as streaming writers make them, are BER and are read', () => {
  const { algorithm, content } = encrypted(sequence(certBag(certificate)))
  const data = oid('1.2.840.113549.1.7.1')
  const shroudedSafe = sequence(shrouded())
  const safes = endless(
    0x30,
    endless(0x30, data, endless(0xa0, inPieces(shroudedSafe))),
    endless(
      0x30,
      oid('1.2.840.113549.1.7.6'),
      // The pieces of [0] IMPLICIT in EncryptedContentInfo.
      endless(
        0xa0,
        endless(0x30, integer(0), endless(0x30, data, algorithm, endless(0xa0, octetString(content)))),
      ),
    ),
  )
  expect(
    found(endless(0x30, integer(3), endless(0x30, data, endless(0xa0, inPieces(safes))), macOf(safes))),
  ).toBe('1 keys, 1 certificates')
})

test('bags and certificates of other kinds stand beside ours without harm', () => {
  const others = [
    bag(9, nothing()),
    certBag(Buffer.from('SDSI'), '1.2.840.113549.1.9.22.2'),
    certBag(Buffer.from('no certificate')),
    bag(4, sequence(oid('1.2.3'), context(0, octetString(salt)))),
    bag(1, sequence(integer(0), sequence(oid('1.2.3.4')), octetString(salt))),
  ]
  expect(found(fileOf(...others, shrouded(), certBag(certificate)))).toBe('1 keys, 1 certificates')
})

test('a thousand entries are read, one more is refused', () => {
  const many = (count: number) => fileOf(...Array.from({ length: count }, () => certBag(certificate)))
  expect(found(many(1_000))).toBe('0 keys, 1000 certificates')
  expect(because(many(1_001))).toBe('it holds more than 1000 entries')
})

test.each([0, -1, 10_000_001, 2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER])(
  '%d iterations of a key are refused before they are done',
  (iterations) => {
    const words = `its key takes ${iterations} iterations; at most 10000000`
    expect(because(fileOf(shrouded(iterations)))).toBe(words)
    const safes = sequence(open(shrouded()))
    expect(because(pfx(safes, { mac: macOf(safes, iterations) }))).toBe(words)
    const digest = sequence(sequence(oid('2.16.840.1.101.3.4.2.1'), nothing()), octetString(Buffer.alloc(32)))
    const mac = sequence(digest, octetString(salt), integer(iterations))
    expect(because(pfx(safes, { mac }))).toBe(words)
  },
)

test('so many iterations that no number holds them are refused', () => {
  const huge = sequence(octetString(salt), integer(2n ** 400n))
  const pbe = sequence(sequence(oid('1.2.840.113549.1.12.1.3'), huge), octetString(salt))
  expect(because(fileOf(bag(2, pbe)))).toMatch(/^its key takes .* iterations; at most 10000000$/)
})

test('nesting and values without end are refused', () => {
  for (const unit of [Buffer.from([0x30, 0x80]), Buffer.from([0x24, 0x80]), Buffer.from([0x05, 0x00])])
    expect(because(Buffer.concat([Buffer.from([0x30, 0x80]), Buffer.alloc(2_000_000, unit)]))).toMatch(
      /^it is not PKCS #12 \(/,
    )
  let nested = sequence(certBag(certificate))
  for (let depth = 0; depth < 500; depth++) nested = sequence(bag(6, nested))
  expect(
    because(pfx(sequence(sequence(oid('1.2.840.113549.1.7.1'), context(0, octetString(nested)))))),
  ).toMatch(/^it is not PKCS #12 \(a safe /)
})

test('a file cut off anywhere is refused', () => {
  const whole = fileOf(shrouded(), certBag(certificate))
  for (let length = 0; length < whole.length; length++)
    expect(because(whole.subarray(0, length))).toMatch(/^it is not PKCS #12 \(.*\)$/)
})

test('whatever is changed in a file whose integrity was made anew, the answer is in words', () => {
  const safes = sequence(open(shrouded(), bag(1, pkcs8)), open(certBag(certificate)))
  const change = fc.tuple(fc.nat(safes.length - 1), fc.integer({ min: 0, max: 255 }))
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const changed = Buffer.from(safes)
      for (const [index, octet] of changes) changed[index] = octet
      const words = because(pfx(changed))
      expect(words).toMatch(
        /^(readable|it is not PKCS #12 \(.*\)|its key |its content was |it is encrypted |a safe is encrypted |it holds )/,
      )
    }),
    { numRuns: 1_000 },
  )
})

test('whatever is changed outside of what the integrity covers, the answer is in words', () => {
  const file = fileOf(shrouded(), certBag(certificate))
  const change = fc.tuple(fc.nat(file.length - 1), fc.integer({ min: 0, max: 255 }))
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const changed = Buffer.from(file)
      for (const [index, octet] of changes) changed[index] = octet
      expect(because(changed)).not.toBe('')
    }),
    { numRuns: 1_000 },
  )
})
