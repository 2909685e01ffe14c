import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { createHash, randomUUID } from 'node:crypto'
import nodemailer from 'nodemailer'
import { issueFor, makeRoot, type Issued } from '../pki/pki.ts'
import { anyCms, type KeyPair } from './cms.ts'
import { mailDate, notification, open, seal } from './direct-message.ts'
import type { AnswerPlan, DoorFault, InboxMessage } from './hisp-orders.ts'
import { startNeighbour, type Neighbour } from './neighbour.ts'

const transmit = 'transmit@direct.ashby.example'
const ellen = 'ellen.ross@direct.somephr.example'

const root = makeRoot({ name: 'Neighbourhood Root' })
const sender = issueFor(root, 'direct.ashby.example')
const recipient = issueFor(root, ellen)
const stranger = issueFor(makeRoot({ name: 'Unknown Root' }), 'direct.ashby.example')
const other = issueFor(root, 'direct.otherphr.example')

const pairOf = (issued: Issued): KeyPair => ({
  certificate: issued.certificatePem,
  privateKey: issued.privateKeyPem,
})

let dns: Neighbour
/** Ellen’s house, and ours: the latter is a HISP too here, so that an MDN is opened by the same outside software. */
let phr: Neighbour
let ours: Neighbour

beforeAll(async () => {
  ;[dns, phr, ours] = await Promise.all([
    startNeighbour('dns-server'),
    startNeighbour('hisp'),
    startNeighbour('hisp'),
  ])
  const certificate = sender.certificate.toString('base64')
  await dns.order('add', { records: [{ type: 'CERT', name: 'direct.ashby.example', certificate }] })
  const roots = [root.certificatePem]
  await phr.order('settings', {
    settings: {
      roots,
      mailboxes: [{ name: ellen, pair: pairOf(recipient) }],
      signers: { other: { from: 'postmaster@direct.otherphr.example', pair: pairOf(other) } },
      replyTo: { host: '127.0.0.1', port: ours.port },
      dnsPort: dns.port,
    },
  })
  await ours.order('settings', {
    settings: { roots, mailboxes: [{ name: 'direct.ashby.example', pair: pairOf(sender) }] },
  })
})
afterAll(() => Promise.all([dns.stop(), phr.stop(), ours.stop()]))
beforeEach(async () => {
  for (const house of [phr, ours]) {
    await house.order('empty')
    await house.order('fault', { fault: null })
    await house.order('answer', { plan: null })
  }
})

const ccd = Buffer.from(
  '<?xml version="1.0"?>\n<ClinicalDocument xmlns="urn:hl7-org:v3">Zoë</ClinicalDocument>\n',
)

function innerMessage(messageId = `<${randomUUID()}@direct.ashby.example>`, asksForDispatched = true) {
  const lines = [
    `From: ${transmit}`,
    `To: ${ellen}`,
    'Subject: Your record',
    `Date: ${mailDate(new Date())}`,
    `Message-ID: ${messageId}`,
    'MIME-Version: 1.0',
    ...(asksForDispatched
      ? ['Disposition-Notification-Options: X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true']
      : []),
    'Content-Type: multipart/mixed; boundary="m"',
    '',
    '--m',
    'Content-Type: text/plain; charset=utf-8',
    '',
    'This message was sent by Ashby Medical Center at the request of Ellen Ross.',
    '--m',
    'Content-Type: application/xml; name="ccd.xml"',
    'Content-Disposition: attachment; filename="ccd.xml"',
    'Content-Transfer-Encoding: base64',
    '',
    ccd.toString('base64'),
    '--m',
    'Content-Type: text/plain; charset=utf-8; name="request.txt"',
    'Content-Disposition: attachment; filename="request.txt"',
    '',
    `Destination: ${ellen}`,
    '--m--',
    '',
  ]
  return { messageId, bytes: Buffer.from(lines.join('\r\n')) }
}

