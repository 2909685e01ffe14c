import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { randomBytes, randomUUID } from 'node:crypto'
import { writeBlob } from '../../src/store/blobs.ts'
import {
  insertMail,
  insertNotification,
  lockMail,
  markMail,
  transmissionIdFor,
  type NewNotification,
} from '../../src/store/mail.ts'
import { inTransaction, queryOf, type Query } from '../../src/store/query.ts'
import { readNotifications } from '../../src/store/views.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { anAuthorization, aTransmission, ellensPhr, minutesAfter, noon } from './ellen.ts'

let database: TestDatabase
let query: Query
beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
})
afterAll(() => database.close())

const keep = (bytes: Buffer) =>
  inTransaction(database.dataSource, async (tx) => {
    const id = randomUUID()
    const blob = await writeBlob(tx, 'mail', [bytes], 1_000_000, noon)
    const mail = {
      id,
      envelopeFrom: ellensPhr,
      envelopeTo: ['transmit@direct.ashby.example'],
      peer: '127.0.0.1',
    }
    return { id, isNew: await insertMail(tx, { ...mail, blobId: blob.id, digest: blob.sha256 }, noon) }
  })

const notification = (mailId: string, changes: Partial<NewNotification> = {}): NewNotification => ({
  mailId,
  ordinal: 0,
  kind: 'mdn',
  originalMessageId: null,
  recipient: ellensPhr,
  disposition: 'processed',
  report: 'processed',
  signerFingerprint: null,
  bound: true,
  transmissionId: null,
  effect: 'moved',
  because: 'the transmission is processed',
  ...changes,
})

test('the same bytes a second time are nothing new', async () => {
  const bytes = randomBytes(100)
  expect((await keep(bytes)).isNew).toBe(true)
  expect((await keep(bytes)).isNew).toBe(false)
  expect((await keep(randomBytes(100))).isNew).toBe(true)
})

test('a mail is opened once: who comes second waits and then sees that it is done', async () => {
  const { id } = await keep(randomBytes(50))
  const open = () =>
    inTransaction(database.dataSource, async (tx) => {
      const mail = await lockMail(tx, id)
      if (mail?.state !== 'received') return false
      await markMail(tx, id, 'notification', null, minutesAfter(1))
      return true
    })
  expect((await Promise.all([open(), open(), open()])).sort()).toEqual([false, false, true])
  expect(await lockMail(query, id)).toMatchObject({
    state: 'notification',
    envelopeFrom: ellensPhr,
    envelopeTo: ['transmit@direct.ashby.example'],
  })
  expect(await lockMail(query, randomUUID())).toBeUndefined()
})

test('where one message went to several, the recipient of the report says which transmission is meant', async () => {
  const { id: authorizationId } = await anAuthorization(database.dataSource)
  const destinations = ['a@direct.somephr.example', 'B@direct.somephr.example', 'c@direct.somephr.example']
  const ids = new Map<string, string>()
  for (const destination of destinations) {
    const id = await aTransmission(database.dataSource, authorizationId, { destination })
    await query('UPDATE transmission SET message_id = $2 WHERE id = $1', [id, '<shared@ashby.example>'])
    ids.set(destination, id)
  }
  for (const destination of destinations)
    expect(await transmissionIdFor(query, '<shared@ashby.example>', destination.toUpperCase())).toBe(
      ids.get(destination),
    )
  const again = await aTransmission(database.dataSource, authorizationId, {
    destination: 'A@direct.somephr.example',
  })
  await expect(
    query('UPDATE transmission SET message_id = $2 WHERE id = $1', [again, '<shared@ashby.example>']),
  ).rejects.toThrow(/duplicate key/)
})

test('a notification finds its transmission by the exact Message-ID we gave, and its story tells of it', async () => {
  const { id: authorizationId } = await anAuthorization(database.dataSource)
  const transmissionId = await aTransmission(database.dataSource, authorizationId)
  await query('UPDATE transmission SET message_id = $2 WHERE id = $1', [
    transmissionId,
    '<a.b@ashby.example>',
  ])
  expect(await transmissionIdFor(query, '<a.b@ashby.example>', undefined)).toBe(transmissionId)
  expect(await transmissionIdFor(query, '<a.b@ashby.example>', 'somebody@else.example')).toBe(transmissionId)
  expect(await transmissionIdFor(query, '<a.b@ASHBY.example>', ellensPhr)).toBeUndefined()
  const { id: mailId } = await keep(randomBytes(50))
  await insertNotification(query, notification(mailId, { transmissionId }), noon)
  expect(await readNotifications(query, transmissionId)).toEqual([
    {
      kind: 'mdn',
      at: noon,
      recipient: ellensPhr,
      disposition: 'processed',
      report: 'processed',
      bound: true,
      effect: 'moved',
      because: 'the transmission is processed',
    },
  ])
})

test('one report of one mail is stored once', async () => {
  const { id } = await keep(randomBytes(50))
  await insertNotification(query, notification(id), noon)
  await expect(insertNotification(query, notification(id), noon)).rejects.toThrow(/duplicate key/)
  await insertNotification(query, notification(id, { ordinal: 1 }), noon)
})
