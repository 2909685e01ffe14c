import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { open } from '../../src/seal/open.ts'
import type { Issued, KeyType } from '../pki/pki.ts'
import { aTown, type Town } from '../seal/an-order.ts'
import { ownKey } from '../seal/own-keys.ts'
import { opensslTool, type OpensslTool } from './openssl-tool.ts'

/** Everything `openssl cms` can make and Direct allows, opened here. */
let town: Town
let tool: OpensslTool
let others: { rsa: Issued[]; ec: Issued[] }
beforeAll(() => {
  town = aTown()
  tool = opensslTool()
  tool.write('authority.pem', town.authority.certificatePem)
  const key = town.member('shared@direct.ashby.example').privateKey
  const member = (index: number) => `other${index}@direct.ashby.example`
  others = {
    rsa: Array.from({ length: 99 }, (_, index) => town.member(member(index), { key })),
    ec: Array.from({ length: 99 }, (_, index) => town.member(member(index), { keyType: 'ec256' })),
  }
})
afterAll(() => tool.remove())

const content = Buffer.from(
  'From: ellen.ross@direct.somephr.example\r\nSubject: Processed\r\n\r\nThe message was received.\r\n',
)
const wrapped = Buffer.concat([Buffer.from('Content-Type: message/rfc822\r\n\r\n'), content])

function signed(words: string[], signers: Issued[], plain = wrapped, out = 'signed.eml'): string {
  tool.write('plain.eml', plain)
  const named = signers.flatMap((one) => ['-signer', tool.filed(one)])
  tool.run(
    ...['cms', '-sign', '-in', 'plain.eml', '-binary', '-certfile', 'authority.pem', '-out', out],
    ...[...named, ...words],
  )
  return out
}

function encrypted(words: string[], recipients: Issued[], own: string[] = [], plain = 'signed.eml'): Buffer {
  const named = recipients.flatMap((one) => ['-recip', tool.filed(one), ...own])
  tool.run('cms', '-encrypt', '-in', plain, '-binary', '-out', 'made.eml', ...words, ...named)
  return tool.read('made.eml')
}

async function opened(raw: Buffer, ours: Issued = town.ashby) {
  const read = await open(raw, { keys: [ownKey(ours)] })
  if (!read.opened) throw new Error(`${read.refusal}: ${read.because}`)
  return read
}

async function expectOurs(raw: Buffer, signers = 1, ours?: Issued) {
  const read = await opened(raw, ours)
  expect(read.message.equals(content)).toBe(true)
  expect(read.isWrapped).toBe(true)
  expect(read.signers.map((one) => one.because)).toEqual(Array.from({ length: signers }, () => undefined))
  expect(read.signers.every((one) => one.valid)).toBe(true)
  expect(read.certificates.some((one) => one.equals(town.authority.certificate))).toBe(true)
  return read
}

const oaep = (digest: string, mask = digest) => [
  ...['-keyopt', 'rsa_padding_mode:oaep'],
  ...['-keyopt', `rsa_oaep_md:${digest}`, '-keyopt', `rsa_mgf1_md:${mask}`],
]
const ecdh = (digest: string, mode = 0) => [
  ...['-keyopt', `ecdh_kdf_md:${digest}`, '-keyopt', `ecdh_cofactor_mode:${mode}`],
]

