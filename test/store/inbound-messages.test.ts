import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { createHash } from 'node:crypto'
import { dropContentBefore, ensureContentPartitions } from '../../src/store/content-partitions.ts'
import { undecidedIn } from '../../src/store/decisions.ts'
import { isRowAtFault, openInboundMessages, type InboundMessages } from '../../src/store/inbound-messages.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { aMessage, noon } from './ellen.ts'

let database: TestDatabase
let query: Query
let messages: InboundMessages
const woken: number[] = []
beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
})
beforeEach(() => {
  woken.length = 0
  messages = openInboundMessages(database.dataSource, { onCommitted: (lanes) => woken.push(...lanes) })
})
afterEach(() => messages.close())
afterAll(() => database.close())

const flagsOf = async (controlId: string) =>
  (
    await query<{ flags: string[] }>('SELECT flags FROM message WHERE control_id = $1 ORDER BY id', [
      controlId,
    ])
  ).map(({ flags }) => flags)

test('a message is committed with its content before the promise is kept, and its lane is woken', async () => {
  const message = aMessage({ lane: 41 })
  expect(await messages.keep(message)).toEqual({ fresh: true })
  expect(woken).toEqual([41])
  const [stored] = await undecidedIn(query, [41], [], 10)
  expect(stored).toMatchObject({ channel: message.channel, receivedAt: noon, receivedOn: '2026-11-23' })
  expect(stored!.content!.equals(message.content)).toBe(true)
})

test('the same bytes under the same control id get the acknowledgement of the first time, and nothing is stored', async () => {
  const message = aMessage({ ack: Buffer.from('MSA|AA|first') })
  await messages.keep(message)
  woken.length = 0
  expect(await messages.keep({ ...message, ack: Buffer.from('MSA|AA|second') })).toEqual({
    fresh: false,
    ack: Buffer.from('MSA|AA|first'),
  })
  expect(woken).toEqual([])
  expect(await flagsOf(message.controlId)).toEqual([[]])
})

test('the same control id with other bytes is a message of its own, and flagged', async () => {
  const first = aMessage()
  await messages.keep(first)
  expect(await messages.keep(aMessage({ controlId: first.controlId }))).toEqual({ fresh: true })
  expect(await flagsOf(first.controlId)).toEqual([[], ['control-id-reused']])
})

test('within one group, too: repeats are told from reuses', async () => {
  const first = aMessage({ order: 1 })
  const kept = await Promise.all([
    messages.keep(first),
    messages.keep({ ...first, order: 2 }),
    messages.keep(aMessage({ controlId: first.controlId, order: 3 })),
  ])
  expect(kept.filter(({ fresh }) => fresh)).toHaveLength(2)
  expect(kept.filter(({ fresh }) => !fresh)).toEqual([{ fresh: false, ack: first.ack }])
  expect((await flagsOf(first.controlId)).flat()).toEqual(['control-id-reused'])
})

test('another sender, another channel, no control id at all: nobody’s id is reused', async () => {
  const first = aMessage()
  const [none, again] = [aMessage({ controlId: '' }), aMessage({ controlId: '' })]
  for (const message of [
    first,
    aMessage({ controlId: first.controlId, sender: 'LAB' }),
    aMessage({ controlId: first.controlId, channel: 'other' }),
    none,
    again,
  ])
    expect(await messages.keep(message)).toEqual({ fresh: true })
  expect((await flagsOf(first.controlId)).flat()).toEqual([])
  expect((await flagsOf('')).flat()).toEqual([])
})

test('messages of one connection get ids in their order, whatever their keys', async () => {
  const sent = Array.from({ length: 50 }, (_, n) =>
    aMessage({ controlId: `order-${(n * 37) % 50}`, order: 'one' }),
  )
  await Promise.all(sent.map((message) => messages.keep(message)))
  const rows = await query<{ control_id: string }>(
    `SELECT control_id FROM message WHERE control_id LIKE 'order-%' ORDER BY id`,
  )
  expect(rows.map((row) => row.control_id)).toEqual(sent.map(({ controlId }) => controlId))
})

test('several writers with the same repeats in different order do not stop each other', async () => {
  const others = [openInboundMessages(database.dataSource), openInboundMessages(database.dataSource)]
  try {
    for (let round = 0; round < 10; round++) {
      const group = Array.from({ length: 40 }, () => aMessage({ order: Math.random() }))
      const kept = await Promise.all([
        ...group.map((message) => messages.keep(message)),
        ...group.toReversed().map((message) => others[0]!.keep(message)),
        ...group.map((message) => others[1]!.keep(message)),
      ])
      expect(kept.filter(({ fresh }) => fresh)).toHaveLength(40)
    }
  } finally {
    for (const other of others) await other.close()
  }
})

test('what cannot be read is kept in quarantine with its reason, undecided by nobody', async () => {
  const message = aMessage({ lane: 9, quarantine: { code: 'not-hl7', because: 'no MSH' } })
  await messages.keep(message)
  expect(woken).toEqual([])
  expect(
    await query('SELECT state, code, because FROM message WHERE control_id = $1', [message.controlId]),
  ).toEqual([{ state: 'quarantined', code: 'not-hl7', because: 'no MSH' }])
  expect(await undecidedIn(query, [9], [], 10)).toEqual([])
})

