import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Algorithms, ContentCipher, KeyTransport } from '../../src/seal/algorithms.ts'
import type { RecipientCertificate } from '../../src/seal/seal-order.ts'
import { makeSealer, type Sealer } from '../../src/seal/seal.ts'
import type { Issued, KeyType } from '../pki/pki.ts'
import { aDocument, anOrder, aTown, type Town } from '../seal/an-order.ts'
import { partsOf } from '../seal/independently.ts'
import { opensslTool, type OpensslTool } from './openssl-tool.ts'

/** Everything we can seal with, opened by `openssl cms`. */
let town: Town
let tool: OpensslTool
let sealers: Record<1 | 3, Sealer>
/** Ninety-nine others, RSA and EC in turns. */
let others: Issued[]
beforeAll(() => {
  town = aTown()
  tool = opensslTool()
  tool.write('root.pem', town.root.certificatePem)
  const three = [town.ashby, town.signer({ keyType: 'ec256' }), town.signer({ keyType: 'ec384' })]
  sealers = {
    1: makeSealer({ threads: 1, signers: [town.ashby] }),
    3: makeSealer({ threads: 1, signers: three }),
  }
  const key = town.member('shared@direct.somephr.example').privateKey
  others = Array.from({ length: 99 }, (_, index) =>
    town.member(`other${index}@direct.somephr.example`, index % 2 === 0 ? { key } : { keyType: 'ec256' }),
  )
})
afterAll(async () => {
  await sealers[1].close()
  await sealers[3].close()
  tool.remove()
})

async function sealed(
  content: Buffer,
  recipients: readonly RecipientCertificate[],
  signers: 1 | 3,
  algorithms: Partial<Algorithms>,
): Promise<void> {
  const order = anOrder(town, { documents: [aDocument(content)], recipients, algorithms })
  const chunks: Buffer[] = []
  for await (const chunk of sealers[signers].seal(order).chunks) chunks.push(chunk)
  tool.write('sealed.eml', Buffer.concat(chunks))
}

function expectOpens(recipient: Issued, content: Buffer, signers: number): void {
  const file = tool.filed(recipient)
  tool.run('cms', '-decrypt', '-in', 'sealed.eml', '-recip', file, '-inkey', file, '-out', 'signed.eml')
  tool.run(
    ...['cms', '-verify', '-in', 'signed.eml', '-CAfile', 'root.pem', '-purpose', 'smimesign'],
    ...['-signer', 'signers.pem', '-out', 'wrapped.eml'],
  )
  expect(tool.read('signers.pem').toString().split('-----BEGIN').length - 1).toBe(signers)
  const wrapped = tool.read('wrapped.eml')
  const [, document] = partsOf(wrapped.subarray(wrapped.indexOf('\r\n\r\n') + 4))
  expect(document!.content.equals(content)).toBe(true)
}

const ciphers: ContentCipher[] = ['aes-128-cbc', 'aes-192-cbc', 'aes-256-cbc', 'aes-128-gcm', 'aes-256-gcm']

describe('every content cipher × 1, 3 and 100 recipients × 1 and 3 signers', () => {
  test.each<[KeyTransport | 'ecdh', KeyType]>([
    ['pkcs1', 'rsa2048'],
    ['pkcs1', 'rsa3072'],
    ['oaep-sha256', 'rsa2048'],
    ['oaep-sha256', 'rsa4096'],
    ['oaep-sha1', 'rsa2048'],
    ['ecdh', 'ec256'],
    ['ecdh', 'ec384'],
    ['ecdh', 'ec521'],
  ])(
    '%s to %s',
    async (transport, keyType) => {
      const theirs = town.member('theirs@direct.somephr.example', { keyType })
      const keyTransport = transport === 'ecdh' ? 'pkcs1' : transport
      for (const content of ciphers)
        for (const count of [1, 3, 100])
          for (const signers of [1, 3] as const) {
            const document = randomBytes(2000)
            const recipients = [...others.slice(0, count - 1), theirs]
            const certificates = recipients.map((one) => one.certificate)
            await sealed(document, certificates, signers, { content, keyTransport })
            for (const one of new Set([recipients[0]!, theirs])) expectOpens(one, document, signers)
          }
    },
    240_000,
  )
})

test('each recipient has the key transport that was agreed with it, in one envelope', async () => {
  const three = (['pkcs1', 'oaep-sha256', 'oaep-sha1'] as const).map((keyTransport, index) => ({
    one: town.member(`agreed${index}@direct.somephr.example`),
    keyTransport,
  }))
  const document = randomBytes(2000)
  const recipients = three.map(({ one, keyTransport }) => ({ certificate: one.certificate, keyTransport }))
  await sealed(document, recipients, 1, {})
  for (const { one } of three) expectOpens(one, document, 1)
  tool.run('cms', '-cmsout', '-print', '-in', 'sealed.eml', '-out', 'printed.txt')
  const printed = tool.read('printed.txt').toString()
  expect(printed.match(/algorithm: rsaEncryption/g)).toHaveLength(1)
  expect(printed.match(/algorithm: rsaesOaep/g)).toHaveLength(2)
})

test.each(ciphers.flatMap((content) => ([1, 3] as const).map((signers) => [content, signers] as const)))(
  '25 MB with %s and %d signers',
  async (content, signers) => {
    const document = randomBytes(25_000_000)
    await sealed(document, [town.phr.certificate], signers, { content })
    expectOpens(town.phr, document, signers)
  },
  120_000,
)
