import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readNotification } from '../../src/tracking/read-notification.ts'

const golden = new URL('../golden/notifications/', import.meta.url)
const names = readdirSync(golden)
  .filter((name) => name.endsWith('.eml'))
  .map((name) => name.slice(0, -4))
const mailOf = (name: string) => readFileSync(new URL(`${name}.eml`, golden))

test.each(names)('%s reads as written beside it', async (name) => {
  const expected = JSON.parse(readFileSync(new URL(`${name}.json`, golden), 'utf8')) as unknown
  expect((await readNotification(mailOf(name))) ?? null).toEqual(expected)
})

describe('hostile input', () => {
  // A report that says nothing in these words cannot have a good outcome.
  const isGood = /disposition\s*:|action\s*:/i

  test('mutated notifications never throw, and no good outcome comes without its field', async () => {
    const originals = names.map(mailOf)
    const mutation = fc.oneof(
      fc.record({ how: fc.constant('flip' as const), at: fc.nat(4_000), byte: fc.nat(255) }),
      fc.record({ how: fc.constant('cut' as const), at: fc.nat(4_000), length: fc.nat(400) }),
      fc.record({
        how: fc.constant('repeat' as const),
        at: fc.nat(4_000),
        length: fc.nat(200),
        times: fc.nat(50),
      }),
      fc.record({
        how: fc.constant('insert' as const),
        at: fc.nat(4_000),
        text: fc.constantFrom(
          '\r\n',
          '\n\n',
          '--b\r\n',
          '--b--\r\n',
          ';',
          '<',
          '(',
          '"',
          ': ',
          'Content-Type: message/rfc822\r\n\r\n',
          'Content-Type: multipart/mixed; boundary=b\r\n\r\n',
          'Content-Transfer-Encoding: base64\r\n',
          '=?utf-8?B?',
          '\0',
        ),
      }),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.nat(originals.length - 1),
        fc.array(mutation, { minLength: 1, maxLength: 6 }),
        async (index, mutations) => {
          let mail = Buffer.from(originals[index]!)
          for (const m of mutations) {
            const at = m.at % (mail.length + 1)
            const [before, after] = [mail.subarray(0, at), mail.subarray(at)]
            if (m.how === 'flip') {
              if (at < mail.length) mail[at] = m.byte
            } else if (m.how === 'cut') mail = Buffer.concat([before, after.subarray(m.length)])
            else if (m.how === 'insert') mail = Buffer.concat([before, Buffer.from(m.text), after])
            else
              mail = Buffer.concat([
                before,
                ...Array.from({ length: m.times }, () => after.subarray(0, m.length)),
                after,
              ])
          }
          const notification = await readNotification(mail)
          const good = notification?.reports.some(
            ({ disposition }) => disposition === 'processed' || disposition === 'delivered',
          )
          if (good === true) {
            const encoded = /base64|quoted-printable/i.test(mail.toString('latin1'))
            expect(encoded || isGood.test(mail.toString('latin1'))).toBe(true)
          }
        },
      ),
      { numRuns: 5_000 },
    )
  }, 120_000)

  test('without any Disposition or Action field nothing is ever processed or delivered', async () => {
    const words = fc.constantFrom(
      'processed',
      'dispatched',
      'displayed',
      'delivered',
      'automatic-action/MDN-sent-automatically;',
      'Dispositions: ',
      'X-Disposition: ',
      'Actions: ',
      'Final-Recipient: rfc822; ellen.ross@direct.somephr.example\r\n',
      'X-DIRECT-FINAL-DESTINATION-DELIVERY: true\r\n',
      'Status: 2.0.0\r\n',
      '\r\n',
      ': ',
      ' ',
    )
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('disposition-notification', 'delivery-status'),
        fc.array(words, { maxLength: 30 }),
        async (type, pieces) => {
          const mail = `Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/${type}\r\n\r\n${pieces.join('')}\r\n--b--\r\n`
          const fieldsLine = /^\s*(disposition|action)\s*:/im
          fc.pre(!fieldsLine.test(mail))
          const notification = await readNotification(Buffer.from(mail))
          for (const { disposition } of notification?.reports ?? [])
            expect(['processed', 'delivered']).not.toContain(disposition)
        },
      ),
      { numRuns: 2_000 },
    )
  }, 60_000)

  const huge = 40 * 1024 * 1024
  test.each([
    ['boundaries only', 'Content-Type: multipart/report; boundary=b\r\n\r\n', '--b\r\n'],
    ['nested multiparts', '', 'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n'],
    ['one endless field', 'Content-Type: message/disposition-notification\r\n\r\nDisposition: ', 'x;('],
    ['endless references', 'References: ', 'aaaaaaaaaaaaaaaaaaaa'],
    [
      'endless recipients',
      'Content-Type: message/delivery-status\r\n\r\n',
      'Final-Recipient: rfc822;a@b.example\r\n',
    ],
    ['endless blanks', 'Content-Type: message/delivery-status\r\n\r\n', ' \t'],
    ['endless html', 'Content-Type: text/html\r\n\r\n', '<a<b>&'],
  ])('%s end quickly and quietly', async (_, start, piece) => {
    const mail = Buffer.alloc(huge, piece)
    mail.write(start)
    const notification = await readNotification(mail)
    expect(notification?.reports.length ?? 0).toBeLessThanOrEqual(200)
    expect(notification?.reports.some(({ disposition }) => disposition !== undefined) ?? false).toBe(false)
  })

  test('a returned message of many megabytes does not hide the report before it', async () => {
    const dsn = mailOf('dsn-returned-message-only').toString('latin1')
    const [before, after] = dsn.split('MIAG\r\n')
    const mail = Buffer.concat([Buffer.from(before!), Buffer.alloc(huge, 'MIAG\r\n'), Buffer.from(after!)])
    expect(await readNotification(mail)).toMatchObject({
      reports: [{ disposition: 'failed', originalMessageId: '<tx-7f3c@direct.ashby.example>' }],
    })
  })
})

