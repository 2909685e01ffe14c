import { createCipheriv, createECDH, randomBytes, sign } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { der, derInteger, derNull, derOid, derSetOf } from '../../src/lib/der.ts'
import { sharedInfo, x963Key } from '../../src/seal/key-agreement.ts'
import type { Algorithms } from '../../src/seal/algorithms.ts'
import { sealMessage } from '../../src/seal/sealing.ts'
import { readCertificate } from '../../src/seal/certificate.ts'
import { aDocument, anOrder, sealedHere } from './an-order.ts'
import {
  town,
  message,
  sha256Oid,
  contentTypeOf,
  digestAttribute,
  wrapped,
  enveloped,
  mail,
  entityOf,
  signedBy,
  opened,
  refusal,
  type SignatureWishes,
} from './by-hand.ts'

describe('opening what we seal', () => {
  test('gives the message, its headers, its signers and what they carried', async () => {
    const read = await opened(
      await sealMessage(message, anOrder(town), [town.ashby, town.signer({ keyType: 'ec384' })]),
    )
    expect(read.message.equals(message)).toBe(true)
    expect(read.fields).toEqual([
      { name: 'From', value: 'a@b.example' },
      { name: 'Subject', value: 'Processed' },
    ])
    expect(read.outerFields.map((one) => one.name)).toContain('Message-ID')
    expect(read.isWrapped).toBe(true)
    expect(read.signers.map((one) => one.valid)).toEqual([true, true])
    expect(read.signers.map((one) => `${one.scheme} ${one.key}`).sort()).toEqual([
      'ecdsa P-384',
      'rsa-pkcs1 RSA 2048',
    ])
    expect(read.recipients).toBe(1)
    expect(read.signers[0]!.signingTime).toEqual(new Date('2026-11-22T17:00:00Z'))
    expect(read.signers.some((one) => one.certificate!.equals(town.ashby.certificate))).toBe(true)
    expect(read.certificates.some((one) => one.equals(town.authority.certificate))).toBe(true)
    expect(read.encryptedTo.equals(town.phr.certificate)).toBe(true)
    expect([read.cipher, read.keyTransport]).toEqual(['aes-256-cbc', 'pkcs1'])
  })

  test.each([
    ['pkcs1', 'rsa2048'],
    ['oaep-sha256', 'rsa4096'],
    ['oaep-sha1', 'rsa2048'],
    ['ecdh-sha256', 'ec256'],
    ['ecdh-sha384', 'ec384'],
    ['ecdh-sha512', 'ec521'],
  ] as const)('works with %s to %s, whichever of our keys it is', async (keyTransport, keyType) => {
    const ours = town.member('us@direct.ashby.example', { keyType })
    const algorithms = keyType.startsWith('ec')
      ? {}
      : { keyTransport: keyTransport as Algorithms['keyTransport'] }
    const recipients = [town.phr.certificate, ours.certificate]
    const sealed = await sealMessage(message, anOrder(town, { recipients, algorithms }), [town.ashby])
    const read = await opened(sealed, town.ashby, ours)
    expect(read.keyTransport).toBe(keyTransport)
    expect(read.message.equals(message)).toBe(true)
    expect((await opened(sealed, town.phr)).encryptedTo.equals(town.phr.certificate)).toBe(true)
  })

  test('a document of 20 MB meets no limit', async () => {
    const content = randomBytes(20_000_000)
    const sealed = await sealedHere(anOrder(town, { documents: [aDocument(content)] }), [town.ashby])
    const read = await opened(sealed)
    expect(read.signers[0]!.valid).toBe(true)
    expect(read.message.length).toBeGreaterThan(20_000_000)
  })
})

