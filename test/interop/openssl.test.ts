import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Algorithms } from '../../src/seal/algorithms.ts'
import { open } from '../../src/seal/open.ts'
import { makeSealer, type Sealer } from '../../src/seal/seal.ts'
import type { Issued, KeyType } from '../pki/pki.ts'
import { aDocument, anOrder, aTown, type Town } from '../seal/an-order.ts'
import { partsOf } from '../seal/independently.ts'

/** `openssl cms` shares no code with us: the system’s binary, while Node has an OpenSSL of its own inside. */
let town: Town
let folder: string
beforeAll(() => {
  town = aTown()
  folder = mkdtempSync(join(tmpdir(), 'bluepost-openssl-'))
  writeFileSync(join(folder, 'root.pem'), town.root.certificatePem)
})
afterAll(() => rmSync(folder, { recursive: true }))

const at = (name: string) => join(folder, name)

function openssl(...parameters: string[]): void {
  execFileSync('openssl', parameters, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 })
}

/** Certificate and key in a PEM file, for openssl. */
function filed(name: string, one: Issued): string {
  writeFileSync(at(`${name}.pem`), one.certificatePem + one.privateKeyPem)
  return `${name}.pem`
}

describe('sealed here, opened by openssl', () => {
  let sealers: Record<1 | 3, Sealer>
  beforeAll(() => {
    const three = [town.ashby, town.signer({ keyType: 'ec256' }), town.signer({ keyType: 'ec384' })]
    sealers = {
      1: makeSealer({ threads: 1, signers: [town.ashby] }),
      3: makeSealer({ threads: 1, signers: three }),
    }
  })
  afterAll(async () => {
    await sealers[1].close()
    await sealers[3].close()
  })

  async function arrives(
    content: Buffer,
    wishes: { signers?: 1 | 3; recipients?: Issued[]; algorithms?: Partial<Algorithms> } = {},
  ) {
    const recipients = wishes.recipients ?? [town.phr]
    const order = anOrder(town, {
      documents: [aDocument(content)],
      recipients: recipients.map((one) => one.certificate),
      ...(wishes.algorithms ? { algorithms: wishes.algorithms } : {}),
    })
    const chunks: Buffer[] = []
    for await (const chunk of sealers[wishes.signers ?? 1].seal(order).chunks) chunks.push(chunk)
    writeFileSync(at('sealed.eml'), Buffer.concat(chunks))
    for (const recipient of recipients) {
      const file = filed('recipient', recipient)
      openssl('cms', '-decrypt', '-in', 'sealed.eml', '-recip', file, '-inkey', file, '-out', 'signed.eml')
      openssl(
        ...['cms', '-verify', '-in', 'signed.eml', '-CAfile', 'root.pem', '-purpose', 'smimesign'],
        ...['-signer', 'signers.pem', '-out', 'wrapped.eml'],
      )
      const signers = readFileSync(at('signers.pem'), 'utf8').split('-----BEGIN').length - 1
      expect(signers).toBe(wishes.signers ?? 1)
      const wrapped = readFileSync(at('wrapped.eml'))
      const head = 'Content-Type: message/rfc822\r\n\r\n'
      expect(wrapped.toString('latin1', 0, head.length)).toBe(head)
      const [, document] = partsOf(wrapped.subarray(head.length))
      expect(document!.content.equals(content)).toBe(true)
    }
  }

  test.each([0, 1, 56, 57, 58, 50_000, 25 * 1024 * 1024])(
    'a document of %d bytes',
    async (bytes) => {
      await arrives(randomBytes(bytes))
    },
    60_000,
  )

  test('three signers, RSA and ECDSA, to three recipients, RSA and EC', async () => {
    const recipients = [
      town.phr,
      town.member('b@direct.somephr.example', { keyType: 'rsa4096' }),
      town.member('c@direct.somephr.example', { keyType: 'ec384' }),
    ]
    await arrives(randomBytes(50_000), { signers: 3, recipients })
    await arrives(randomBytes(10), { signers: 3 })
    await arrives(randomBytes(10), { signers: 1, recipients })
  })

  test.each(['ec256', 'ec384', 'ec521'] as const)('to a key on %s alone', async (keyType) => {
    await arrives(randomBytes(1000), { recipients: [town.member('b@direct.somephr.example', { keyType })] })
  })

  test.each<Partial<Algorithms>>([
    { keyTransport: 'oaep-sha256' },
    { keyTransport: 'oaep-sha1' },
    { content: 'aes-128-cbc' },
    { digest: 'sha384' },
    { digest: 'sha512' },
  ])('with %j', async (algorithms) => {
    await arrives(randomBytes(5000), { signers: 3, algorithms })
  })

  test('what we send by default is read by openssl’s older PKCS#7 code, too', async () => {
    await arrives(randomBytes(5000))
    const file = filed('recipient', town.phr)
    openssl('smime', '-decrypt', '-in', 'sealed.eml', '-recip', file, '-inkey', file, '-out', 'old.eml')
    expect(readFileSync(at('old.eml')).equals(readFileSync(at('signed.eml')))).toBe(true)
    openssl('smime', '-verify', '-in', 'old.eml', '-CAfile', 'root.pem', '-purpose', 'smimesign', '-out', 'x')
  })
})

