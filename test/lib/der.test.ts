import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  der,
  derChildren,
  derContent,
  DerError,
  derHead,
  derInteger,
  derNumber,
  derOctets,
  derOid,
  derOidText,
  derSetOf,
  readDer,
} from '../../src/lib/der.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('writing DER', () => {
  test('lengths are as short as can be', () => {
    expect(derHead(0x30, 0x7f)).toEqual(hex('30 7f'))
    expect(derHead(0x30, 0x80)).toEqual(hex('30 81 80'))
    expect(derHead(0x30, 0x1_0000)).toEqual(hex('30 83 01 00 00'))
    expect(derHead(0x04, 5_000_000_000)).toEqual(hex('04 85 01 2a 05 f2 00'))
  })

  test('numbers and object identifiers come back as they were', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), (number) => {
        expect(derNumber(readDer(derInteger(number)))).toBe(number)
      }),
    )
    const arcs = fc.array(fc.integer({ min: 0, max: 2 ** 31 }), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 }),
        fc.integer({ min: 0, max: 39 }),
        arcs,
        (root, second, more) => {
          const dotted = [root, second, ...more].join('.')
          expect(derOidText(readDer(derOid(dotted)))).toBe(dotted)
        },
      ),
    )
  })

  test('a SET OF is sorted by its encodings', () => {
    expect(derSetOf(0x31, [derInteger(300), derInteger(2), derInteger(1)])).toEqual(
      hex('31 0a 02 01 01 02 01 02 02 02 01 2c'),
    )
  })
})

describe('reading BER', () => {
  test('an indefinite length ends at its end-of-contents, and its pieces join', () => {
    const value = readDer(hex('30 80  24 80 04 02 6162 04 01 63 00 00  02 01 05 00 00  ffff'))
    expect(value.end).toBe(18)
    const [octets, number] = derChildren(value)
    expect(derOctets(octets!).toString()).toBe('abc')
    expect(derNumber(number!)).toBe(5)
  })

  test('a value may not be longer than what holds it', () => {
    expect(() => readDer(hex('04 05 01'))).toThrow(DerError)
    expect(() => derChildren(readDer(hex('30 03 04 05 01')))).toThrow(DerError)
    expect(() => readDer(hex('30 80 04 01 01'))).toThrow(DerError)
    expect(() => readDer(hex('04 80 00 00'))).toThrow(DerError)
  })

  test('indefinite lengths nested without end are refused and not followed', () => {
    expect(() => readDer(Buffer.alloc(1_000_000, hex('30 80')))).toThrow(DerError)
    expect(() =>
      readDer(Buffer.concat([hex('30 80'), Buffer.alloc(4_000_000, hex('04 00')), hex('0000')])),
    ).toThrow(DerError)
  })

  test('a value of 40 MB is read without being copied', () => {
    const large = der(0x30, der(0x04, Buffer.alloc(40_000_000, 7)), derInteger(1))
    const [octets, number] = derChildren(readDer(large))
    expect(derContent(octets!).buffer).toBe(large.buffer)
    expect(derNumber(number!)).toBe(1)
  })

  test('no bytes at all make it fail in any way but DerError', () => {
    const walk = (bytes: Buffer, at: number, depth: number): void => {
      const value = readDer(bytes, at)
      if (value.tag === 0x06) derOidText(value)
      if (value.tag === 0x02) derNumber(value)
      if (value.constructed && depth < 20)
        for (const child of derChildren(value)) walk(bytes, child.start, depth + 1)
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          walk(Buffer.from(bytes), 0, 0)
        } catch (error) {
          expect(error).toBeInstanceOf(DerError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})
