import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from '@jest/globals'
import { readOwnKey } from '../../src/trust/own-keys.ts'
import { at, daysFromNow, ec } from '../pki/chains/chain-case.ts'
import { drawKey } from '../pki/keys.ts'
import { issueFor, makeRoot, pemOf, type CertificateWishes } from '../pki/pki.ts'

const sender = 'transmit@direct.ashby.example'
const root = makeRoot(ec)
const issuer = root.issueAuthority(ec)
const key = drawKey('rsa2048')
const ashby = (wishes: CertificateWishes = {}) => issueFor(issuer, sender, { key, ...wishes })
const pem = (certificate: string, privateKey: string, passphrase?: string) =>
  readOwnKey(
    {
      form: 'pem',
      certificate: Buffer.from(certificate),
      privateKey,
      ...(passphrase === undefined ? {} : { passphrase }),
    },
    at,
  )

test('a certificate with its key signs and decrypts, and its days are counted down', () => {
  const { certificatePem, privateKeyPem, certificate } = ashby({ notAfter: daysFromNow(30.5) })
  expect(pem(certificatePem, privateKeyPem)).toMatchObject({
    readable: true,
    pair: {
      certificate: { der: certificate },
      maySign: { allowed: true },
      mayDecrypt: { allowed: true },
      daysLeft: 30,
      intermediates: [],
    },
  })
})

test('the chain is found in the file in any order, without the root', () => {
  const upper = root.issueAuthority(ec)
  const lower = upper.issueAuthority(ec)
  const leaf = issueFor(lower, sender, ec)
  const stranger = makeRoot(ec).issueAuthority(ec)
  const reading = pem(
    pemOf(root.certificate, stranger.certificate, upper.certificate, leaf.certificate, lower.certificate),
    leaf.privateKeyPem,
  )
  expect(reading).toMatchObject({
    pair: {
      certificate: { der: leaf.certificate },
      intermediates: [{ der: lower.certificate }, { der: upper.certificate }],
    },
  })
})

test('of two certificates for one key the one valid longest is used', () => {
  const old = ashby({ notAfter: daysFromNow(-1) })
  const current = ashby({ notAfter: daysFromNow(100) })
  expect(pem(old.certificatePem + current.certificatePem, old.privateKeyPem)).toMatchObject({
    pair: { certificate: { der: current.certificate } },
  })
})

test.each([
  ['signs only', { keyUsage: ['digitalSignature'] }, undefined, 'key-usage'],
  ['decrypts only', { keyUsage: ['keyEncipherment'] }, 'key-usage', undefined],
  [
    'is meant for web servers',
    { extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] },
    'extended-key-usage',
    'extended-key-usage',
  ],
  [
    'has expired: what was sent to it is still read',
    { notBefore: daysFromNow(-90), notAfter: daysFromNow(-2) },
    'expired',
    undefined,
  ],
  ['is not valid yet', { notBefore: daysFromNow(2) }, 'not-yet-valid', undefined],
  ['was signed with SHA-1', { signatureDigest: 'sha1' }, undefined, undefined],
] as const)('a key %s', (_, wishes, cannotSign, cannotDecrypt) => {
  const { certificatePem, privateKeyPem } = ashby(wishes)
  const reading = pem(certificatePem, privateKeyPem)
  const use = (code: string | undefined) =>
    code === undefined ? { allowed: true } : { allowed: false, code }
  expect(reading).toMatchObject({ pair: { maySign: use(cannotSign), mayDecrypt: use(cannotDecrypt) } })
})

test('days left are negative after the end', () => {
  const { certificatePem, privateKeyPem } = ashby({ notAfter: daysFromNow(-1.5) })
  expect(pem(certificatePem, privateKeyPem)).toMatchObject({ pair: { daysLeft: -2 } })
})

test('every common form of a private key is read', () => {
  const { certificatePem } = ashby()
  const secret = { cipher: 'aes-256-cbc', passphrase: 'horse staple' } as const
  const forms = [
    key.export({ type: 'pkcs8', format: 'pem' }),
    key.export({ type: 'pkcs1', format: 'pem' }),
    key.export({ type: 'pkcs8', format: 'pem', ...secret }),
    key.export({ type: 'pkcs1', format: 'pem', ...secret }),
  ] as string[]
  for (const form of forms)
    expect(
      pem(certificatePem, form, form.includes('ENCRYPTED') ? secret.passphrase : undefined),
    ).toMatchObject({
      readable: true,
    })
  const elliptic = issueFor(issuer, sender, ec)
  expect(
    pem(elliptic.certificatePem, elliptic.privateKey.export({ type: 'sec1', format: 'pem' }) as string),
  ).toMatchObject({ pair: { maySign: { allowed: true }, mayDecrypt: { allowed: true } } })
})

test('what is wrong is said with what helps, and never with the key', () => {
  const { certificatePem, privateKeyPem } = ashby()
  const encrypted = key.export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'x',
  }) as string
  const other = drawKey('rsa2048').export({ type: 'pkcs8', format: 'pem' }) as string
  const ed25519 = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  const cases: readonly [string, string, string | undefined, RegExp][] = [
    [certificatePem, other, undefined, /does not belong to the certificate “CN=transmit@/],
    [certificatePem, ed25519, undefined, /private key \(ED25519\) does not belong/],
    [certificatePem, encrypted, undefined, /is encrypted.*passphrase: env:NAME/],
    [certificatePem, encrypted, 'y', /passphrase does not open/],
    [certificatePem, certificatePem, undefined, /no PRIVATE KEY/],
    [certificatePem, 'hunter2', undefined, /not PEM/],
    [certificatePem, privateKeyPem.replace(/\n.{20}/, '\n'), undefined, /cannot be read|does not read/],
    [privateKeyPem, privateKeyPem, undefined, /holds PRIVATE KEY and no CERTIFICATE/],
    ['', privateKeyPem, undefined, /neither PEM nor DER/],
    [certificatePem.replace(/-----END[^]*/, ''), privateKeyPem, undefined, /cut off/],
  ]
  for (const [certificate, privateKey, passphrase, words] of cases) {
    const reading = pem(certificate, privateKey, passphrase)
    expect(reading).toMatchObject({ readable: false })
    const said = reading.readable ? '' : `${reading.because} ${reading.remedy}`
    expect(said).toMatch(words)
    expect(said).not.toContain('hunter2')
    expect(said).not.toContain(privateKeyPem.slice(40, 80))
  }
})

test('a PEM in place of PKCS #12, and junk, are named as such', () => {
  const { certificatePem } = ashby()
  const read = (bytes: Buffer) => readOwnKey({ form: 'pkcs12', bytes, passphrase: 'x' }, at)
  expect(read(Buffer.from(certificatePem))).toMatchObject({ because: 'it is PEM, not PKCS #12' })
  expect(read(Buffer.from('0\x03abc'))).toMatchObject({
    readable: false,
    because: expect.stringContaining('not PKCS #12'),
  })
  expect(read(Buffer.alloc(0))).toMatchObject({ readable: false })
})
