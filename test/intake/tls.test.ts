import { once } from 'node:events'
import net from 'node:net'
import type tls from 'node:tls'
import { afterEach, beforeAll, expect, jest, test } from '@jest/globals'
import { listenMllp, type MllpListener, type MllpTls } from '../../src/intake/mllp-listener.ts'
import { silentLog } from '../../src/lib/log.ts'
import { makeRoot, serverAuth, type Authority, type Issued } from '../pki/pki.ts'
import { framed } from './adt.ts'
import { connectSender, type Sender } from './sender.ts'

// A busy machine is no failure.
jest.setTimeout(60_000)

const clientAuth = '1.3.6.1.5.5.7.3.2'
const host = 'intake.ashby.example'

let authority: Authority
let server: Issued
let hospital: Issued
let stranger: Issued
const listeners: MllpListener[] = []

beforeAll(() => {
  authority = makeRoot({ name: 'Ashby Authority' })
  const usage = { domains: [host], extendedKeyUsage: [serverAuth] }
  server = authority.issue({ name: host, ...usage })
  hospital = authority.issue({ name: 'hospital', extendedKeyUsage: [clientAuth] })
  stranger = makeRoot({ name: 'Stranger Authority' }).issue({
    name: 'stranger',
    extendedKeyUsage: [clientAuth],
  })
})

afterEach(async () => {
  await Promise.all(listeners.splice(0).map((listener) => listener.close(0)))
})

async function aTlsListener(wishes: Partial<MllpTls> = {}, handshakeMsMax = 10_000): Promise<MllpListener> {
  const listener = await listenMllp({
    host: '127.0.0.1',
    port: 0,
    tls: { certificate: server.certificatePem, privateKey: server.privateKeyPem, ...wishes },
    limits: { handshakeMsMax, frameBytesMax: 1 << 20 },
    receive: ({ bytes }) => Promise.resolve({ reply: bytes }),
    onFragment: () => Promise.resolve({}),
    log: silentLog,
  })
  listeners.push(listener)
  return listener
}

function connect(
  listener: MllpListener,
  identity?: Issued,
  more: tls.ConnectionOptions = {},
): Promise<Sender> {
  return connectSender(listener.address, {
    ca: authority.certificatePem,
    servername: host,
    ...(identity === undefined ? {} : { cert: identity.certificatePem, key: identity.privateKeyPem }),
    ...more,
  })
}

test('frames travel over TLS, large ones and many at once, and the half-closed sender gets its last answer', async () => {
  const sender = await connect(await aTlsListener())
  const large = 'M'.repeat(1 << 20)
  expect(await sender.ask(large)).toBe(large)
  sender.write(['A', 'B', 'C'].map(framed).join(''))
  expect([await sender.reply(), await sender.reply(), await sender.reply()]).toEqual(['A', 'B', 'C'])
  sender.write(framed('last'))
  sender.end()
  expect(await sender.ended()).toEqual(['last'])
})

test('with client authorities only their senders are heard', async () => {
  const listener = await aTlsListener({ clientAuthorities: authority.certificatePem })
  expect(await (await connect(listener, hospital)).ask('A')).toBe('A')
  for (const identity of [undefined, stranger]) {
    // In TLS 1.3 the client learns of the refusal with its first read.
    const heard = connect(listener, identity).then((sender) => sender.ask('B'))
    await expect(heard).rejects.toThrow()
    await expect(connect(listener, identity, { maxVersion: 'TLSv1.2' })).rejects.toThrow()
  }
  expect(listener.counts()).toMatchObject({ connections: 1, frames: 1 })
})

test('TLS below 1.2 and plain text are refused', async () => {
  const listener = await aTlsListener()
  await expect(connect(listener, undefined, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' })).rejects.toThrow()
  const plain = await connectSender(listener.address)
  plain.write(framed('A plain frame, longer than the header of a TLS record'))
  expect((await plain.ended()).join('')).not.toContain('plain')
  expect(listener.counts().frames).toBe(0)
  expect(await (await connect(listener)).ask('B')).toBe('B')
})

test('a connection that never completes its handshake is cut, and does not hold up the close', async () => {
  const slow = await aTlsListener({}, 30)
  const silent = net.connect(slow.address)
  silent.resume()
  await once(silent, 'close')
  const patient = await aTlsListener()
  const another = net.connect(patient.address)
  another.on('error', () => {})
  await once(another, 'connect')
  // A full handshake on a later connection: the listener has seen the one before.
  await connect(patient)
  await patient.close(60_000)
  if (!another.destroyed) await once(another, 'close')
})

test('a new certificate is for new connections; those that are open go on', async () => {
  const listener = await aTlsListener()
  const before = await connect(listener)
  const renewed = authority.issue({ name: 'renewed', domains: [host], extendedKeyUsage: [serverAuth] })
  listener.setTls({ certificate: renewed.certificatePem, privateKey: renewed.privateKeyPem })
  const after = await connect(listener)
  expect(await before.ask('A')).toBe('A')
  expect(await after.ask('B')).toBe('B')
  const commonName = ({ socket }: Sender) => (socket as tls.TLSSocket).getPeerCertificate().subject.CN
  expect([commonName(before), commonName(after)]).toEqual([host, 'renewed'])
})