async function submit(sealed: Buffer, from = transmit, to = ellen) {
  const transport = nodemailer.createTransport({
    host: '127.0.0.1',
    port: phr.port,
    tls: { rejectUnauthorized: false },
  })
  try {
    return await transport.sendMail({ envelope: { from, to: [to] }, raw: sealed })
  } finally {
    transport.close()
  }
}

const cms = anyCms()
const sealed = (bytes: Buffer, signer = sender) =>
  seal(bytes, cms, pairOf(signer), [recipient.certificatePem])
const inbox = (house = phr) => house.order<InboxMessage[]>('inbox')
/** The MDNs about a message, once there are so many of them. */
async function mdns(of: string, count: number): Promise<InboxMessage[]> {
  const about = () => inbox(ours).then((all) => all.filter((message) => message.inReplyTo === of))
  for (;;) {
    const found = await about()
    if (found.length >= count) return found
    const known = found.map((message) => message.messageId)
    await ours.hears(({ what, message }) => {
      const arrived = message as InboxMessage | undefined
      return what === 'arrived' && arrived?.inReplyTo === of && !known.includes(arrived.messageId)
    })
  }
}

describe('a Direct message', () => {
  test('is opened, laid in the inbox, and answered with a processed and a dispatched MDN', async () => {
    const { messageId, bytes } = innerMessage()
    await submit(await sealed(bytes))
    expect(await inbox()).toMatchObject([
      {
        messageId,
        from: transmit,
        to: [ellen],
        text: expect.stringContaining('at the request of Ellen Ross'),
        request: expect.stringContaining(`Destination: ${ellen}`),
        attachments: [
          {
            filename: 'ccd.xml',
            contentType: 'application/xml',
            sha256: createHash('sha256').update(ccd).digest('hex'),
          },
          { filename: 'request.txt' },
        ],
        arrivals: 1,
        overTls: true,
        asksForDispatched: true,
      },
    ])
    const answers = await mdns(messageId, 2)
    expect(answers).toMatchObject([
      { from: ellen, to: [transmit], subject: 'processed: notification' },
      { from: ellen, to: [transmit], subject: 'dispatched: notification' },
    ])
  })

  test('that comes twice is one message with two arrivals', async () => {
    const { bytes } = innerMessage(undefined, false)
    const once = await sealed(bytes)
    await submit(once)
    await submit(once)
    const [message, ...rest] = await inbox()
    expect(rest).toEqual([])
    expect(message?.arrivals).toBe(2)
    expect(new Set(message?.sealedSha256s).size).toBe(1)
  })
})

describe('what is refused without a word', () => {
  test.each<[string, () => Promise<Buffer>, string?]>([
    ['not-encrypted', async () => innerMessage().bytes],
    ['not-verified', async () => sealed(innerMessage().bytes, stranger)],
    ['signer-not-bound', async () => sealed(innerMessage().bytes, other)],
    ['not-decryptable', async () => seal(innerMessage().bytes, cms, pairOf(sender), [sender.certificatePem])],
    ['tampered', async () => sealed(innerMessage().bytes), 'somebody@direct.ashby.example'],
    [
      'outer-header',
      async () => Buffer.concat([Buffer.from('Subject: Ellen\r\n'), await sealed(innerMessage().bytes)]),
    ],
    [
      'tampered',
      async () =>
        Buffer.from((await sealed(innerMessage('<a@b>').bytes)).toString().replace('<a@b>', '<c@d>')),
    ],
    ['not-signed', async () => seal(innerMessage().bytes, cms, undefined, [recipient.certificatePem])],
  ])('%s', async (code, make, from = transmit) => {
    await submit(await make(), from)
    expect(await phr.order('refused')).toMatchObject([{ code }])
    expect(await inbox()).toEqual([])
  })
})

