import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { adt, answer, framed } from './adt.ts'
import { openIntakeRoom, type IntakeRoom } from './intake-room.ts'

const committed = '\x06'
const notCommitted = '\x15'

let database: TestDatabase
const open: IntakeRoom[] = []

beforeAll(async () => {
  database = await freshDatabase()
}, 60_000)

afterEach(async () => {
  await Promise.all(open.splice(0).map((room) => room.close()))
})

afterAll(() => database.close())

async function aRoom(): Promise<IntakeRoom> {
  const room = await openIntakeRoom(database.dataSource, { release: 2 })
  open.push(room)
  return room
}

test('what is on disk is committed first, and acknowledged after that', async () => {
  const room = await aRoom()
  const sender = await room.sender()
  expect(await sender.ask(adt('1'))).toBe(committed)
  expect(answer(await sender.reply())).toBe('AA 1')
  expect(await room.messages()).toMatchObject([{ controlId: '1', state: 'received' }])
})

test('a sender that wants no acknowledgment still gets the commit block', async () => {
  const sender = await (await aRoom()).sender()
  expect(await sender.ask(adt('1', { 15: 'NE', 16: 'NE' }))).toBe(committed)
  expect(await sender.ask(adt('2', { 15: 'NE', 16: 'AL' }))).toBe(committed)
  expect(answer(await sender.reply())).toBe('AA 2')
})

test('the sender’s commit block for our reply is no message: not kept, not answered', async () => {
  const room = await aRoom()
  const sender = await room.sender()
  await sender.ask(adt('1'))
  await sender.reply()
  sender.write(framed(committed) + framed(notCommitted))
  expect(await sender.ask(adt('2'))).toBe(committed)
  expect(answer(await sender.reply())).toBe('AA 2')
  expect(await room.messages()).toHaveLength(2)
  expect(await room.fragments()).toEqual([])
})

test('a repeat is committed again and stored once; a refused one is committed, for it must not come again', async () => {
  const room = await aRoom()
  const sender = await room.sender()
  for (const _ of [1, 2]) {
    expect(await sender.ask(adt('1'))).toBe(committed)
    expect(answer(await sender.reply())).toBe('AA 1')
  }
  expect(await sender.ask(adt('', { 10: '' }))).toBe(committed)
  expect(answer(await sender.reply())).toBe('AR ')
  expect(await sender.ask('this is no HL7')).toBe(committed)
  expect(await room.messages()).toHaveLength(2)
  expect(await room.fragments()).toHaveLength(1)
})

test('of several messages in one frame, each is acknowledged after one commit block', async () => {
  const sender = await (await aRoom()).sender()
  expect(await sender.ask(adt('1') + adt('2'))).toBe(committed)
  expect([answer(await sender.reply()), answer(await sender.reply())]).toEqual(['AA 1', 'AA 2'])
})

test('what is not on disk is not committed: the sender repeats it, and nothing else is said', async () => {
  const room = await aRoom()
  const sender = await room.sender()
  const url = new URL(database.url)
  const name = url.pathname.slice(1)
  url.pathname = '/postgres'
  const administrator = new pg.Client({ connectionString: url.href })
  await administrator.connect()
  try {
    await administrator.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`)
    await administrator.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [
      name,
    ])
    expect(await sender.ask(adt('1'))).toBe(notCommitted)
    // Nothing would tell it in release 1 but the lost connection.
    expect(await sender.ask(adt('2', { 15: 'NE', 16: 'NE' }))).toBe(notCommitted)
  } finally {
    await administrator.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`)
    await administrator.end()
  }
  expect(await sender.ask(adt('1'))).toBe(committed)
  expect(answer(await sender.reply())).toBe('AA 1')
})
