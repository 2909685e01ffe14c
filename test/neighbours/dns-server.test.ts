import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Resolver } from 'node:dns/promises'
import dgram from 'node:dgram'
import net from 'node:net'
import packet from 'dns-packet'
import { startNeighbour, type Neighbour } from './neighbour.ts'

let dns: Neighbour
const certificate = Buffer.alloc(900, 7)

beforeAll(async () => {
  dns = await startNeighbour('dns-server')
  await dns.order('add', {
    records: [
      {
        type: 'CERT',
        name: 'ellen.ross.direct.somephr.example',
        certificate: certificate.toString('base64'),
      },
      { type: 'CNAME', name: 'alias.somephr.example', data: 'ellen.ross.direct.somephr.example' },
      { type: 'MX', name: 'direct.somephr.example', preference: 10, exchange: 'mx.somephr.example' },
      { type: 'A', name: 'mx.somephr.example', data: '127.0.0.1' },
      {
        type: 'SRV',
        name: '_ldap._tcp.direct.somephr.example',
        priority: 0,
        weight: 5,
        port: 389,
        target: 'l.example',
      },
    ],
  })
})
afterAll(() => dns.stop())

function query(name: string, edns: number, type = 'CERT') {
  return packet.encode({
    type: 'query',
    id: 77,
    questions: [{ type: type as packet.RecordType, name, class: 'IN' }],
    additionals: edns
      ? [{ type: 'OPT', name: '.', udpPayloadSize: edns, flags: 0, options: [] } as unknown as packet.Answer]
      : [],
  })
}

type Answer = packet.DecodedPacket & { rcode?: string }

function overUdp(bytes: Buffer): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = dgram.createSocket('udp4')
    socket.once('message', (answer) => {
      socket.close()
      resolve(packet.decode(answer))
    })
    socket.send(bytes, dns.port, '127.0.0.1')
  })
}

function overTcp(bytes: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(dns.port, '127.0.0.1', () =>
      socket.write(packet.streamEncode(packet.decode(bytes))),
    )
    let answer = Buffer.alloc(0)
    socket.on('error', reject)
    socket.on('data', (chunk) => {
      answer = Buffer.concat([answer, chunk])
      if (answer.length < 2 || answer.length < 2 + answer.readUInt16BE(0)) return
      socket.end()
      resolve(packet.streamDecode(answer) as Answer)
    })
  })
}

function certificatesIn(answer: packet.DecodedPacket): Buffer[] {
  return (answer.answers ?? [])
    .filter((record) => (record.type as string) === 'CERT')
    .map((record) => Buffer.from((record as unknown as { data: Buffer }).data).subarray(5))
}

test('a certificate comes whole over UDP where EDNS0 leaves room', async () => {
  const answer = await overUdp(query('ELLEN.ross.direct.somephr.example', 1232))
  expect(answer.flag_tc).toBe(false)
  expect(certificatesIn(answer)).toEqual([certificate])
})

test('without EDNS0 the answer is truncated, and TCP has it whole', async () => {
  const bytes = query('ellen.ross.direct.somephr.example', 0)
  const short = await overUdp(bytes)
  expect(short.flag_tc).toBe(true)
  expect(certificatesIn(short)).toEqual([])
  expect(certificatesIn(await overTcp(bytes))).toEqual([certificate])
})

test('a CNAME is followed', async () => {
  expect(certificatesIn(await overUdp(query('alias.somephr.example', 4096)))).toEqual([certificate])
})

test('the system’s own resolver reads MX, SRV and A, and tells an empty name from a missing one', async () => {
  const resolver = new Resolver()
  resolver.setServers([`127.0.0.1:${dns.port}`])
  expect(await resolver.resolveMx('direct.somephr.example')).toMatchObject([
    { priority: 10, exchange: 'mx.somephr.example' },
  ])
  expect(await resolver.resolveSrv('_ldap._tcp.direct.somephr.example')).toMatchObject([
    { port: 389, weight: 5 },
  ])
  expect(await resolver.resolve4('mx.somephr.example')).toEqual(['127.0.0.1'])
  await expect(resolver.resolve6('mx.somephr.example')).rejects.toMatchObject({ code: 'ENODATA' })
  await expect(resolver.resolve4('nobody.example')).rejects.toMatchObject({ code: 'ENOTFOUND' })
})

test('a name can be made to fail for a while', async () => {
  await dns.order('misbehave', { name: 'mx.somephr.example', how: 'servfail', times: 1 })
  expect((await overUdp(query('mx.somephr.example', 0, 'A'))).rcode).toBe('SERVFAIL')
  expect((await overUdp(query('mx.somephr.example', 0, 'A'))).rcode).toBe('NOERROR')
})

test('a removed record is gone', async () => {
  await dns.order('add', { records: [{ type: 'A', name: 'brief.example', data: '127.0.0.9' }] })
  await dns.order('remove', { name: 'brief.example' })
  expect((await overUdp(query('brief.example', 0, 'A'))).rcode).toBe('NXDOMAIN')
})

test('what was asked is told', async () => {
  await overUdp(query('told.example', 0))
  await dns.hears((heard) => heard.what === 'asked' && heard['name'] === 'told.example')
})
