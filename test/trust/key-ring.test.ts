import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { readDirectAddress } from '../../src/domain/direct-address.ts'
import { makeRollingSealer } from '../../src/engine/rolling-sealer.ts'
import { openKeyRing, type KeyRing } from '../../src/key-ring.ts'
import { open } from '../../src/seal/open.ts'
import type { KeySetting } from '../../src/settings/keys.ts'
import { at, daysFromNow, ec } from '../pki/chains/chain-case.ts'
import { issueFor, makeRoot, type CertificateWishes, type Issued } from '../pki/pki.ts'
import { anOrder, aTown, sender } from '../seal/an-order.ts'
import { ownKey } from '../seal/own-keys.ts'

const reading = readDirectAddress(sender)
if (!reading.valid) throw new Error(reading.because)
const { address } = reading
const community = makeRoot(ec).issueAuthority(ec)
const ev = makeRoot(ec).issueAuthority(ec)
const mine = (wishes: CertificateWishes = {}, names = sender, by = community) =>
  issueFor(by, names, { ...ec, ...wishes })
const domain = 'direct.ashby.example'

let folder: string
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'key-ring-'))))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function write(name: string, { certificatePem, privateKeyPem }: Issued): KeySetting {
  const certificate = join(folder, `${name}.pem`)
  const privateKeyFile = join(folder, `${name}.key`)
  writeFileSync(certificate, certificatePem)
  writeFileSync(privateKeyFile, privateKeyPem)
  return { certificate, privateKey: privateKeyPem, privateKeyFile, line: 7 }
}

const ringOf = (...keys: KeySetting[]) => openKeyRing({ keys }, address, at)
const signersAt = (ring: KeyRing, when: Date) => ring.signers(when).map(({ certificate }) => certificate)
const days = (ring: KeyRing, when: Date) => ring.expiries(when).map(({ use, daysLeft }) => [use, daysLeft])

describe('which keys sign', () => {
  test('the certificates of a community and of EV both do', () => {
    const [first, second] = [mine(), mine({}, sender, ev)]
    const ring = ringOf(write('community', first), write('ev', second))
    expect(signersAt(ring, at)).toEqual([first.certificate, second.certificate])
  })

  test('one for the address goes before one for its domain, which signs again when that one has ended', () => {
    const whole = mine({ notAfter: daysFromNow(300) }, domain)
    const own = mine({ notAfter: daysFromNow(10) })
    const ring = ringOf(write('whole', whole), write('own', own))
    expect(signersAt(ring, at)).toEqual([own.certificate])
    expect(signersAt(ring, daysFromNow(11))).toEqual([whole.certificate])
    expect(ring.ownKeys(at)).toHaveLength(2)
  })

  test('the same certificate twice signs once', () => {
    const setting = write('twice', mine())
    expect(ringOf(setting, setting).signers(at)).toHaveLength(1)
  })
})

describe('rollover', () => {
  const old = mine({ notBefore: daysFromNow(-300), notAfter: daysFromNow(20.5) })
  const next = mine({ notBefore: daysFromNow(5), notAfter: daysFromNow(370.5) })

  test('the next key begins by itself when it becomes valid, and the old one goes on reading', () => {
    const ring = ringOf(write('old', old), write('next', next))
    expect(signersAt(ring, at)).toEqual([old.certificate])
    expect(signersAt(ring, daysFromNow(6))).toEqual([old.certificate, next.certificate])
    expect(signersAt(ring, daysFromNow(21))).toEqual([next.certificate])
    expect(ring.ownKeys(daysFromNow(400))).toHaveLength(2)
    for (const when of [at, daysFromNow(6), daysFromNow(21)]) expect(ring.problems(when)).toEqual([])
  })

  test('nobody is warned about a certificate that has its successor, only about the last', () => {
    expect(days(ringOf(write('alone', old)), at)).toEqual([
      ['sign', 20],
      ['decrypt', 20],
    ])
    const ring = ringOf(write('old', old), write('next', next))
    expect(days(ring, at)).toEqual([
      ['sign', 370],
      ['decrypt', 370],
    ])
  })

  test('a successor by another authority, or one that comes too late, takes nobody’s place', () => {
    for (const other of [
      mine({ notAfter: daysFromNow(370.5) }, sender, ev),
      mine({ notBefore: daysFromNow(25), notAfter: daysFromNow(390.5) }),
    ])
      expect(days(ringOf(write('old', old), write('other', other)), at)).toContainEqual(['sign', 20])
  })

  test('each message is sealed by the keys of its date, by threads that were started before', async () => {
    const town = aTown()
    const ring = ringOf(write('old', old), write('next', next))
    const sealer = makeRollingSealer(1, (when) => ring.signers(when))
    const signedOn = async (date: Date) => {
      const chunks: Buffer[] = []
      for await (const chunk of sealer.seal(anOrder(town, { date })).chunks) chunks.push(chunk)
      const read = await open(Buffer.concat(chunks), { keys: [ownKey(town.phr)] })
      if (!read.opened) throw new Error(read.because)
      expect(read.signers.every(({ valid }) => valid)).toBe(true)
      return read.signers.map(({ certificate }) => certificate!.toString('hex')).sort()
    }
    const hex = (...issued: Issued[]) => issued.map(({ certificate }) => certificate.toString('hex')).sort()
    try {
      expect(await signedOn(at)).toEqual(hex(old))
      expect(await signedOn(daysFromNow(6))).toEqual(hex(old, next))
      expect(await signedOn(daysFromNow(21))).toEqual(hex(next))
      expect(() => sealer.seal(anOrder(town, { date: daysFromNow(500) }))).toThrow(/signing-key-missing/)
    } finally {
      await sealer.close()
    }
  })
})

