import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readHl7, type Hl7Message } from '../../src/lib/hl7v2.ts'
import { Hl7Unreadable } from '../../src/lib/hl7v2-unreadable.ts'

const bytes = (text: string): Buffer => Buffer.from(text, 'utf8')
const read = (...segments: string[]): Hl7Message => readHl7(bytes(segments.join('\r')))

const msh = 'MSH|^~\\&|EPIC|ASHBY|BB|ASHBY|20260302||ADT^A03^ADT_A03|M1|P|2.5.1'

function refusalOf(text: string | Buffer): string {
  try {
    readHl7(Buffer.isBuffer(text) ? text : bytes(text))
  } catch (error) {
    if (error instanceof Hl7Unreadable) return error.code
    throw error
  }
  return 'read'
}

describe('separators', () => {
  test('are those that MSH-1 and MSH-2 declare', () => {
    const message = read('MSH$:*!%$APP$', 'PID$$$1:2:3:ASHBY%1.2.3*4:::SSA$$A!R!B!F!')
    expect(message.first('PID-3')).toBe('1')
    expect(message.first('PID-3.4.2')).toBe('1.2.3')
    expect(message.first('PID-3[2].4')).toBe('SSA')
    expect(message.first('PID-5')).toBe('A*B$')
  })

  test('may be characters of two bytes', () => {
    const message = read('MSH|^˜\\&|APP||||||ADT^A03|1|P|2.5||||||UNICODE UTF-8', 'PID|||1˜2')
    expect(message.repetitions('PID-3').map((one) => one.value('1'))).toEqual(['1', '2'])
  })

  test('that are not declared do not occur', () => {
    const message = read('MSH|^~|APP', 'PID|||a\\F\\b&c^d~e')
    expect(message.first('PID-3')).toBe('a\\F\\b&c')
    expect(message.first('PID-3[2]')).toBe('e')
    expect(message.flags).toContain('few-separators')
  })

  test('the fifth is the truncation character, and is read from \\P\\', () => {
    const message = read('MSH|^~\\&#|APP', 'PID|||x\\P\\y')
    expect(message.first('PID-3')).toBe('x#y')
  })

  test('MSH-1 and MSH-2 are fields themselves', () => {
    const message = read(msh)
    expect([message.first('MSH-1'), message.first('MSH-2'), message.first('MSH-3')]).toEqual([
      '|',
      '^~\\&',
      'EPIC',
    ])
    expect(message.repetitions('MSH-2').map(({ text }) => text)).toEqual(['^~\\&'])
  })

  test.each([
    ['twice the same', 'MSH|^^\\&|A'],
    ['a letter', 'MSH|^~\\X|A'],
    ['none', 'MSH||A'],
    ['too many', 'MSH|^~\\&#!|A'],
    ['a blank as field separator', 'MSH ^~\\& A'],
    ['doubled from source code', 'MSH|^~\\\\&|A'],
  ])('%s: refused, not guessed', (_, text) => {
    expect(refusalOf(text)).toBe('hl7-separators')
  })
})

