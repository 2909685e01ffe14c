import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { discover, type Discovery } from '../../src/discovery/discover.ts'
import { makeAnswerCache } from '../../src/discovery/answer-cache.ts'
import { readDirectAddress, type DirectAddress } from '../../src/domain/direct-address.ts'
import { resolveCert, type CertAnswer } from '../../src/lib/dns-cert.ts'
import { serveDns } from '../neighbours/dns-server.ts'
import { issueFor, makeRoot } from '../pki/pki.ts'

const asked: string[] = []
let dns: Awaited<ReturnType<typeof serveDns>>
const root = makeRoot({ keyType: 'ec256' })
const at = new Date('2026-11-22T12:00:00Z')

beforeAll(async () => {
  dns = await serveDns((happening) => asked.push(String(happening['name'])), 0)
})
afterAll(() => dns.close())

const ports = () => ({
  resolveCert: (name: string) =>
    resolveCert(name, { servers: [`127.0.0.1:${dns.port}`], timeoutMs: 200, attempts: 1 }),
})

function addressOf(text: string): DirectAddress {
  const reading = readDirectAddress(text)
  if (!reading.valid) throw new Error(reading.because)
  return reading.address
}

const publish = (name: string, der: Buffer, certType = 1) =>
  dns.commands.add({ records: [{ type: 'CERT', name, certificate: der.toString('base64'), certType }] })
const certificateFor = (text: string) => issueFor(root, text, { keyType: 'ec256' }).certificate
const told = (discovery: Discovery) => discovery.trace.map(({ step, outcome }) => `${step} ${outcome}`)

test('an address-bound certificate is found first, and the domain is not asked', async () => {
  const der = certificateFor('ellen.ross@one.example')
  publish('ellen.ross.one.example', der)
  publish('one.example', certificateFor('one.example'))
  asked.length = 0
  const found = await discover(addressOf('Ellen.Ross@One.example'), ports(), at)
  expect(found).toMatchObject({ outcome: 'found', step: 'dns-address', certificates: [der] })
  expect(told(found)).toEqual(['dns-address found'])
  expect(asked).toEqual(['ellen.ross.one.example'])
})

test('without one, the certificate of the domain is found', async () => {
  const der = certificateFor('two.example')
  publish('two.example', der)
  const found = await discover(addressOf('bob@two.example'), ports(), at)
  expect(found).toMatchObject({ outcome: 'found', step: 'dns-domain', certificates: [der] })
  expect(told(found)).toEqual(['dns-address nothing', 'dns-domain found'])
})

test('an expired certificate is found all the same and ends the search', async () => {
  const expired = issueFor(root, 'bob@three.example', { keyType: 'ec256', notAfter: new Date(0) }).certificate
  publish('bob.three.example', expired)
  publish('three.example', certificateFor('three.example'))
  expect(await discover(addressOf('bob@three.example'), ports(), at)).toMatchObject({
    step: 'dns-address',
    certificates: [expired],
  })
})

test('nothing anywhere is absence; a server that fails is not', async () => {
  const absent = await discover(addressOf('bob@four.example'), ports(), at)
  expect(absent.outcome).toBe('absent')
  expect(told(absent)).toEqual(['dns-address nothing', 'dns-domain nothing'])

  publish('five.example', certificateFor('five.example'))
  dns.commands.misbehave({ name: 'bob.five.example', how: 'servfail' })
  const open = await discover(addressOf('bob@five.example'), ports(), at)
  expect(open).toMatchObject({ outcome: 'unavailable', because: expect.stringContaining('SERVFAIL') })
  expect(told(open)).toEqual(['dns-address failed'])
})

test('a sub-address is asked for as written, then without its tag', async () => {
  const literal = certificateFor('bob+x@six.example')
  const plain = certificateFor('bob@six.example')
  publish('bob+x.six.example', literal)
  publish('bob.six.example', plain)
  expect(await discover(addressOf('bob+x@six.example'), ports(), at)).toMatchObject({
    certificates: [literal],
  })
  expect(await discover(addressOf('bob+y@six.example'), ports(), at)).toMatchObject({
    step: 'dns-address',
    certificates: [plain],
  })
})

