import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { readdirSync, readFileSync } from 'node:fs'
import { acceptNotification } from '../../src/tracking/accept-notification.ts'
import { readNotification } from '../../src/tracking/read-notification.ts'
import { anAuthorization, aTransmission } from '../store/ellen.ts'
import { aMailbox, ellensPhr, ours } from '../pipeline/a-mailbox.ts'

const golden = new URL('../golden/notifications/', import.meta.url)
const originals = readdirSync(golden)
  .filter((name) => name.endsWith('.eml'))
  .map((name) => readFileSync(new URL(name, golden)))
const messageId = '<tx-7f3c@direct.ashby.example>'

/** mulberry32: the same numbers from the same seed, so that a failure can be had again. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const intruders = [
  ...['\r\n', '\n\n', '--b\r\n', '--b--\r\n', ';', '<', '(', '"', ': ', '\0', '=?utf-8?B?', '\xff\xfe'],
  'Disposition: automatic-action/MDN-sent-automatically; dispatched\r\n',
  'Action: delivered\r\n',
  'Status: 2.0.0\r\n',
  `Original-Message-ID: ${messageId}\r\n`,
  `Final-Recipient: rfc822; ${ellensPhr}\r\n`,
  'Content-Type: message/disposition-notification\r\n\r\n',
  'Content-Type: message/rfc822\r\n\r\n',
  'Content-Type: multipart/mixed; boundary=b\r\n\r\n',
  'Content-Transfer-Encoding: base64\r\n',
].map((text) => Buffer.from(text, 'latin1'))

function mutated(seed: number): Buffer {
  const draw = numbers(seed)
  let mail = Buffer.from(originals[draw(originals.length)]!)
  for (let times = 1 + draw(6); times > 0; times--) {
    const at = draw(mail.length + 1)
    const [before, after] = [mail.subarray(0, at), mail.subarray(at)]
    switch (draw(5)) {
      case 0:
        if (at < mail.length) mail[at] = draw(256)
        break
      case 1:
        mail = Buffer.concat([before, after.subarray(draw(400))])
        break
      case 2:
        mail = Buffer.concat([before, ...Array<Buffer>(draw(8)).fill(after.subarray(0, draw(200))), after])
        break
      case 3: {
        const other = originals[draw(originals.length)]!
        mail = Buffer.concat([before, other.subarray(draw(other.length))])
        break
      }
      default:
        mail = Buffer.concat([before, intruders[draw(intruders.length)]!, after])
    }
  }
  return mail
}

const inputs = 100_000
/** Of one report among many: nothing a peer sends is copied in whole. */
const reportCharactersMax = 3_000

test('100,000 mutated notifications never throw, never grow, and unsigned ones never deliver anything', async () => {
  let understood = 0
  for (let seed = 1; seed <= inputs; seed++) {
    const notification = await readNotification(mutated(seed))
    for (const report of notification?.reports ?? []) {
      if (report.disposition !== undefined) understood++
      if (JSON.stringify(report).length > reportCharactersMax) throw new Error(`seed ${seed}: a report grew`)
      const about = {
        kind: notification!.kind,
        signers: [],
        envelopeFrom: '',
        ourAddresses: [ours],
        transmission: { messageId, destination: ellensPhr, isAwaitingNextHop: true },
      }
      const believed = acceptNotification(report, { ...about, isFromOwnRelay: false })
      if (believed.effect !== 'ignore') throw new Error(`seed ${seed}: an unsigned one was believed`)
      const relayed = acceptNotification(report, { ...about, isFromOwnRelay: true })
      if (relayed.effect === 'apply' && relayed.disposition !== 'failed')
        throw new Error(`seed ${seed}: a relay said that it arrived`)
    }
  }
  // The mutations leave most of them what they are: the test is not about rubbish alone.
  expect(understood).toBeGreaterThan(inputs / 10)
}, 120_000)

let box: Awaited<ReturnType<typeof aMailbox>>
beforeAll(async () => {
  box = await aMailbox()
})
afterAll(() => box.database.close())

test('the whole way through: mutated notifications in the clear leave a transmission as it is', async () => {
  const { id: authorizationId } = await anAuthorization(box.database.dataSource)
  const id = await aTransmission(box.database.dataSource, authorizationId)
  await box.query(
    `UPDATE transmission SET state = 'submitted', message_id = $2, submitted_at = now(), first_sent_at = now() WHERE id = $1`,
    [id, messageId],
  )
  for (let seed = 1; seed <= 300; seed++) await box.takes(mutated(seed), { from: '', peer: '198.51.100.7' })
  const [row] = await box.query<{ state: string }>('SELECT state FROM transmission WHERE id = $1', [id])
  expect(row).toEqual({ state: 'submitted' })
  const [heard] = await box.query<{ count: string }>(
    `SELECT count(*) FROM notification WHERE transmission_id = $1 AND effect = 'ignored'`,
    [id],
  )
  expect(Number(heard!.count)).toBeGreaterThan(30)

  // The same bounce by a relay of our own is believed, which shows that it is the peer that counts.
  const bounce = readFileSync(new URL('dsn-failed.eml', golden))
  await box.takes(Buffer.concat([Buffer.from('Received: by relay\r\n'), bounce]), {
    from: '',
    peer: '192.0.2.25',
  })
  expect(await box.query('SELECT state, code FROM transmission WHERE id = $1', [id])).toEqual([
    { state: 'failed', code: 'relay-returned' },
  ])
}, 60_000)
