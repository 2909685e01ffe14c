import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readEntity, readParameterized, quotedPrintableDecoded } from '../../src/lib/mime-reader.ts'
import {
  address,
  encodedWords,
  field,
  mailDate,
  messageId,
  parameter,
  quotedPrintable,
  textField,
  UnsafeText,
} from '../../src/lib/mime-writer.ts'

describe('header fields', () => {
  test('a plain subject stays readable', () => {
    expect(textField('Subject', 'Clinical summary')).toBe('Subject: Clinical summary\r\n')
  })

  test('other scripts travel in encoded words of at most 75 characters, never cut inside a character', () => {
    const text = 'Entlassungsbericht für Ελένη Ρος 李小龙 😀 '.repeat(6).trim()
    const line = textField('Subject', text)
    expect(line.split('\r\n').every((one) => one.length <= 76)).toBe(true)
    const words = [...line.matchAll(/=\?utf-8\?B\?([^?]*)\?=/g)].map((match) => match[1]!)
    expect(words.every((word) => !Buffer.from(word, 'base64').toString().includes('\ufffd'))).toBe(true)
    expect(words.map((word) => Buffer.from(word, 'base64').toString()).join('')).toBe(text)
  })

  test('text that looks like an encoded word, or ends in a blank, is encoded', () => {
    for (const text of ['=?utf-8?Q?x?=', 'two  blanks', ' before', 'after ', 'x'.repeat(500)])
      expect(textField('Subject', text)).toMatch(/=\?utf-8\?B\?/)
    expect(encodedWords('')).toBe('=?utf-8?B??=')
  })

  test('long structured values fold at blanks, and what cannot be folded is refused', () => {
    const to = Array.from({ length: 100 }, (_, index) => `someone${index}@direct.example.org`).join(', ')
    const line = field('To', to)
    expect(line.split('\r\n').every((one) => one.length <= 76)).toBe(true)
    expect(readEntity(Buffer.from(`${line}\r\n`)).fields[0]!.value).toBe(to)
    expect(() => field('To', 'x'.repeat(999))).toThrow(UnsafeText)
  })

  test('no control character gets into a header, a parameter, an address or an identifier', () => {
    const control = fc.constantFrom('\r', '\n', '\0', '\r\n', '\x0b', '\x7f', '\u0085', '\u2028')
    fc.assert(
      fc.property(fc.string(), control, fc.string(), (before, bad, after) => {
        const text = before + bad + after
        expect(() => textField('Subject', text)).toThrow(UnsafeText)
        expect(() => field('To', text)).toThrow(UnsafeText)
        expect(() => parameter('filename', text)).toThrow(UnsafeText)
        expect(() => address('a recipient', text)).toThrow(UnsafeText)
        expect(() => messageId('Message-ID', `<${text}@x.example>`)).toThrow(UnsafeText)
      }),
    )
  })

  test('a refusal never repeats the value', () => {
    expect(() => textField('Subject', 'Ellen Ross\r\nBcc: x@y.example')).toThrow(
      /^(?!.*Ellen).*header Subject/,
    )
  })

  test('any other text is one ASCII header that cannot be mistaken for two', () => {
    const printable = fc.string({ unit: 'grapheme', maxLength: 300 }).filter((text) => {
      return !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text)
    })
    fc.assert(
      fc.property(printable, (text) => {
        const line = textField('Subject', text)
        expect(line).toMatch(/^Subject:[\x20-\x7e]*\r\n( [\x20-\x7e]*[\x21-\x7e][\x20-\x7e]*\r\n)*$/)
      }),
    )
  })

  test('dates are in UTC', () => {
    expect(mailDate(new Date('2026-03-01T04:05:06.789Z'))).toBe('Sun, 1 Mar 2026 04:05:06 +0000')
    expect(() => mailDate(new Date(NaN))).toThrow(UnsafeText)
  })
})

describe('parameters', () => {
  test('a plain file name stays plain, one with blanks is quoted, others follow RFC 2231', () => {
    expect(parameter('filename', 'ccd.xml')).toBe('; filename=ccd.xml')
    expect(parameter('filename', 'a "b" c.xml')).toBe('; filename="a \\"b\\" c.xml"')
    expect(parameter('filename', 'Ärztin.xml')).toBe(`; filename*0*=utf-8''%C3%84rztin.xml`)
  })

  test('every name is read back as it was', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 }).filter((text) => {
      return !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text)
    })
    fc.assert(
      fc.property(name, (text) => {
        const read = readParameterized(`attachment${parameter('filename', text)}`)
        expect(read.parameters.get('filename')).toBe(text)
      }),
    )
  })
})

describe('quoted-printable', () => {
  test('any text comes back, in lines of at most 76 ASCII characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 400 }), (text) => {
        const unix = text.replaceAll('\r', '')
        const encoded = quotedPrintable(unix)
        expect(encoded.split('\r\n').every((line) => line.length <= 76)).toBe(true)
        const decoded = quotedPrintableDecoded(Buffer.from(encoded, 'latin1')).toString()
        const whole = unix === '' || unix.endsWith('\n') ? unix : `${unix}\n`
        expect(decoded.replaceAll('\r\n', '\n')).toBe(whole)
      }),
    )
  })
})
