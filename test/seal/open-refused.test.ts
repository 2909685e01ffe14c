import { sign } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { der, derInteger, derNull, derOid } from '../../src/lib/der.ts'
import { open } from '../../src/seal/open.ts'
import { handEnveloped } from './by-hand-envelope.ts'
import { handSigned } from './by-hand-signed.ts'
import {
  town,
  keysOf,
  message,
  contentTypeOf,
  digestAttribute,
  wrapped,
  enveloped,
  mail,
  entityOf,
  signerInfoOf,
  signedBy,
  opened,
  refusal,
  type SignatureWishes,
} from './by-hand.ts'

describe('signatures that do not hold', () => {
  const because = async (raw: Buffer) => {
    const [signer] = (await opened(raw)).signers
    expect(signer!.valid).toBe(false)
    return signer!.because
  }
  const entity = (wishes: SignatureWishes) => entityOf(signedBy(town.ashby, wishes), wrapped)

  test('an altered byte, an altered signature, another’s certificate', async () => {
    const altered = entityOf(signedBy(town.ashby), wrapped)
    altered[altered.indexOf('body')] = 0x42
    expect(await because(enveloped(altered))).toMatch(/altered/)
    expect(await because(enveloped(entity({ signWith: () => Buffer.alloc(256, 1) })))).toMatch(
      /does not verify/,
    )
    expect(await because(enveloped(entity({ certificates: [town.phr.certificate] })))).toMatch(
      /does not carry/,
    )
    expect((await opened(enveloped(entity({ certificates: [] })))).signers[0]!.certificate).toBeUndefined()
  })

  test('SHA-1 and MD5, however good the signature', async () => {
    const sha1 = { digestName: 'sha1', digestOid: '1.3.14.3.2.26' }
    const md5 = { digestName: 'md5', digestOid: '1.2.840.113549.2.5' }
    expect(await because(enveloped(entity(sha1)))).toMatch(/SHA-1 is not accepted/)
    expect(await because(enveloped(entity(md5)))).toMatch(/MD5 is not accepted/)
    const hidden = {
      signatureAlgorithm: der(0x30, derOid('1.2.840.113549.1.1.5'), derNull),
      signWith: (toSign: Buffer) => sign('sha1', toSign, town.ashby.privateKey),
    }
    expect(await because(enveloped(entity(hidden)))).toMatch(/over sha1, its digest is sha256/)
  })

  test('keys of 1024 bits, and curves that are not NIST’s', async () => {
    const weak = town.member('a@b.example', { keyType: 'rsa1024' })
    expect(await because(enveloped(entityOf((content) => handSigned(content, [weak]), wrapped)))).toBe(
      'its RSA key has 1024 bits; at least 2048 are needed',
    )
    const strange = town.member('a@b.example', { keyType: 'ec256k1' })
    expect(await because(enveloped(entityOf((content) => handSigned(content, [strange]), wrapped)))).toMatch(
      /on the curve secp256k1/,
    )
  })

  test('a good signer is seen before and after bad ones', async () => {
    const other = town.signer()
    const bad = { digestName: 'sha1', digestOid: '1.3.14.3.2.26' }
    const garbage = () => der(0x30, derInteger(1))
    const certificates = { certificates: [other.certificate, town.ashby.certificate] }
    const after = signedBy(other, { ...bad, ...certificates }, garbage, signerInfoOf(town.ashby))
    const before = signedBy(town.ashby, certificates, garbage, signerInfoOf(other, bad))
    const [first, second] = await Promise.all(
      [after, before].map((one) => opened(enveloped(entityOf(one, wrapped)))),
    )
    expect(first!.signers.map((one) => one.valid)).toEqual([false, false, true])
    expect(second!.signers.map((one) => one.valid)).toEqual([true, false, false])
    expect(first!.signers[2]!.certificate!.equals(town.ashby.certificate)).toBe(true)
  })

  test('attributes that are missing, doubled or about something else', async () => {
    const data = contentTypeOf('1.2.840.113549.1.7.1')
    const doubled = (content: Buffer) => [data, digestAttribute(content), digestAttribute(content)]
    expect(await because(enveloped(entity({ attributes: doubled })))).toMatch(/digest differs/)
    expect(await because(enveloped(entity({ attributes: () => [data] })))).toMatch(/digest differs/)
    expect(await because(enveloped(entity({ attributes: (content) => [digestAttribute(content)] })))).toMatch(
      /content type/,
    )
    const other = (content: Buffer) => [digestAttribute(content), contentTypeOf('1.2.840.113549.1.7.2')]
    expect(await because(enveloped(entity({ attributes: other })))).toMatch(/content type/)
    const strange = { contentOid: '1.2.840.113549.1.9.16.1.4', withoutAttributes: true }
    expect(await because(enveloped(entity(strange)))).toMatch(/signed attributes are missing/)
  })

  test('attributes presented as content, unsigned (the attack of RFC 5652 §15 on signatures without attributes)', async () => {
    const attributes = [contentTypeOf('1.2.840.113549.1.7.1'), digestAttribute(wrapped)]
    const asContent = der(0x31, ...attributes)
    const signature = sign('sha256', asContent, town.ashby.privateKey)
    const forged = entityOf(
      signedBy(town.ashby, { withoutAttributes: true, signWith: () => signature }),
      Buffer.from('Content-Type: text/plain\r\n\r\nforged'),
    )
    expect(await because(enveloped(forged))).toMatch(/does not verify/)
  })
})

describe('what is refused, always as a value', () => {
  test('mail in the clear, signed only, encrypted only, or to somebody else', async () => {
    expect(await refusal(message)).toBe('not-encrypted')
    expect(await refusal(entityOf(signedBy(town.ashby), wrapped))).toBe('not-encrypted')
    expect(await refusal(mail(signedBy(town.ashby)(wrapped)))).toBe('not-encrypted')
    expect(await refusal(enveloped(message))).toBe('unsigned')
    expect(await refusal(enveloped(Buffer.alloc(0)))).toBe('unsigned')
    expect(await refusal(enveloped(wrapped), town.ashby)).toBe('no-key')
    expect(await refusal(mail(Buffer.from('not cms')))).toBe('malformed')
    expect(await refusal(Buffer.alloc(0))).toBe('not-encrypted')
  })

  test('a wrong key and a wrong content look the same', async () => {
    const cms = handEnveloped(entityOf(signedBy(town.ashby), wrapped), town.phr)
    const impostor = { certificate: town.phr.certificate, privateKey: town.member('x@y.example').privateKey }
    const read = await open(mail(cms), keysOf(impostor))
    // The last octet of the block before the last decides the padding.
    cms[cms.length - 17]! ^= 0x80
    const other = await open(mail(cms), keysOf(town.phr))
    expect(read).toEqual({ opened: false, refusal: 'undecryptable', because: 'none of our keys opens it' })
    expect(other).toEqual(read)
  })

  test('3DES and RC2, before any key is used', async () => {
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
      expect(await refusal(mail(cms))).toBe('algorithm-refused')
    }
  })

  test('multiparts with one part, three parts, or no end', async () => {
    const whole = entityOf(signedBy(town.ashby), wrapped).toString('latin1')
    const one = whole.replace(/\r\n--b\r\nContent-Type: application[^]*/, '\r\n--b--\r\n')
    const three = whole.replace('--b--', '--b\r\n\r\nmore\r\n--b--')
    for (const text of [one, three, whole.replace('--b--', '')])
      expect(await refusal(enveloped(Buffer.from(text, 'latin1')))).toBe('malformed')
  })
})