describe('made by openssl, opened here', () => {
  const content = Buffer.from(
    'From: ellen.ross@direct.somephr.example\r\nSubject: Processed\r\n\r\nThe message was received.\r\n',
  )
  const wrapped = Buffer.concat([Buffer.from('Content-Type: message/rfc822\r\n\r\n'), content])

  function signed(parameters: string[], signers: Issued[], plain = wrapped): void {
    writeFileSync(at('plain.eml'), plain)
    writeFileSync(at('authority.pem'), town.authority.certificatePem)
    const options = signers.flatMap((one, index) => ['-signer', filed(`signer${index}`, one)])
    openssl(
      ...[
        'cms',
        '-sign',
        '-in',
        'plain.eml',
        '-binary',
        '-certfile',
        'authority.pem',
        '-out',
        'made-signed.eml',
      ],
      ...options,
      ...parameters,
    )
  }

  function encrypted(parameters: string[], recipients: Issued[], own: string[][] = []): Buffer {
    const options = recipients.flatMap((one, index) => [
      '-recip',
      filed(`to${index}`, one),
      ...(own[index] ?? []),
    ])
    openssl(
      'cms',
      '-encrypt',
      '-in',
      'made-signed.eml',
      '-binary',
      '-out',
      'made.eml',
      ...parameters,
      ...options,
    )
    return readFileSync(at('made.eml'))
  }

  function opened(raw: Buffer, ...keys: Issued[]) {
    const read = open(raw, { keys: keys.length > 0 ? keys : [town.ashby] })
    if (!read.opened) throw new Error(`${read.refusal}: ${read.because}`)
    return read
  }

  function expectOurs(raw: Buffer, signers = 1, ...keys: Issued[]) {
    const read = opened(raw, ...keys)
    expect(read.message.equals(content)).toBe(true)
    expect(read.isWrapped).toBe(true)
    expect(read.signers.map((one) => one.because)).toEqual(Array.from({ length: signers }, () => undefined))
    expect(read.certificates.some((one) => one.equals(town.authority.certificate))).toBe(true)
    return read
  }

  const oaep = (digest: string) => [
    ...['-keyopt', 'rsa_padding_mode:oaep'],
    ...['-keyopt', `rsa_oaep_md:${digest}`, '-keyopt', `rsa_mgf1_md:${digest}`],
  ]

  test.each(['-aes128', '-aes192', '-aes256'])('PKCS#1 v1.5 with %s', (cipher) => {
    signed([], [town.phr])
    expect(expectOurs(encrypted([cipher], [town.ashby])).keyTransport).toBe('pkcs1')
  })

  test.each(['sha1', 'sha256', 'sha384', 'sha512'])('OAEP with %s', (digest) => {
    signed([], [town.phr])
    const raw = encrypted(['-aes256'], [town.ashby], [oaep(digest)])
    expect(expectOurs(raw).keyTransport).toBe(`oaep-${digest}`)
  })

  test('OAEP whose two digests differ is refused with its reason', () => {
    signed([], [town.phr])
    const mixed = [
      '-keyopt',
      'rsa_padding_mode:oaep',
      '-keyopt',
      'rsa_oaep_md:sha256',
      '-keyopt',
      'rsa_mgf1_md:sha1',
    ]
    expect(open(encrypted(['-aes256'], [town.ashby], [mixed]), { keys: [town.ashby] })).toMatchObject({
      opened: false,
      refusal: 'algorithm-refused',
    })
  })

  test.each(['-aes-128-gcm', '-aes-256-gcm'])('AuthEnvelopedData with %s', (cipher) => {
    signed([], [town.phr])
    expect(expectOurs(encrypted([cipher], [town.ashby])).cipher).toBe(cipher.slice(1))
  })

  test.each<KeyType>(['ec256', 'ec384', 'ec521'])(
    'ECDH to %s, which openssl makes without keying material',
    (keyType) => {
      const ours = town.member('us@direct.ashby.example', { keyType })
      signed([], [town.phr])
      for (const digest of ['sha1', 'sha256', 'sha512'])
        expect(
          expectOurs(encrypted(['-aes256'], [ours], [['-keyopt', `ecdh_kdf_md:${digest}`]]), 1, ours)
            .keyTransport,
        ).toBe(`ecdh-${digest}`)
    },
  )

  test('streamed BER with indefinite lengths, in every layer', () => {
    signed(['-stream'], [town.phr])
    expectOurs(encrypted(['-stream', '-aes256'], [town.ashby]))
    signed(['-nodetach', '-stream'], [town.phr])
    expectOurs(encrypted(['-stream', '-aes256'], [town.ashby]))
  })

  test('opaque signatures', () => {
    signed(['-nodetach'], [town.phr])
    expectOurs(encrypted(['-aes256'], [town.ashby]))
  })

  test('several signers of different kinds, and several recipients named by key identifier', () => {
    signed(
      ['-keyid'],
      [
        town.phr,
        ...(['ec256', 'ec384', 'rsa3072'] as const).map((keyType) =>
          town.member('ellen.ross@direct.somephr.example', { keyType }),
        ),
      ],
    )
    const others = [town.member('x@direct.ashby.example'), town.member('y@direct.ashby.example')]
    const raw = encrypted(['-aes256', '-keyid'], [...others, town.ashby])
    expect(expectOurs(raw, 4).encryptedTo.equals(town.ashby.certificate)).toBe(true)
  })

  test('RSA-PSS, SHA-384 and SHA-512, and signatures without attributes', () => {
    signed(['-keyopt', 'rsa_padding_mode:pss', '-keyopt', 'rsa_pss_saltlen:32'], [town.phr])
    expectOurs(encrypted(['-aes256'], [town.ashby]))
    for (const digest of ['sha384', 'sha512']) {
      signed(['-md', digest], [town.phr])
      expect(expectOurs(encrypted(['-aes256'], [town.ashby])).signers[0]!.digest).toBe(digest)
    }
    signed(['-noattr'], [town.phr])
    expectOurs(encrypted(['-aes256'], [town.ashby]))
  })

  test('3DES is refused', () => {
    signed([], [town.phr])
    expect(open(encrypted(['-des3'], [town.ashby]), { keys: [town.ashby] })).toMatchObject({
      opened: false,
      refusal: 'algorithm-refused',
    })
  })

  test('a message of 25 MB', () => {
    const large = Buffer.concat([wrapped, Buffer.alloc(25_000_000, `${'x'.repeat(74)}\r\n`)])
    signed([], [town.phr], large)
    const read = opened(encrypted(['-aes256', '-stream'], [town.ashby]))
    expect(read.signers[0]!.valid).toBe(true)
    expect(read.message.length).toBe(content.length + 25_000_000)
  }, 60_000)
})

