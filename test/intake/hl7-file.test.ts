import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { Hl7File } from '../../src/intake/hl7-file.ts'
import { Unsplittable, type Piece } from '../../src/intake/split.ts'

const message = (id: string, end = '\r') =>
  [
    `MSH|^~\\&|EPIC|ASHBY|BB|ASHBY|20260302114500-0500||ADT^A03|${id}|P|2.5.1`,
    'EVN|A03|20260302',
    `PID|1||${id}^^^ASHBY`,
    '',
  ].join(end)

function cut(bytes: Buffer | string, sizes: readonly number[] = [1e9], bytesMax = 100_000): Piece[] {
  const whole = Buffer.from(bytes as string)
  const splitter = new Hl7File(bytesMax)
  const pieces: Piece[] = []
  for (let at = 0, nth = 0; at < whole.length; nth++) {
    const size = sizes[nth % sizes.length]!
    pieces.push(...splitter.push(whole.subarray(at, at + size)))
    at += size
  }
  return [...pieces, ...splitter.end()]
}

const ids = (pieces: readonly Piece[]) => pieces.map(({ controlId }) => controlId)
function refusal(text: string | Buffer, bytesMax?: number): string {
  try {
    cut(text, undefined, bytesMax)
  } catch (error) {
    if (error instanceof Unsplittable) return error.because
    throw error
  }
  return 'it was cut'
}

const files = {
  one: message('A'),
  'without a last line end': message('A').trimEnd() + '\r' + message('B').trimEnd(),
  'line feeds': message('A', '\n') + message('B', '\n'),
  'both, and blank lines': message('A', '\r\n') + '\r\n\r\n' + message('B', '\r\n'),
  'with a byte order mark': `\ufeff${message('A')}${message('B')}`,
  'MLLP frames': `\x0b${message('A')}\x1c\r\x0b${message('B')}\x1c\r`,
  'a batch': `FHS|^~\\&|X\rBHS|^~\\&|X\r${message('A')}${message('B')}BTS|2\rFTS|1\r`,
  'two batches, framed': `\x0bFHS|^~\\&\rBHS|^~\\&\r${message('A')}BTS|1\rBHS|^~\\&\r${message('B')}BTS|1\rFTS|2\r\x1c\r`,
  'no headers, a trailer': `${message('A')}${message('B')}BTS|2\r`,
}

test.each(Object.entries(files))('%s: the same messages, however the bytes come', (_, text) => {
  const expected = text === files.one ? [message('A')] : [message('A'), message('B')]
  const pieces = cut(text)
  expect(pieces.map(({ content }) => content.toString().replace(/\r?\n|\r/g, '\r'))).toEqual(expected)
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), (sizes) => {
      expect(cut(text, sizes)).toEqual(pieces)
    }),
    { numRuns: 60 },
  )
})

test('a bad message is kept like any other, and does not take the others with it', () => {
  expect(ids(cut(`${message('A')}MSH|broken\r${message('C')}`))).toEqual(['A', '', 'C'])
})

test('text that looks like a header is content', () => {
  expect(cut(`${message('A').trimEnd()}\rOBX|1|TX|||see MSH|1\rMSHA|no\rNTE|MSH|\r`)).toHaveLength(1)
})

test('what is no file of messages is refused with place and remedy', () => {
  expect(refusal('')).toMatch(/empty/)
  expect(refusal(' \r\n')).toMatch(/empty/)
  expect(refusal('hello there')).toMatch(/^at byte 0 a segment MSH, FHS or BHS should begin/)
  expect(refusal(Buffer.from('\ufeffMSH|', 'utf16le'))).toMatch(/UTF-16/)
  expect(refusal(`BHS|^~\\&\r${message('A')}`)).toMatch(/BHS is not closed by BTS: the file was cut off/)
  expect(refusal(`BHS|^~\\&\r${message('A')}BTS|2\r`)).toMatch(/BTS states 2 messages, and 1 came/)
  expect(refusal(`FHS|^~\\&\rBHS|^~\\&\r${message('A')}BTS|1\r`)).toMatch(/FHS is not closed by FTS/)
})

test('100,000 messages go through in bounded memory; a message without end does not', () => {
  const splitter = new Hl7File(100_000)
  const before = process.memoryUsage().heapUsed
  let count = 0
  let peak = 0
  for (let at = 0; at < 100_000; at += 100) {
    const chunk = Buffer.from(Array.from({ length: 100 }, (_, nth) => message(String(at + nth))).join(''))
    for (const piece of splitter.push(chunk)) {
      count++
      expect(piece.content.length).toBeLessThan(500)
    }
    if (at % 10_000 === 0) peak = Math.max(peak, process.memoryUsage().heapUsed)
  }
  for (const _ of splitter.end()) count++
  expect(count).toBe(100_000)
  expect(peak - before).toBeLessThan(200 * 1024 * 1024)
  const endless = new Hl7File(100_000)
  expect(() => {
    for (let nth = 0; nth < 100; nth++)
      for (const _ of endless.push(Buffer.from(nth ? 'x'.repeat(10_000) : 'MSH|^~\\&|'))) count++
  }).toThrow(/more than 100000 bytes/)
})
