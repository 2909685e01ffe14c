import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readHl7 } from '../../src/lib/hl7v2.ts'
import { setField } from '../../src/lib/hl7v2-edit.ts'

const sample = Buffer.from(
  'MSH|^~\\&|EPIC|ASHBY|BB|ASHBY|2026||ADT^A03|M1|P|2.5.1\rPID|1||E1^^^ASHBY&1.2.3&ISO^MR~9^^^SSA^SS||Ross^Ellen\rOBX|1|TX|||one\r',
)
const textOf = (bytes: Buffer) => bytes.toString('utf8')

describe('one value of a sample is set', () => {
  test('a whole field takes the text as written, separators included', () => {
    const edited = readHl7(setField(sample, 'PID-5', 'van Ross^Ellen^Q~Rose^E'))
    expect([edited.first('PID-5.1'), edited.first('PID-5[2].2')]).toEqual(['van Ross', 'E'])
  })

  test('a component takes plain text, which is escaped', () => {
    const bytes = setField(sample, 'PID-5.1', 'R^o|s&s')
    expect(textOf(bytes)).toContain('R\\S\\o\\F\\s\\T\\s^Ellen')
    expect(readHl7(bytes).first('PID-5.1')).toBe('R^o|s&s')
  })

  test('everything else stays as it was', () => {
    expect(textOf(setField(sample, 'PID-3.4.2', '9.9'))).toBe(textOf(sample).replace('1.2.3', '9.9'))
    expect(textOf(setField(sample, 'MSH-9.2', 'A13'))).toBe(textOf(sample).replace('A03', 'A13'))
    expect(textOf(setField(sample, 'PID-3[2].1', '7'))).toBe(textOf(sample).replace('~9^', '~7^'))
  })

  test('fields, repetitions and segments that are missing are made', () => {
    expect(readHl7(setField(sample, 'PV1-36', '07')).first('PV1-36')).toBe('07')
    expect(readHl7(setField(sample, 'OBX[3]-5.2', 'x')).first('OBX[3]-5.2')).toBe('x')
    expect(readHl7(setField(sample, 'PID-3[4].5', 'PI')).first('PID-3[4].5')).toBe('PI')
  })

  test('an empty value empties the field; the HL7 null stays one', () => {
    expect(readHl7(setField(sample, 'PID-5', '')).first('PID-5')).toBeUndefined()
    expect(readHl7(setField(sample, 'PID-5', '""')).isNull('PID-5')).toBe(true)
  })

  test('the bytes stay in the character set that the message declares', () => {
    const latin1 = setField(sample, 'MSH-18', '8859/1')
    const edited = setField(latin1, 'PID-5.1', 'Müller')
    expect(edited.includes(Buffer.from('Müller', 'latin1'))).toBe(true)
    expect(readHl7(edited).first('PID-5.1')).toBe('Müller')
    const again = setField(edited, 'MSH-18', 'UNICODE UTF-8')
    expect(again.includes(Buffer.from('Müller', 'utf8'))).toBe(true)
    expect(readHl7(again).flags).toEqual([])
  })

  test.each([
    ['no path', 'PID.5', 'x'],
    ['the separators', 'MSH-2', 'x'],
    ['a line end in a whole field', 'PID-5', 'a\rb'],
  ])('%s: refused', (_, path, value) => {
    expect(() => setField(sample, path, value)).toThrow(TypeError)
  })

  test('a value that the character set does not have is refused', () => {
    expect(() => setField(setField(sample, 'MSH-18', '8859/1'), 'PID-5.1', '李')).toThrow(/windows-1252/)
  })

  test('a value that needs an escape character is refused where the message has none', () => {
    const bare = Buffer.from('MSH|^~|A\rPID|||1\r')
    expect(() => setField(bare, 'PID-5.1', 'a^b')).toThrow(/no escape character/)
    expect(() => setField(bare, 'PID-5.1.2', 'a')).toThrow(/no separator/)
    expect(readHl7(setField(bare, 'PID-5.2', 'a & b')).first('PID-5.2')).toBe('a & b')
  })
})

describe('whatever is set is read back', () => {
  const number = fc.integer({ min: 1, max: 12 })
  const path = fc
    .record({
      segment: fc.constantFrom('PID', 'OBX', 'PV1', 'ZZZ'),
      occurrence: fc.integer({ min: 1, max: 3 }),
      field: number,
      repetition: fc.integer({ min: 1, max: 3 }),
      component: number,
      subcomponent: fc.option(number, { nil: undefined }),
    })
    .map(
      ({ segment, occurrence, field, repetition, component, subcomponent }) =>
        `${segment}[${occurrence}]-${field}[${repetition}].${component}${subcomponent === undefined ? '' : `.${subcomponent}`}`,
    )
  const value = fc
    .oneof(
      fc.string({ unit: 'grapheme', maxLength: 30 }),
      fc.string({
        unit: fc.constantFrom('|', '^', '~', '\\', '&', 'F', 'X', '4', '\r', '\n', ' '),
        maxLength: 30,
      }),
    )
    .filter((text) => text !== '' && text !== '""')

  test('exactly, in any place', () => {
    fc.assert(
      fc.property(path, value, (where, text) => {
        expect(readHl7(setField(sample, where, text)).first(where)).toBe(text)
      }),
      { numRuns: 2_000 },
    )
  })

  test('and setting a value to what it was changes no byte', () => {
    fc.assert(
      fc.property(path, value, (where, text) => {
        const once = setField(sample, where, text)
        expect(setField(once, where, text).equals(once)).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  test('with any separators that a message may declare', () => {
    const marks = fc.uniqueArray(fc.constantFrom(...'|^~\\&#!$%*+-:;<=>@'), { minLength: 6, maxLength: 6 })
    fc.assert(
      fc.property(marks, value, ([field, ...rest], text) => {
        const header = Buffer.from(`MSH${field}${rest.join('')}${field}A${field}B\r`)
        expect(readHl7(setField(header, 'PID-3[2].4.2', text)).first('PID-3[2].4.2')).toBe(text)
      }),
      { numRuns: 1_000 },
    )
  })
})
