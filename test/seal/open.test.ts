import { createCipheriv, createECDH, createHash, randomBytes, sign } from 'node:crypto'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { der, derInteger, derNull, derOid, derSetOf } from '../../src/lib/der.ts'
import { makeEnvelope, sharedInfo, x963Key } from '../../src/seal/envelope.ts'
import { open } from '../../src/seal/open.ts'
import { sealMessage } from '../../src/seal/sealing.ts'
import { usualAlgorithms } from '../../src/seal/algorithms.ts'
import { readCertificate } from '../../src/seal/certificate.ts'
import { aDocument, anOrder, aTown, sealedHere, type Town } from './an-order.ts'

let town: Town
beforeAll(() => {
  town = aTown()
})

const keysOf = (...ours: { certificate: Buffer; privateKey: Town['phr']['privateKey'] }[]) => ({ keys: ours })
const message = Buffer.from('From: a@b.example\r\nSubject: Processed\r\n\r\nbody\r\n')

/** A message around any plaintext, encrypted to Ellen's PHR. */
function enveloped(
  plain: Buffer,
  contentTypeLine = 'application/pkcs7-mime; smime-type=enveloped-data',
): Buffer {
  const envelope = makeEnvelope([town.phr.certificate], plain.length, usualAlgorithms, randomBytes)
  const bytes = Buffer.concat([envelope.head, envelope.cipher.update(plain), envelope.cipher.final()])
  return mail(bytes, contentTypeLine)
}

function mail(cms: Buffer, contentTypeLine = 'application/pkcs7-mime'): Buffer {
  return Buffer.from(
    `From: a@b.example\r\nContent-Type: ${contentTypeLine}\r\nContent-Transfer-Encoding: base64\r\n\r\n` +
      cms.toString('base64').replaceAll(/.{1,76}/g, '$&\r\n'),
  )
}

/** The plaintext entity of a sealed message, to be broken and sealed up again. */
function entityOf(sign: (content: Buffer) => Buffer, content: Buffer, type = 'multipart/signed'): Buffer {
  return Buffer.concat([
    Buffer.from(`Content-Type: ${type}; boundary=b\r\n\r\n--b\r\n`),
    content,
    Buffer.from(
      '\r\n--b\r\nContent-Type: application/x-pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n',
    ),
    Buffer.from(sign(content).toString('base64')),
    Buffer.from('\r\n--b--\r\n'),
  ])
}

interface SignatureWishes {
  digestOid?: string
  digestName?: string
  attributes?: (content: Buffer) => Buffer[]
  withoutAttributes?: boolean
  opaque?: boolean
  certificates?: Buffer[]
  signatureAlgorithm?: Buffer
  signWith?: (toSign: Buffer) => Buffer
  contentOid?: string
}

const sha256Oid = '2.16.840.1.101.3.4.2.1'
const attribute = (type: string, ...values: Buffer[]) => der(0x30, derOid(type), der(0x31, ...values))
const contentTypeOf = (dotted: string) => attribute('1.2.840.113549.1.9.3', derOid(dotted))
const digestAttribute = (content: Buffer, name = 'sha256') =>
  attribute('1.2.840.113549.1.9.4', der(0x04, createHash(name).update(content).digest()))

/** A SignerInfo made by hand, in any shape a peer might send. */
function signerInfoOf(signer: Town['ashby'], wishes: SignatureWishes = {}) {
  return (content: Buffer): Buffer => {
    const digestName = wishes.digestName ?? 'sha256'
    const contentOid = wishes.contentOid ?? '1.2.840.113549.1.7.1'
    const attributes = wishes.attributes?.(content) ?? [
      digestAttribute(content, digestName),
      contentTypeOf(contentOid),
    ]
    const toSign = wishes.withoutAttributes ? content : der(0x31, ...attributes)
    const signature = wishes.signWith?.(toSign) ?? sign(digestName, toSign, signer.privateKey)
    const { issuer, serial } = readCertificate(signer.certificate)
    return der(
      0x30,
      derInteger(1),
      der(0x30, issuer, serial),
      der(0x30, derOid(wishes.digestOid ?? sha256Oid), derNull),
      ...(wishes.withoutAttributes ? [] : [der(0xa0, ...attributes)]),
      wishes.signatureAlgorithm ?? der(0x30, derOid('1.2.840.113549.1.1.1'), derNull),
      der(0x04, signature),
    )
  }
}

