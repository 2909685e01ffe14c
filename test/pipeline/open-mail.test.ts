import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { openMail } from '../../src/pipeline/open-mail.ts'
import { readBlob } from '../../src/store/blobs.ts'
import { reconcile } from '../../src/store/reconcile.ts'
import { notification, seal } from '../neighbours/direct-message.ts'
import { issueFor, makeRoot } from '../pki/pki.ts'
import { aMailbox, ellensPhr, letter, ours, pairOf } from './a-mailbox.ts'

const option = 'Disposition-Notification-Options: X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true'
const outbox = 'outbox@direct.somephr.example'

let box: Awaited<ReturnType<typeof aMailbox>>
beforeAll(async () => {
  box = await aMailbox()
})
afterAll(() => box.database.close())

const dispositions = async (messageId: string) =>
  (await box.answers(messageId)).map(({ disposition }) => disposition)

describe('a message of somebody trusted', () => {
  test('lies in the inbox as it was signed, and processed is owed to its author', async () => {
    const { messageId, bytes } = letter()
    expect(await box.takes(await box.sealed(bytes))).toMatchObject({
      state: 'message',
      because: 'it lies in the inbox',
    })
    const [message] = await box.inbox(messageId)
    expect(message).toMatchObject({ state: 'kept', sender: ellensPhr })
    const chunks: Buffer[] = []
    for await (const chunk of readBlob(box.query, message!.blob_id!)) chunks.push(chunk)
    expect(Buffer.concat(chunks)).toEqual(bytes)
    expect(await box.answers(messageId)).toMatchObject([
      { disposition: 'processed', recipient: ellensPhr, state: 'waiting' },
    ])
  })

  test('dispatched is owed, too, where delivery was asked for rightly (MT 39)', async () => {
    const { messageId, bytes } = letter({ fields: [option] })
    await box.takes(await box.sealed(bytes))
    expect(await dispositions(messageId)).toEqual(['processed', 'dispatched'])
  })

  test.each(['X-DIRECT-FINAL-DESTINATION-DELIVERY=true', 'X-DIRECT-FINAL-DESTINATION-DELIVERY', 'nonsense'])(
    'processed alone, where it was asked for as “%s” (MT 40)',
    async (options) => {
      const { messageId, bytes } = letter({ fields: [`Disposition-Notification-Options: ${options}`] })
      await box.takes(await box.sealed(bytes))
      expect(await dispositions(messageId)).toEqual(['processed'])
    },
  )

  test('processed and failed, where the mailbox takes nothing (MT 41); nothing of it is kept decrypted', async () => {
    const { messageId, bytes } = letter({ fields: [option] })
    await box.takes(await box.sealed(bytes), {}, { inbox: 'refuse' })
    expect(await dispositions(messageId)).toEqual(['processed', 'failed'])
    expect(await box.inbox(messageId)).toMatchObject([{ state: 'refused', blob_id: null }])
  })

  test('the same message sealed anew is there once and answered once', async () => {
    const { messageId, bytes } = letter({ fields: [option] })
    await box.takes(await box.sealed(bytes))
    expect(await box.takes(await box.sealed(bytes))).toMatchObject({
      because: 'the same message came before',
    })
    expect(await box.inbox(messageId)).toHaveLength(1)
    expect(await dispositions(messageId)).toEqual(['processed', 'dispatched'])
  })

  test('another content under a Message-ID that was used is another message', async () => {
    const { messageId, bytes } = letter()
    await box.takes(await box.sealed(bytes))
    await box.takes(await box.sealed(letter({ messageId, text: 'Something else.' }).bytes))
    expect(await box.inbox(messageId)).toHaveLength(2)
  })

  test('is accepted without wrapping, with its outer header', async () => {
    const { messageId, bytes } = letter()
    const wrapped = 'Content-Type: message/rfc822\r\n\r\n'
    const unwrapping = {
      ...box.cms,
      sign: (content: Buffer, pair: Parameters<typeof box.cms.sign>[1]) =>
        box.cms.sign(inside(content), pair),
      encrypt: (entity: Buffer, ...rest: [readonly string[], 'pkcs1']) =>
        box.cms.encrypt(Buffer.from(entity.toString('latin1').replace(head(bytes, wrapped), '')), ...rest),
    }
    const inside = (content: Buffer) =>
      Buffer.from(content.toString('latin1').replace(head(bytes, wrapped), ''))
    await box.takes(await seal(bytes, unwrapping, pairOf(box.ellen), [box.own.certificatePem]))
    const [message] = await box.inbox(messageId)
    const chunks: Buffer[] = []
    for await (const chunk of readBlob(box.query, message!.blob_id!)) chunks.push(chunk)
    expect(Buffer.concat(chunks).toString()).toMatch(
      /^From: ellen[^]*Message-ID: [^]*Content-Type: text\/plain[^]*\r\n\r\nGood morning\.\r\n$/,
    )
    expect(await dispositions(messageId)).toEqual(['processed'])
  })
})

