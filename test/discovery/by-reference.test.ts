import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { discover, type Discovery } from '../../src/discovery/discover.ts'
import { readDirectAddress } from '../../src/domain/direct-address.ts'
import { resolveCert } from '../../src/lib/dns-cert.ts'
import { makeGuardedFetch } from '../../src/lib/guarded-fetch.ts'
import { serveDns } from '../neighbours/dns-server.ts'
import { makeBundle } from '../pki/bundle.ts'
import { issueFor, makeRoot } from '../pki/pki.ts'

const root = makeRoot({ keyType: 'ec256' })
const at = new Date('2026-11-22T12:00:00Z')
const der = issueFor(root, 'bob@refer.example', { keyType: 'ec256' }).certificate
const ofTheDomain = issueFor(root, 'refer.example', { keyType: 'ec256' }).certificate
const pem = (label: string, bytes: Buffer) =>
  `-----BEGIN ${label}-----\n${bytes.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END ${label}-----\n`

let dns: Awaited<ReturnType<typeof serveDns>>
let web: Server
let base: string
let reply: (response: ServerResponse) => void
let visits = 0

beforeAll(async () => {
  dns = await serveDns(() => {}, 0)
  web = createServer((_, response) => {
    visits += 1
    reply(response)
  }).listen(0, '127.0.0.1')
  await once(web, 'listening')
  base = `http://127.0.0.1:${(web.address() as AddressInfo).port}`
})
afterAll(() => {
  dns.close()
  web.closeAllConnections()
  web.close()
})
beforeEach(() => {
  dns.commands.clear()
  visits = 0
  publish(1, ofTheDomain, 'refer.example')
})

const publish = (certType: number, content: Buffer, name = 'bob.refer.example') =>
  dns.commands.add({ records: [{ type: 'CERT', name, certificate: content.toString('base64'), certType }] })

function look(allowPrivateAddresses = true): Promise<Discovery> {
  const reading = readDirectAddress('bob@refer.example')
  if (!reading.valid) throw new Error(reading.because)
  const options = { servers: [`127.0.0.1:${dns.port}`], timeoutMs: 200, attempts: 1 }
  return discover(
    reading.address,
    {
      resolveCert: (name) => resolveCert(name, options),
      fetch: makeGuardedFetch({ allowPrivateAddresses }),
    },
    at,
  )
}

const fell = { outcome: 'found', step: 'dns-domain', certificates: [ofTheDomain] }
const details = ({ trace }: Discovery) => trace.map(({ detail }) => detail).join('\n')

test.each([
  ['DER', 4, der],
  ['DER', 253, der],
  ['PEM', 4, Buffer.from(pem('CERTIFICATE', der))],
  ['certs-only PKCS#7', 253, makeBundle([der])],
  ['certs-only PKCS#7 as PEM', 4, Buffer.from(pem('PKCS7', makeBundle([der])))],
])('%s at the place that a record of type %d names is found', async (_, certType, content) => {
  reply = (response) => response.end(content)
  publish(certType, Buffer.from(`${base}/bob`))
  expect(await look()).toMatchObject({ outcome: 'found', step: 'dns-address', certificates: [der] })
})

test('what follows the NUL behind a URI does not belong to it (RFC 4398 §2.1)', async () => {
  reply = (response) => response.end(der)
  publish(253, Buffer.concat([Buffer.from(`${base}/bob\0`), Buffer.from([1, 2, 3])]))
  expect(await look()).toMatchObject({ outcome: 'found', certificates: [der] })
})

test('an OID names no place: it is told, and the domain is asked', async () => {
  publish(254, Buffer.from('06032a0304', 'hex'))
  const found = await look()
  expect(found).toMatchObject(fell)
  expect(details(found)).toMatch(/OID.*cannot be fetched/)
})

test('a place inside is refused without a visit, and counts as nothing', async () => {
  reply = (response) => response.end(der)
  publish(4, Buffer.from(`${base}/bob`))
  expect(await look(false)).toMatchObject(fell)
  publish(4, Buffer.from('file:///etc/passwd'))
  expect(await look(false)).toMatchObject(fell)
  expect(visits).toBe(0)
})

test('a place that has none, or something else, or too much of it, is nothing found', async () => {
  publish(4, Buffer.from(`${base}/bob`))
  for (const answer of [
    (response: ServerResponse) => response.writeHead(404).end(),
    (response: ServerResponse) => response.end('<html>'),
    (response: ServerResponse) => response.end(Buffer.alloc(100_000, 0x30)),
  ]) {
    reply = answer
    expect(await look()).toMatchObject(fell)
  }
})

test('a place that does not answer leaves the question open; the domain is not asked', async () => {
  publish(4, Buffer.from(`${base}/bob`))
  for (const answer of [
    (response: ServerResponse) => response.writeHead(503).end(),
    (response: ServerResponse) => response.destroy(),
  ]) {
    reply = answer
    expect(await look()).toMatchObject({ outcome: 'unavailable' })
  }
})

test('four places are visited for one answer, no more', async () => {
  reply = (response) => response.writeHead(404).end()
  for (let n = 0; n < 9; n += 1) publish(4, Buffer.from(`${base}/${n}`))
  expect(await look()).toMatchObject(fell)
  expect(visits).toBe(4)
})