describe('every algorithm × DER and BER × 1, 3 and 100 recipients × 1 and 3 signers, detached and opaque', () => {
  const ciphers = ['aes128', 'aes192', 'aes256', 'aes-128-gcm', 'aes-192-gcm', 'aes-256-gcm']
  let signatures: { file: string; signers: number }[]
  beforeAll(() => {
    const three = (['rsa2048', 'ec256', 'ec384'] as const).map((keyType) =>
      town.member('ellen.ross@direct.somephr.example', { keyType }),
    )
    signatures = [[three[0]!], three].flatMap((signers) =>
      [['-nodetach'], []].flatMap((form) =>
        [['-stream'], ['-noindef']].map((encoding) => {
          const words = [...form, ...encoding]
          const file = `signed${signers.length}${words.join('')}.eml`
          return { file: signed(words, signers, wrapped, file), signers: signers.length }
        }),
      ),
    )
  })

  test.each<[string, KeyType, string[]]>([
    ['pkcs1', 'rsa2048', []],
    ['pkcs1', 'rsa4096', []],
    ['oaep-sha1', 'rsa2048', oaep('sha1')],
    ['oaep-sha256', 'rsa2048', oaep('sha256')],
    ['oaep-sha384', 'rsa3072', oaep('sha384')],
    ['oaep-sha512', 'rsa2048', oaep('sha512')],
    ['oaep-sha256-mgf1-sha1', 'rsa2048', oaep('sha256', 'sha1')],
    ['oaep-sha1-mgf1-sha512', 'rsa2048', oaep('sha1', 'sha512')],
    ['ecdh-sha1', 'ec256', ecdh('sha1')],
    ['ecdh-sha224', 'ec256', ecdh('sha224')],
    ['ecdh-sha256', 'ec256', ecdh('sha256')],
    ['ecdh-sha384', 'ec384', ecdh('sha384')],
    ['ecdh-sha512', 'ec521', ecdh('sha512')],
    ['ecdh-sha256', 'ec384', ecdh('sha256', 1)],
  ])(
    '%s to %s',
    async (keyTransport, keyType, own) => {
      const ours = town.member('us@direct.ashby.example', { keyType })
      const beside = keyType.startsWith('rsa') ? others.rsa : others.ec
      let round = 0
      for (const cipher of ciphers)
        for (const encoding of [['-stream', '-indef'], ['-noindef'], ['-outform', 'DER']])
          for (const count of encoding[0] === '-outform' ? [1] : [1, 3, 100]) {
            const { file, signers } = signatures[round++ % signatures.length]!
            const [first, ...rest] = beside.slice(0, count - 1)
            const recipients = [...(first ? [first] : []), ours, ...rest]
            const made = encrypted([`-${cipher}`, ...encoding], recipients, own, file)
            // -outform DER is the CMS alone.
            const head = 'Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: binary\r\n\r\n'
            const raw = encoding[0] === '-outform' ? Buffer.concat([Buffer.from(head), made]) : made
            const read = await expectOurs(raw, signers, ours)
            expect([read.keyTransport, read.recipients]).toEqual([keyTransport, count])
            expect(read.cipher.replaceAll('-', '')).toContain(cipher.replaceAll('-', ''))
          }
    },
    120_000,
  )

  test.each(['aes256', 'aes-256-gcm'])(
    '25 MB with %s, DER and BER, detached and opaque',
    async (cipher) => {
      const large = Buffer.concat([wrapped, Buffer.alloc(25_000_000, `${'x'.repeat(74)}\r\n`)])
      for (const encoding of ['-stream', '-noindef'])
        for (const form of [[], ['-nodetach']]) {
          signed([encoding, ...form], [town.phr], large)
          const read = await opened(encrypted([`-${cipher}`, encoding], [town.phr, town.ashby]))
          expect(read.signers.map((one) => one.valid)).toEqual([true])
          expect(read.message.length).toBe(content.length + 25_000_000)
        }
    },
    120_000,
  )
})

