import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { silentLog } from '../../src/lib/log.ts'
import { receiveMail } from '../../src/pipeline/receive-mail.ts'
import { readBlob } from '../../src/store/blobs.ts'
import { queryOf } from '../../src/store/query.ts'
import { listenForMail, type MailListener } from '../../src/tracking/inbound-listener.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { aPeer, ellen, ours } from './mail-peer.ts'

let database: TestDatabase
let listener: MailListener
beforeAll(async () => {
  database = await freshDatabase()
  const ports = {
    dataSource: database.dataSource,
    messageBytesMax: 1_000_000,
    now: () => new Date('2026-11-23T12:00:00Z'),
  }
  listener = await listenForMail(
    {
      protocol: 'smtp',
      at: { host: '127.0.0.1', port: 0 },
      recipients: { addresses: [ours] },
      name: 'direct.ashby.example',
      messageBytesMax: ports.messageBytesMax,
    },
    (mail) => receiveMail(ports, mail),
    silentLog,
  )
}, 60_000)
afterAll(async () => {
  await listener.close()
  await database.close()
})

const send = async (content: string): Promise<string> => {
  const peer = await aPeer(listener.at)
  await peer.begin()
  const answer = await peer.say(`${content}\r\n.`)
  peer.hangUp()
  return answer
}

const mails = () =>
  queryOf(database.dataSource)<{ blob_id: string; envelope_from: string; peer: string; state: string }>(
    'SELECT blob_id, envelope_from, peer, state FROM inbound_mail ORDER BY received_at, id',
  )
const jobs = async () => (await queryOf(database.dataSource)('SELECT FROM graphile_worker.jobs')).length

test('a mail that was answered 250 is in the database, byte for byte, with the job that opens it', async () => {
  expect(await send('Subject: notice\r\n\r\n..a dot\r\ncafé')).toMatch(/^250 /)
  const [mail, ...others] = await mails()
  expect(others).toEqual([])
  expect(mail).toMatchObject({ envelope_from: ellen, peer: '127.0.0.1', state: 'received' })
  const content: Buffer[] = []
  for await (const chunk of readBlob(queryOf(database.dataSource), mail!.blob_id)) content.push(chunk)
  expect(Buffer.concat(content).toString()).toBe('Subject: notice\r\n\r\n.a dot\r\ncafé\r\n')
  expect(await jobs()).toBe(1)
})

test('the same mail again is promised again and kept once', async () => {
  expect(await send('Subject: twice\r\n\r\na')).toMatch(/^250 /)
  const before = [(await mails()).length, await jobs()]
  expect(await send('Subject: twice\r\n\r\na')).toMatch(/^250 /)
  expect([(await mails()).length, await jobs()]).toEqual(before)
})

test('a mail that is cut short leaves nothing behind', async () => {
  const blobs = async () => (await queryOf(database.dataSource)('SELECT FROM blob')).length
  const before = [(await mails()).length, await blobs()]
  const peer = await aPeer(listener.at)
  await peer.begin()
  peer.write(`${'x'.repeat(76)}\r\n`.repeat(6_000))
  peer.hangUp()
  expect(await send('Subject: after it\r\n\r\na')).toMatch(/^250 /)
  expect([(await mails()).length, await blobs()]).toEqual([before[0]! + 1, before[1]! + 1])
})

test('without a database every mail is put off: 451', async () => {
  await database.dataSource.destroy()
  const answer = await send('Subject: later\r\n\r\na')
  expect(answer).toMatch(/^451 /)
  expect(answer).not.toMatch(/postgres|connection|typeorm/i)
})