describe('the door', () => {
  const close = (fault: DoorFault) => phr.order('fault', { fault })

  test('answers 4xx as often as told, then takes the message', async () => {
    await close({ at: 'data', code: 451, times: 1 })
    const { bytes } = innerMessage()
    const once = await sealed(bytes)
    await expect(submit(once)).rejects.toMatchObject({ responseCode: 451 })
    expect(await inbox()).toEqual([])
    expect((await submit(once)).response).toMatch(/^250/)
  })

  test('refuses one recipient for good', async () => {
    await close({ at: 'rcpt', to: ellen, code: 550, times: 1 })
    await expect(submit(await sealed(innerMessage().bytes))).rejects.toMatchObject({ responseCode: 550 })
  })

  test('drops the connection after the final dot, with the message kept', async () => {
    await close({ at: 'data', how: 'drop', times: 1 })
    await expect(submit(await sealed(innerMessage().bytes))).rejects.toThrow()
    expect(await inbox()).toHaveLength(1)
  })

  test('can insist on STARTTLS, or not have it', async () => {
    await phr.order('settings', { settings: { starttls: 'hidden' } })
    await submit(await sealed(innerMessage().bytes))
    expect(await inbox()).toMatchObject([{ overTls: false }])
    await phr.order('settings', { settings: { starttls: 'required' } })
    await submit(await sealed(innerMessage().bytes))
    expect(await inbox()).toMatchObject([{ overTls: false }, { overTls: true }])
  })
})

describe('answers as told', () => {
  const answerWith = (plan: AnswerPlan) => phr.order('answer', { plan: { ...plan, times: 1 } })

  test('a failed one', async () => {
    await answerWith({ dispositions: ['failed'] })
    const { messageId, bytes } = innerMessage()
    await submit(await sealed(bytes))
    expect(await mdns(messageId, 1)).toMatchObject([{ subject: 'failed: notification' }])
  })

  test('one before the 250 of the message', async () => {
    await answerWith({ before250: true, dispositions: ['processed'] })
    const { messageId, bytes } = innerMessage()
    await submit(await sealed(bytes))
    const answers = (await inbox(ours)).filter((message) => message.inReplyTo === messageId)
    expect(answers).toHaveLength(1)
  })

  test('one signed by another domain that is trusted too', async () => {
    await answerWith({ forgedBy: 'other', dispositions: ['processed'] })
    const { messageId, bytes } = innerMessage()
    await submit(await sealed(bytes))
    expect(await mdns(messageId, 1)).toMatchObject([{ from: 'postmaster@direct.otherphr.example' }])
  })

  test('an unsigned one, which our side refuses here', async () => {
    await answerWith({ unsigned: true, dispositions: ['processed'] })
    await submit(await sealed(innerMessage().bytes))
    expect(await ours.hears(({ what }) => what === 'refused')).toMatchObject({ code: 'not-signed' })
  })

  test('another one later, when asked to', async () => {
    await answerWith({ never: true })
    const { messageId, bytes } = innerMessage()
    await submit(await sealed(bytes))
    await phr.order('notify', { messageId, disposition: 'processed' })
    expect(await mdns(messageId, 1)).toHaveLength(1)
  })
})

describe('both implementations of CMS', () => {
  const implementations = { openssl: anyCms(), pkijs: anyCms('pkijs') }
  const names = ['openssl', 'pkijs'] as const
  const transports = ['pkcs1', 'oaep-sha1', 'oaep-sha256'] as const
  const cases = names.flatMap((by) => names.flatMap((to) => transports.map((how) => [by, to, how] as const)))

  test.each(cases)('%s seals, %s opens, %s', async (by, to, transport) => {
    const seals = implementations[by]
    const opens = implementations[to]
    const { bytes } = notification({
      of: '<a@b>',
      from: transmit,
      to: ellen,
      disposition: 'processed',
      at: new Date(),
    })
    const message = await seal(bytes, seals, pairOf(sender), [recipient.certificatePem], transport)
    const envelope = { from: transmit, to: [ellen] }
    const opened = await open(message, envelope, opens, [pairOf(recipient)], [root.certificatePem])
    expect(opened).toMatchObject({ isNotification: true, openedBy: opens.by })
    await expect(
      open(message, envelope, opens, [pairOf(recipient)], [stranger.certificatePem]),
    ).rejects.toMatchObject({ code: 'not-verified' })
  })
})
