import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Algorithms } from '../../src/seal/algorithms.ts'
import { open } from '../../src/seal/open.ts'
import type { Signer } from '../../src/seal/seal.ts'
import type { Issued } from '../pki/pki.ts'
import { aDocument, anOrder, aTown, sealedHere, type Town } from '../seal/an-order.ts'
import { ownKey } from '../seal/own-keys.ts'
import { halvesOfSigned, partsOf } from '../seal/independently.ts'

/** Mozilla’s NSS by its `cmsutil`: what Thunderbird reads and writes. */
let town: Town
let folder: string
beforeAll(() => {
  town = aTown()
  folder = mkdtempSync(join(tmpdir(), 'bluepost-nss-'))
  writeFileSync(at('password'), '')
  nss('certutil', '-N', '--empty-password')
  trusted('root', town.root, 'C,C,C')
  trusted('authority', town.authority, ',,')
})
afterAll(() => rmSync(folder, { recursive: true }))

const at = (name: string) => join(folder, name)

function run(program: string, parameters: readonly string[]): Buffer {
  try {
    return execFileSync(program, parameters, {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Error(`${program} is missing: apt-get install --no-install-recommends libnss3-tools openssl`)
    throw error
  }
}

const nss = (program: 'certutil' | 'pk12util' | 'cmsutil', ...parameters: string[]) =>
  run(program, [
    ...parameters,
    '-d',
    `sql:${folder}`,
    ...(program === 'pk12util' ? [] : ['-f', at('password')]),
  ])

function trusted(nickname: string, { certificatePem }: Issued, trust: string): void {
  writeFileSync(at(`${nickname}.pem`), certificatePem)
  nss('certutil', '-A', '-a', '-n', nickname, '-t', trust, '-i', at(`${nickname}.pem`))
}

const nicknames = new Map<Issued, string>()
/** Certificate and key in the database, once. @returns the nickname */
function owned(one: Issued): string {
  const known = nicknames.get(one)
  if (known !== undefined) return known
  const nickname = `pair ${nicknames.size}`
  nicknames.set(one, nickname)
  writeFileSync(at('pair.pem'), one.certificatePem + one.privateKeyPem)
  run('openssl', [
    'pkcs12',
    '-export',
    '-in',
    at('pair.pem'),
    '-name',
    nickname,
    '-passout',
    'pass:x',
    '-out',
    at('pair.p12'),
  ])
  nss('pk12util', '-i', at('pair.p12'), '-W', 'x', '-K', '')
  return nickname
}

const member = (name: string, keyType: 'rsa2048' | 'rsa4096' | 'ec256' | 'ec384' = 'rsa2048') =>
  town.member(`${name}@direct.somephr.example`, { keyType })

describe('sealed here, opened by NSS', () => {
  interface Wishes {
    readonly algorithms?: Partial<Algorithms>
    readonly recipients?: readonly Issued[]
    readonly signers?: readonly (Issued & Signer)[]
    readonly bytes?: number
  }

  async function arrives(wishes: Wishes): Promise<void> {
    const content = randomBytes(wishes.bytes ?? 5000)
    const recipients = wishes.recipients ?? [member('a')]
    owned(recipients.at(-1)!)
    const order = anOrder(town, {
      date: new Date(),
      documents: [aDocument(content)],
      recipients: recipients.map((one) => one.certificate),
      ...(wishes.algorithms === undefined ? {} : { algorithms: wishes.algorithms }),
    })
    const sealed = await sealedHere(order, wishes.signers ?? [town.ashby])
    writeFileSync(
      at('in.der'),
      Buffer.from(sealed.subarray(sealed.indexOf('\r\n\r\n')).toString('latin1'), 'base64'),
    )
    nss('cmsutil', '-D', '-i', at('in.der'), '-o', at('entity'))
    const { content: signed, signature } = halvesOfSigned(readFileSync(at('entity')))
    writeFileSync(at('content'), signed)
    writeFileSync(at('signature.der'), signature)
    const told = nss(
      'cmsutil',
      '-D',
      '-h',
      '0',
      '-n',
      '-c',
      at('content'),
      '-i',
      at('signature.der'),
    ).toString('latin1')
    expect(told.match(/signer\d+\.status=GoodSignature/g)).toHaveLength(wishes.signers?.length ?? 1)
    const head = 'Content-Type: message/rfc822\r\n\r\n'
    const [, document] = partsOf(signed.subarray(head.length))
    expect(document!.content.equals(content)).toBe(true)
  }

  test('what we send by default', () => arrives({}))
  test('AES-128', () => arrives({ algorithms: { content: 'aes-128-cbc' } }))
  test.each(['sha384', 'sha512'] as const)('signed over %s', (digest) => arrives({ algorithms: { digest } }))
  test('to an RSA key of 4096 bits', () => arrives({ recipients: [member('b', 'rsa4096')] }))

  test('by three signers of different kinds, to three recipients', () =>
    arrives({
      signers: [town.ashby, town.signer({ keyType: 'ec256' }), town.signer({ keyType: 'ec384' })],
      recipients: [member('c'), member('d', 'rsa4096'), member('e')],
    }))

  test('to a hundred recipients', () =>
    arrives({ recipients: Array.from({ length: 100 }, (_, number) => member(`patient${number}`)) }))

  test('25 MB', () => arrives({ bytes: 25 * 1024 * 1024 }), 120_000)
})

describe('made by NSS, opened here', () => {
  const content = Buffer.from(
    'From: ellen.ross@direct.somephr.example\r\nTo: transmit@direct.ashby.example\r\n' +
      'Subject: Processed\r\n\r\nThe message was received.\r\n',
  )

  function made(signer: Issued, form: 'detached' | 'opaque', recipients: readonly Issued[]): Buffer {
    const nickname = owned(signer)
    writeFileSync(
      at('wrapped'),
      Buffer.concat([Buffer.from('Content-Type: message/rfc822\r\n\r\n'), content]),
    )
    const detached = form === 'detached' ? ['-T'] : []
    nss('cmsutil', '-S', '-G', '-P', ...detached, '-N', nickname, '-i', at('wrapped'), '-o', at('made.der'))
    const base64 = (der: Buffer) => der.toString('base64').replace(/.{1,76}/g, '$&\r\n')
    const signature = base64(readFileSync(at('made.der')))
    writeFileSync(
      at('entity'),
      form === 'opaque'
        ? `Content-Type: application/pkcs7-mime; smime-type=signed-data\r\nContent-Transfer-Encoding: base64\r\n\r\n${signature}`
        : 'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary=b\r\n\r\n--b\r\n' +
            `${readFileSync(at('wrapped')).toString('latin1')}\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n` +
            `Content-Transfer-Encoding: base64\r\n\r\n${signature}--b--\r\n`,
    )
    nss(
      'cmsutil',
      '-E',
      ...recipients.flatMap((one) => ['-r', owned(one)]),
      '-i',
      at('entity'),
      '-o',
      at('made.der'),
    )
    return Buffer.from(
      'From: ellen.ross@direct.somephr.example\r\nTo: transmit@direct.ashby.example\r\nMIME-Version: 1.0\r\n' +
        'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n' +
        `Content-Transfer-Encoding: base64\r\n\r\n${base64(readFileSync(at('made.der')))}`,
    )
  }

  test.each(['detached', 'opaque'] as const)('a signature that is %s', async (form) => {
    const read = await open(made(town.phr, form, [town.ashby]), { keys: [ownKey(town.ashby)] })
    if (!read.opened) throw new Error(`${read.refusal}: ${read.because}`)
    expect(read.message.equals(content)).toBe(true)
    expect(read.signers.map((one) => one.because)).toEqual([undefined])
  })
})
