import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createHash, randomBytes } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { fhirServer } from '../../src/documents/fhir-server.ts'
import { aSetting, startAnswering, type AnsweringServer } from './answering-server.ts'

let clinic: AnsweringServer
let store: AnsweringServer
beforeAll(async () => {
  ;[clinic, store] = await Promise.all([startAnswering(), startAnswering()])
})
afterAll(() => Promise.all([clinic.close(), store.close()]))

const mebibyte = 1024 * 1024

function aServer(changes: Parameters<typeof aSetting>[1] = {}) {
  return fhirServer(aSetting(clinic.base, changes), { pause: () => Promise.resolve() })
}

function giveBytes(server: AnsweringServer, bytes: Uint8Array, headers: Record<string, string> = {}) {
  server.answer((_, response) => void response.writeHead(200, headers).end(bytes))
}

test.each([
  ['a byte order mark', Buffer.from('\uFEFF<a/>')],
  ['CRLF and lone CR', Buffer.from('<a>\r\n\r\r\n</a>')],
  ['Latin-1', Buffer.from('<?xml version="1.0" encoding="ISO-8859-1"?><a>Müller</a>', 'latin1')],
  ['UTF-16', Buffer.from('\uFEFF<a/>', 'utf16le')],
  ['bytes that are no text', randomBytes(100_000)],
  ['nothing', Buffer.alloc(0)],
])('bytes come as they are: %s', async (_, bytes) => {
  giveBytes(clinic, bytes, { 'content-type': 'Application/XML; charset=utf-8' })
  const found = await aServer().bytes('Binary/1', mebibyte)
  expect(found.bytes.equals(bytes)).toBe(true)
  expect(found.mediaType).toBe('application/xml')
})

test('the content is asked for, not the Binary resource', async () => {
  giveBytes(clinic, Buffer.from('<a/>'))
  await aServer().bytes('Binary/1', mebibyte)
  expect(clinic.asked[0]!.path).toBe('/fhir/Binary/1')
  expect(clinic.asked[0]!.headers.accept).not.toMatch(/fhir|json/)
})

test.each([
  'http://ORIGIN/fhir/Binary/1',
  'http://ORIGIN/other/path?sig=1',
  'Binary/1',
  './Binary/1',
  'a/b/c?x=%2B',
])('fetched from the server: %s', async (url) => {
  giveBytes(clinic, Buffer.from('<a/>'))
  const { bytes } = await aServer().bytes(url.replace('http://ORIGIN', clinic.origin), mebibyte)
  expect(bytes.toString()).toBe('<a/>')
})

test.each([
  'file:///etc/passwd',
  'ftp://127.0.0.1/x',
  'data:text/xml,<a/>',
  'javascript:alert(1)',
  '//127.0.0.1:1/x',
  'http://127.0.0.1:1/x',
  'http://169.254.169.254/latest/meta-data',
  'http://user:pw@ORIGIN/fhir/Binary/1',
  '../admin',
  '/admin',
  'Binary/../../admin',
  'Binary/%2e%2e/%2e%2e/admin',
  'Binary%2f..%2f..%2fadmin',
  'Binary\\..\\..\\admin',
  'http://[bad',
  '/fhirs/Binary/1',
])('not fetched: %s', async (url) => {
  giveBytes(clinic, Buffer.from('<a/>'))
  const failure = await aServer()
    .bytes(url.replace('ORIGIN', clinic.origin.slice('http://'.length)), mebibyte)
    .catch((error: unknown) => error)
  expect((failure as { code: string }).code).toMatch(/^(document|fhir)-refused$/)
  expect(clinic.asked).toEqual([])
})

test('another host is asked only where the settings list it, and without our credentials', async () => {
  giveBytes(store, Buffer.from('<a/>'))
  const auth = { type: 'bearer', token: 's3cret' } as const
  await expect(aServer({ auth }).bytes(`${store.origin}/1`, mebibyte)).rejects.toMatchObject({
    code: 'fhir-refused',
    because: expect.stringContaining('attachmentOrigins'),
  })
  expect(store.asked).toEqual([])

  const listed = aServer({ auth, attachmentOrigins: [store.origin] })
  expect((await listed.bytes(`${store.origin}/1`, mebibyte)).bytes.toString()).toBe('<a/>')
  expect(store.asked[0]!.headers.authorization).toBeUndefined()
})