/** Messages of other implementations, from the Direct community's test material; set BLUEPOST_CORPUS to its folder. */
const corpus = process.env['BLUEPOST_CORPUS']
if (corpus !== undefined)
  describe('messages of the reference implementations', () => {
    const file = (name: string) => readFileSync(join(corpus, 'direct', name))

    test('the Java reference implementation’s message opens and its signature verifies', async () => {
      const { createPrivateKey } = await import('node:crypto')
      const ryan = {
        certificate: file('java-agent/certs/ryan.der'),
        privateKey: createPrivateKey({
          key: file('java-agent/certs/ryanKey.der'),
          format: 'der',
          type: 'pkcs8',
        }),
      }
      const read = open(file('java-agent/messages/EncryptedMessage2.txt'), { keys: [ryan] })
      expect(read).toMatchObject({
        opened: true,
        isWrapped: true,
        cipher: 'aes-128-cbc',
        keyTransport: 'pkcs1',
      })
      expect(read.opened && read.signers.map((one) => one.valid)).toEqual([true])
    })

    test('the 3DES one is refused, and none of the others makes us fall', () => {
      const names = ['EncryptedMessage.txt', 'EncryptedMessage3.txt', 'EncAttachment2.txt']
      for (const name of names) {
        const read = open(file(`java-agent/messages/${name}`), { keys: [town.ashby] })
        expect(read.opened).toBe(false)
      }
    })
  })
