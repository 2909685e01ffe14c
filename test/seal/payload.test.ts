import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { contextSentence, type SealOrder } from '../../src/seal/seal-order.ts'
import { makePayload } from '../../src/seal/payload.ts'
import { UnsafeText } from '../../src/lib/mime-writer.ts'
import { aDocument } from './an-order.ts'

const order: SealOrder = {
  from: 'transmit@direct.ashby.example',
  to: ['ellen.ross@direct.somephr.example'],
  messageId: '<tx-7f3c@direct.ashby.example>',
  date: new Date('2026-11-22T17:00:00Z'),
  subject: 'Clinical summary',
  dataHolder: 'Ashby Medical Center',
  patientName: 'Ellen Ross',
  recurring: true,
  documents: [aDocument(Buffer.from('x'))],
  recipients: [],
}
const fixed = (bytes: number) => Buffer.alloc(bytes, 1)
const text = (wishes: Partial<SealOrder> = {}) =>
  makePayload({ ...order, ...wishes }, fixed)
    .pieces.map((piece) => (typeof piece === 'number' ? `[document ${piece}]\r\n` : piece.toString('latin1')))
    .join('')

describe('the message inside', () => {
  test('says who sent it for whom, carries the documents and request.txt, and asks for both notifications', () => {
    expect(text()).toBe(
      [
        'From: transmit@direct.ashby.example',
        'To: ellen.ross@direct.somephr.example',
        'Message-ID: <tx-7f3c@direct.ashby.example>',
        'Date: Sun, 22 Nov 2026 17:00:00 +0000',
        'MIME-Version: 1.0',
        'Subject: Clinical summary',
        'Disposition-Notification-To: transmit@direct.ashby.example',
        'Disposition-Notification-Options: X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true',
        'Content-Type: multipart/mixed; boundary="=_payload_010101010101010101010101"',
        '',
        '--=_payload_010101010101010101010101',
        'Content-Type: text/plain; charset=utf-8',
        'Content-Transfer-Encoding: quoted-printable',
        'Content-Disposition: inline',
        '',
        'This message was sent by Ashby Medical Center at the request of Ellen Ross.',
        '',
        '--=_payload_010101010101010101010101',
        'Content-Type: application/xml; name=ccd.xml',
        'Content-Transfer-Encoding: base64',
        'Content-Disposition: attachment; filename=ccd.xml',
        '',
        '[document 0]',
        '',
        '--=_payload_010101010101010101010101',
        'Content-Type: text/plain; charset=utf-8',
        'Content-Transfer-Encoding: quoted-printable',
        'Content-Disposition: attachment; filename="request.txt"',
        '',
        'Destination: ellen.ross@direct.somephr.example',
        'Patient: Ellen Ross',
        'Data-holder: Ashby Medical Center',
        'Recurring: Yes',
        '',
        '--=_payload_010101010101010101010101--',
        '',
      ].join('\r\n'),
    )
  })

  test('a single request is not recurring, and every destination is named', () => {
    const message = text({ recurring: false, to: ['a@x.example', 'b@y.example'] })
    expect(message).toContain('To: a@x.example, b@y.example\r\n')
    expect(message).toContain('Destination: a@x.example\r\nDestination: b@y.example\r\n')
    expect(message).toContain('Recurring: No\r\n')
  })

  test('names of any script are carried in UTF-8, and the message stays ASCII', () => {
    const message = text({ patientName: 'Ελένη Ρος', subject: 'Für Ελένη', dataHolder: 'Krankenhaus Süd' })
    expect(message).toMatch(/^[\x20-\x7e\r\n]*$/)
    expect(message).toContain('Patient: =CE=95=CE=BB')
    expect(message).toContain('Subject: =?utf-8?B?')
  })

  test('a context text of one’s own may have several lines', () => {
    expect(text({ contextText: 'one\ntwo' })).toContain('\r\n\r\none\r\ntwo\r\n\r\n--')
    expect(contextSentence('A', 'B')).toBe('This message was sent by A at the request of B.')
  })

  test('no value can bring a line of its own', () => {
    const spots: ((bad: string) => Partial<SealOrder>)[] = [
      (bad) => ({ from: bad }),
      (bad) => ({ to: [bad] }),
      (bad) => ({ to: [...order.to, bad] }),
      (bad) => ({ messageId: bad }),
      (bad) => ({ subject: bad }),
      (bad) => ({ dataHolder: bad }),
      (bad) => ({ patientName: bad }),
      (bad) => ({ documents: [aDocument(Buffer.alloc(0), bad)] }),
      (bad) => ({ documents: [aDocument(Buffer.alloc(0), 'a.xml', bad)] }),
    ]
    fc.assert(
      fc.property(
        fc.constantFrom(...spots),
        fc.string(),
        fc.constantFrom('\r\n', '\r', '\n', '\0', '\u2028'),
        fc.string(),
        (spot, before, bad, after) => {
          expect(() => text(spot(`${before}${bad}${after}`))).toThrow(UnsafeText)
        },
      ),
      { numRuns: 500 },
    )
    for (const bad of ['a\rb', 'a\0b']) expect(() => text({ contextText: bad })).toThrow(UnsafeText)
  })

  test('addresses, identifiers, media types and file names are held to their form', () => {
    const refused: Partial<SealOrder>[] = [
      { to: [] },
      { to: ['Ellen <a@b.example>'] },
      { to: ['a@b.example, c@d.example'] },
      { from: 'nobody' },
      { messageId: 'tx-7f3c@direct.ashby.example' },
      { messageId: '<one two@x>' },
      { date: new Date(NaN) },
      { documents: [aDocument(Buffer.alloc(0), '')] },
      { documents: [aDocument(Buffer.alloc(0), '../../etc/passwd')] },
      { documents: [aDocument(Buffer.alloc(0), 'a.xml', 'application/xml; charset=x')] },
      { documents: [aDocument(Buffer.alloc(0), 'a.eml', 'message/rfc822')] },
      { documents: Array.from({ length: 101 }, () => aDocument(Buffer.alloc(0))) },
    ]
    for (const wishes of refused) expect(() => text(wishes)).toThrow(UnsafeText)
  })

  test('the announced length is the length', () => {
    for (const bytes of [0, 1, 56, 57, 58, 1000]) {
      const documents = [
        aDocument(Buffer.alloc(bytes)),
        aDocument(Buffer.alloc(3), 'b.pdf', 'application/pdf'),
      ]
      const payload = makePayload({ ...order, documents }, fixed)
      const lines = (count: number) =>
        Buffer.alloc(count)
          .toString('base64')
          .replaceAll(/.{1,76}/g, '$&\r\n').length
      const length = payload.pieces.reduce<number>(
        (sum, piece) => sum + (typeof piece === 'number' ? lines(documents[piece]!.bytes) : piece.length),
        0,
      )
      expect(payload.bytes).toBe(length)
    }
  })
})
