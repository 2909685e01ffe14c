import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Algorithms } from '../../src/seal/algorithms.ts'
import { open } from '../../src/seal/open.ts'
import type { Signer } from '../../src/seal/seal.ts'
import type { Issued } from '../pki/pki.ts'
import { aDocument, anOrder, aTown, sealedHere, type Town } from '../seal/an-order.ts'
import { ownKey } from '../seal/own-keys.ts'
import { partsOf } from '../seal/independently.ts'

/** BouncyCastle and JavaMail: what the Java reference implementation, and most receivers, are made of. */
let town: Town
let folder: string
beforeAll(() => {
  town = aTown()
  folder = mkdtempSync(join(tmpdir(), 'bluepost-bouncycastle-'))
  mkdirSync(at('classes'))
  const missing = jars.filter((jar) => !existsSync(jar))
  if (missing.length > 0)
    throw new Error(
      `${missing.join(', ')} is missing: apt-get install --no-install-recommends libbcmail-java default-jdk-headless`,
    )
  const program = new URL('./bouncycastle/DirectPeer.java', import.meta.url).pathname
  java('javac', '-d', at('classes'), program)
  writeFileSync(at('root.pem'), town.root.certificatePem)
}, 60_000)
afterAll(() => rmSync(folder, { recursive: true }))

const jars = ['bcprov', 'bcutil', 'bcpkix', 'bcmail', 'javax.mail', 'javax.activation'].map(
  (name) => `/usr/share/java/${name}.jar`,
)
const at = (name: string) => join(folder, name)

function java(program: 'java' | 'javac', ...parameters: string[]): string {
  const classes = [at('classes'), ...jars].join(':')
  return execFileSync(program, ['-cp', classes, ...parameters], {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 120_000,
  })
}

function filed(name: string, one: Issued): string {
  writeFileSync(at(`${name}.pem`), one.certificatePem + one.privateKeyPem)
  return at(`${name}.pem`)
}

const member = (name: string, keyType: 'rsa2048' | 'rsa4096' | 'ec256' | 'ec384' = 'rsa2048') =>
  town.member(`${name}@direct.somephr.example`, { keyType })

describe('sealed here, opened by BouncyCastle', () => {
  interface Wishes {
    readonly algorithms?: Partial<Algorithms>
    readonly recipients?: readonly Issued[]
    readonly signers?: readonly (Issued & Signer)[]
    readonly bytes?: number
  }

  /** Each of `readers` opens it; @returns what the first one saw, line by line. */
  async function arrives(wishes: Wishes, readers = wishes.recipients ?? [town.phr]): Promise<string[]> {
    const content = randomBytes(wishes.bytes ?? 5000)
    const order = anOrder(town, {
      // BouncyCastle checks that the certificate was valid when it signed.
      date: new Date(),
      documents: [aDocument(content)],
      recipients: (wishes.recipients ?? [town.phr]).map((one) => one.certificate),
      ...(wishes.algorithms === undefined ? {} : { algorithms: wishes.algorithms }),
    })
    writeFileSync(at('sealed.eml'), await sealedHere(order, wishes.signers ?? [town.ashby]))
    const seen = readers.map((reader) => {
      const said = java(
        'java',
        'DirectPeer',
        'open',
        filed('own', reader),
        at('root.pem'),
        at('sealed.eml'),
        at('out'),
      )
      const wrapped = readFileSync(at('out'))
      const head = 'Content-Type: message/rfc822\r\n\r\n'
      expect(wrapped.toString('latin1', 0, head.length)).toBe(head)
      const [, document] = partsOf(wrapped.subarray(head.length))
      expect(document!.content.equals(content)).toBe(true)
      return said.trim().split('\n')
    })
    return seen[0]!
  }

  const transports = {
    pkcs1: '1.2.840.113549.1.1.1',
    'oaep-sha1': '1.2.840.113549.1.1.7',
    'oaep-sha256': '1.2.840.113549.1.1.7',
  }
  const ciphers = { 'aes-128-cbc': '2.16.840.1.101.3.4.1.2', 'aes-256-cbc': '2.16.840.1.101.3.4.1.42' }

  test.each(Object.keys(transports) as (keyof typeof transports)[])(
    'key transport %s',
    async (keyTransport) => {
      expect(await arrives({ algorithms: { keyTransport } })).toContain(
        `transport ${transports[keyTransport]}`,
      )
    },
  )

  test.each(Object.keys(ciphers) as (keyof typeof ciphers)[])('content in %s', async (content) => {
    expect(await arrives({ algorithms: { content } })).toContain(`content ${ciphers[content]}`)
  })

  test.each(['aes-128-gcm', 'aes-256-gcm'] as const)('content in %s, authenticated', async (content) => {
    expect(await arrives({ algorithms: { content } })).toContain('recipients 1')
  })

  test.each(['ec256', 'ec384'] as const)('to a key on %s', async (keyType) => {
    expect(await arrives({ recipients: [member('b', keyType)] })).toContain('recipients 1')
  })

  test('to three recipients of different kinds, by three signers of different kinds', async () => {
    const signers = [town.ashby, town.signer({ keyType: 'ec256' }), town.signer({ keyType: 'ec384' })]
    const recipients = [town.phr, member('b', 'rsa4096'), member('c', 'ec384')]
    const seen = await arrives({ signers, recipients })
    expect(seen).toEqual(expect.arrayContaining(['recipients 3', 'signers 3']))
  })

  test('to a hundred recipients: the first, one between and the last', async () => {
    const recipients = Array.from({ length: 100 }, (_, number) =>
      member(`patient${number}`, number % 4 === 3 ? 'ec256' : 'rsa2048'),
    )
    const seen = await arrives({ recipients }, [recipients[0]!, recipients[51]!, recipients[99]!])
    expect(seen).toContain('recipients 100')
  })

  test('25 MB', async () => {
    expect(await arrives({ bytes: 25 * 1024 * 1024 })).toContain('signers 1')
  }, 120_000)
})