test('a listed host does not get us further by a redirect, least of all back inside', async () => {
  store.answer((_, response) => void response.writeHead(302, { location: `${clinic.base}/Patient` }).end())
  clinic.answer((_, response) => void response.end('<a/>'))
  await expect(
    aServer({ attachmentOrigins: [store.origin] }).bytes(`${store.origin}/1`, mebibyte),
  ).rejects.toMatchObject({ code: 'fhir-refused' })
  expect(clinic.asked).toEqual([])
})

test.each([404, 410])(
  '%i for the content of a listed document: it is missing, and may come',
  async (status) => {
    clinic.answer((_, response) => void response.writeHead(status).end())
    await expect(aServer().bytes('Binary/1', mebibyte)).rejects.toMatchObject({ code: 'document-missing' })
  },
)

test.each([204, 206, 304, 400, 403, 500])('%i gives no document', async (status) => {
  clinic.answer((_, response) => void response.writeHead(status).end())
  await expect(aServer().bytes('Binary/1', mebibyte)).rejects.toMatchObject({
    code: status === 500 ? 'fhir-unavailable' : 'fhir-refused',
  })
})

test('the limit is met to the byte', async () => {
  const bytes = randomBytes(70_000)
  giveBytes(clinic, bytes)
  expect((await aServer().bytes('Binary/1', 70_000)).bytes.equals(bytes)).toBe(true)
  await expect(aServer().bytes('Binary/1', 69_999)).rejects.toMatchObject({ code: 'document-refused' })
})

test('a document without end is left at the limit, and its connection is closed', async () => {
  const block = Buffer.alloc(64 * 1024, 0x20)
  let sent = 0
  const closed = new Promise<void>((resolve) =>
    clinic.answer((_, response) => {
      response.on('close', resolve)
      response.writeHead(200)
      const pour = () => {
        while (!response.destroyed && response.write(block)) sent += block.length
      }
      response.on('drain', pour)
      pour()
    }),
  )
  await expect(aServer().bytes('Binary/1', mebibyte)).rejects.toMatchObject({
    code: 'document-refused',
    because: expect.stringContaining(`larger than ${mebibyte} bytes`),
  })
  await closed
  expect(clinic.asked).toHaveLength(1)
  expect(sent).toBeLessThan(64 * mebibyte)
})

test('compressed content is unpacked, and a bomb is left at the limit', async () => {
  const bytes = Buffer.from('<a>text</a>')
  giveBytes(clinic, gzipSync(bytes), { 'content-encoding': 'gzip' })
  expect((await aServer().bytes('Binary/1', mebibyte)).bytes.equals(bytes)).toBe(true)

  const bomb = gzipSync(Buffer.alloc(512 * mebibyte), { level: 9 })
  expect(bomb.length).toBeLessThan(mebibyte)
  giveBytes(clinic, bomb, { 'content-encoding': 'gzip' })
  const before = process.memoryUsage().arrayBuffers
  await expect(aServer().bytes('Binary/1', mebibyte)).rejects.toMatchObject({ code: 'document-refused' })
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(128 * mebibyte)
})

test('content that ends too early is no document, and is asked for again', async () => {
  const bytes = randomBytes(5000)
  clinic.answer((_, response, nth) => {
    response.writeHead(200, { 'content-length': bytes.length })
    if (nth > 1) return void response.end(bytes)
    response.write(bytes.subarray(0, 4000), () => response.destroy())
  })
  const found = await aServer().bytes('Binary/1', mebibyte)
  expect(createHash('sha256').update(found.bytes).digest('hex')).toBe(
    createHash('sha256').update(bytes).digest('hex'),
  )
  expect(clinic.asked).toHaveLength(2)
})
