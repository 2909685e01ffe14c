import { describe, expect, test } from '@jest/globals'
import { readdirSync, readFileSync } from 'node:fs'
import type { DirectAddress } from '../../src/domain/direct-address.ts'
import { readNotificationRequest } from '../../src/tracking/notification-request.ts'
import { readNotification } from '../../src/tracking/read-notification.ts'
import { writeMdn, type Mdn } from '../../src/tracking/write-mdn.ts'

const golden = new URL('../golden/notifications/', import.meta.url)
const ours = 'transmit@direct.ashby.example'
const ellen = 'ellen.ross@direct.somephr.example'
const about: Mdn = {
  from: ours,
  to: ellen,
  disposition: 'processed',
  originalMessageId: '<q-1@direct.somephr.example>',
  messageId: '<n-1@direct.ashby.example>',
  date: new Date('2026-11-23T12:00:00Z'),
}

describe('an MDN of ours', () => {
  test.each(['processed', 'dispatched', 'failed'] as const)('%s looks as it always did', (disposition) => {
    const file = new URL(`../golden/notifications-of-ours/mdn-${disposition}.eml`, import.meta.url)
    expect(writeMdn({ ...about, disposition }).toString('latin1')).toBe(readFileSync(file, 'latin1'))
  })

  test.each([
    ['processed', 'processed'],
    ['dispatched', 'delivered'],
    ['failed', 'failed'],
  ] as const)('%s is understood by whoever reads MDNs', async (disposition, meaning) => {
    expect(await readNotification(writeMdn({ ...about, disposition }))).toEqual({
      kind: 'mdn',
      messageId: about.messageId,
      reports: [
        {
          originalMessageId: about.originalMessageId,
          recipient: ours,
          disposition: meaning,
          text: expect.stringContaining(`automatic-action/MDN-sent-automatically; ${disposition}`),
        },
      ],
    })
  })

  test('says dispatched with the extension field of Direct, and processed without', () => {
    const extension = /^X-DIRECT-FINAL-DESTINATION-DELIVERY:/m
    expect(writeMdn({ ...about, disposition: 'dispatched' }).toString()).toMatch(extension)
    expect(writeMdn(about).toString()).not.toMatch(extension)
  })

  test('is 7-bit with CRLF throughout and asks for no notification itself', () => {
    for (const disposition of ['processed', 'dispatched', 'failed'] as const) {
      const text = writeMdn({ ...about, disposition }).toString('latin1')
      expect(text).toMatch(/^(?:[\t -~]*\r\n)+$/)
      expect(text).not.toMatch(/^Disposition-Notification-/im)
    }
  })

  test.each(['<a@b>\r\nBcc: eve@evil.example', '<a b>', 'no brackets', '<>', `<${'x'.repeat(2_000)}>`])(
    'quotes no Message-ID that is none: %j',
    (originalMessageId) => {
      expect(writeMdn({ ...about, originalMessageId }).toString()).not.toMatch(
        /Original-Message-ID|In-Reply-To|evil/,
      )
    },
  )

  test.each(['ellen', 'ellen@x.example\r\nBcc: eve@evil.example', ''])('goes to nobody at %j', (to) => {
    expect(() => writeMdn({ ...about, to })).toThrow('Direct address')
  })
})

describe('who is told about a message', () => {
  const message = (fields: Record<string, string>) =>
    Buffer.from(
      `${Object.entries({ From: ellen, To: ours, 'Message-ID': '<q-1@direct.somephr.example>', ...fields })
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('')}\r\nHello\r\n`,
    )
  const author = { local: 'ellen.ross', domain: 'direct.somephr.example', text: ellen }
  const isOfHerDomain = ({ domain }: DirectAddress) => domain.toLowerCase() === author.domain
  const isHers = ({ text }: DirectAddress) => text === ellen
  const requestOf = async (fields: Record<string, string>, isSpokenFor = isOfHerDomain) => {
    const reading = await readNotificationRequest(message(fields), author, isSpokenFor)
    return reading.answer ? reading.request : reading.because
  }

  test('its sender, of processed alone, where nothing was asked for', async () => {
    expect(await requestOf({})).toEqual({
      to: ellen,
      originalMessageId: '<q-1@direct.somephr.example>',
      isDeliveryRequested: false,
    })
  })

  test('another mailbox that the signer speaks for, but nobody else', async () => {
    const outbox = 'outbox@Direct.SomePHR.example'
    expect(await requestOf({ 'Disposition-Notification-To': `Out <${outbox}>` })).toMatchObject({
      to: outbox,
    })
    expect(await requestOf({ 'Disposition-Notification-To': outbox }, isHers)).toMatchObject({ to: ellen })
    for (const other of ['victim@direct.other.example', `${outbox}, victim@direct.other.example`, 'nonsense'])
      expect(await requestOf({ 'Disposition-Notification-To': other })).toMatchObject({ to: ellen })
  })

  test.each([
    ['X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true', true],
    ['x-direct-final-destination-delivery = optional , TRUE', true],
    ['other=optional,1; X-DIRECT-FINAL-DESTINATION-DELIVERY=required,true', true],
    ['X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,false', false],
    ['X-DIRECT-FINAL-DESTINATION-DELIVERY', false],
    ['X-DIRECT-FINAL-DESTINATION-DELIVERY=true', false],
    ['Y-X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true', false],
    ['', false],
  ])('of delivery, too, with the option %j: %s', async (options, isDeliveryRequested) => {
    expect(await requestOf({ 'Disposition-Notification-Options': options })).toMatchObject({
      isDeliveryRequested,
    })
  })

  const notifications = readdirSync(golden).filter((name) => /^(mdn|dsn)-.*\.eml$/.test(name))
  test.each([...notifications, 'none-report-without-part.eml'])(
    'nobody, about the notification %s',
    async (name) => {
      expect(await readNotificationRequest(readFileSync(new URL(name, golden)), author, isHers)).toEqual({
        answer: false,
        because: expect.stringMatching(/never notified/),
      })
    },
  )

  test('nobody, about an MDN of ours', async () => {
    for (const disposition of ['processed', 'dispatched', 'failed'] as const)
      expect(
        await readNotificationRequest(writeMdn({ ...about, disposition }), author, isHers),
      ).toMatchObject({
        answer: false,
      })
  })

  test.each([
    ['auto-replied', {}, /no automatic answer/],
    ['auto-notified; owner-email="x"', { 'Disposition-Notification-To': ellen }, /no automatic answer/],
    ['auto-generated', {}, /asks for no notification/],
  ])('nobody, about what was submitted automatically (%s)', async (how, fields, words) => {
    expect(await requestOf({ 'Auto-Submitted': how, ...fields })).toMatch(words)
  })

  test('its sender, of an automatic message that asks for it, and of one that says it is none', async () => {
    const asking = { 'Auto-Submitted': 'auto-generated', 'Disposition-Notification-To': ellen }
    expect(await requestOf(asking)).toMatchObject({ to: ellen })
    expect(await requestOf({ 'Auto-Submitted': 'no' })).toMatchObject({ to: ellen })
  })
})