describe('what peers send otherwise', () => {
  const entity = (wishes: SignatureWishes = {}, content = wrapped) =>
    entityOf(signedBy(town.ashby, wishes), content)

  test.each([
    'application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"',
    'application/x-pkcs7-mime; name=smime.p7m; smime-type="enveloped-data"',
    'APPLICATION/PKCS7-MIME',
    'application/pkcs7-mime; name="smime.p7m"; smime-type=signed-data',
    'application/octet-stream; name="smime.p7m"',
  ])('%s', async (line) => {
    expect((await opened(enveloped(entity(), line))).signers[0]!.valid).toBe(true)
  })

  test('opaque signatures, and signed messages that are not wrapped', async () => {
    const signed = signedBy(town.ashby, { opaque: true })(wrapped)
    const read = await opened(
      enveloped(
        Buffer.concat([
          Buffer.from('Content-Transfer-Encoding: binary\r\nContent-Type: application/pkcs7-mime\r\n\r\n'),
          signed,
        ]),
      ),
    )
    expect(read.message.equals(message)).toBe(true)
    expect(read.signers[0]!.valid).toBe(true)
    const plain = Buffer.from('Content-Type: text/plain\r\n\r\nhello')
    const bare = await opened(enveloped(entity({}, plain)))
    expect(bare.isWrapped).toBe(false)
    expect(bare.message.equals(plain)).toBe(true)
  })

  test.each([
    ['quoted-printable', 'From: a@b.example\r\nSubject: Process=\r\ned\r\n\r\nbody=0D=0A'],
    ['base64', message.toString('base64')],
  ])('a wrapping in %s, over whose bytes as received the signature is made', async (encoding, body) => {
    const content = Buffer.from(
      `content-type: message/rfc822\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n${body}`,
    )
    const read = await opened(enveloped(entity({}, content)))
    expect(read.message.equals(message)).toBe(true)
    expect(read.signers[0]!.valid).toBe(true)
  })

  test('signed attributes in an order of the writer’s own, or none', async () => {
    const digestFirst = (content: Buffer) => [digestAttribute(content), contentTypeOf('1.2.840.113549.1.7.1')]
    const sorted = (content: Buffer) => digestFirst(content).sort((a, b) => Buffer.compare(a, b))
    const resorted = {
      attributes: digestFirst,
      signWith: (toSign: Buffer) => sign('sha256', toSign, town.ashby.privateKey),
    }
    expect((await opened(enveloped(entity({ attributes: sorted })))).signers[0]!.valid).toBe(true)
    expect((await opened(enveloped(entity(resorted)))).signers[0]!.valid).toBe(true)
    const overSorted = {
      attributes: digestFirst,
      signWith: () => sign('sha256', derSetOf(0x31, digestFirst(wrapped)), town.ashby.privateKey),
    }
    expect((await opened(enveloped(entity(overSorted)))).signers[0]!.valid).toBe(true)
    expect((await opened(enveloped(entity({ withoutAttributes: true })))).signers[0]!.valid).toBe(true)
  })

  test('RSA-PSS and the longer SHA-2 digests', async () => {
    const hash = der(0x30, derOid(sha256Oid), derNull)
    const pss = (salt: number) => ({
      signatureAlgorithm: der(
        0x30,
        derOid('1.2.840.113549.1.1.10'),
        der(
          0x30,
          der(0xa0, hash),
          der(0xa1, der(0x30, derOid('1.2.840.113549.1.1.8'), hash)),
          der(0xa2, derInteger(salt)),
        ),
      ),
      signWith: (toSign: Buffer) =>
        sign('sha256', toSign, { key: town.ashby.privateKey, padding: 6, saltLength: 32 }),
    })
    expect((await opened(enveloped(entity(pss(32))))).signers[0]!.valid).toBe(true)
    expect((await opened(enveloped(entity(pss(20))))).signers[0]!.valid).toBe(false)
    for (const [digestName, digestOid] of [
      ['sha384', '2.16.840.1.101.3.4.2.2'],
      ['sha512', '2.16.840.1.101.3.4.2.3'],
    ] as const)
      expect((await opened(enveloped(entity({ digestName, digestOid })))).signers[0]).toMatchObject({
        valid: true,
        digest: digestName,
      })
  })

  test('key agreement with user keying material', async () => {
    const ours = town.member('us@direct.ashby.example', { keyType: 'ec256' })
    const ukm = Buffer.from('some keying material')
    const ephemeral = createECDH('prime256v1')
    ephemeral.generateKeys()
    const jwk = readCertificate(ours.certificate).publicKey.export({ format: 'jwk' })
    const point = Buffer.concat([
      Buffer.from([4]),
      Buffer.from(jwk.x!, 'base64url'),
      Buffer.from(jwk.y!, 'base64url'),
    ])
    const wrapAlgorithm = der(0x30, derOid('2.16.840.1.101.3.4.1.5'), derNull)
    const info = sharedInfo(wrapAlgorithm, ukm, 16)
    const wrap = createCipheriv(
      'id-aes128-wrap',
      x963Key('sha384', ephemeral.computeSecret(point), info, 16),
      Buffer.alloc(8, 0xa6),
    )
    const contentKey = randomBytes(16)
    const nonce = randomBytes(12)
    const wrappedKey = Buffer.concat([wrap.update(contentKey), wrap.final()])
    const cipher = createCipheriv('aes-128-gcm', contentKey, nonce)
    const encrypted = Buffer.concat([cipher.update(entity()), cipher.final()])
    const { issuer, serial } = readCertificate(ours.certificate)
    const cms = (tag: Buffer) =>
      der(
        0x30,
        derOid('1.2.840.113549.1.9.16.1.23'),
        der(
          0xa0,
          der(
            0x30,
            derInteger(0),
            der(
              0x31,
              der(
                0xa1,
                derInteger(3),
                der(
                  0xa0,
                  der(
                    0xa1,
                    der(0x30, derOid('1.2.840.10045.2.1')),
                    der(0x03, Buffer.from([0]), ephemeral.getPublicKey()),
                  ),
                ),
                der(0xa1, der(0x04, ukm)),
                der(0x30, derOid('1.3.132.1.11.2'), wrapAlgorithm),
                der(0x30, der(0x30, der(0x30, issuer, serial), der(0x04, wrappedKey))),
              ),
            ),
            der(
              0x30,
              derOid('1.2.840.113549.1.7.1'),
              der(0x30, derOid('2.16.840.1.101.3.4.1.6'), der(0x30, der(0x04, nonce), derInteger(16))),
              der(0x80, encrypted),
            ),
            der(0x04, tag),
          ),
        ),
      )
    const read = await opened(mail(cms(cipher.getAuthTag())), ours)
    expect([read.keyTransport, read.cipher]).toEqual(['ecdh-sha384', 'aes-128-gcm'])
    expect(read.message.equals(message)).toBe(true)
    expect(await refusal(mail(cms(Buffer.alloc(16))), ours)).toBe('undecryptable')
  })
})