describe('values', () => {
  const message = read(
    msh,
    'PID|1||E1001^^^ASHBY&1.2.3.4&ISO^MR~999-11^^^SSA^SS||Ross&van^Ellen|""|19560814',
    'OBX|1|TX|A||one',
    'OBX|2|TX|B||two~three',
  )

  test('a path that names less means the first of what it leaves open', () => {
    expect(message.first('PID-3')).toBe('E1001')
    expect(message.first('PID-3.4')).toBe('ASHBY')
    expect(message.first('PID-5.1')).toBe('Ross')
    expect(message.first('OBX-5')).toBe('one')
  })

  test('occurrences of segments and repetitions of fields count from 1', () => {
    expect(message.first('OBX[2]-5')).toBe('two')
    expect(message.first('OBX[2]-5[2]')).toBe('three')
    expect(message.first('OBX[3]-5')).toBeUndefined()
    expect(message.first('PID-3[2].4.1')).toBe('SSA')
    expect(message.segments('OBX')).toHaveLength(2)
  })

  test('an empty value, a missing field and a missing segment are undefined', () => {
    expect([message.first('PID-2'), message.first('PID-40'), message.first('ZZZ-1')]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })

  test('the HL7 null is no value, and can be told from an empty one', () => {
    expect(message.first('PID-6')).toBeUndefined()
    expect(message.isNull('PID-6')).toBe(true)
    expect(message.isNull('PID-2')).toBe(false)
  })

  test('a subcomponent that a newer version added does not hide the first', () => {
    expect(
      message.repetitions('PID-3').map((one) => [one.value('1'), one.value('4.1'), one.value('4.2')]),
    ).toEqual([
      ['E1001', 'ASHBY', '1.2.3.4'],
      ['999-11', 'SSA', undefined],
    ])
  })
})

describe('escape sequences', () => {
  const escaped = (text: string, header = 'MSH|^~\\&|A') => read(header, `OBX|1||||${text}`).first('OBX-5')

  test.each([
    ['the separators', 'a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f', 'a|b^c&d~e\\f'],
    ['a line break', 'one\\.br\\two', 'one\ntwo'],
    ['blank lines and blanks', 'a\\.sp2\\b\\.sk3\\c', 'a\n\nb   c'],
    ['highlighting is left out', 'a \\H\\red\\N\\ b', 'a red b'],
    ['fill and indent commands are left out', '\\.fi\\a\\.in+2\\b\\.nf\\', 'ab'],
    ['hexadecimal', 'a\\X0D0A\\b', 'a\r\nb'],
    ['hexadecimal of two bytes', '\\XC3BC\\', 'ü'],
    ['what nobody knows stays as it is', 'a\\Zlocal\\b\\Cxxyy\\c', 'a\\Zlocal\\b\\Cxxyy\\c'],
    ['a single escape character stays', 'C:\\path', 'C:\\path'],
    ['a stray one before a sequence', 'a\\b\\F\\c', 'a\\b|c'],
    ['an odd number of digits is no sequence', '\\X0\\', '\\X0\\'],
  ])('%s', (_, text, meaning) => {
    expect(escaped(text)).toBe(meaning)
  })

  test('are read after fields are split: an escaped separator separates nothing', () => {
    const message = read('MSH|^~\\&|A', 'PID|||a\\S\\b^c')
    expect([message.first('PID-3.1'), message.first('PID-3.2')]).toEqual(['a^b', 'c'])
  })

  test('hexadecimal bytes are in the character set of the message', () => {
    expect(escaped('M\\XFC\\ller', 'MSH|^~\\&|A||||||ADT^A03|1|P|2.5||||||8859/1')).toBe('Müller')
  })
})

describe('segments', () => {
  test.each([
    ['CR', '\r'],
    ['LF', '\n'],
    ['CRLF', '\r\n'],
  ])('end with %s', (_, end) => {
    const message = readHl7(bytes([msh, 'EVN|A03', 'PID|||1', ''].join(end)))
    expect(message.segments().map(({ name }) => name)).toEqual(['MSH', 'EVN', 'PID'])
    expect(message.flags.includes('line-feeds')).toBe(end !== '\r')
  })

  test('a line that begins no segment continues the field before it', () => {
    const message = read(msh, 'OBX|1|TX|||first', 'and second line', '', 'NTE|1')
    expect(message.first('OBX-5')).toBe('first\rand second line')
    expect(message.flags).toContain('continuation-lines')
    expect(message.segments().map(({ name }) => name)).toEqual(['MSH', 'OBX', 'NTE'])
  })

  test('may have no field at all', () => {
    const message = read(msh, 'PID|||1', 'PV1', 'OBX|1')
    expect(
      message
        .segments()
        .map(({ text }) => text)
        .slice(1),
    ).toEqual(['PID|||1', 'PV1', 'OBX|1'])
  })

  test('nobody knows stay, and do no harm', () => {
    expect(read(msh, 'ZBE|1|x', 'PID|||7').first('ZBE-2')).toBe('x')
  })

  test('a byte order mark and blank lines before MSH are passed over', () => {
    const message = readHl7(bytes(`\ufeff\r\n ${msh}\rPID|||1`))
    expect(message.first('PID-3')).toBe('1')
    expect(message.flags).toContain('byte-order-mark')
  })
})

describe('what is no message is refused with its reason', () => {
  test.each([
    ['hl7-empty', ''],
    ['hl7-empty', ' \r\n '],
    ['hl7-no-msh', 'PID|||1'],
    ['hl7-no-msh', '<ClinicalDocument/>'],
    ['hl7-batch', `FHS|^~\\&|A\r${msh}`],
    ['hl7-batch', `BHS|^~\\&|A\r${msh}`],
    ['hl7-batch', `${msh}\rPID|||1\r${msh}\rPID|||2`],
    ['hl7-too-many-segments', `${msh}\r${'NTE|1\r'.repeat(50_001)}`],
  ])('%s', (code, text) => {
    expect(refusalOf(text)).toBe(code)
  })

  test('a field with more repetitions than any feed has is not read', () => {
    const message = read(msh, `PID|||${'1~'.repeat(5_001)}`)
    expect(() => message.repetitions('PID-3')).toThrow(Hl7Unreadable)
  })

  test('reasons never quote the message', () => {
    try {
      readHl7(bytes('PID|||SECRET'))
      throw new Error('read')
    } catch (error) {
      expect((error as Error).message).not.toContain('SECRET')
    }
  })
})

/** Bytes that look enough like HL7 to get far into the reader. */
const nearHl7 = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        'MSH|^~\\&',
        'MSH',
        'PID|',
        '|',
        '^',
        '~',
        '\\',
        '&',
        '\\X',
        '\\.br\\',
        '\r',
        '\n',
        '\ufeff',
        '\x1b$B',
      ),
      fc.string({ maxLength: 8 }),
    ),
    { maxLength: 60 },
  )
  .map((pieces) => Buffer.from(pieces.join(''), 'utf8'))

