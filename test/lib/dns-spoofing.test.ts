import dgram from 'node:dgram'
import { afterEach, expect, test } from '@jest/globals'
import packet from 'dns-packet'
import { resolveCert } from '../../src/lib/dns-cert.ts'

const sockets: dgram.Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close()
})

async function aSocket(): Promise<dgram.Socket> {
  const socket = dgram.createSocket('udp4')
  sockets.push(socket)
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return socket
}

const rdata = (fill: number) => Buffer.concat([Buffer.from([0, 1, 0, 0, 0]), Buffer.alloc(40, fill)])

function answer(query: Buffer, fill: number, more: Partial<packet.Packet> = {}): Buffer {
  const { id, questions } = packet.decode(query)
  return packet.encode({
    type: 'response',
    id: id ?? 0,
    questions: questions ?? [],
    answers: [
      { type: 'CERT', name: questions?.[0]?.name ?? '', class: 'IN', ttl: 9, data: rdata(fill) } as never,
    ],
    ...more,
  })
}

/** Sends all of these, in order, before the true answer (filled with 7). */
async function askedBeside(forgeries: (query: Buffer) => readonly Buffer[], from: 'server' | 'elsewhere') {
  const server = await aSocket()
  const other = from === 'server' ? server : await aSocket()
  const ports = new Set<number>()
  const ids = new Set<number>()
  server.on('message', (query, asker) => {
    ports.add(asker.port)
    ids.add(query.readUInt16BE(0))
    const send = (rest: readonly Buffer[]): void => {
      const [next, ...later] = rest
      if (next === undefined) server.send(answer(query, 7), asker.port, asker.address)
      else other.send(next, asker.port, asker.address, () => send(later))
    }
    send(forgeries(query))
  })
  const ask = () =>
    resolveCert('ellen.example.org', { servers: [`127.0.0.1:${server.address().port}`], attempts: 1 })
  return { ask, ports, ids }
}

const theTruth = { outcome: 'answer', records: [{ data: Buffer.alloc(40, 7) }] }

test('answers under other ids are passed over, and the true one is taken', async () => {
  const { ask } = await askedBeside((query) => {
    const id = query.readUInt16BE(0)
    return [1, 2, 3, 255].map((step) => answer(query, 1, { id: (id + step) & 0xffff }))
  }, 'server')
  expect(await ask()).toMatchObject(theTruth)
})

test('answers to other questions, questions sent back, and bytes that are no message are passed over', async () => {
  const { ask } = await askedBeside(
    (query) => [
      answer(query, 1, { questions: [{ type: 'CERT', class: 'IN', name: 'other.example.org' }] }),
      answer(query, 1, { questions: [{ type: 'TXT', class: 'IN', name: 'ellen.example.org' }] }),
      answer(query, 1, { questions: [] }),
      query,
      Buffer.concat([query.subarray(0, 2), Buffer.alloc(40, 0xff)]),
      Buffer.alloc(0),
    ],
    'server',
  )
  expect(await ask()).toMatchObject(theTruth)
})

test('what comes from another port is never heard, however right it looks', async () => {
  const { ask } = await askedBeside((query) => [answer(query, 1), answer(query, 1)], 'elsewhere')
  expect(await ask()).toMatchObject(theTruth)
})

test('records for other names in a true answer are not taken', async () => {
  const server = await aSocket()
  server.on('message', (query, asker) => {
    const stray = { type: 'CERT', name: 'evil.example.org', class: 'IN', ttl: 9, data: rdata(1) } as never
    server.send(answer(query, 7, { answers: [stray] }), asker.port, asker.address)
  })
  expect(
    await resolveCert('ellen.example.org', { servers: [`127.0.0.1:${server.address().port}`], attempts: 1 }),
  ).toMatchObject({ outcome: 'absent' })
})

test('every question leaves from a port and under an id of its own', async () => {
  const { ask, ports, ids } = await askedBeside(() => [], 'server')
  for (let n = 0; n < 30; n++) expect(await ask()).toMatchObject(theTruth)
  // Thirty draws of 65,536 and of the system's ephemeral ports: a few may fall together, a pattern never does.
  expect(ids.size).toBeGreaterThan(25)
  expect(ports.size).toBeGreaterThan(15)
})
