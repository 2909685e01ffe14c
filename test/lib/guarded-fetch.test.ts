import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { makeGuardedFetch } from '../../src/lib/guarded-fetch.ts'
import { makeRoot, serverAuth } from '../pki/pki.ts'

let server: Server
let base: string
const asked: { url: string; method: string; headers: IncomingMessage['headers']; body: string }[] = []
const pages = new Map<string, (response: ServerResponse) => void>()

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (piece: Buffer) => (body += piece.toString('latin1')))
    request.on('end', () => {
      asked.push({ url: request.url!, method: request.method!, headers: request.headers, body })
      const page = pages.get(request.url!)
      if (page === undefined) response.writeHead(404).end()
      else page(response)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

const order = { bytesMax: 1000, timeoutMs: 5000 }
const open = makeGuardedFetch({ allowPrivateAddresses: true })
const guarded = makeGuardedFetch({ allowPrivateAddresses: false })
const page = (path: string, reply: (response: ServerResponse) => void) => {
  pages.set(path, reply)
  return base + path
}

test('what is there is fetched, with its status and headers in lower case', async () => {
  const url = page('/a', (response) => response.writeHead(200, { ETag: '"1"' }).end('content'))
  const answer = await open(url, { ...order, headers: { 'if-none-match': '"0"' } })
  expect(answer).toMatchObject({ outcome: 'fetched', status: 200, body: Buffer.from('content') })
  expect(answer.outcome === 'fetched' && answer.headers.get('etag')).toBe('"1"')
  expect(asked.at(-1)!.headers).toMatchObject({ 'if-none-match': '"0"' })
  expect(asked.at(-1)!.headers.cookie).toBeUndefined()
  expect(await open(`${base}/missing`, order)).toMatchObject({ outcome: 'fetched', status: 404 })
})

test('a question is posted whole', async () => {
  const url = page('/ocsp', (response) => response.end('reply'))
  await open(url, { ...order, method: 'POST', body: Buffer.from('question') })
  expect(asked.at(-1)).toMatchObject({ method: 'POST', body: 'question', headers: { 'content-length': '8' } })
})

// WHATWG URLs turn every spelling of an IPv4 address into the usual one.
test.each(['127.0.0.1', '2130706433', '0x7f.1', '0177.0.0.1', '[::1]', '[::ffff:127.0.0.1]', '0'])(
  'http://%s is refused, and nobody is asked',
  async (host) => {
    const before = asked.length
    const { port } = server.address() as AddressInfo
    expect(await guarded(`http://${host}:${port}/a`, order)).toMatchObject({ outcome: 'refused' })
    expect(asked).toHaveLength(before)
  },
)

test.each([
  'file:///etc/passwd',
  'ldap://ldap.example/cn=x',
  'ftp://a.example/',
  'gopher://a.example',
  'nonsense',
  '',
])('%j is refused', async (url) => {
  expect(await open(url, order)).toMatchObject({ outcome: 'refused' })
})

test('a URL with a password in it is refused, and one of endless length', async () => {
  expect(await open('http://user:secret@a.example/', order)).toMatchObject({
    outcome: 'refused',
    because: expect.not.stringContaining('secret'),
  })
  expect(await open(`http://a.example/${'x'.repeat(3000)}`, order)).toMatchObject({ outcome: 'refused' })
})

test('a name that points inside is refused; the address that was checked is the one that is asked', async () => {
  const { port } = server.address() as AddressInfo
  let asks = 0
  const inside = makeGuardedFetch({
    allowPrivateAddresses: false,
    resolve: async () => [{ address: '127.0.0.1', family: 4 }],
  })
  expect(await inside(`http://crl.example:${port}/a`, order)).toMatchObject({ outcome: 'refused' })
  // A second question would be answered by the attacker’s second thought.
  const rebinding = makeGuardedFetch({
    allowPrivateAddresses: true,
    resolve: async () => [{ address: asks++ === 0 ? '127.0.0.1' : '127.0.0.9', family: 4 }],
  })
  page('/a', (response) => response.end('here'))
  expect(await rebinding(`http://crl.example:${port}/a`, order)).toMatchObject({ body: Buffer.from('here') })
  expect(asks).toBe(1)
  expect(asked.at(-1)!.headers.host).toBe(`crl.example:${port}`)
})

test('redirects are followed three times, and each is guarded again', async () => {
  const to = (location: string) => (response: ServerResponse) => response.writeHead(302, { location }).end()
  page('/end', (response) => response.end('arrived'))
  page('/1', to('/end'))
  page('/2', to('/1'))
  page('/3', to('/2'))
  page('/4', to('/3'))
  expect(await open(`${base}/3`, order)).toMatchObject({ body: Buffer.from('arrived') })
  expect(await open(`${base}/4`, order)).toMatchObject({ outcome: 'refused' })
  expect(await open(page('/file', to('file:///etc/passwd')), order)).toMatchObject({ outcome: 'refused' })
  expect(await open(page('/odd', to('http://[')), order)).toMatchObject({ outcome: 'refused' })

  const { port } = server.address() as AddressInfo
  const moving = makeGuardedFetch({
    allowPrivateAddresses: false,
    // The first host is outside as far as anybody can see; where it sends us is not.
    resolve: async (host) => [{ address: host === 'inside.example' ? '10.0.0.1' : '9.9.9.9', family: 4 }],
  })
  expect(await moving(`http://inside.example:${port}/`, order)).toMatchObject({ outcome: 'refused' })
})

test('a POST that is redirected becomes a GET, except by 307 and 308', async () => {
  page('/form', (response) => response.end('x'))
  const from = page('/moved', (response) => response.writeHead(302, { location: '/form' }).end())
  await open(from, { ...order, method: 'POST', body: Buffer.from('question') })
  expect(asked.at(-1)).toMatchObject({ method: 'GET', body: '' })
  const kept = page('/kept', (response) => response.writeHead(307, { location: '/form' }).end())
  await open(kept, { ...order, method: 'POST', body: Buffer.from('question') })
  expect(asked.at(-1)).toMatchObject({ method: 'POST', body: 'question' })
})

test('more octets than allowed are refused, told or not', async () => {
  const told = page('/told', (response) =>
    response.writeHead(200, { 'content-length': '5000' }).end('x'.repeat(5000)),
  )
  expect(await open(told, order)).toMatchObject({ outcome: 'refused' })
  let sent = 0
  const endless = page('/endless', (response) => {
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(100))) sent += 100
    }
    response.on('drain', more)
    more()
  })
  expect(await open(endless, order)).toMatchObject({ outcome: 'refused' })
  expect(sent).toBeLessThan(10_000_000)
  const exact = page('/exact', (response) => response.end('x'.repeat(1000)))
  expect(await open(exact, order)).toMatchObject({ outcome: 'fetched' })
})

