import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Algorithms } from '../../src/seal/algorithms.ts'
import { makeSealer, type Sealer } from '../../src/seal/seal.ts'
import type { Issued } from '../pki/pki.ts'
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
