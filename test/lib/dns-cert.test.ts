import dgram from 'node:dgram'
import net, { type AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import packet from 'dns-packet'
import fc from 'fast-check'
import { resolveCert } from '../../src/lib/dns-cert.ts'
import { fitsDns } from '../../src/lib/dns-name.ts'
import { serveDns } from '../neighbours/dns-server.ts'

const asked: { name: string; over: string; edns: number }[] = []
let dns: Awaited<ReturnType<typeof serveDns>>
let servers: string[]

beforeAll(async () => {
  dns = await serveDns((happening) => asked.push(happening as never), 0)
  servers = [`127.0.0.1:${dns.port}`]
})
afterAll(() => dns.close())

const quick = () => ({ servers, timeoutMs: 200, attempts: 1 })
const publish = (name: string, bytes = 40, ttl = 300) =>
  dns.commands.add({
    records: [{ type: 'CERT', name, ttl, certificate: Buffer.alloc(bytes, name).toString('base64') }],
  })

test('a CERT record comes back with its bytes, over UDP with EDNS0', async () => {
  publish('ellen.ross.direct.somephr.example', 900, 77)
  const answer = await resolveCert('Ellen.Ross.direct.SomePHR.example', quick())
  expect(answer).toEqual({
    outcome: 'answer',
    records: [
      { type: 1, keyTag: 0, algorithm: 0, data: Buffer.alloc(900, 'ellen.ross.direct.somephr.example') },
    ],
    ttlSeconds: 77,
    via: 'udp',
    server: servers[0],
  })
  expect(asked.at(-1)).toMatchObject({ over: 'udp', edns: 1232 })
})

test('an answer that was cut is fetched again over TCP', async () => {
  for (let n = 0; n < 24; n++) publish('many.example.org', 900)
  const answer = await resolveCert('many.example.org', quick())
  expect(answer).toMatchObject({ outcome: 'answer', via: 'tcp' })
  expect(answer.outcome === 'answer' && answer.records.length).toBe(24)
})

test('a name that does not exist, and one that has no CERT record, are absent', async () => {
  dns.commands.add({ records: [{ type: 'A', name: 'host.example.org', data: '192.0.2.1' }] })
  expect(await resolveCert('nobody.example.org', quick())).toMatchObject({
    outcome: 'absent',
    kind: 'nxdomain',
  })
  expect(await resolveCert('host.example.org', quick())).toMatchObject({ outcome: 'absent', kind: 'nodata' })
})

test.each(['servfail', 'refused', 'silence', 'truncated', 'wrong-id', 'wrong-question', 'garbage'] as const)(
  '%s leaves the question open: it is never absence',
  async (how) => {
    publish(`${how}.example.org`)
    dns.commands.misbehave({ name: `${how}.example.org`, how })
    const answer = await resolveCert(`${how}.example.org`, quick())
    expect(answer.outcome).toBe('failed')
  },
)

test('a server that fails once is asked again, and a dead one is passed over', async () => {
  publish('again.example.org')
  dns.commands.misbehave({ name: 'again.example.org', how: 'servfail', times: 1 })
  expect(await resolveCert('again.example.org', { ...quick(), attempts: 2 })).toMatchObject({
    outcome: 'answer',
  })
  const dead = dgram.createSocket('udp4')
  await new Promise<void>((resolve) => dead.bind(0, '127.0.0.1', resolve))
  const port = dead.address().port
  const answer = await resolveCert('again.example.org', {
    ...quick(),
    servers: [`127.0.0.1:${port}`, ...servers],
  })
  dead.close()
  expect(answer).toMatchObject({ outcome: 'answer', server: servers[0] })
  // Nobody listens any more: the refusal is heard at once.
  const refused = await resolveCert('again.example.org', {
    servers: [`127.0.0.1:${port}`],
    attempts: 1,
    timeoutMs: 60_000,
  })
  expect(refused).toMatchObject({ outcome: 'failed', because: expect.stringContaining('ECONNREFUSED') })
})

test('aliases are followed, also where the server gives only the first step; circles and long chains fail', async () => {
  publish('real.example.org')
  const alias = (name: string, data: string) => ({ type: 'CNAME' as const, name, data, ttl: 5 })
  dns.commands.add({
    records: [
      alias('alias.example.org', 'middle.example.org'),
      alias('middle.example.org', 'Real.example.org'),
      alias('round.example.org', 'about.example.org'),
      alias('about.example.org', 'round.example.org'),
      alias('gone.example.org', 'nowhere.example.org'),
      ...Array.from({ length: 12 }, (_, n) => alias(`hop${n}.example.org`, `hop${n + 1}.example.org`)),
    ],
  })
  expect(await resolveCert('alias.example.org', quick())).toMatchObject({ outcome: 'answer', ttlSeconds: 5 })
  expect(await resolveCert('round.example.org', quick())).toMatchObject({ outcome: 'failed' })
  expect(await resolveCert('hop0.example.org', quick())).toMatchObject({ outcome: 'failed' })
  expect(await resolveCert('gone.example.org', quick())).toMatchObject({ outcome: 'absent' })
})

test('cancelling ends the wait', async () => {
  dns.commands.misbehave({ name: 'slow.example.org', how: 'silence' })
  const controller = new AbortController()
  const waiting = resolveCert('slow.example.org', { servers, timeoutMs: 60_000, signal: controller.signal })
  controller.abort()
  expect(await waiting).toMatchObject({ outcome: 'failed', because: expect.stringContaining('cancelled') })
  expect(await resolveCert('slow.example.org', { servers, deadlineMs: 1 })).toMatchObject({
    outcome: 'failed',
  })
})

test('a server that is no address, and a name that DNS cannot hold, are named as such', async () => {
  for (const wrong of ['dns.example.org', '1.2.3.4:99999', '[::1', ''])
    expect(await resolveCert('a.example.org', { servers: [wrong] })).toMatchObject({
      outcome: 'failed',
      because: expect.stringContaining('DNS server'),
    })
  expect(fitsDns(`${'a'.repeat(64)}.example.org`)).toBe(false)
  expect(fitsDns(`${'a.'.repeat(127)}example.org`)).toBe(false)
  expect(fitsDns('a..example.org')).toBe(false)
  expect(fitsDns("bob+tag=o'neil.example.org.")).toBe(true)
  expect(await resolveCert(`${'a'.repeat(64)}.example.org`, quick())).toMatchObject({ outcome: 'failed' })
})

test('octets that host names do not have travel as they are', async () => {
  publish("bob+x=o'neil.example.org")
  expect(await resolveCert("bob+x=o'neil.example.org", quick())).toMatchObject({ outcome: 'answer' })
})

/** A server that answers every question with bytes of our choice, over UDP and TCP. */
async function serverOf(reply: (query: Buffer) => Buffer) {
  const tcp = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      const answer = reply(chunk.subarray(2))
      const length = Buffer.alloc(2)
      length.writeUInt16BE(answer.length)
      socket.end(Buffer.concat([length, answer]))
    })
  })
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve))
  const { port } = tcp.address() as AddressInfo
  const udp = dgram.createSocket('udp4')
  await new Promise<void>((resolve) => udp.bind(port, '127.0.0.1', resolve))
  udp.on('message', (query, from) => udp.send(reply(query), from.port, from.address))
  return {
    server: `127.0.0.1:${port}`,
    close: () => {
      udp.close()
      tcp.close()
    },
  }
}

