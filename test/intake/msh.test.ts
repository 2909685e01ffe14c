import { describe, expect, test } from '@jest/globals'
import { legible, readHeader } from '../../src/intake/msh.ts'
import { adt } from './adt.ts'

const read = (text: string) => readHeader(Buffer.from(text, 'latin1'))

/** The code of the defect, or `good`, or `not-hl7`. */
function verdictOn(text: string): string {
  const reading = read(text)
  return reading.is === 'not-hl7' ? 'not-hl7' : (reading.defect?.code ?? 'good')
}

describe('finding the header', () => {
  test.each(['', '\xef\xbb\xbf', '\r\n\r\n', '  \t', '\xef\xbb\xbf\r\n '])(
    '%j may stand before MSH',
    (before) => {
      expect(verdictOn(before + adt('1'))).toBe('good')
    },
  )

  test.each(['\r', '\n', '\r\n'])('the segment ends at %j', (lineEnd) => {
    const reading = read(adt('1').replaceAll('\r', lineEnd))
    expect(reading.is === 'header' && reading.header.field(12)).toBe('2.5.1')
  })

  test.each([
    ['', /nothing but blanks/],
    [' \r\n', /nothing but blanks/],
    ['PID|1', /does not begin with an MSH segment/],
    ['msh|^~\\&|', /does not begin with an MSH segment/],
    ['MSH', /does not begin with an MSH segment/],
    ['MSHA^~\\&', /does not begin with an MSH segment/],
    ['\xff\xfeM\0S\0H\0', /UTF-16/],
    ['\0M\0S\0H', /UTF-16/],
  ])('%j is no HL7, and it is said why', (text, why) => {
    const reading = read(text)
    expect(reading).toMatchObject({ is: 'not-hl7', because: expect.stringMatching(why) as unknown })
  })

  test('a megabyte without a line end costs no more than its beginning', () => {
    expect(verdictOn('MSH|^~\\&|' + 'A|'.repeat(500_000))).not.toBe('not-hl7')
  })
})

describe('separators', () => {
  test.each(['^~\\&', '^~\\&#', '^~}', '^~\\}', '^~\\', '^', '^\xcb\x9c\\&'])('%s is good', (characters) => {
    expect(verdictOn(adt('1', { 2: characters }))).toBe('good')
  })

  test.each(['', '&&&&', '^^\\&', '^~\\&A', '^~ &', '\xb0~\\&', '^~\\&#$%'])('%s is not', (characters) => {
    expect(verdictOn(adt('1', { 2: characters }))).toBe('separators-unusable')
  })

  test('the field separator may be another, as in MSH^~|\\&', () => {
    const reading = read('MSH^~|\\&^ADT1^ASHBY^^^2026^^ADT~A03^17^P^2.5\r')
    expect(reading.is === 'header' && reading.header.controlId).toBe('17')
    expect(reading.is === 'header' && reading.header.component(9, 2)).toBe('A03')
  })
})

describe('what no channel can take', () => {
  test.each([
    [{ 10: '' }, 'control-id-missing'],
    [{ 10: 'x'.repeat(199) }, 'good'],
    [{ 10: 'x'.repeat(200) }, 'control-id-unusable'],
    [{ 10: 'a\0b' }, 'control-id-unusable'],
    [{ 9: '' }, 'message-type-missing'],
    [{ 9: '^A03' }, 'message-type-missing'],
    [{ 9: 'ORU^R01' }, 'good'],
    [{ 9: 'ADT' }, 'good'],
    [{ 11: 'T' }, 'good'],
    [{ 11: 'D^A' }, 'good'],
    [{ 11: '' }, 'good'],
    [{ 11: 'PROD' }, 'processing-id-unsupported'],
    [{ 12: '2.3.z' }, 'good'],
    [{ 12: '2.5^FRA^2.11' }, 'good'],
    [{ 12: 'V2.4' }, 'good'],
    [{ 12: '2' }, 'good'],
    [{ 12: '' }, 'good'],
    [{ 12: '3.0' }, 'version-unsupported'],
    [{ 12: '25' }, 'version-unsupported'],
  ])('%j: %s', (msh, verdict) => {
    expect(verdictOn(adt('1', msh))).toBe(verdict)
  })
})

test('legible texts are UTF-8 where they can be, windows-1252 else, without NUL and not too long', () => {
  expect(legible('ASHBY', 100)).toBe('ASHBY')
  expect(legible('H\xc3\x94PITAL', 100)).toBe('HÔPITAL')
  expect(legible('H\xd4PITAL', 100)).toBe('HÔPITAL')
  expect(legible('\x80 A\0B', 100)).toBe('€ A␀B')
  expect(legible('abcdef', 3)).toBe('abc')
})
