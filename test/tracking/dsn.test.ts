import { describe, expect, test } from '@jest/globals'
import { readFileSync } from 'node:fs'
import PostalMime from 'postal-mime'
import { failureNotice } from '../../src/domain/failure-notice.ts'
import { readNotification } from '../../src/tracking/read-notification.ts'
import { writeDsn } from '../../src/tracking/write-dsn.ts'

const ours = 'transmit@direct.ashby.example'
const ellen = 'ellen.ross@direct.somephr.example'
const transmission = { destination: ellen, messageId: '<tx-7f3c@direct.ashby.example>' }
const at = new Date('2026-11-23T12:00:00Z')
const failures = [
  [
    'recipient-no-certificate',
    '5.7.31',
    'no certificate is published for the address or for direct.somephr.example',
  ],
  ['recipient-untrusted', '5.7.11', '“Ellen” does not chain to any anchor'],
  ['processed-timeout', '5.4.71', 'no processed notification by 2026-11-23T12:00:00.000Z'],
  ['delivered-timeout', '5.4.72', 'no dispatched notification by 2026-11-23T12:00:00.000Z'],
  [
    'notified-failed',
    '5.5.0',
    'the recipient’s side reported: automatic-action/MDN-sent-automatically; failed',
  ],
  ['relay-returned', '5.5.0', 'a relay of ours gave it back: failed; 5.1.1; smtp; 550 no such user'],
  ['edge-refused', '5.5.0', 'mx.somephr.example refused the message: 554 5.7.1 no'],
] as const

describe('a failure notice', () => {
  test.each(failures)('%s is a delivery status of %s, as it always was', async (code, status, because) => {
    const notice = failureNotice(transmission, { at, code, because })
    expect(notice.status).toBe(status)
    const dsn = writeDsn(notice, ours, `failure-1.${code}`)
    const file = new URL(`../golden/notifications-of-ours/dsn-${code}.eml`, import.meta.url)
    expect(dsn.toString('latin1')).toBe(readFileSync(file, 'latin1'))
    expect(await readNotification(dsn)).toMatchObject({
      kind: 'dsn',
      reports: [{ recipient: ellen, originalMessageId: transmission.messageId, disposition: 'failed' }],
    })
  })

  test('is about no message where none was made, and 5.5.0 where nobody knows better', async () => {
    const notice = failureNotice({ destination: ellen }, { at, code: 'sealing-interrupted', because: null })
    expect(notice).toMatchObject({ status: '5.5.0', because: 'it failed' })
    expect(writeDsn(notice, ours, 'x').toString()).not.toMatch(/X-Original-Message-ID|In-Reply-To/)
  })

  test.each([
    'refused: 550 no\r\nBcc: eve@evil.example\r\n\r\n--delivery-status\u0000 (“ä”\r\nAction: delivered',
    '--delivery-status--',
    '--delivery-status\r\nContent-Type: message/delivery-status\r\n\r\nAction: delivered',
  ])('writes no field and no part of its own, whatever a mail server replied: %j', async (because) => {
    const dsn = writeDsn(failureNotice(transmission, { at, code: 'edge-refused', because }), ours, 'x')
    expect(dsn.toString('latin1')).toMatch(/^(?:[\t -~]*\r\n)+$/)
    const mail = await PostalMime.parse(dsn)
    expect(mail.headers.map(({ key }) => key)).not.toContain('bcc')
    expect(mail.attachments).toHaveLength(1)
    expect((await readNotification(dsn))?.reports).toMatchObject([
      { recipient: ellen, disposition: 'failed' },
    ])
  })
})