test('silence, slowness and a cut-off answer are failures that may pass', async () => {
  const impatient = { ...order, timeoutMs: 200 }
  expect(
    await open(
      page('/silent', () => {}),
      impatient,
    ),
  ).toMatchObject({
    outcome: 'failed',
    because: expect.stringContaining('no answer within 200 ms'),
  })
  const drip = page('/drip', (response) => {
    const timer = setInterval(() => response.write('x'), 20)
    response.on('close', () => clearInterval(timer))
  })
  expect(await open(drip, impatient)).toMatchObject({ outcome: 'failed' })
  const cut = page('/cut', (response) => {
    response.writeHead(200, { 'content-length': '500' })
    response.write('half', () => response.destroy())
  })
  expect(await open(cut, order)).toMatchObject({ outcome: 'failed' })
  expect(await open('http://127.0.0.1:1/', order)).toMatchObject({ outcome: 'failed' })
})

test('https is verified: by our roots, and by the name', async () => {
  const root = makeRoot()
  const leaf = root.issue({ domains: ['bundles.example'], extendedKeyUsage: [serverAuth] })
  const secure = createSecureServer({ cert: leaf.certificatePem, key: leaf.privateKeyPem }, (_, response) =>
    response.end('bundle'),
  ).listen(0, '127.0.0.1')
  await once(secure, 'listening')
  const { port } = secure.address() as AddressInfo
  const options = {
    allowPrivateAddresses: true,
    resolve: async () => [{ address: '127.0.0.1', family: 4 as const }],
  }
  const trusting = makeGuardedFetch({ ...options, ca: [root.certificatePem] })
  expect(await trusting(`https://bundles.example:${port}/`, order)).toMatchObject({
    body: Buffer.from('bundle'),
  })
  expect(await trusting(`https://other.example:${port}/`, order)).toMatchObject({ outcome: 'failed' })
  expect(await makeGuardedFetch(options)(`https://bundles.example:${port}/`, order)).toMatchObject({
    outcome: 'failed',
  })
  const onlySecure = makeGuardedFetch({ ...options, protocols: ['https:'] })
  expect(await onlySecure(`http://bundles.example:${port}/`, order)).toMatchObject({ outcome: 'refused' })
  secure.close()
})