test('a row the database refuses does not take its neighbours with it', async () => {
  const [good, bad, alsoGood] = [
    aMessage({ order: 1 }),
    aMessage({ order: 2, sender: 'a\0b' }),
    aMessage({ order: 3 }),
  ]
  const [first, second, third] = await Promise.allSettled(
    [good, bad, alsoGood].map((one) => messages.keep(one)),
  )
  expect([first!.status, third!.status]).toEqual(['fulfilled', 'fulfilled'])
  expect(second).toMatchObject({ status: 'rejected', reason: expect.objectContaining({ code: '22021' }) })
  expect(isRowAtFault((second as PromiseRejectedResult).reason)).toBe(true)
  expect(isRowAtFault(Object.assign(new Error('server gone'), { code: '57P01' }))).toBe(false)
})

test('fragments are kept as they came, with the reason', async () => {
  const content = Buffer.from([0x0b, 0x4d, 0x00, 0xff])
  await messages.keepFragment({
    channel: 'adt-discharge',
    receivedAt: noon,
    peer: '127.0.0.1',
    because: 'the frame has no end',
    content,
  })
  expect(await query('SELECT because, bytes, content FROM fragment')).toEqual([
    { because: 'the frame has no end', bytes: 4, content },
  ])
})

const placeOf = async (controlId: string) => {
  const [row] = await query<{ place: string }>(
    `SELECT c.tableoid::regclass::text AS place FROM message m JOIN message_content c ON c.message_id = m.id WHERE m.control_id = $1`,
    [controlId],
  )
  return row?.place
}

test('content goes into the partition of its day; what came before there was one moves there', async () => {
  const early = aMessage({ receivedAt: new Date('2026-12-01T23:59:59.999Z') })
  await messages.keep(early)
  expect(await placeOf(early.controlId)).toBe('message_content_default')
  expect(await ensureContentPartitions(database.dataSource, '2026-12-01', 2)).toEqual([
    'message_content_20261201',
    'message_content_20261202',
  ])
  expect(await ensureContentPartitions(database.dataSource, '2026-12-01', 2)).toEqual([])
  expect(await placeOf(early.controlId)).toBe('message_content_20261201')
  const later = aMessage({ receivedAt: new Date('2026-12-02T00:00:00Z') })
  await messages.keep(later)
  expect(await placeOf(later.controlId)).toBe('message_content_20261202')
  const [digest] = await query<{ content: Buffer }>(
    'SELECT content FROM message_content c JOIN message m ON m.id = c.message_id WHERE m.control_id = $1',
    [early.controlId],
  )
  expect(createHash('sha256').update(digest!.content).digest()).toEqual(early.digest)
})

test('partitions are made by several processes at once while messages arrive, and none is lost', async () => {
  // What may go wrong goes wrong in one round of ten.
  for (let round = 1; round <= 40; round++) {
    const firstDay = Date.UTC(2030, round, 1)
    const arriving = Array.from({ length: 200 }, (_, n) =>
      aMessage({ receivedAt: new Date(firstDay + (n % 4) * 86_400_000), order: n }),
    )
    const from = new Date(firstDay).toISOString().slice(0, 10)
    const [made] = await Promise.all([
      Promise.all([1, 2, 3].map(() => ensureContentPartitions(database.dataSource, from, 4))),
      ...arriving.map((message) => messages.keep(message)),
    ])
    expect(made.flat()).toHaveLength(4)
    const [count] = await query(
      `SELECT count(*)::int AS contents, count(*) FILTER (WHERE tableoid = 'message_content_default'::regclass)::int AS astray
       FROM message_content WHERE received_on >= $1`,
      [from],
    )
    expect({ round, ...count }).toEqual({ round, contents: 200, astray: 0 })
  }
})

test('a message that waits while the partition of its day is made goes into it', async () => {
  const message = aMessage({ receivedAt: new Date('2027-03-01T08:00:00Z') })
  let keeping: Promise<unknown> = Promise.resolve()
  await database.dataSource.transaction(async (manager) => {
    await manager.query('LOCK TABLE ONLY message_content IN SHARE ROW EXCLUSIVE MODE')
    keeping = messages.keep(message)
    const isWaiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
    while ((await query(isWaiting)).length === 0);
    await manager.query('CREATE TABLE message_content_20270301 (LIKE message_content INCLUDING ALL)')
    await manager.query(
      `ALTER TABLE message_content ATTACH PARTITION message_content_20270301 FOR VALUES FROM ('2027-03-01') TO ('2027-03-02')`,
    )
  })
  expect(await keeping).toEqual({ fresh: true })
  expect(await placeOf(message.controlId)).toBe('message_content_20270301')
})

test('content before a day is dropped with its partition, and out of the default partition; rows stay', async () => {
  const days = ['2025-01-01', '2025-01-02', '2025-01-03']
  await ensureContentPartitions(database.dataSource, '2025-01-02', 2)
  const sent = days.map((day) => aMessage({ receivedAt: new Date(`${day}T12:00:00Z`) }))
  for (const message of sent) await messages.keep(message)
  expect(await dropContentBefore(database.dataSource, '2025-01-03')).toEqual(['message_content_20250102'])
  expect(await Promise.all(sent.map(({ controlId }) => placeOf(controlId)))).toEqual([
    undefined,
    undefined,
    'message_content_20250103',
  ])
  // A repeat is still known for one.
  expect(await messages.keep(sent[0]!)).toMatchObject({ fresh: false })
  await expect(dropContentBefore(database.dataSource, `2025-01-03'; DROP TABLE audit`)).rejects.toThrow(
    /YYYY-MM-DD/,
  )
})