describe('made by BouncyCastle, opened here', () => {
  const content = Buffer.from(
    'From: ellen.ross@direct.somephr.example\r\nTo: transmit@direct.ashby.example\r\n' +
      'Message-ID: <made-by-bouncycastle@direct.somephr.example>\r\nDate: Sun, 22 Nov 2026 17:00:00 +0000\r\n' +
      'Subject: Processed\r\n\r\nThe message was received.\r\n',
  )

  interface Wishes {
    readonly transport?: string
    readonly cipher?: string
    readonly form?: 'detached' | 'opaque'
    readonly wrap?: 'yes' | 'no'
    readonly signers?: readonly (readonly [Issued, string])[]
    readonly ours?: Issued
    readonly others?: readonly (readonly [Issued, string])[]
    readonly message?: Buffer
  }

  function made({
    transport = 'pkcs1',
    cipher = 'aes256-cbc',
    form = 'detached',
    wrap = 'yes',
    ...wishes
  }: Wishes): Buffer {
    const recipients = [...(wishes.others ?? []), [wishes.ours ?? town.ashby, transport] as const]
    const lines = [
      ...recipients.map(([one, how], index) => `recipient ${filed(`to${index}`, one)} ${how}`),
      ...(wishes.signers ?? [[town.phr, 'SHA256withRSA'] as const]).map(
        ([one, algorithm], index) => `signer ${filed(`signer${index}`, one)} ${algorithm}`,
      ),
      `content ${cipher}`,
      `form ${form}`,
      `wrap ${wrap}`,
    ]
    writeFileSync(at('order'), lines.join('\n'))
    writeFileSync(at('plain.eml'), wishes.message ?? content)
    java('java', 'DirectPeer', 'seal', at('order'), at('plain.eml'), at('made.eml'))
    return readFileSync(at('made.eml'))
  }

  async function expectOurs(wishes: Wishes, signers = 1) {
    const read = await open(made(wishes), { keys: [ownKey(wishes.ours ?? town.ashby)] })
    if (!read.opened) throw new Error(`${read.refusal}: ${read.because}`)
    // JavaMail writes the header of an entity that is not wrapped anew before it signs it.
    if (wishes.wrap === 'no')
      expect(read.message.toString()).toContain('\r\n\r\nThe message was received.\r\n')
    else expect(read.message.equals(wishes.message ?? content)).toBe(true)
    expect(read.isWrapped).toBe((wishes.wrap ?? 'yes') === 'yes')
    expect(read.signers.map((one) => one.because)).toEqual(Array.from({ length: signers }, () => undefined))
    return read
  }

  test.each(['pkcs1', 'oaep-sha1', 'oaep-sha256'])('key transport %s', async (transport) => {
    expect((await expectOurs({ transport })).keyTransport).toBe(transport)
  })

  test.each(['aes128-cbc', 'aes192-cbc', 'aes256-cbc', 'aes128-gcm', 'aes256-gcm'])(
    'content in %s',
    async (cipher) => {
      expect((await expectOurs({ cipher })).cipher).toBe(cipher.replace('aes', 'aes-'))
    },
  )

  test.each([
    ['ec256', 'ecdh-sha1'],
    ['ec256', 'ecdh-sha256'],
    ['ec384', 'ecdh-sha384'],
    ['ec256', 'ecdh-sha256-ukm'],
  ] as const)('to our key on %s by %s', async (keyType, transport) => {
    const ours = town.member('us@direct.ashby.example', { keyType })
    await expectOurs({ ours, transport })
  })

  test.each(['detached', 'opaque'] as const)('a signature that is %s, wrapped or not', async (form) => {
    await expectOurs({ form })
    await expectOurs({ form, wrap: 'no' })
  })

  test('three signers of three kinds, RSA-PSS among them', async () => {
    const signers = [
      [town.phr, 'SHA512withRSAandMGF1'],
      [member('ellen.ross', 'ec384'), 'SHA384withECDSA'],
      [member('ellen.ross', 'ec256'), 'SHA256withECDSA'],
    ] as const
    await expectOurs({ signers }, 3)
  })

  test('a hundred recipients, we are the last', async () => {
    const others = Array.from(
      { length: 99 },
      (_, number) => [member(`other${number}`), 'oaep-sha256'] as const,
    )
    await expectOurs({ others })
  }, 60_000)

  test('25 MB', async () => {
    const message = Buffer.concat([content, Buffer.alloc(25_000_000, `${'x'.repeat(74)}\r\n`)])
    await expectOurs({ message })
  }, 120_000)

  test('3DES, SHA-1 and MD5 are refused', async () => {
    expect(await open(made({ cipher: '3des' }), { keys: [ownKey(town.ashby)] })).toMatchObject({
      opened: false,
    })
    const old = await open(made({ signers: [[town.phr, 'SHA1withRSA']] }), { keys: [ownKey(town.ashby)] })
    expect(old.opened && old.signers.some((one) => one.valid)).toBe(false)
  })
})
