import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { adt, answer, framed } from './adt.ts'
import { openIntakeRoom, type IntakeRoom } from './intake-room.ts'

// A busy machine is no failure.
jest.setTimeout(60_000)

let database: TestDatabase
let administrator: pg.Client
let name = ''
const open: IntakeRoom[] = []

beforeAll(async () => {
  database = await freshDatabase()
  const url = new URL(database.url)
  name = url.pathname.slice(1)
  url.pathname = '/postgres'
  administrator = new pg.Client({ connectionString: url.href })
  await administrator.connect()
})

afterEach(async () => {
  await bringBack()
  await Promise.all(open.splice(0).map((room) => room.close()))
})

afterAll(async () => {
  await administrator.end()
  await database.close()
})

async function aRoom(choices: Parameters<typeof openIntakeRoom>[1] = {}): Promise<IntakeRoom> {
  const room = await openIntakeRoom(database.dataSource, choices)
  open.push(room)
  return room
}

/** No connection survives and none can be made, as after a crash of the database. */
async function takeAway(): Promise<void> {
  await administrator.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`)
  await administrator.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [
    name,
  ])
}

async function bringBack(): Promise<void> {
  await administrator.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`)
  // A connection of the pool may learn of its end only when it is used.
  for (let isBack = false; !isBack;)
    isBack = await database.dataSource.query('SELECT 1').then(
      () => true,
      () => false,
    )
}

/** Keeps the table from being written until let go. */
async function holdMessages(): Promise<{ release(): Promise<void>; waiting(): Promise<void> }> {
  const holder = new pg.Client({ connectionString: database.url })
  await holder.connect()
  await holder.query('BEGIN')
  await holder.query('LOCK TABLE message IN EXCLUSIVE MODE')
  return {
    async release() {
      await holder.query('ROLLBACK')
      await holder.end()
    },
    async waiting() {
      for (;;) {
        const { rowCount } = await administrator.query(
          `SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'`,
          [name],
        )
        if (rowCount) return
      }
    },
  }
}

describe('commit before acknowledgment', () => {
  test('while the commit waits nothing is said; after it the answer comes', async () => {
    const room = await aRoom()
    const sender = await room.sender()
    const hold = await holdMessages()
    let isAnswered = false
    const reply = sender.ask(adt('1')).finally(() => (isAnswered = true))
    await hold.waiting()
    expect(isAnswered).toBe(false)
    await hold.release()
    expect(answer(await reply)).toBe('AA 1')
    expect(await room.messages()).toHaveLength(1)
  })

  test('with the database away every mode says “again later”, and after its return the same bytes are taken', async () => {
    const room = await aRoom()
    const sender = await room.sender()
    expect(answer(await sender.ask(adt('before')))).toBe('AA before')
    await takeAway()
    const original = await sender.ask(adt('1'))
    expect(answer(original)).toBe('AE 1')
    expect(original).toMatch(/\rERR\|\|\|207\^Application internal error\^HL70357\|E\r/)
    expect(answer(await sender.ask(adt('2', { 15: 'AL', 16: 'NE' })))).toBe('CE 2')
    expect(answer(await sender.ask(adt('3', { 15: 'NE', 16: 'AL' })))).toBe('AE 3')
    expect(answer(await sender.ask(adt('4', { 15: 'ER', 16: 'ER' })))).toBe('CE 4')
    await bringBack()
    expect(answer(await sender.ask(adt('1')))).toBe('AA 1')
    expect(answer(await sender.ask(adt('2', { 15: 'AL', 16: 'NE' })))).toBe('CA 2')
    expect((await room.messages()).map(({ controlId }) => controlId)).toEqual(['before', '1', '2'])
  })

  test('a sender that wants no answer learns by the lost connection that nothing is stored', async () => {
    const room = await aRoom()
    await takeAway()
    const sender = await room.sender()
    sender.write(framed(adt('1', { 15: 'NE', 16: 'NE' })) + framed(adt('2')))
    expect(await sender.ended()).toEqual([])
    expect(room.listener.counts().cut.lost).toBe(1)
    await bringBack()
    expect(await room.messages()).toEqual([])
  })

  test('what is no HL7 and cannot be kept is not swallowed: the connection goes', async () => {
    const room = await aRoom()
    await takeAway()
    const sender = await room.sender()
    sender.write(framed('no HL7'))
    expect(await sender.ended()).toEqual([])
    expect(room.listener.counts().cut.lost).toBe(1)
  })

  test('a connection lost in mid-commit leaves AE or AA, never AA without the row', async () => {
    const room = await aRoom()
    const sender = await room.sender()
    const hold = await holdMessages()
    const reply = sender.ask(adt('1'))
    await hold.waiting()
    await administrator.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'`,
      [name],
    )
    expect(answer(await reply)).toBe('AE 1')
    await hold.release()
    expect(await room.messages()).toEqual([])
    expect(answer(await sender.ask(adt('1')))).toBe('AA 1')
  })
})

