import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { makeAnswerCache } from '../../src/discovery/answer-cache.ts'
import { discover } from '../../src/discovery/discover.ts'
import { readDirectAddress } from '../../src/domain/direct-address.ts'
import { resolveCert, type CertAnswer } from '../../src/lib/dns-cert.ts'
import { issueFor, makeRoot } from '../pki/pki.ts'
import { certLine, runNamed } from './named.ts'

const zone = 'direct.somephr.example'
const root = makeRoot({ keyType: 'ec256' })
const ellen = issueFor(root, `ellen.ross@${zone}`, { keyType: 'ec256' }).certificate
const big = issueFor(root, `big@${zone}`, { keyType: 'rsa4096' }).certificate
const many = Array.from(
  { length: 12 },
  () => issueFor(root, `many@${zone}`, { keyType: 'ec256' }).certificate,
)
const ofDomain = issueFor(root, zone, { keyType: 'ec256' }).certificate

let named: Awaited<ReturnType<typeof runNamed>>
let server: string

beforeAll(async () => {
  named = await runNamed(zone, records())
  server = named.server
}, 30_000)
afterAll(() => named?.stop())

function records(): string[] {
  return [
    certLine('@', ofDomain),
    certLine('ellen.ross', ellen),
    certLine('big', big),
    certLine('big', issueFor(root, `big@${zone}`, { keyType: 'ec256' }).certificate),
    ...many.map((der) => certLine('many', der)),
    certLine('mixed', Buffer.from(`https://${zone}/mixed.cer`), 'IPKIX'),
    certLine('mixed', Buffer.alloc(30, 5), 'PGP'),
    certLine('mixed', ellen),
    certLine('old', Buffer.from('not a certificate')),
    certLine("bob+x=o'neil", ellen),
    'alias IN CNAME ellen.ross',
    'text IN TXT "no certificate here"',
  ]
}

const look = (name: string) => resolveCert(`${name}.${zone}`, { servers: [server], attempts: 1 })

test('BIND hands out a CERT record over UDP, with its octets and its TTL', async () => {
  expect(await look('Ellen.ROSS')).toEqual({
    outcome: 'answer',
    records: [{ type: 1, keyTag: 0, algorithm: 0, data: ellen }],
    ttlSeconds: 120,
    via: 'udp',
    server,
  })
})

test('BIND cuts what is too large for UDP, and it is had over TCP', async () => {
  const answer = await look('big')
  expect(answer).toMatchObject({ outcome: 'answer', via: 'tcp' })
  expect(answer.outcome === 'answer' && answer.records.some(({ data }) => data.equals(big))).toBe(true)
  const dozen = await look('many')
  expect(dozen).toMatchObject({ outcome: 'answer', via: 'tcp' })
  const sorted = (ders: readonly Buffer[]) => [...ders].sort(Buffer.compare)
  expect(dozen.outcome === 'answer' && sorted(dozen.records.map(({ data }) => data))).toEqual(sorted(many))
})

test('BIND says NXDOMAIN and NODATA with the TTL of its SOA', async () => {
  expect(await look('nobody')).toMatchObject({ outcome: 'absent', kind: 'nxdomain', ttlSeconds: 45 })
  expect(await look('text')).toMatchObject({ outcome: 'absent', kind: 'nodata', ttlSeconds: 45 })
})

test('BIND follows an alias within its zone, and odd octets of a local part arrive', async () => {
  expect(await look('alias')).toMatchObject({ outcome: 'answer', records: [{ data: ellen }] })
  expect(await look("bob+x=o'neil")).toMatchObject({ outcome: 'answer', records: [{ data: ellen }] })
})

test('a zone that BIND does not serve is refused, which is not absence', async () => {
  expect(await resolveCert('ellen.elsewhere.example', { servers: [server], attempts: 1 })).toMatchObject({
    outcome: 'failed',
    because: expect.stringContaining('REFUSED'),
  })
})

test('discovery against BIND: the address, else the domain; other types of CERT are passed over', async () => {
  const ports = {
    resolveCert: (name: string) => resolveCert(name, { servers: [server], attempts: 1 }),
    cache: makeAnswerCache<CertAnswer>(),
  }
  const find = (text: string) => {
    const reading = readDirectAddress(text)
    if (!reading.valid) throw new Error(reading.because)
    return discover(reading.address, ports, new Date())
  }
  expect(await find(`Ellen.Ross@${zone}`)).toMatchObject({ step: 'dns-address', certificates: [ellen] })
  expect(await find(`nobody@${zone}`)).toMatchObject({ step: 'dns-domain', certificates: [ofDomain] })
  expect(await find(`mixed@${zone}`)).toMatchObject({ step: 'dns-address', certificates: [ellen] })
  expect(await find(`old@${zone}`)).toMatchObject({ step: 'dns-domain', certificates: [ofDomain] })
  expect(await find('x@elsewhere.example')).toMatchObject({ outcome: 'unavailable' })
})