describe('files that change', () => {
  const first = mine()
  const second = mine()

  test('are read again; what was encrypted to the key before still opens', () => {
    const ring = ringOf(write('changes', first))
    write('changes', second)
    ring.reread(at)
    expect(signersAt(ring, at)).toEqual([second.certificate])
    expect(ring.ownKeys(at).map(({ certificate }) => certificate)).toEqual([
      second.certificate,
      first.certificate,
    ])
    expect(ring.problems(at)).toEqual([])
  })

  test.each<[string, (setting: KeySetting) => void, RegExp]>([
    ['broken', () => writeFileSync(join(folder, 'broken.pem'), 'no certificate'), /stays in use/],
    ['gone', () => rmSync(join(folder, 'gone.pem')), /cannot be read \(ENOENT\).*stays in use/],
    ['keyless', () => rmSync(join(folder, 'keyless.key')), /private key cannot be read.*stays in use/],
    [
      'half-written',
      () => writeFileSync(join(folder, 'half-written.pem'), second.certificatePem),
      /does not belong to the certificate.*stays in use/,
    ],
    ['foreign', () => write('foreign', mine({}, 'bob@direct.other.example')), /cannot sign.*stays in use/],
    ['expired', () => write('expired', mine({ notAfter: daysFromNow(-1) })), /expired.*stays in use/],
  ])('%s ones leave the last good in use, with an alarm, until they are good', (name, spoil, alarm) => {
    const setting = write(name, first)
    const ring = ringOf(setting)
    spoil(setting)
    ring.reread(at)
    expect(signersAt(ring, at)).toEqual([first.certificate])
    expect(ring.problems(at)).toEqual([expect.stringMatching(alarm)])
    write(name, second)
    ring.reread(at)
    expect(signersAt(ring, at)).toEqual([second.certificate])
    expect(ring.problems(at)).toEqual([])
  })

  test('one for later waits until its day', () => {
    const later = mine({ notBefore: daysFromNow(2) })
    const ring = ringOf(write('later', first))
    write('later', later)
    ring.reread(at)
    expect(signersAt(ring, at)).toEqual([first.certificate])
    ring.reread(daysFromNow(3))
    expect(signersAt(ring, daysFromNow(3))).toEqual([later.certificate])
    expect(ring.problems(daysFromNow(3))).toEqual([])
  })
})

test('a key in a device needs its certificate only', () => {
  const issued = mine()
  const { certificate } = write('device', issued) as { certificate: string }
  const device = { at: 'unix:/run/signer.sock', key: 'ashby', timeoutMs: 1000 }
  const ring = ringOf({ certificate, device, line: 3 })
  expect(ring.problems(at)).toEqual([])
  expect(ring.signers(at)).toMatchObject([{ privateKey: { type: 'ec' } }])
  expect(ring.ownKeys(at)).toMatchObject([{ certificate: issued.certificate, key: { type: 'ec' } }])
})
