import { describe, expect, test } from '@jest/globals'
import type { KeyType } from '../pki/pki.ts'
import { enveloped, entityOf, mail, message, opened, town, wrapped } from './by-hand.ts'
import { pkijsEnveloped, pkijsSigned, type Signing } from './pkijs-made.ts'

/** multipart/signed, or opaque. */
async function entity(signing: Signing, content = wrapped): Promise<Buffer> {
  const cms = await pkijsSigned(content, signing)
  if (!signing.isOpaque) return entityOf(() => cms, content)
  const head =
    'CONTENT-TRANSFER-ENCODING: Base64\r\nContent-type: Application/PKCS7-Mime; Smime-Type=signed-data\r\n\r\n'
  return Buffer.from(`${head}${cms.toString('base64')}\r\n`)
}

describe('made by pkijs', () => {
  test.each<[string, KeyType, Omit<Signing, 'signers'>]>([
    ['rsa-pkcs1', 'rsa2048', {}],
    ['rsa-pkcs1', 'rsa4096', { hash: 'SHA-512' }],
    ['rsa-pss', 'rsa2048', { isPss: true }],
    ['rsa-pss', 'rsa3072', { isPss: true, hash: 'SHA-384' }],
    ['ecdsa', 'ec256', {}],
    ['ecdsa', 'ec384', { hash: 'SHA-384' }],
    ['ecdsa', 'ec521', { hash: 'SHA-512' }],
  ])(
    'signatures: %s by %s, %j, attributes in its own order, detached and opaque',
    async (scheme, keyType, how) => {
      const signer = town.member('ellen.ross@direct.somephr.example', { keyType })
      for (const isOpaque of [false, true]) {
        const read = await opened(enveloped(await entity({ signers: [signer], isOpaque, ...how })))
        expect(read.message.equals(message)).toBe(true)
        expect(read.signers).toMatchObject([{ valid: true, scheme }])
      }
    },
  )

  test('signatures: three signers of different kinds; SHA-1 is refused', async () => {
    const signers = (['ec256', 'rsa2048', 'ec384'] as const).map((keyType) =>
      town.member('ellen.ross@direct.somephr.example', { keyType }),
    )
    const read = await opened(enveloped(await entity({ signers })))
    expect(read.signers.map((one) => one.valid)).toEqual([true, true, true])
    const old = await opened(enveloped(await entity({ signers: signers.slice(1, 2), hash: 'SHA-1' })))
    expect(old.signers).toMatchObject([{ valid: false, because: 'its digest SHA-1 is not accepted' }])
  })

  test.each<[string, KeyType, 'SHA-1' | 'SHA-256' | 'SHA-384' | 'SHA-512', 128 | 192 | 256]>([
    ['oaep-sha1', 'rsa2048', 'SHA-1', 128],
    ['oaep-sha256', 'rsa2048', 'SHA-256', 256],
    ['oaep-sha384', 'rsa3072', 'SHA-384', 192],
    ['oaep-sha512', 'rsa4096', 'SHA-512', 256],
    ['ecdh-sha256', 'ec256', 'SHA-256', 128],
    ['ecdh-sha384', 'ec384', 'SHA-384', 256],
    ['ecdh-sha512', 'ec521', 'SHA-512', 256],
  ])('envelopes: %s to %s', async (keyTransport, keyType, hash, bits) => {
    const ours = town.member('us@direct.ashby.example', { keyType })
    const plain = await entity({ signers: [town.ashby] })
    for (const recipients of [[ours], [town.phr, ours, town.ashby]]) {
      const read = await opened(mail(await pkijsEnveloped(plain, { recipients, hash, bits })), ours)
      expect([read.keyTransport, read.cipher, read.recipients]).toEqual([
        keyTransport,
        `aes-${bits}-cbc`,
        recipients.length,
      ])
      expect(read.message.equals(message)).toBe(true)
      expect(read.signers).toMatchObject([{ valid: true }])
    }
  })

  test('to 100 recipients, of whom we are the last', async () => {
    const others = Array.from({ length: 99 }, () => town.phr)
    const plain = await entity({ signers: [town.ashby] })
    const raw = mail(await pkijsEnveloped(plain, { recipients: [...others, town.ashby] }))
    const read = await opened(raw, town.ashby)
    expect([read.recipients, read.encryptedTo.equals(town.ashby.certificate)]).toEqual([100, true])
  })
})

describe('headers as they come', () => {
  test.each([
    'application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m',
    'Application/X-PKCS7-MIME;\r\n\tNAME="smime.p7m";\r\n SMIME-Type="Enveloped-Data"',
    'application/x-pkcs7-mime',
    'application/pkcs7-mime; name*=utf-8\'\'smime.p7m; smime-type = "enveloped-data" (comment)',
    'application/octet-stream; name="SMIME.P7M"',
    'application/octet-stream\r\nContent-Disposition: attachment; filename=smime.p7m',
  ])('%j', async (line) => {
    const signature = await pkijsSigned(wrapped, { signers: [town.ashby] })
    const inner = entityOf(() => signature, wrapped, 'Multipart/Signed; MICALG="SHA256"; protocol=x')
    expect((await opened(enveloped(inner, line))).message.equals(message)).toBe(true)
  })
})