/** Wrapping and header fields, up to Content-Type of the message itself. */
function head(message: Buffer, wrapping: string): string {
  const text = message.toString('latin1')
  return wrapping + text.slice(0, text.indexOf('Content-Type: text/plain'))
}

describe('to whom an answer goes', () => {
  test('to another mailbox where the signer speaks for the whole domain', async () => {
    const hisp = issueFor(box.root, 'direct.somephr.example')
    const { messageId, bytes } = letter({ fields: [`Disposition-Notification-To: ${outbox}`] })
    await box.takes(await box.sealed(bytes, hisp))
    expect(await box.answers(messageId)).toMatchObject([{ recipient: outbox }])
  })

  test.each([outbox, 'victim@direct.other.example', `${ellensPhr}, victim@direct.other.example`])(
    'to the author where Ellen alone signed and asks for %s to be told',
    async (other) => {
      const { messageId, bytes } = letter({ fields: [`Disposition-Notification-To: ${other}`] })
      await box.takes(await box.sealed(bytes))
      expect(await box.answers(messageId)).toMatchObject([{ recipient: ellensPhr }])
    },
  )
})

describe('kept in the inbox and never answered', () => {
  test.each([
    ['auto-replied', ['Auto-Submitted: auto-replied', `Disposition-Notification-To: ${ellensPhr}`]],
    ['auto-generated without a request', ['Auto-Submitted: auto-generated']],
  ])('what is %s', async (_, fields) => {
    const { messageId, bytes } = letter({ fields })
    await box.takes(await box.sealed(bytes))
    expect(await box.inbox(messageId)).toHaveLength(1)
    expect(await box.answers(messageId)).toEqual([])
  })

  test('what comes from the null sender', async () => {
    const { messageId, bytes } = letter()
    await box.takes(await box.sealed(bytes), { from: '' })
    expect(await box.inbox(messageId)).toHaveLength(1)
    expect(await box.answers(messageId)).toEqual([])
  })
})

describe('a notification', () => {
  test.each(['usual', 'no-disposition', 'dsn'] as const)('is never answered (%s)', async (shape) => {
    const told = { of: '<nothing@direct.ashby.example>', from: ellensPhr, to: ours, at: new Date() }
    const { bytes, messageId } = notification({ ...told, disposition: 'processed', shape })
    expect(await box.takes(await box.sealed(bytes))).toMatchObject({ state: 'notification' })
    expect(await box.answers(messageId)).toEqual([])
    expect(await box.inbox(messageId)).toEqual([])
  })
})