describe('repeats', () => {
  test('the same bytes get the same acknowledgment, byte by byte, and are stored once', async () => {
    const room = await aRoom()
    const first = await (await room.sender()).ask(adt('1'))
    const again = await room.sender()
    expect(await again.ask(adt('1'))).toBe(first)
    expect(await again.ask(adt('1'))).toBe(first)
    expect(await room.messages()).toHaveLength(1)
  })

  test('also where they come at the same moment over many connections', async () => {
    const room = await aRoom()
    const senders = await Promise.all(Array.from({ length: 12 }, () => room.sender()))
    for (let round = 0; round < 20; round++) {
      const replies = await Promise.all(senders.map((sender) => sender.ask(adt(`r${round}`))))
      expect(new Set(replies).size).toBe(1)
    }
    expect(await room.messages()).toHaveLength(20)
  })

  test('also after a restart, and where the answer was a refusal', async () => {
    const room = await aRoom({ channel: 'restarted' })
    const sender = await room.sender()
    const accepted = await sender.ask(adt('1'))
    const refused = await sender.ask(adt('2', { 12: '3.0' }))
    expect(answer(refused)).toBe('AR 2')
    await room.close()
    open.length = 0
    const after = await aRoom({ channel: 'restarted' })
    const back = await after.sender()
    expect(await back.ask(adt('1'))).toBe(accepted)
    expect(await back.ask(adt('2', { 12: '3.0' }))).toBe(refused)
    expect(await after.messages()).toHaveLength(2)
  })

  test('the same control id with other bytes is another message, and flagged', async () => {
    const room = await aRoom()
    const sender = await room.sender()
    const other = adt('1').replace('Ross', 'Rose')
    sender.write(framed(adt('1')) + framed(other))
    expect(answer(await sender.reply())).toBe('AA 1')
    expect(answer(await sender.reply())).toBe('AA 1')
    expect(answer(await sender.ask(adt('1').replace('Ross', 'Rosa')))).toBe('AA 1')
    expect((await room.messages()).map(({ state, flags }) => [state, flags])).toEqual([
      ['received', []],
      ['received', ['control-id-reused']],
      ['received', ['control-id-reused']],
    ])
  })

  test('the same control id of another sender or on another channel is nobody’s repeat', async () => {
    const room = await aRoom()
    const elsewhere = await aRoom()
    const sender = await room.sender()
    expect(answer(await sender.ask(adt('1')))).toBe('AA 1')
    expect(answer(await sender.ask(adt('1', { 4: 'NASHUA' })))).toBe('AA 1')
    expect(answer(await (await elsewhere.sender()).ask(adt('1')))).toBe('AA 1')
    expect((await room.messages()).map(({ flags }) => flags)).toEqual([[], []])
    expect((await elsewhere.messages()).map(({ flags }) => flags)).toEqual([[]])
  })
})

describe('quarantine', () => {
  test.each([
    ['an empty MSH-10', { 10: '' }, 'control-id-missing', '101'],
    ['separators that mean two things', { 2: '^^\\&' }, 'separators-unusable', '102'],
    ['an empty MSH-9', { 9: '' }, 'message-type-missing', '101'],
    ['a processing id that is none', { 11: 'X' }, 'processing-id-unsupported', '202'],
    ['a version that is none of 2.x', { 12: '3.0' }, 'version-unsupported', '203'],
  ])('%s: AR with the place, kept with the reason', async (_, msh, code, error) => {
    const room = await aRoom()
    const sender = await room.sender()
    const content = adt('1', msh)
    const reply = await sender.ask(content)
    expect(answer(reply).slice(0, 2)).toBe('AR')
    expect(reply).toContain(error)
    const [message] = await room.messages()
    expect(message).toMatchObject({ state: 'quarantined', code })
    expect(message!.because).toMatch(/^MSH-/)
    expect(message!.content.toString('latin1')).toBe(content)
  })

  test('an acknowledgment that comes in is kept aside and not answered', async () => {
    const room = await aRoom()
    const sender = await room.sender()
    sender.write(framed(adt('1', { 9: 'ACK^A03^ACK' })) + framed(adt('2')))
    expect(answer(await sender.reply())).toBe('AA 2')
    expect((await room.messages())[0]).toMatchObject({
      state: 'quarantined',
      code: 'acknowledgment-received',
    })
  })

  test('bytes the database cannot hold as text do not hold up their neighbours', async () => {
    const room = await aRoom()
    const sender = await room.sender()
    sender.write(
      framed(adt('1')) + framed(adt('2', { 3: 'A\0B' })) + framed(adt('3', { 10: '3\0' })) + framed(adt('4')),
    )
    const replies = [await sender.reply(), await sender.reply(), await sender.reply(), await sender.reply()]
    expect(replies.map((reply) => answer(reply).slice(0, 2))).toEqual(['AA', 'AA', 'AR', 'AA'])
    expect(await room.messages()).toHaveLength(4)
  })
})
