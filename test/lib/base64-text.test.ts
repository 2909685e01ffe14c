import { randomBytes } from 'node:crypto'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { base64Decoded } from '../../src/lib/base64-text.ts'

const folded = (bytes: Buffer, characters: number, lineEnd: string) =>
  Buffer.from(bytes.toString('base64').replaceAll(new RegExp(`.{1,${characters}}`, 'g'), `$&${lineEnd}`))

test.each([
  ['lines of 76 with CRLF', 76, '\r\n'],
  ['lines of 64 with LF', 64, '\n'],
  ['lines of 72', 72, '\r\n'],
  ['lines that are no whole quartets', 75, '\r\n'],
  ['one line', 10_000_000, ''],
  ['one line with an end', 10_000_000, '\r\n'],
])('%s give the bytes', (_name, characters, lineEnd) => {
  for (const length of [0, 1, 2, 3, 56, 57, 58, 49_000, 65_536, 300_001]) {
    const bytes = randomBytes(length)
    expect(base64Decoded(folded(bytes, characters, lineEnd)).equals(bytes)).toBe(true)
  }
})

test('blanks, comments, a changed line length and padding in between are what they are to Node', () => {
  const bytes = randomBytes(200_000)
  const text = folded(bytes, 76, '\r\n')
  for (const at of [10, 77, 64_000, 130_000])
    for (const stray of [' ', '\t\r\n', '*', '====', '\r\n-- \r\n']) {
      const odd = Buffer.concat([text.subarray(0, at), Buffer.from(stray), text.subarray(at)])
      expect(base64Decoded(odd).equals(Buffer.from(odd.toString('latin1'), 'base64'))).toBe(true)
    }
})

test('any octets are read as Node reads them', () => {
  const line = fc.constantFrom('QUJD', 'QUI=', 'QQ==', '\r\n', '\n', ' ', '-_-_', '\u00e9', 'A', '=')
  fc.assert(
    fc.property(fc.array(line, { maxLength: 60 }), fc.nat(40), (pieces, times) => {
      const text = Buffer.from(pieces.join('').repeat(times), 'latin1')
      expect(base64Decoded(text).equals(Buffer.from(text.toString('latin1'), 'base64'))).toBe(true)
    }),
  )
})

test('the result is memory of its own', () => {
  const text = Buffer.from('QUJD')
  expect(base64Decoded(text).buffer).not.toBe(text.buffer)
})