describe('silence, and the mail as it came with the reason', () => {
  const silent = async (raw: Buffer, because: RegExp, envelope = {}) => {
    const owed = async () => (await box.query<{ n: string }>('SELECT count(*) AS n FROM answer'))[0]!.n
    const before = await owed()
    expect(await box.takes(raw, envelope)).toMatchObject({
      state: 'ignored',
      because: expect.stringMatching(because),
    })
    expect(await owed()).toBe(before)
  }

  test('for a signer nobody here trusts', async () => {
    const stranger = issueFor(makeRoot({ name: 'Unknown' }), ellensPhr)
    await silent(await box.sealed(letter().bytes, stranger), /not signed by anyone trusted/)
  })

  test('for a trusted signer of another domain, and its name is told', async () => {
    const other = issueFor(box.root, 'direct.otherphr.example')
    await silent(
      await box.sealed(letter().bytes, other),
      /signed for direct\.otherphr\.example, which does not speak for ellen/,
    )
  })

  test('for a signer that is expired', async () => {
    const day = 86_400_000
    const past = issueFor(box.root, ellensPhr, {
      notBefore: new Date(Date.now() - 9 * day),
      notAfter: new Date(Date.now() - day),
    })
    await silent(await box.sealed(letter().bytes, past), /not signed by anyone trusted/)
  })

  test('for what is encrypted and not signed', async () => {
    await silent(await seal(letter().bytes, box.cms, undefined, [box.own.certificatePem]), /not signed/)
  })

  test('for what is in the clear', async () => {
    await silent(letter().bytes, /not an encrypted message/)
  })

  test('for what SMTP was told otherwise: sender, or recipient', async () => {
    await silent(await box.sealed(letter().bytes), /came from mallory@evil\.example by SMTP/, {
      from: 'mallory@evil.example',
    })
    await silent(
      await box.sealed(letter({ to: 'somebody@direct.ashby.example' }).bytes),
      /none of the recipients that it was brought to/,
    )
  })

  test('for a header outside that says otherwise than the one inside', async () => {
    const replaced = async (from: string | RegExp, to: string) =>
      Buffer.from((await box.sealed(letter().bytes)).toString('latin1').replace(from, to), 'latin1')
    await silent(await replaced(`From: ${ellensPhr}`, 'From: mallory@evil.example'), /says outside/)
    await silent(
      await replaced(/^Message-ID: <[^>]*>/m, 'Message-ID: <x@y.example>'),
      /one Message-ID outside/,
    )
  })
})

describe('while nobody says whether the signer is revoked', () => {
  const because = 'its list of revoked certificates cannot be had'
  const unknown = async () => ({ status: 'unknown', because }) as const
  const undecided = () => ({ trust: { ...box.ports.trust, revocation: unknown } })

  test('a message waits, and is taken when somebody does', async () => {
    const { messageId, bytes } = letter()
    const { id, state } = await box.takes(await box.sealed(bytes), {}, undecided())
    expect(state).toBe('received')
    expect(await box.query('SELECT due_at > now() AS later FROM inbound_mail WHERE id = $1', [id])).toEqual([
      { later: true },
    ])
    await openMail(box.ports, id)
    expect(await dispositions(messageId)).toEqual(['processed'])
  })

  test('a notification waits, too', async () => {
    const told = { of: '<nothing@direct.ashby.example>', from: ellensPhr, to: ours, at: new Date() }
    const { bytes } = notification({ ...told, disposition: 'processed' })
    const { id, state } = await box.takes(await box.sealed(bytes), {}, undecided())
    expect(state).toBe('received')
    await openMail(box.ports, id)
    expect(await box.query('SELECT state FROM inbound_mail WHERE id = $1', [id])).toEqual([
      { state: 'notification' },
    ])
  })

  test('after a day it is silence', async () => {
    const tomorrow = () => new Date(Date.now() + 25 * 3_600_000)
    expect(
      await box.takes(await box.sealed(letter().bytes), {}, { ...undecided(), now: tomorrow }),
    ).toMatchObject({ state: 'ignored', because: expect.stringContaining(because) })
  })
})

test('opening one mail twice at once keeps and answers it once', async () => {
  const { messageId, bytes } = letter()
  const raw = await box.sealed(bytes)
  const id = await box.receives(raw)
  await Promise.all([openMail(box.ports, id), openMail(box.ports, id), openMail(box.ports, id)])
  expect(await box.inbox(messageId)).toHaveLength(1)
  expect(await dispositions(messageId)).toEqual(['processed'])
})

test('nothing is left over that belongs to nobody', async () => {
  expect((await reconcile(box.query)).findings).toEqual([])
})