/** A SignedData around one such SignerInfo, and others beside it. */
function signedBy(
  signer: Town['ashby'],
  wishes: SignatureWishes = {},
  ...beside: ((content: Buffer) => Buffer)[]
) {
  return (content: Buffer): Buffer => {
    const contentOid = wishes.contentOid ?? '1.2.840.113549.1.7.1'
    const infos = [signerInfoOf(signer, wishes), ...beside].map((info) => info(content))
    const carried = wishes.opaque ? [der(0xa0, der(0x04, content))] : []
    return der(
      0x30,
      derOid('1.2.840.113549.1.7.2'),
      der(
        0xa0,
        der(
          0x30,
          derInteger(1),
          der(0x31),
          der(0x30, derOid(contentOid), ...carried),
          der(0xa0, ...(wishes.certificates ?? [signer.certificate])),
          der(0x31, ...infos),
        ),
      ),
    )
  }
}

const wrapped = Buffer.concat([Buffer.from('Content-Type: message/rfc822\r\n\r\n'), message])

function opened(raw: Buffer, ...ours: Parameters<typeof keysOf>) {
  const read = open(raw, keysOf(...(ours.length > 0 ? ours : [town.phr])))
  if (!read.opened) throw new Error(`${read.refusal}: ${read.because}`)
  return read
}

function refusal(raw: Buffer, ...ours: Parameters<typeof keysOf>) {
  const read = open(raw, keysOf(...(ours.length > 0 ? ours : [town.phr])))
  return read.opened ? 'opened' : read.refusal
}