const corpus = process.env['BLUEPOST_CORPUS']
// Their files are not ours to ship; where a copy lies beside, every one of them is read.
if (corpus !== undefined)
  describe('notifications of the reference implementations', () => {
    const folders = ['direct/nhin-d/direct-common-messages', 'direct/java-agent/messages']
    const files = folders.flatMap((folder) =>
      readdirSync(join(corpus, folder))
        .filter((name) => /^(MDN|DSN)/.test(name))
        .map((name) => join(folder, name)),
    )
    const expected: Record<string, string | undefined> = {
      'DSNMessage.txt': 'failed',
      'DSNMessageNoActionOrStatus.txt': undefined,
      'DSNMessageOrigInReplyTo.txt': 'failed',
      'MDNDispatchedTimeAndReliable.txt': 'delivered',
      'MDNDispatchedTimeAndReliableLowerCaseOption.txt': 'delivered',
      'MDNMessage.txt': 'processed',
      'MDNMessageFriendlyNameFinalRecip.txt': 'processed',
      'MDNMessageNoDisp.txt': undefined,
      'MDNMessageNoFinalRecip.txt': 'processed',
      'MDNMessageNonCanonicalized.txt': 'processed',
      'MDNMessageOrigInReplyTo.txt': 'processed',
      'MDNResponse.txt': 'processed',
    }
    test.each(files)('%s', async (file) => {
      const name = file.split('/').at(-1)!
      const notification = await readNotification(readFileSync(join(corpus, file)))
      expect(Object.keys(expected)).toContain(name)
      expect(notification!.kind).toBe(name.startsWith('MDN') ? 'mdn' : 'dsn')
      expect(notification!.reports).toHaveLength(1)
      const [report] = notification!.reports
      expect(report!.disposition).toBe(expected[name])
      expect(report!.recipient).toMatch(/^[a-z0-9.]+@[a-z.-]+$/)
      // The Java agent’s own DSN names its field X-CERN-…, and its MDNResponse names no message at all.
      const isUncorrelated = file.includes('java-agent') && /^(DSNMessage|MDNResponse)/.test(name)
      expect(report!.originalMessageId).toBe(
        isUncorrelated ? undefined : '<9501051053.aa04167@IETF.CNRI.Reston.VA.US>',
      )
    })
  })
