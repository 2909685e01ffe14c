import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { Failed } from '../../src/domain/failure.ts'
import { deviceKeyHolder } from '../../src/seal/key-device.ts'
import { open } from '../../src/seal/open.ts'
import { makeSealer, type Signer } from '../../src/seal/seal.ts'
import { startKeyDevice, type DeviceFault, type KeyDeviceServer } from '../neighbours/key-device.ts'
import { makeRoot } from '../pki/pki.ts'
import { anOrder, aTown, sender } from './an-order.ts'
import { ownKey } from './own-keys.ts'

const town = aTown()
const ec = town.member(sender, { keyType: 'ec384' })
const folder = mkdtempSync(join(tmpdir(), 'key-device-'))
let device: KeyDeviceServer

beforeAll(async () => {
  device = await startKeyDevice({
    keys: { rsa: town.ashby.privateKey, ec: ec.privateKey, other: town.phr.privateKey },
    on: join(folder, 'signer.sock'),
  })
})
afterEach(() => device.fails(undefined))
afterAll(async () => {
  await device.close()
  rmSync(folder, { recursive: true, force: true })
})

const holder = (key: string, type: 'rsa' | 'ec' = 'rsa', timeoutMs = 5000) =>
  deviceKeyHolder({ at: device.at, key, timeoutMs }, type)

async function sealed(...signers: Signer[]): Promise<Buffer> {
  const sealer = makeSealer({ threads: 1, signers })
  try {
    const chunks: Buffer[] = []
    for await (const chunk of sealer.seal(anOrder(town)).chunks) chunks.push(chunk)
    return Buffer.concat(chunks)
  } finally {
    await sealer.close()
  }
}

describe('a message signed by keys in a device', () => {
  test('verifies: RSA and ECDSA, beside a key in a file', async () => {
    const raw = await sealed(
      { certificate: town.ashby.certificate, privateKey: holder('rsa') },
      { certificate: ec.certificate, privateKey: holder('ec', 'ec') },
      town.signer(),
    )
    const read = await open(raw, { keys: [ownKey(town.phr)] })
    expect(read.opened && read.signers.map(({ valid }) => valid)).toEqual([true, true, true])
    expect(device.asked).toEqual(expect.arrayContaining(['sign rsa', 'sign ec']))
  })

  test('does not come about where the device signs with another key', async () => {
    const wrong = { certificate: town.ashby.certificate, privateKey: holder('other') }
    await expect(sealed(wrong)).rejects.toThrow(/did not sign with the key of the certificate/)
  })

  test.each<[string, DeviceFault, RegExp]>([
    ['does not answer', { how: 'silence' }, /did not answer sign within 200 ms/],
    ['breaks off', { how: 'cut-off' }, /cannot be reached \(ECONNRESET\)/],
    ['refuses us', { how: 'status', status: 403 }, /answered 403 to sign: check `token:`/],
    ['has no such key', { how: 'status', status: 404 }, /check `key:`/],
    ['cannot sign', { how: 'status', status: 422 }, /answered 422/],
    ['answers nonsense', { how: 'body', body: '{"result":"!"}' }, /without a result in base64/],
    ['answers no JSON', { how: 'body', body: '<html>' }, /without a result in base64/],
    ['answers without end', { how: 'body', body: 'x'.repeat(1_000_000) }, /more than a key operation can/],
  ])('waits for a device that %s', async (_, fault, because) => {
    device.fails(fault)
    const privateKey = holder('rsa', 'rsa', fault.how === 'silence' ? 200 : 5000)
    const attempt = sealed({ certificate: town.ashby.certificate, privateKey })
    await expect(attempt).rejects.toMatchObject({
      code: 'key-unavailable',
      because: expect.stringMatching(because),
    })
  })

  test('waits for a device that is not there', async () => {
    const privateKey = deviceKeyHolder({ at: 'unix:/nowhere', key: 'rsa', timeoutMs: 500 }, 'rsa')
    const attempt = sealed({ certificate: town.ashby.certificate, privateKey })
    await expect(attempt).rejects.toMatchObject({ code: 'key-unavailable' })
  })
})

describe('a message to us, encrypted to a key in a device', () => {
  test.each(['pkcs1', 'oaep-sha1', 'oaep-sha256', 'ecdh'] as const)(
    'is opened (%s)',
    async (keyTransport) => {
      const ours = keyTransport === 'ecdh' ? ec : town.ashby
      const order = anOrder(town, {
        recipients: [ours.certificate],
        ...(keyTransport === 'ecdh' ? {} : { algorithms: { keyTransport } }),
      })
      const sealer = makeSealer({ threads: 1, signers: [town.ashby] })
      const chunks: Buffer[] = []
      for await (const chunk of sealer.seal(order).chunks) chunks.push(chunk)
      await sealer.close()
      const key = keyTransport === 'ecdh' ? holder('ec', 'ec') : holder('rsa')
      const keys = [{ certificate: ours.certificate, key }]
      expect(await open(Buffer.concat(chunks), { keys })).toMatchObject({ opened: true })
      device.fails({ how: 'status', status: 503 })
      await expect(open(Buffer.concat(chunks), { keys })).rejects.toThrow(Failed)
      device.fails({ how: 'status', status: 422 })
      expect(await open(Buffer.concat(chunks), { keys })).toMatchObject({ opened: false })
    },
  )
})

test('over the network: its certificate has to be good, and ours, and the token', async () => {
  const root = makeRoot({ keyType: 'ec256' })
  const server = root.issue({
    keyType: 'ec256',
    otherNames: [{ ip: Buffer.from([127, 0, 0, 1]) }],
    extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'],
  })
  const client = root.issue({ keyType: 'ec256', extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'] })
  const remote = await startKeyDevice({
    keys: { rsa: town.ashby.privateKey },
    on: {
      cert: server.certificatePem,
      key: server.privateKeyPem,
      ca: root.certificatePem,
      requestCert: true,
      rejectUnauthorized: true,
    },
    token: 'secret',
  })
  const tls = {
    ca: root.certificatePem,
    certificate: client.certificatePem,
    privateKey: client.privateKeyPem,
  }
  const at = (wishes: object) =>
    deviceKeyHolder({ at: remote.at, key: 'rsa', timeoutMs: 5000, token: 'secret', tls, ...wishes }, 'rsa')
  const bytes = randomBytes(100)
  try {
    expect(await at({}).sign('sha256', bytes)).toHaveLength(256)
    await expect(at({ token: 'guess' }).sign('sha256', bytes)).rejects.toThrow(/answered 401/)
    await expect(at({ tls: { ca: root.certificatePem } }).sign('sha256', bytes)).rejects.toThrow(Failed)
    await expect(at({ tls: { ...tls, ca: undefined } }).sign('sha256', bytes)).rejects.toThrow(
      /cannot be reached/,
    )
    expect(remote.asked).toHaveLength(2)
  } finally {
    await remote.close()
  }
})