describe('opening what we seal', () => {
  test('gives the message, its headers, its signers and what they carried', () => {
    const read = opened(sealMessage(message, anOrder(town), [town.ashby, town.signer({ keyType: 'ec384' })]))
    expect(read.message.equals(message)).toBe(true)
    expect(read.fields).toEqual([
      { name: 'From', value: 'a@b.example' },
      { name: 'Subject', value: 'Processed' },
    ])
    expect(read.outerFields.map((one) => one.name)).toContain('Message-ID')
    expect(read.isWrapped).toBe(true)
    expect(read.signers.map((one) => [one.valid, one.digest])).toEqual([
      [true, 'sha256'],
      [true, 'sha256'],
    ])
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
    ['ecdh-sha256', 'ec384'],
    ['ecdh-sha256', 'ec521'],
  ] as const)('works with %s to %s, whichever of our keys it is', (keyTransport, keyType) => {
    const ours = town.member('us@direct.ashby.example', { keyType })
    const algorithms = keyTransport === 'ecdh-sha256' ? {} : { keyTransport }
    const recipients = [town.phr.certificate, ours.certificate]
    const sealed = sealMessage(message, anOrder(town, { recipients, algorithms }), [town.ashby])
    const read = opened(sealed, town.ashby, ours)
    expect(read.keyTransport).toBe(keyTransport)
    expect(read.message.equals(message)).toBe(true)
    expect(opened(sealed, town.phr).encryptedTo.equals(town.phr.certificate)).toBe(true)
  })

  test('a document of 20 MB meets no limit', async () => {
    const content = randomBytes(20_000_000)
    const sealed = await sealedHere(anOrder(town, { documents: [aDocument(content)] }), [town.ashby])
    const read = opened(sealed)
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
  ])('%s', (line) => {
    expect(opened(enveloped(entity(), line)).signers[0]!.valid).toBe(true)
  })

  test('opaque signatures, and signed messages that are not wrapped', () => {
    const signed = signedBy(town.ashby, { opaque: true })(wrapped)
    const read = opened(
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
    const bare = opened(enveloped(entity({}, plain)))
    expect(bare.isWrapped).toBe(false)
    expect(bare.message.equals(plain)).toBe(true)
  })

  test.each([
    ['quoted-printable', 'From: a@b.example\r\nSubject: Process=\r\ned\r\n\r\nbody=0D=0A'],
    ['base64', message.toString('base64')],
  ])('a wrapping in %s, over whose bytes as received the signature is made', (encoding, body) => {
    const content = Buffer.from(
      `content-type: message/rfc822\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n${body}`,
    )
    const read = opened(enveloped(entity({}, content)))
    expect(read.message.equals(message)).toBe(true)
    expect(read.signers[0]!.valid).toBe(true)
  })

  test('signed attributes in an order of the writer’s own, or none', () => {
    const digestFirst = (content: Buffer) => [digestAttribute(content), contentTypeOf('1.2.840.113549.1.7.1')]
    const sorted = (content: Buffer) => digestFirst(content).sort((a, b) => Buffer.compare(a, b))
    const resorted = {
      attributes: digestFirst,
      signWith: (toSign: Buffer) => sign('sha256', toSign, town.ashby.privateKey),
    }
    expect(opened(enveloped(entity({ attributes: sorted }))).signers[0]!.valid).toBe(true)
    expect(opened(enveloped(entity(resorted))).signers[0]!.valid).toBe(true)
    const overSorted = {
      attributes: digestFirst,
      signWith: () => sign('sha256', derSetOf(0x31, digestFirst(wrapped)), town.ashby.privateKey),
    }
    expect(opened(enveloped(entity(overSorted))).signers[0]!.valid).toBe(true)
    expect(opened(enveloped(entity({ withoutAttributes: true }))).signers[0]!.valid).toBe(true)
  })

  test('RSA-PSS and the longer SHA-2 digests', () => {
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
    expect(opened(enveloped(entity(pss(32)))).signers[0]!.valid).toBe(true)
    expect(opened(enveloped(entity(pss(20)))).signers[0]!.valid).toBe(false)
    for (const [digestName, digestOid] of [
      ['sha384', '2.16.840.1.101.3.4.2.2'],
      ['sha512', '2.16.840.1.101.3.4.2.3'],
    ] as const)
      expect(opened(enveloped(entity({ digestName, digestOid }))).signers[0]).toMatchObject({
        valid: true,
        digest: digestName,
      })
  })

  test('key agreement with user keying material', () => {
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
    const read = opened(mail(cms(cipher.getAuthTag())), ours)
    expect([read.keyTransport, read.cipher]).toEqual(['ecdh-sha384', 'aes-128-gcm'])
    expect(read.message.equals(message)).toBe(true)
    expect(refusal(mail(cms(Buffer.alloc(16))), ours)).toBe('undecryptable')
  })
})

describe('signatures that do not hold', () => {
  const because = (raw: Buffer) => {
    const [signer] = opened(raw).signers
    expect(signer!.valid).toBe(false)
    return signer!.because
  }
  const entity = (wishes: SignatureWishes) => entityOf(signedBy(town.ashby, wishes), wrapped)

  test('an altered byte, an altered signature, another’s certificate', () => {
    const altered = entityOf(signedBy(town.ashby), wrapped)
    altered[altered.indexOf('body')] = 0x42
    expect(because(enveloped(altered))).toMatch(/altered/)
    expect(because(enveloped(entity({ signWith: () => Buffer.alloc(256, 1) })))).toMatch(/does not verify/)
    expect(because(enveloped(entity({ certificates: [town.phr.certificate] })))).toMatch(/does not carry/)
    expect(opened(enveloped(entity({ certificates: [] }))).signers[0]!.certificate).toBeUndefined()
  })

  test('SHA-1 and MD5, however good the signature', () => {
    const sha1 = { digestName: 'sha1', digestOid: '1.3.14.3.2.26' }
    const md5 = { digestName: 'md5', digestOid: '1.2.840.113549.2.5' }
    expect(because(enveloped(entity(sha1)))).toMatch(/SHA-1 is not accepted/)
    expect(because(enveloped(entity(md5)))).toMatch(/MD5 is not accepted/)
    const hidden = {
      signatureAlgorithm: der(0x30, derOid('1.2.840.113549.1.1.5'), derNull),
      signWith: (toSign: Buffer) => sign('sha1', toSign, town.ashby.privateKey),
    }
    expect(because(enveloped(entity(hidden)))).toMatch(/1\.2\.840\.113549\.1\.1\.5 is not accepted/)
  })

  test('a good signer is seen before and after bad ones', () => {
    const other = town.signer()
    const bad = { digestName: 'sha1', digestOid: '1.3.14.3.2.26' }
    const garbage = () => der(0x30, derInteger(1))
    const certificates = { certificates: [other.certificate, town.ashby.certificate] }
    const after = signedBy(other, { ...bad, ...certificates }, garbage, signerInfoOf(town.ashby))
    const before = signedBy(town.ashby, certificates, garbage, signerInfoOf(other, bad))
    const [first, second] = [after, before].map((one) => opened(enveloped(entityOf(one, wrapped))))
    expect(first!.signers.map((one) => one.valid)).toEqual([false, false, true])
    expect(second!.signers.map((one) => one.valid)).toEqual([true, false, false])
    expect(first!.signers[2]!.certificate!.equals(town.ashby.certificate)).toBe(true)
  })

  test('attributes that are missing, doubled or about something else', () => {
    const data = contentTypeOf('1.2.840.113549.1.7.1')
    const doubled = (content: Buffer) => [data, digestAttribute(content), digestAttribute(content)]
    expect(because(enveloped(entity({ attributes: doubled })))).toMatch(/digest differs/)
    expect(because(enveloped(entity({ attributes: () => [data] })))).toMatch(/digest differs/)
    expect(because(enveloped(entity({ attributes: (content) => [digestAttribute(content)] })))).toMatch(
      /content type/,
    )
    const other = (content: Buffer) => [digestAttribute(content), contentTypeOf('1.2.840.113549.1.7.2')]
    expect(because(enveloped(entity({ attributes: other })))).toMatch(/content type/)
    const strange = { contentOid: '1.2.840.113549.1.9.16.1.4', withoutAttributes: true }
    expect(because(enveloped(entity(strange)))).toMatch(/signed attributes are missing/)
  })

  test('attributes presented as content, unsigned (the attack of RFC 5652 §15 on signatures without attributes)', () => {
    const attributes = [contentTypeOf('1.2.840.113549.1.7.1'), digestAttribute(wrapped)]
    const asContent = der(0x31, ...attributes)
    const signature = sign('sha256', asContent, town.ashby.privateKey)
    const forged = entityOf(
      signedBy(town.ashby, { withoutAttributes: true, signWith: () => signature }),
      Buffer.from('Content-Type: text/plain\r\n\r\nforged'),
    )
    expect(because(enveloped(forged))).toMatch(/does not verify/)
  })
})

describe('what is refused, always as a value', () => {
  test('mail in the clear, signed only, encrypted only, or to somebody else', () => {
    expect(refusal(message)).toBe('not-encrypted')
    expect(refusal(entityOf(signedBy(town.ashby), wrapped))).toBe('not-encrypted')
    expect(refusal(mail(signedBy(town.ashby)(wrapped)))).toBe('not-encrypted')
    expect(refusal(enveloped(message))).toBe('unsigned')
    expect(refusal(enveloped(Buffer.alloc(0)))).toBe('unsigned')
    expect(refusal(enveloped(wrapped), town.ashby)).toBe('no-key')
    expect(refusal(mail(Buffer.from('not cms')))).toBe('malformed')
    expect(refusal(Buffer.alloc(0))).toBe('not-encrypted')
  })

  test('a wrong key and a wrong content look the same', () => {
    const sealed = sealMessage(message, anOrder(town), [town.ashby])
    const impostor = { certificate: town.phr.certificate, privateKey: town.member('x@y.example').privateKey }
    const read = open(sealed, keysOf(impostor))
    const altered = Buffer.from(sealed)
    altered.write('AAAAAAAAAAAA', altered.length - 40, 'latin1')
    const other = open(altered, keysOf(town.phr))
    expect(read).toEqual({ opened: false, refusal: 'undecryptable', because: 'none of our keys opens it' })
    expect(other).toEqual(read)
  })

  test('3DES and RC2, before any key is used', () => {
    for (const cipher of ['1.2.840.113549.3.7', '1.2.840.113549.3.2']) {
      const cms = der(
        0x30,
        derOid('1.2.840.113549.1.7.3'),
        der(
          0xa0,
          der(
            0x30,
            derInteger(0),
            der(0x31),
            der(
              0x30,
              derOid('1.2.840.113549.1.7.1'),
              der(0x30, derOid(cipher), der(0x04, Buffer.alloc(8))),
              der(0x80, Buffer.alloc(8)),
            ),
          ),
        ),
      )
      expect(refusal(mail(cms))).toBe('algorithm-refused')
    }
  })

  test('multiparts with one part, three parts, or no end', () => {
    const whole = entityOf(signedBy(town.ashby), wrapped).toString('latin1')
    const one = whole.replace(/\r\n--b\r\nContent-Type: application[^]*/, '\r\n--b--\r\n')
    const three = whole.replace('--b--', '--b\r\n\r\nmore\r\n--b--')
    for (const text of [one, three, whole.replace('--b--', '')])
      expect(refusal(enveloped(Buffer.from(text, 'latin1')))).toBe('malformed')
  })
})
