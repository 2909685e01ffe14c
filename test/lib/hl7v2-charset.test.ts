import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readHl7 } from '../../src/lib/hl7v2.ts'
import { Hl7Unreadable } from '../../src/lib/hl7v2-unreadable.ts'

/** A message whose MSH-18 says `declared` and whose PID-5.1 holds these bytes. */
function message(declared: string, family: string | Buffer): Buffer {
  return Buffer.concat([
    Buffer.from(`MSH|^~\\&|A|B|C|D|2026||ADT^A03|1|P|2.5.1||||||${declared}\rPID|||1||`, 'latin1'),
    Buffer.isBuffer(family) ? family : Buffer.from(family, 'utf8'),
    Buffer.from('^Ellen\r', 'latin1'),
  ])
}

const latin1 = Buffer.from('Müller', 'latin1')
const utf8 = Buffer.from('Müller', 'utf8')
const familyOf = (bytes: Buffer, charset?: string) =>
  readHl7(bytes, charset === undefined ? {} : { charset }).first('PID-5')
const flagsOf = (bytes: Buffer) => readHl7(bytes).flags

describe('the character set is the one MSH-18 declares', () => {
  test.each([
    ['UNICODE UTF-8', utf8, 'Müller'],
    ['UNICODE', utf8, 'Müller'],
    ['UTF-8', utf8, 'Müller'],
    ['8859/1', latin1, 'Müller'],
    ['8859/15', Buffer.from([0xa4]), '€'],
    ['8859/2', Buffer.from([0xa3]), 'Ł'],
    ['8859/9', Buffer.from([0xdd]), 'İ'],
    ['GB 18030-2000', Buffer.from([0xc0, 0xee]), '李'],
    ['BIG-5', Buffer.from([0xa7, 0xf5]), '李'],
    ['KS X 1001', Buffer.from([0xb1, 0xe8]), '김'],
  ])('%s', (declared, family, name) => {
    expect(familyOf(message(declared, family))).toBe(name)
    expect(flagsOf(message(declared, family))).toEqual([])
  })

  test('Japan: the default position empty, kanji between escapes, separators in ASCII', () => {
    const kanji = Buffer.concat([
      Buffer.from('\x1b$B', 'latin1'),
      Buffer.from([0x3b, 0x33, 0x45, 0x44]), // 山田 in JIS X 0208
      Buffer.from('\x1b(B', 'latin1'),
    ])
    const read = readHl7(message('~ISO IR87', kanji))
    expect(read.first('PID-5.1')).toBe('山田')
    expect(read.first('PID-5.2')).toBe('Ellen')
  })
})

test('a byte order mark says more surely than MSH-18 what follows', () => {
  const marked = Buffer.concat([Buffer.from('\ufeff'), message('8859/1', utf8)])
  expect(familyOf(marked)).toBe('Müller')
})

describe('where nothing is declared', () => {
  test('bytes that are UTF-8 are read as UTF-8, and flagged', () => {
    expect(familyOf(message('', utf8))).toBe('Müller')
    expect(flagsOf(message('', utf8))).toEqual(['charset-undeclared'])
  })

  test('others as windows-1252, and flagged', () => {
    expect(familyOf(message('', latin1))).toBe('Müller')
    expect(flagsOf(message('', latin1))).toEqual(['charset-undeclared'])
  })

  test('what the channel says of its sender goes before both', () => {
    expect(familyOf(message('', Buffer.from([0xa3])), '8859/2')).toBe('Ł')
  })
})

describe('where the declaration is wrong', () => {
  test('bytes that are not what it says are read as well as they can be, and flagged', () => {
    expect(familyOf(message('ASCII', utf8))).toBe('Müller')
    expect(flagsOf(message('ASCII', utf8))).toEqual(['charset-contradicted'])
    expect(familyOf(message('UNICODE UTF-8', latin1))).toBe('Müller')
    expect(flagsOf(message('UNICODE UTF-8', latin1))).toEqual(['charset-contradicted'])
  })

  test('an unknown name is no matter where all bytes are ASCII', () => {
    expect(familyOf(message('MARTIAN', 'Ross'))).toBe('Ross')
    expect(flagsOf(message('MARTIAN', 'Ross'))).toEqual([])
  })

  test('an unknown name with bytes that are valid UTF-8 is read as UTF-8, and flagged', () => {
    expect(familyOf(message('MARTIAN', utf8))).toBe('Müller')
    expect(flagsOf(message('MARTIAN', utf8))).toContain('charset-unknown')
  })

  test('an unknown name with other bytes is refused with its reason: names would be read wrongly', () => {
    expect(() => readHl7(message('MARTIAN', latin1))).toThrow(/hl7-charset: MSH-18 names a character set/)
    expect(familyOf(message('MARTIAN', latin1), '8859/1')).toBe('Müller')
  })

  test('escapes to a character set that nobody can follow are refused: fields would be split wrongly', () => {
    expect(() => readHl7(message('', Buffer.from('\x1b$Q^^\x1b(B', 'latin1')))).toThrow(Hl7Unreadable)
    expect(() => readHl7(message('~ISO IR87', Buffer.from('\x1b$B3', 'latin1')))).toThrow(Hl7Unreadable)
  })
})

test('a U+FFFD in the text was sent, and is flagged', () => {
  expect(flagsOf(message('UNICODE UTF-8', 'M\ufffdller'))).toEqual(['characters-lost'])
})

test('reading never makes a U+FFFD', () => {
  const names = fc.constantFrom(
    '',
    'ASCII',
    '8859/1',
    'UNICODE UTF-8',
    '~ISO IR87',
    'GB 18030-2000',
    'MARTIAN',
  )
  fc.assert(
    fc.property(names, fc.uint8Array({ maxLength: 40 }), (declared, family) => {
      const input = message(declared, Buffer.from(family))
      if (input.includes(Buffer.from('\ufffd', 'utf8'))) return
      try {
        expect(readHl7(input).text).not.toContain('\ufffd')
      } catch (error) {
        if (!(error instanceof Hl7Unreadable)) throw error
      }
    }),
    { numRuns: 3_000 },
  )
})
