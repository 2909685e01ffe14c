import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  contentType,
  decodedBody,
  fieldValue,
  quotedPrintableDecoded,
  readEntity,
  readParameterized,
  splitMultipart,
} from '../../src/lib/mime-reader.ts'

const bytes = (text: string) => Buffer.from(text, 'utf8')

describe('header fields', () => {
  test('folded fields are unfolded, names match in any case, the body is what follows the blank line', () => {
    const entity = readEntity(
      bytes('Subject: one\r\n two\r\n\tthree\r\nX-Empty:\r\nCONTENT-type: Text/Plain\r\n\r\nbody\r\n'),
    )
    expect(fieldValue(entity, 'subject')).toBe('one two\tthree')
    expect(fieldValue(entity, 'x-empty')).toBe('')
    expect(contentType(entity).value).toBe('text/plain')
    expect(entity.body.toString()).toBe('body\r\n')
  })

  test('bare LF, no body, and a header block without end are read for what they are', () => {
    expect(readEntity(bytes('A: 1\nB: 2\n\nbody')).body.toString()).toBe('body')
    expect(readEntity(bytes('A: 1\r\n')).fields).toEqual([{ name: 'A', value: '1' }])
    expect(readEntity(bytes('A: 1')).body.length).toBe(0)
    expect(readEntity(bytes('\r\nbody')).body.toString()).toBe('body')
    expect(readEntity(bytes('no header here\r\nbody')).body.toString()).toBe('no header here\r\nbody')
  })

  test('a blank before the first field, as one reference implementation stores it, is no folding', () => {
    const entity = readEntity(bytes(' Received: by x\r\nTo: y\r\n\r\n'))
    expect(entity.fields.map((one) => one.name)).toEqual(['Received', 'To'])
  })

  test('UTF-8 is read as such and anything else as ISO 8859-1', () => {
    expect(readEntity(bytes('Subject: Überweisung\r\n\r\n')).fields[0]!.value).toBe('Überweisung')
    expect(readEntity(Buffer.from('Subject: Überweisung\r\n\r\n', 'latin1')).fields[0]!.value).toBe(
      'Überweisung',
    )
  })
})

describe('parameters', () => {
  test.each([
    ['multipart/signed; micalg=sha-256; boundary=b', 'b'],
    ['Multipart/SIGNED;boundary="b";MICALG="sha-256"', 'b'],
    ['multipart/signed (a "comment"; boundary=x) ; protocol="a;b=c"; boundary = "b" ', 'b'],
    ['multipart/signed; boundary="b\\"c d"', 'b"c d'],
    ['multipart/signed; boundary*0=one; boundary*1="two "', 'onetwo '],
    ["multipart/signed; boundary*=utf-8'en'%C3%A4;x", 'ä'],
    ["multipart/signed; boundary*0*=iso-8859-1''%E4; boundary*1=%41", 'ä%41'],
    ['multipart/signed; boundary=b; boundary=c;;; =;', 'b'],
    ['multipart/signed; boundary="unclosed', 'unclosed'],
  ])('%s', (text, boundary) => {
    const read = readParameterized(text)
    expect(read.value).toBe('multipart/signed')
    expect(read.parameters.get('boundary')).toBe(boundary)
  })
})

describe('multipart', () => {
  const parts = (text: string, boundary = 'b') => {
    const split = splitMultipart(bytes(text), boundary)
    return split.split ? split.parts.map(String) : split.because
  }

  test('the line break before a delimiter is not part of the part; preamble and epilogue are dropped', () => {
    expect(parts('preamble\r\n--b\r\none\r\n\r\n--b  \r\ntwo\r\n--b--\r\nepilogue')).toEqual([
      'one\r\n',
      'two',
    ])
    expect(parts('--b\none\n--b\n\n--b--')).toEqual(['one', ''])
    expect(parts('--b\r\n--b--')).toEqual([''])
  })

  test('lines that only begin like a delimiter are content', () => {
    expect(parts('--b\r\n--bc\r\n --b\r\nx--b\r\n--b-\r\n--b--x\r\n--b--\r\n')).toEqual([
      '--bc\r\n --b\r\nx--b\r\n--b-\r\n--b--x',
    ])
  })

  test('what is cut off or has no usable boundary is refused', () => {
    expect(parts('--b\r\none\r\n--b\r\n')).toMatch(/closing delimiter/)
    expect(parts('--b--\r\n')).toMatch(/first delimiter/)
    expect(parts('x', '')).toMatch(/0 characters/)
    expect(parts('x', 'x'.repeat(71))).toMatch(/71 characters/)
    expect(parts('--b\r\n'.repeat(2000) + '--b--')).toMatch(/more than 1000 parts/)
  })

  test('any parts that are joined are found again, byte for byte', () => {
    const part = fc.uint8Array({ maxLength: 100 }).map((content) => Buffer.from(content))
    fc.assert(
      fc.property(
        fc.array(part, { minLength: 1, maxLength: 6 }),
        fc.constantFrom('\r\n', '\n'),
        (contents, end) => {
          const boundary = '=_0123456789abcdef'
          const body = Buffer.concat([
            ...contents.flatMap((content) => [bytes(`--${boundary}${end}`), content, bytes(end)]),
            bytes(`--${boundary}--${end}`),
          ])
          const split = splitMultipart(body, boundary)
          const expected =
            end === '\r\n'
              ? contents
              : contents.map((one) => (one.at(-1) === 0x0d ? one.subarray(0, -1) : one))
          expect(split.split && split.parts.map((one) => one.toString('hex'))).toEqual(
            expected.map((one) => one.toString('hex')),
          )
        },
      ),
    )
  })
})

describe('bodies', () => {
  test('transfer encodings are undone and unknown ones left alone', () => {
    const body = (encoding: string, text: string) =>
      decodedBody(readEntity(bytes(`Content-Transfer-Encoding: ${encoding}\r\n\r\n${text}`))).toString()
    expect(body('BASE64', 'YWJj\r\nZGVm\r\n')).toBe('abcdef')
    expect(body('Quoted-Printable', 'a=3D=\r\nb =\r\nc  \r\n=zz')).toBe('a=b c\r\n=zz')
    expect(body('8bit', 'ä')).toBe('ä')
  })

  test('anything at all can be read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), (content, text) => {
        const raw = Buffer.from(content)
        const entity = readEntity(raw)
        expect(entity.raw).toBe(raw)
        expect(quotedPrintableDecoded(raw).length).toBeLessThanOrEqual(raw.length)
        readParameterized(text)
        splitMultipart(raw, text)
      }),
      { numRuns: 2000 },
    )
  })
})
