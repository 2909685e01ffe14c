import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { embeddedDocuments } from '../../src/lib/hl7v2-documents.ts'
import { readHl7 } from '../../src/lib/hl7v2.ts'

const cda = `<?xml version="1.0" encoding="UTF-8"?>\n<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Frühjahr – ${'x'.repeat(3000)}</title></ClinicalDocument>`
const pdf = Buffer.from('%PDF-1.7\nend')
const base64 = (content: string | Buffer) => Buffer.from(content).toString('base64')

function found(...segments: string[]) {
  const head = 'MSH|^~\\&|ASHBY|H|B|B|20260302140400||MDM^T02|1|P|2.5.1|||||| UNICODE UTF-8'.replace(
    '| U',
    '|U',
  )
  return embeddedDocuments(readHl7(Buffer.from([head, ...segments].join('\r'))))
}
const obx = (n: number, data: string, { status = 'F', id = 'DOC', type = 'ED' } = {}) =>
  `OBX|${n}|${type}|${id}||${data}||||||${status}`
const contents = (documents: ReturnType<typeof found>) =>
  documents.map((one) => (one.kind === 'unreadable' ? one.because : one.bytes.toString()))

test.each([
  ['as the standard has it', `^text^xml^Base64^${base64(cda)}`],
  ['in capitals', `^TEXT^XML^BASE64^${base64(cda)}`],
  ['called something else', `App^application^octet-stream^Base64^${base64(cda)}`],
  ['in lines that are escaped', `^text^xml^Base64^${base64(cda).replace(/.{76}/g, '$&\\X0D0A\\')}`],
  ['in lines that are formatted', `^text^xml^Base64^${base64(cda).replace(/.{76}/g, '$&\\.br\\')}`],
  ['in hexadecimal', `^text^xml^Hex^${Buffer.from(cda).toString('hex').toUpperCase()}`],
  ['as escaped text', `^text^xml^A^${cda.replaceAll('\n', '\\X0A\\').replaceAll('&', '\\T\\')}`],
  [
    'in repetitions',
    `^text^xml^Base64^${base64(cda).slice(0, 1001)}~^text^xml^Base64^${base64(cda).slice(1001)}`,
  ],
])('a C-CDA is found byte by byte: %s', (_, data) => {
  expect(found(obx(1, data))).toEqual([{ kind: 'cda', bytes: Buffer.from(cda), place: 'OBX[1]-5' }])
})

test('a document that goes on in further segments is put together, wherever it was cut', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(base64(cda).length), { maxLength: 5 }), (cuts) => {
      const text = base64(cda)
      const at = [
        0,
        ...cuts.filter((cut) => cut > 100 && cut < text.length - 1).sort((a, b) => a - b),
        text.length,
      ]
      const parts = [...new Set(at)].slice(1).map((end, n) => text.slice([...new Set(at)][n], end))
      const segments = parts.map((part, n) => obx(n + 1, `^text^xml^Base64^${part}`))
      expect(contents(found(...segments))).toEqual([cda])
    }),
  )
})

test('pieces that were encoded one by one are put together as well', () => {
  const [one, two] = [Buffer.from(cda).subarray(0, 1000), Buffer.from(cda).subarray(1000)]
  expect(
    contents(found(obx(1, `^text^xml^Base64^${base64(one)}`), obx(2, `^text^xml^Base64^${base64(two)}`))),
  ).toEqual([cda])
})

test('two documents stay two, and a PDF is one', () => {
  const other = cda.replace('Frühjahr', 'Herbst')
  const documents = found(
    obx(1, `^text^xml^Base64^${base64(cda)}`),
    obx(2, `^text^xml^Base64^${base64(other)}`),
    obx(3, `^application^pdf^Base64^${pdf.toString('base64')}`),
    obx(4, 'the text', { type: 'TX' }),
  )
  expect(documents.map(({ kind, place }) => [kind, place])).toEqual([
    ['cda', 'OBX[1]-5'],
    ['cda', 'OBX[2]-5'],
    ['pdf', 'OBX[3]-5'],
  ])
  expect(contents(documents).slice(0, 2)).toEqual([cda, other])
})

test('MIME multipart is opened (IHE XDS-MDM), with its header or without', () => {
  const body = `--b\r\nContent-Type: text/xml\r\nContent-Transfer-Encoding: base64\r\n\r\n${base64(cda)}\r\n--b--\r\n`
  const whole = `MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="b"\r\n\r\n${body}`
  for (const text of [whole, body])
    expect(contents(found(obx(1, `^multipart^related^Base64^${base64(text)}`)))).toEqual([cda])
})

test.each([
  ['a foreign character', `^text^xml^Base64^${base64(cda).slice(0, 400)}!${base64(cda).slice(400)}`],
  ['an end that is missing', `^text^xml^Base64^${base64(cda).slice(0, 401)}`],
  ['half a byte', `^text^xml^Hex^${Buffer.from(cda).toString('hex')}0`],
])('what is broken is said, not left out: %s', (_, data) => {
  expect(found(obx(1, data))).toMatchObject([
    { kind: 'unreadable', because: expect.stringContaining('broken') },
  ])
})

test.each(['D', 'W', 'X', 'P', 'I'])('a document with status %s is none yet, or none any more', (status) => {
  expect(found(obx(1, `^text^xml^Base64^${base64(cda)}`, { status }))).toEqual([])
})

test('pictures, empty ones and other XML are no documents', () => {
  expect(
    found(
      obx(1, '^application^pdf^Base64^'),
      obx(2, `^image^png^Base64^${base64('\x89PNG\r\n')}`, { id: 'P' }),
      obx(3, `^text^xml^Base64^${base64('<svg xmlns="http://www.w3.org/2000/svg"/>')}`, { id: 'S' }),
    ),
  ).toEqual([])
})
