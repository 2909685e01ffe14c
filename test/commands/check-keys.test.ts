import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { checkKeys } from '../../src/commands/check-keys.ts'
import { readDirectAddress } from '../../src/domain/direct-address.ts'
import { followKeys } from '../../src/engine/followed-keys.ts'
import { makeStops } from '../../src/engine/stops.ts'
import { openKeyRing } from '../../src/key-ring.ts'
import type { Log } from '../../src/lib/log.ts'
import { Metrics } from '../../src/lib/metrics.ts'
import { changingAnchors } from '../../src/trust/anchors.ts'
import { startKeyDevice, type KeyDeviceServer } from '../neighbours/key-device.ts'
import { issueFor, makeRoot } from '../pki/pki.ts'

const us = 'transmit@direct.ashby.example'
const reading = readDirectAddress(us)
if (!reading.valid) throw new Error(reading.because)
const { address } = reading
const now = new Date()
const ec = { keyType: 'ec256' } as const
const soon = new Date(now.getTime() + 5.5 * 86_400_000)
const own = issueFor(makeRoot(ec), us, { ...ec, notAfter: soon })

let folder: string
let device: KeyDeviceServer
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'check-keys-'))
  writeFileSync(join(folder, 'own.pem'), own.certificatePem)
  const other = issueFor(makeRoot(ec), us, ec).privateKey
  device = await startKeyDevice({ keys: { own: own.privateKey, other }, on: join(folder, 'device.sock') })
})
afterAll(async () => {
  await device.close()
  rmSync(folder, { recursive: true })
})

function ringWith(key: string) {
  const setting = { certificate: join(folder, 'own.pem'), device: { at: device.at, key, timeoutMs: 3000 } }
  return openKeyRing({ keys: [{ ...setting, line: 4 }] }, address, now)
}

test('check asks the device for a signature, and names what ends soon', async () => {
  const findings = await checkKeys(ringWith('own'), now)
  expect(findings).toMatchObject([
    { outcome: 'good', what: '1 signing, 1 decrypting' },
    { outcome: 'good', what: expect.stringContaining('signs') },
    { about: 'sign', outcome: 'wrong', what: expect.stringMatching(/own\.pem: .* ends in 5 days/) },
    { about: 'decrypt', outcome: 'wrong' },
  ])
  expect((await checkKeys(ringWith('other'), now))[1]).toMatchObject({
    outcome: 'wrong',
    what: expect.stringContaining('another key'),
  })
  expect((await checkKeys(ringWith('none'), now))[1]).toMatchObject({
    outcome: 'wrong',
    what: expect.stringContaining('check `key:`'),
  })
})

test('a running engine tells of it in metrics and in the log', async () => {
  const lines: string[] = []
  const noted = (level: string) => (text: string) => void lines.push(`${level} ${text}`)
  const log: Log = {
    debug: noted('debug'),
    info: noted('info'),
    warn: noted('warn'),
    error: noted('error'),
  }
  const metrics = new Metrics()
  const stops = makeStops(log)
  followKeys(ringWith('own'), changingAnchors([]), { log, metrics, stops })
  await stops.stopAll()
  expect(lines).toEqual([
    expect.stringMatching(/^error .*own\.pem \(sign\) ends in 5 days: renew it/),
    expect.stringMatching(/^error .*own\.pem \(decrypt\) ends in 5 days: renew it/),
  ])
  expect(await metrics.registry.metrics()).toMatch(/bluepost_certificate_days_left\{use="sign"\} 5/)
})
