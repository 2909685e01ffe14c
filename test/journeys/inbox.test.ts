import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { dischargeOf } from '../neighbours/hl7-messages.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen, ellensPhr, transmitAddress } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { letter } from '../pipeline/a-mailbox.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const startMsMax = 120_000
const storyMsMax = 60_000
const option = 'Disposition-Notification-Options: X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true'

let database: TestDatabase
let town: Town

beforeAll(async () => {
  database = await freshDatabase()
  town = await aTown({ database: database.url, authorization: { triggers: ['discharge'] } })
}, startMsMax)
afterAll(async () => {
  await town?.close()
  await database?.close()
}, startMsMax)

/** Ellen writes to the data holder from her PHR. */
async function ellenWrites(wishes: Parameters<typeof letter>[0] = {}, signedBy?: string) {
  const { messageId, bytes } = letter(wishes)
  const order = { from: wishes.from ?? ellensPhr, to: transmitAddress, text: bytes.toString() }
  const send = () => town.phr.writes({ ...order, ...(signedBy === undefined ? {} : { signedBy }) })
  expect(await send()).toMatch(/^250/)
  return { messageId, bytes, send }
}

/** What Ellen’s PHR was told about a message: opened and verified by the PHR’s software, in the order of arrival. */
const toldAbout = (messageId: string) => town.phr.inbox.filter(({ inReplyTo }) => inReplyTo === messageId)

test(
  'a message to the data holder is answered with MDNs that the sender’s HISP decrypts and verifies, processed first',
  async () => {
    const { messageId, bytes } = await ellenWrites({ fields: [option] })
    await town.settles()
    const told = toldAbout(messageId)
    expect(told).toMatchObject([
      { isNotification: true, subject: 'Processed', from: transmitAddress, to: [ellensPhr], arrivals: 1 },
      { isNotification: true, subject: 'Dispatched', from: transmitAddress, arrivals: 1 },
    ])
    expect(told.every(({ openedBy }) => openedBy === town.phr.opensWith)).toBe(true)
    const [{ attachments }] = told as [(typeof told)[0]]
    const report = attachments.find(({ contentType }) => contentType === 'message/disposition-notification')
    const fields = (await town.phr.contentOf(report!.sha256)).toString()
    expect(fields).toContain(`Original-Message-ID: ${messageId}`)
    expect(fields).toContain('Disposition: automatic-action/MDN-sent-automatically; processed')
    expect(fields).toContain(`Final-Recipient: rfc822; ${transmitAddress}`)
    expect(town.phr.refused).toEqual([])

    const { items } = await town.engine.api<{ items: { id: string; messageId: string }[] }>('GET', 'inbox')
    const { id } = items.find((one) => one.messageId === messageId)!
    expect(await town.engine.api('GET', `inbox/${id}`)).toMatchObject({
      sender: ellensPhr,
      state: 'kept',
      answers: [
        { disposition: 'processed', state: 'sent' },
        { disposition: 'dispatched', state: 'sent' },
      ],
    })
    const raw = await fetch(new URL(`/api/v1/inbox/${id}/raw`, town.engine.url))
    expect(raw.headers.get('content-type')).toBe('message/rfc822')
    expect(Buffer.from(await raw.arrayBuffer())).toEqual(bytes)

    const listed = await town.engine.command('inbox', 'list')
    expect(listed.stdout).toContain(id)
    const shown = await town.engine.command('inbox', 'show', id)
    expect(shown.stdout).toContain('Answered dispatched to')
    expect(shown.stdout).toContain('Good morning.')
    const reads = await database.dataSource.query<{ actor: string }[]>(
      `SELECT actor FROM audit WHERE action = 'inbox-read' AND subject = $1 ORDER BY id`,
      [`inbox:${id}`],
    )
    expect(reads.map(({ actor }) => actor.split(':')[0])).toEqual(['local', 'cli'])
  },
  storyMsMax,
)

test(
  'sent twice, because the answer was lost, it is answered once',
  async () => {
    const { messageId, send } = await ellenWrites()
    await town.settles()
    expect(await send()).toMatch(/^250/)
    await town.settles()
    expect(toldAbout(messageId)).toMatchObject([{ subject: 'Processed', arrivals: 1 }])
  },
  storyMsMax,
)

test(
  'a signer of another domain, trusted as it is, hears nothing; the reason can be read',
  async () => {
    const { messageId } = await ellenWrites({}, 'other')
    await town.settles()
    expect(toldAbout(messageId)).toEqual([])
    expect((await town.engine.command('inbox', 'list', '--ignored')).stdout).toContain(
      'signed for direct.otherphr.example, which does not speak for ellen.ross@direct.somephr.example',
    )
  },
  storyMsMax,
)

test(
  'MDNs about our own messages are never answered, so nothing goes round',
  async () => {
    const before = town.phr.inbox.length
    await town.hospital.sends(dischargeOf(ellen, { controlId: 'ANSWERED' }))
    await town.settles()
    const arrived = town.phr.inbox.slice(before)
    expect(arrived).toMatchObject([{ isNotification: false }])
    await town.phr.sendsMdn('dispatched', { messageId: arrived[0]!.messageId, copies: 2 })
    await town.settles()
    expect(town.phr.inbox).toHaveLength(before + 1)
  },
  storyMsMax,
)

test(
  'a next hop that refuses, defers and hangs up gets the same bytes again, until it has them',
  async () => {
    await town.phr.door({ at: 'rcpt', code: 450, times: 1 })
    await town.phr.door({ at: 'data', how: 'drop', times: 1 })
    const { messageId } = await ellenWrites()
    await town.settles()
    const [told] = toldAbout(messageId)
    expect(toldAbout(messageId)).toHaveLength(1)
    expect(told!.arrivals).toBe(2)
    expect(new Set(told!.sealedSha256s).size).toBe(1)
  },
  storyMsMax,
)
