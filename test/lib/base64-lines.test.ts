import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { base64InLines, base64Lines, base64LinesLength } from '../../src/lib/base64-lines.ts'

const folded = (bytes: Buffer) => bytes.toString('base64').replaceAll(/.{1,76}/g, '$&\r\n')

describe('base64 in lines', () => {
  test('any bytes in any pieces become the lines RFC 2045 wants, of the announced length', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 2000, size: 'max' }),
        fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 12 }),
        (content, cuts) => {
          const bytes = Buffer.from(content)
          const lines = base64Lines()
          const out: Buffer[] = []
          let from = 0
          for (const cut of cuts) {
            out.push(lines.push(bytes.subarray(from, from + cut)))
            from = Math.min(bytes.length, from + cut)
          }
          out.push(lines.push(bytes.subarray(from)), lines.end())
          expect(Buffer.concat(out).toString('latin1')).toBe(folded(bytes))
          expect(base64LinesLength(bytes.length)).toBe(folded(bytes).length)
        },
      ),
    )
  })

  test('blocks larger than the inner buffer, whose bytes look like numbers that are none, stay intact', () => {
    for (const length of [57 * 1024 - 1, 57 * 1024, 57 * 1024 + 1, 300_001])
      for (const octet of [0x00, 0x7f, 0xff]) {
        const bytes = Buffer.alloc(length, octet)
        expect(base64InLines(bytes).equals(Buffer.from(folded(bytes), 'latin1'))).toBe(true)
      }
  })
})