const answerTo = (query: Buffer, more: Partial<packet.Packet>): Buffer => {
  const { id, questions } = packet.decode(query)
  return packet.encode({
    type: 'response',
    ...(id === undefined ? {} : { id }),
    ...(questions === undefined ? {} : { questions }),
    ...more,
  })
}

test('a server that does not know EDNS0 is asked without it; one that only refers to others does not answer', async () => {
  const cert = { type: 'CERT', name: 'old.example.org', class: 'IN', ttl: 9, data: Buffer.alloc(30, 1) }
  const old = await serverOf((query) =>
    packet.decode(query).additionals?.length
      ? answerTo(query, { flags: 1, questions: [] })
      : answerTo(query, { answers: [cert as never] }),
  )
  expect(await resolveCert('old.example.org', { servers: [old.server] })).toMatchObject({ outcome: 'answer' })
  old.close()
  const referring = await serverOf((query) =>
    answerTo(query, { authorities: [{ type: 'NS', name: 'example.org', data: 'ns.example.org' }] }),
  )
  const answer = await resolveCert('old.example.org', { servers: [referring.server], attempts: 1 })
  expect(answer).toMatchObject({ outcome: 'failed', because: expect.stringContaining('other servers') })
  referring.close()
})

test('the time a “no” is good for is the smaller one of the SOA', async () => {
  const soa = {
    type: 'SOA' as const,
    name: 'example.org',
    ttl: 900,
    data: {
      mname: 'ns.example.org',
      rname: 'host.example.org',
      serial: 1,
      refresh: 1,
      retry: 1,
      expire: 1,
      minimum: 30,
    },
  }
  const server = await serverOf((query) => answerTo(query, { flags: 3, authorities: [soa] }))
  expect(await resolveCert('no.example.org', { servers: [server.server] })).toMatchObject({
    outcome: 'absent',
    ttlSeconds: 30,
  })
  server.close()
})

test('whatever bytes a server sends, there is an answer and no crash', async () => {
  let mutate = (answer: Buffer): Buffer => answer
  const record = (name: string, type: string, data: unknown) =>
    ({ name, type, class: 'IN', ttl: 9, data }) as never
  const server = await serverOf((query) =>
    mutate(
      answerTo(query, {
        answers: [
          record('odd.example.org', 'CNAME', 'other.example.org'),
          record(
            'other.example.org',
            'CERT',
            Buffer.concat([Buffer.from([0, 1, 0, 0, 0]), Buffer.alloc(60, 7)]),
          ),
        ],
      }),
    ),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      fc.option(fc.nat(200)),
      fc.boolean(),
      async (changes, cutTo, keepId) => {
        mutate = (answer) => {
          const bytes = Buffer.from(answer)
          for (const [at, octet] of changes)
            bytes[keepId ? 2 + (at % (bytes.length - 2)) : at % bytes.length] = octet
          return cutTo === null ? bytes : bytes.subarray(0, Math.max(2, cutTo % bytes.length))
        }
        const answer = await resolveCert('odd.example.org', {
          servers: [server.server],
          timeoutMs: 5,
          attempts: 1,
        })
        expect(['answer', 'absent', 'failed']).toContain(answer.outcome)
      },
    ),
    { numRuns: 500 },
  )
  server.close()
}, 60_000)