describe('signatures of openssl', () => {
  test.each<[string, KeyType, string[]]>([
    ['rsa-pkcs1', 'rsa2048', []],
    ['rsa-pkcs1', 'rsa4096', []],
    ['rsa-pss', 'rsa2048', ['-keyopt', 'rsa_padding_mode:pss', '-keyopt', 'rsa_pss_saltlen:32']],
    ['rsa-pss', 'rsa3072', ['-keyopt', 'rsa_padding_mode:pss', '-keyopt', 'rsa_pss_saltlen:max']],
    ['ecdsa', 'ec256', []],
    ['ecdsa', 'ec384', []],
    ['ecdsa', 'ec521', []],
  ])('%s by %s with SHA-256, SHA-384 and SHA-512', async (scheme, keyType, words) => {
    const signer = town.member('ellen.ross@direct.somephr.example', { keyType })
    for (const digest of ['sha256', 'sha384', 'sha512']) {
      signed(['-md', digest, ...words], [signer])
      const read = await expectOurs(encrypted(['-aes256'], [town.ashby]))
      expect(read.signers[0]).toMatchObject({ scheme, digest })
    }
  })

  test('without attributes, with few of them, and with text ends made canonical', async () => {
    for (const words of [['-noattr'], ['-noattr', '-nodetach'], ['-nosmimecap']]) {
      signed(words, [town.phr])
      await expectOurs(encrypted(['-aes256'], [town.ashby]))
    }
    // Without -binary openssl signs and encrypts CRLF, whatever the file has.
    tool.write('lf.eml', wrapped.toString().replaceAll('\r\n', '\n'))
    tool.run(
      ...['cms', '-sign', '-in', 'lf.eml', '-certfile', 'authority.pem', '-out', 'signed.eml'],
      ...['-signer', tool.filed(town.phr)],
    )
    tool.run(
      ...['cms', '-encrypt', '-in', 'signed.eml', '-out', 'made.eml', '-aes256'],
      ...['-recip', tool.filed(town.ashby)],
    )
    await expectOurs(tool.read('made.eml'))
  })

  test('signers and recipients named by key identifier, a renewed certificate with the same key among them', async () => {
    const signers = [
      town.phr,
      ...(['ec256', 'ec384', 'rsa3072'] as const).map((keyType) =>
        town.member('ellen.ross@direct.somephr.example', { keyType }),
      ),
    ]
    signed(['-keyid'], signers)
    const beside = [town.member('x@direct.ashby.example'), town.member('y@direct.ashby.example')]
    const raw = encrypted(['-aes256', '-keyid'], [...beside, town.ashby])
    expect((await expectOurs(raw, 4)).encryptedTo.equals(town.ashby.certificate)).toBe(true)

    const renewed = town.member('ellen.ross@direct.somephr.example', { key: town.phr.privateKey })
    tool.write('authority.pem', town.authority.certificatePem + renewed.certificatePem)
    signed(['-keyid'], [town.phr])
    tool.write('authority.pem', town.authority.certificatePem)
    // Both fit the identifier and the signature; which of them is trusted is judged elsewhere.
    const both = await expectOurs(encrypted(['-aes256'], [town.ashby]), 2)
    const named = both.signers.map((one) => one.certificate!.toString('hex')).sort()
    expect(named).toEqual([town.phr, renewed].map((one) => one.certificate.toString('hex')).sort())
  })

  test('one good signer suffices, whatever the others are and wherever they stand', async () => {
    const weak = town.member('ellen.ross@direct.somephr.example', { keyType: 'rsa1024' })
    for (const signers of [
      [weak, town.phr],
      [town.phr, weak],
    ]) {
      signed([], signers)
      const read = await opened(encrypted(['-aes256'], [town.ashby]))
      const good = read.signers.filter((one) => one.valid)
      expect(good.map((one) => one.certificate!.equals(town.phr.certificate))).toEqual([true])
      expect(read.signers.flatMap((one) => one.because ?? [])).toEqual([
        'its RSA key has 1024 bits; at least 2048 are needed',
      ])
    }
  })
})

describe('what openssl makes and Direct refuses', () => {
  const refusal = async (raw: Buffer, ours: Issued = town.ashby) => {
    const read = await open(raw, { keys: [ownKey(ours)] })
    return read.opened ? read.signers.map((one) => one.because) : [read.refusal, read.because]
  }

  test('3DES, and RC2 and DES where openssl still makes them', async () => {
    signed([], [town.phr])
    const algorithm = 'algorithm-refused'
    expect(await refusal(encrypted(['-des3'], [town.ashby]))).toEqual([
      algorithm,
      'its content cipher 3DES is not accepted',
    ])
    const legacy = ['-provider', 'legacy', '-provider', 'default']
    expect(await refusal(encrypted([...legacy, '-rc2'], [town.ashby]))).toEqual([
      algorithm,
      'its content cipher RC2 is not accepted',
    ])
    expect(await refusal(encrypted([...legacy, '-des'], [town.ashby]))).toEqual([
      algorithm,
      'its content cipher DES is not accepted',
    ])
  })

  test('keys of 1024 bits, ours and theirs; SHA-1 and MD5', async () => {
    const weak = town.member('weak@direct.ashby.example', { keyType: 'rsa1024' })
    signed([], [town.phr])
    expect(await refusal(encrypted(['-aes256'], [weak]), weak)).toEqual([
      'algorithm-refused',
      'it is encrypted to an RSA key of 1024 bits; at least 2048 are needed',
    ])
    signed([], [weak])
    expect(await refusal(encrypted(['-aes256'], [town.ashby]))).toEqual([
      'its RSA key has 1024 bits; at least 2048 are needed',
    ])
    for (const [digest, name] of [
      ['sha1', 'SHA-1'],
      ['md5', 'MD5'],
      ['sha224', 'SHA-224'],
    ] as const) {
      signed(['-md', digest], [town.phr])
      expect(await refusal(encrypted(['-aes256'], [town.ashby]))).toEqual([
        `its digest ${name} is not accepted`,
      ])
    }
  })

  test('a password or a symmetric key instead of a certificate', async () => {
    signed([], [town.phr])
    tool.run(
      ...['cms', '-encrypt', '-in', 'signed.eml', '-out', 'made.eml', '-aes256'],
      ...['-pwri_password', 'secret'],
    )
    expect(await refusal(tool.read('made.eml'))).toEqual([
      'no-key',
      'it is not encrypted to any certificate of ours',
    ])
  })
})