/** Everything a mapping may ask of a message. */
function askEverything(message: Hl7Message): void {
  for (const path of ['MSH-1', 'MSH-9.2', 'PID-3[2].4.2', 'OBX[2]-5', 'PID-999.999.999']) {
    message.first(path)
    message.isNull(path)
    for (const one of message.repetitions(path)) one.value('4.2')
  }
  for (const segment of message.segments()) segment.value(5)
}

describe('whatever the bytes', () => {
  test.each([
    ['arbitrary bytes', fc.uint8Array({ maxLength: 400 }).map((array) => Buffer.from(array))],
    [
      'arbitrary bytes behind a header',
      fc.uint8Array({ maxLength: 400 }).map((array) => Buffer.concat([bytes(msh), array])),
    ],
    ['pieces of messages', nearHl7],
    ['pieces of messages behind a header', nearHl7.map((rest) => Buffer.concat([bytes(`${msh}\r`), rest]))],
  ])('%s are read, or refused with a reason', (_, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, (input) => {
        try {
          askEverything(readHl7(input))
        } catch (error) {
          expect(error).toBeInstanceOf(Hl7Unreadable)
        }
      }),
      { numRuns: 2_000 },
    )
  })

  test('every byte of a message may be changed to any other', () => {
    const whole = bytes(`${msh}\rPID|1||E1^^^A&1.2&ISO^MR~2||R^E\\S\\x|""\r`)
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, byte) => {
        const changed = Buffer.from(whole)
        changed[at] = byte
        try {
          askEverything(readHl7(changed))
        } catch (error) {
          expect(error).toBeInstanceOf(Hl7Unreadable)
        }
      }),
      { numRuns: 5_000 },
    )
  })
})