test('several certificates are all found, each once; what is no certificate is passed over and named', async () => {
  const one = certificateFor('bob@seven.example')
  const two = certificateFor('bob@seven.example')
  for (const der of [one, two]) publish('bob.seven.example', der)
  publish('bob.seven.example', one.subarray(0, one.length - 3))
  publish('bob.seven.example', Buffer.from('https://seven.example/bob.cer'), 4)
  publish('bob.seven.example', Buffer.alloc(40), 3)
  const found = await discover(addressOf('bob@seven.example'), ports(), at)
  expect(found.outcome === 'found' && found.certificates).toEqual([one, two])
  expect(found.trace.map(({ detail }) => detail)).toEqual([
    expect.stringContaining('IPKIX'),
    expect.stringContaining('PGP'),
    expect.stringContaining('not readable as a certificate'),
    expect.stringMatching(/2 certificates over TCP|2 certificates over UDP/),
  ])
})

test('only unreadable records count as nothing found', async () => {
  publish('bob.eight.example', Buffer.from('-----BEGIN CERTIFICATE-----'))
  const der = certificateFor('eight.example')
  publish('eight.example', der)
  expect(await discover(addressOf('bob@eight.example'), ports(), at)).toMatchObject({
    step: 'dns-domain',
    certificates: [der],
  })
})

test('odd octets of a local part are asked for as they are; one longer than a DNS label is skipped', async () => {
  const der = certificateFor("o'neil/b{x}@nine.example")
  publish("o'neil/b{x}.nine.example", der)
  expect(await discover(addressOf("O'Neil/b{x}@nine.example"), ports(), at)).toMatchObject({
    certificates: [der],
  })
  const long = await discover(addressOf(`${'a'.repeat(64)}@nine.example`), ports(), at)
  expect(told(long)).toEqual(['dns-address skipped', 'dns-domain nothing'])
})

test('an answer is kept as long as it says, a “no” for five minutes at most, a failure not at all', async () => {
  const cache = makeAnswerCache<CertAnswer>()
  const der = certificateFor('bob@ten.example')
  publish('bob.ten.example', der)
  const later = (seconds: number) => new Date(at.getTime() + seconds * 1000)
  const look = (text: string, when: Date) => discover(addressOf(text), { ...ports(), cache }, when)

  await look('bob@ten.example', at)
  dns.commands.remove({ name: 'bob.ten.example' })
  const kept = await look('bob@ten.example', later(59))
  expect(kept).toMatchObject({ outcome: 'found' })
  expect(kept.trace[0]!.detail).toContain('kept, good for 1 s more')
  expect((await look('bob@ten.example', later(60))).outcome).toBe('absent')

  publish('bob.ten.example', der)
  expect((await look('bob@ten.example', later(61))).outcome).toBe('absent')
  expect((await look('bob@ten.example', later(121))).outcome).toBe('found')

  dns.commands.misbehave({ name: 'amy.ten.example', how: 'refused', times: 1 })
  publish('amy.ten.example', certificateFor('amy@ten.example'))
  expect((await look('amy@ten.example', at)).outcome).toBe('unavailable')
  expect((await look('amy@ten.example', at)).outcome).toBe('found')

  cache.put('n', { outcome: 'absent', kind: 'nodata', ttlSeconds: 90_000, server: 's' }, at)
  expect(cache.get('n', later(299))?.secondsLeft).toBe(1)
  expect(cache.get('n', later(300))).toBeUndefined()
})

test('the cache holds so many names and lets the oldest go', () => {
  const cache = makeAnswerCache<CertAnswer>(2)
  const no = { outcome: 'absent', kind: 'nodata', ttlSeconds: 60, server: 's' } as const
  for (const name of ['a', 'b', 'c']) cache.put(name, no, at)
  expect(['a', 'b', 'c'].map((name) => cache.get(name, at) !== undefined)).toEqual([false, true, true])
  cache.forget('b')
  cache.put('d', { ...no, ttlSeconds: 0 }, at)
  cache.put('e', { outcome: 'failed', because: 'x' }, at)
  expect(['b', 'c', 'd', 'e'].map((name) => cache.get(name, at) !== undefined)).toEqual([
    false,
    true,
    false,
    false,
  ])
  cache.forget()
  expect(cache.get('c', at)).toBeUndefined()
})
