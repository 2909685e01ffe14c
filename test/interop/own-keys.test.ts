import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readOwnKey } from '../../src/trust/own-keys.ts'
import { at } from '../pki/chains/chain-case.ts'
import { issueFor, makeRoot, pemOf } from '../pki/pki.ts'

const passphrase = 'gehäuse “7” ☂'
const root = makeRoot({ keyType: 'ec256' })
const issuer = root.issueAuthority({ keyType: 'ec256' })
const leaf = issueFor(issuer, 'transmit@direct.ashby.example')
let folder: string

beforeAll(() => {
  if (spawnSync('openssl', ['version']).status !== 0)
    throw new Error('the openssl binary is missing: apt-get install openssl')
  folder = mkdtempSync(join(tmpdir(), 'own-keys-'))
  writeFileSync(join(folder, 'key.pem'), leaf.privateKeyPem)
  writeFileSync(join(folder, 'leaf.pem'), leaf.certificatePem)
  writeFileSync(join(folder, 'chain.pem'), pemOf(...issuer.chain))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function writtenBy(...options: readonly string[]): Buffer {
  const file = (name: string) => join(folder, name)
  execFileSync('openssl', [
    ...[
      'pkcs12',
      '-export',
      '-inkey',
      file('key.pem'),
      '-in',
      file('leaf.pem'),
      '-certfile',
      file('chain.pem'),
    ],
    ...['-out', file('key.p12'), '-passout', `pass:${passphrase}`],
    ...options,
  ])
  return readFileSync(file('key.p12'))
}

const read = (bytes: Buffer, words = passphrase) =>
  readOwnKey({ form: 'pkcs12', bytes, passphrase: words }, at)

test.each([
  ['today’s defaults (PBES2, AES-256)', []],
  [
    'AES-128 and AES-192, many iterations',
    ['-keypbe', 'aes-128-cbc', '-certpbe', 'aes-192-cbc', '-iter', '50000'],
  ],
  [
    '3DES for everything, as Windows exports',
    ['-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-3DES', '-macalg', 'sha1'],
  ],
  ['an integrity by SHA-512', ['-macalg', 'sha512']],
  ['an integrity by SHA-384', ['-macalg', 'sha384']],
  ['certificates in the open', ['-certpbe', 'NONE']],
  ['nothing encrypted at all', ['-keypbe', 'NONE', '-certpbe', 'NONE']],
  ['a friendly name', ['-name', 'Ashby ☂', '-caname', 'Issuer']],
])('openssl writes PKCS #12 with %s, and it is read', (_, options) => {
  expect(read(writtenBy(...options))).toMatchObject({
    readable: true,
    pair: {
      certificate: { der: leaf.certificate },
      intermediates: [{ der: issuer.certificate }],
      maySign: { allowed: true },
      mayDecrypt: { allowed: true },
    },
  })
})

test('another passphrase, and a changed file, are told by the integrity', () => {
  const bytes = writtenBy()
  expect(read(bytes, 'guess')).toMatchObject({
    because: expect.stringContaining('passphrase is not the one'),
  })
  expect(read(bytes, '')).toMatchObject({ readable: false })
  const changed = Buffer.from(bytes)
  changed[200]! ^= 1
  expect(read(changed).readable).toBe(false)
})

test('RC2 is refused with the way to a new file, and that way leads there', () => {
  const old = writtenBy('-legacy', '-certpbe', 'PBE-SHA1-RC2-40')
  const reading = read(old)
  expect(reading).toMatchObject({
    readable: false,
    remedy: expect.stringContaining('openssl pkcs12 -legacy'),
  })
  const both = join(folder, 'both.pem')
  const secret = `pass:${passphrase}`
  const [first, second] = [
    ['-legacy', '-in', join(folder, 'key.p12'), '-nodes', '-out', both, '-passin', secret],
    ['-export', '-in', both, '-out', join(folder, 'new.p12'), '-passout', secret],
  ]
  for (const options of [first, second]) execFileSync('openssl', ['pkcs12', ...options])
  expect(read(readFileSync(join(folder, 'new.p12')))).toMatchObject({ readable: true })
})

test('a file without integrity, one with the key missing and one with the certificates missing are named as such', () => {
  expect(read(writtenBy('-nomac'))).toMatchObject({ because: expect.stringContaining('integrity') })
  expect(read(writtenBy('-nokeys'))).toMatchObject({ because: expect.stringContaining('no private key') })
})

test('a PKCS #12 file changed anywhere is an answer in words, never a crash', () => {
  const bytes = writtenBy('-iter', '1', '-keypbe', 'NONE', '-certpbe', 'NONE')
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 }), (index, octet) => {
      const changed = Buffer.from(bytes)
      changed[index] = octet
      const reading = read(changed)
      expect(reading.readable || reading.because !== '').toBe(true)
    }),
    { numRuns: 1000 },
  )
})

test.each(['rsa2048', 'rsa4096', 'ec256', 'ec384'] as const)(
  'openssl makes a %s key, plain, encrypted and in its older form, and each is read with its certificate',
  (keyType) => {
    const own = issueFor(issuer, 'transmit@direct.ashby.example', { keyType })
    const named = (name: string) => join(folder, `${keyType}-${name}`)
    writeFileSync(named('key.pem'), own.privateKeyPem)
    const secret = `pass:${passphrase}`
    const input = ['-in', named('key.pem')]
    const older = keyType.startsWith('rsa') ? ['rsa', '-traditional', ...input] : ['ec', ...input]
    execFileSync('openssl', [...older, '-out', named('old.pem')], { stdio: 'ignore' })
    const encrypts = ['-topk8', '-v2', 'aes-256-cbc', '-passout', secret]
    execFileSync('openssl', ['pkcs8', ...encrypts, ...input, '-out', named('encrypted.pem')])
    for (const name of ['key.pem', 'old.pem', 'encrypted.pem']) {
      const reading = readOwnKey(
        {
          form: 'pem',
          certificate: Buffer.from(pemOf(...issuer.chain) + own.certificatePem),
          privateKey: readFileSync(named(name), 'utf8'),
          ...(name === 'encrypted.pem' ? { passphrase } : {}),
        },
        at,
      )
      expect(reading).toMatchObject({
        readable: true,
        pair: { certificate: { der: own.certificate }, maySign: { allowed: true } },
      })
    }
  },
)

test('of two certificates for one key, the one that is valid now is taken, until the next one is', () => {
  const key = leaf.privateKey
  const day = (days: number) => new Date(at.getTime() + days * 86_400_000)
  const old = issueFor(issuer, 'transmit@direct.ashby.example', { key, notAfter: day(10) })
  const next = issueFor(issuer, 'transmit@direct.ashby.example', {
    key,
    notBefore: day(5),
    notAfter: day(400),
  })
  const certificate = Buffer.from(old.certificatePem + next.certificatePem)
  const takenOn = (when: Date) => {
    const reading = readOwnKey({ form: 'pem', certificate, privateKey: leaf.privateKeyPem }, when)
    return reading.readable && reading.pair.certificate.der
  }
  expect(takenOn(at)).toEqual(old.certificate)
  expect(takenOn(day(6))).toEqual(next.certificate)
  expect(takenOn(day(11))).toEqual(next.certificate)
})
