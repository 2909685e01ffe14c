import { X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { derChildren, derRaw, readDer, type DerValue } from '../../src/lib/der.ts'
import { sealMessage } from '../../src/seal/sealing.ts'
import { makeSignature } from '../../src/seal/signature.ts'
import { aDocument, anOrder, aTown, ellensPhr, sealedHere, sender, type Town } from './an-order.ts'
import { openIndependently, partsOf } from './independently.ts'

let town: Town
beforeAll(() => {
  town = aTown()
})

describe('a sealed message', () => {
  test('shows no more outside than addresses, date and identifier', async () => {
    const sealed = await sealedHere(anOrder(town, { subject: 'Summary of Ellen Ross' }), [town.ashby])
    const [head] = sealed.toString('latin1').split('\r\n\r\n')
    expect(`${head}\r\n`).toBe(
      'From: transmit@direct.ashby.example\r\n' +
        'To: ellen.ross@direct.somephr.example\r\n' +
        'Message-ID: <tx-7f3c@direct.ashby.example>\r\n' +
        'Date: Sun, 22 Nov 2026 17:00:00 +0000\r\n' +
        'MIME-Version: 1.0\r\n' +
        'Content-Type: application/pkcs7-mime; smime-type=enveloped-data;\r\n' +
        ' name="smime.p7m"\r\n' +
        'Content-Transfer-Encoding: base64\r\n' +
        'Content-Disposition: attachment; filename="smime.p7m"\r\n',
    )
    expect(
      sealed
        .toString('latin1')
        .split('\r\n')
        .every((line) => line.length <= 76),
    ).toBe(true)
  })

  test('is opened by another implementation: wrapped, signed by everybody, the document byte for byte', async () => {
    const document = Buffer.from('<?xml version="1.0"?>\r\n<a>\n\xe4\0.\r\n.\r\n--=_payload</a>', 'latin1')
    const signers = [town.ashby, town.signer({ keyType: 'ec256' }), town.signer({ keyType: 'ec384' })]
    const order = anOrder(town, {
      documents: [aDocument(document), aDocument(Buffer.alloc(0), 'b.pdf', 'application/pdf')],
    })
    const inside = await openIndependently(await sealedHere(order, signers), town.phr)
    expect(inside.verified).toEqual([true, true, true])
    expect(inside.wrapHead).toBe('Content-Type: message/rfc822\r\n')
    expect(inside.signedHead).toContain('protocol="application/pkcs7-signature"')
    // RFC 8551 §3.5.3.2: all of them, in a quoted string.
    expect(inside.signedHead).toContain('micalg="sha-256,sha-384"')
    const [context, ccd, further, request] = partsOf(inside.message)
    expect(context!.content.toString()).toBe(
      'This message was sent by Ashby Medical Center at the request of Ellen Ross.\r\n',
    )
    expect(ccd!.head).toContain('application/xml')
    expect(ccd!.content.equals(document)).toBe(true)
    expect(further!.content.length).toBe(0)
    expect(request!.content.toString()).toContain('Recurring: Yes\r\n')
  })

  test.each([
    ['pkcs1', 'sha256', 'aes-256-cbc'],
    ['oaep-sha256', 'sha384', 'aes-128-cbc'],
    ['oaep-sha1', 'sha512', 'aes-256-cbc'],
  ] as const)('can use %s with %s and %s', async (keyTransport, digest, content) => {
    const order = anOrder(town, { algorithms: { keyTransport, digest, content } })
    const inside = await openIndependently(await sealedHere(order, [town.ashby]), town.phr)
    expect(inside.verified).toEqual([true])
    expect(inside.signedHead).toContain(`micalg=sha-${digest.slice(3)}`)
  })

  test('every certificate of every recipient opens it', async () => {
    const others = [town.member('second@direct.somephr.example'), town.member('direct.third.example')]
    const recipients = [town.phr, ...others]
    const sealed = await sealedHere(anOrder(town, { recipients: recipients.map((one) => one.certificate) }), [
      town.ashby,
    ])
    for (const one of recipients) expect((await openIndependently(sealed, one)).verified).toEqual([true])
  })

  test('carries signers and intermediates but never the root, and its signed attributes are in DER order', async () => {
    const inside = await openIndependently(await sealedHere(anOrder(town), [town.ashby]), town.phr)
    const carried = inside.signedData.certificates!.map(
      (one) =>
        new X509Certificate(Buffer.from((one as { toSchema(): { toBER(): ArrayBuffer } }).toSchema().toBER()))
          .subject,
    )
    expect(carried.sort()).toEqual(
      [town.ashby, town.authority].map((one) => new X509Certificate(one.certificate).subject).sort(),
    )
    const attributes = Buffer.from(inside.signedData.signerInfos[0]!.signedAttrs!.encodedValue)
    const members = derChildren(readDer(attributes)).map((one) => derRaw(one))
    expect(members).toHaveLength(4)
    expect(members).toEqual([...members].sort((a, b) => Buffer.compare(a, b)))
  })

  test('has definite lengths throughout', async () => {
    const sealed = await sealedHere(anOrder(town), [town.ashby, town.signer({ keyType: 'ec256' })])
    const body = Buffer.from(sealed.subarray(sealed.indexOf('\r\n\r\n')).toString('latin1'), 'base64')
    const walk = (value: DerValue): void => {
      expect(value.indefinite).toBe(false)
      if (value.constructed) for (const one of derChildren(value)) walk(one)
    }
    const whole = readDer(body)
    expect(whole.end).toBe(body.length)
    walk(whole)
  })

  test('an ECDSA signature of any length fits the lengths written before it', async () => {
    const signers = ['ec256', 'ec384', 'ec521'].map((keyType) => town.signer({ keyType: keyType as 'ec256' }))
    for (let round = 0; round < 12; round++) {
      const inside = await openIndependently(await sealedHere(anOrder(town), signers), town.phr)
      expect(inside.verified).toEqual([true, true, true])
    }
  })

  test('a small message of our own is sealed the same way', async () => {
    const message = Buffer.from('From: a@b.example\r\nSubject: Processed\r\n\r\nbody\r\n')
    const order = anOrder(town)
    const sealed = await sealMessage(message, order, [town.ashby])
    expect((await openIndependently(sealed, town.phr)).message.equals(message)).toBe(true)
  })
})

describe('what cannot be sealed', () => {
  test('a document that is longer or shorter than announced', async () => {
    for (const bytes of [4, 6]) {
      const document = { ...aDocument(Buffer.from('12345')), bytes }
      await expect(sealedHere(anOrder(town, { documents: [document] }), [town.ashby])).rejects.toThrow(
        /document 1 does not have/,
      )
    }
  })

  test('recipients nobody can encrypt to', async () => {
    const strange = town.member(ellensPhr, { keyType: 'ed25519' }).certificate
    const sealed = (recipients: Buffer[]) => sealedHere(anOrder(town, { recipients }), [town.ashby])
    await expect(sealed([])).rejects.toThrow(/no recipient certificate/)
    await expect(sealed([town.phr.certificate, strange])).rejects.toThrow(/recipient certificate 2/)
    await expect(sealed([Buffer.from('not a certificate')])).rejects.toThrow(/recipient certificate 1/)
  })

  test('with a key that is another certificate’s', () => {
    const other = town.member(sender)
    expect(() =>
      makeSignature([{ certificate: town.ashby.certificate, privateKey: other.privateKey }]),
    ).toThrow(/does not belong/)
  })
})
