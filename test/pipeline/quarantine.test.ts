import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { loadChannels } from '../../src/channels/load.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { silentLog } from '../../src/lib/log.ts'
import { setField } from '../../src/lib/hl7v2-edit.ts'
import { laneKey } from '../../src/mapping/lane-key.ts'
import { decide, type DecidePorts } from '../../src/pipeline/decide.ts'
import { makeMissCounter } from '../../src/pipeline/count-misses.ts'
import { makeReceive } from '../../src/pipeline/receive.ts'
import { askForRelease, continueRelease, finishRelease } from '../../src/pipeline/release-quarantine.ts'
import { tableStandings } from '../../src/pipeline/table-standing.ts'
import { testQuarantine } from '../../src/pipeline/test-quarantine.ts'
import { readBlindKey } from '../../src/store/decisions.ts'
import { entities } from '../../src/store/entities.ts'
import { openInboundMessages } from '../../src/store/inbound-messages.ts'
import { foldQuarantine, listQuarantine, quarantinedIn } from '../../src/store/quarantine.ts'
import { inTransaction, queryOf, type Query } from '../../src/store/query.ts'
import { freshDatabase } from '../support/database.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const asWritten = plans.find(({ name }) => name === 'adt-discharge')!
/** The same channel after an analyst gave ZZ a meaning. */
const corrected = {
  ...asWritten,
  mapping: {
    ...asWritten.mapping,
    rows: asWritten.mapping.rows.map((row) =>
      row.type === 'value' && row.table?.name === 'discharge-disposition'
        ? { ...row, table: { ...row.table, rows: new Map([...row.table.rows, ['ZZ', 'home']]) } }
        : row,
    ),
  },
}
const allLanes = Array.from({ length: 256 }, (_, lane) => lane)
const at = new Date('2026-03-02T17:00:00Z')

let database: Awaited<ReturnType<typeof freshDatabase>>
let query: Query
let ports: DecidePorts
let plan = asWritten
let receive: ReturnType<typeof makeReceive>
let closeStore: () => Promise<void>
beforeAll(async () => {
  database = await freshDatabase({ entities })
  const { dataSource } = database
  query = queryOf(dataSource)
  await makeRoomForDays(dataSource, at)
  ports = {
    dataSource,
    channel: () => plan,
    aliases: new Map(),
    blindKey: await readBlindKey(query),
    holdMaxMs: undefined,
    deliveryRequested: true,
    now: () => at,
  }
  const store = openInboundMessages(dataSource, { onCommitted: () => {} })
  closeStore = () => store.close()
  receive = makeReceive({
    channel: plan.name,
    store,
    laneKey: (bytes) => laneKey(plan, bytes),
    clock: () => at,
    newControlId: () => 'ACK',
    log: silentLog,
  })
})
afterAll(async () => {
  await closeStore()
  await database.close()
})

const sample = readFileSync('channels/samples/a03.hl7')
let messages = 0

async function comes(fields: Record<string, string>): Promise<void> {
  let bytes: Buffer = sample
  for (const [path, value] of Object.entries({ 'MSH-10': `Q${++messages}`, ...fields }))
    bytes = setField(bytes, path, value)
  await receive.frame({ bytes, endBlockComplete: true }, { address: '127.0.0.1' })
}

async function decideAll(): Promise<void> {
  while ((await decide(ports, allLanes)).messages > 0);
}

const groups = async () =>
  (await listQuarantine(query, undefined)).map(({ cause, count }) => [cause, count] as const)
const groupOf = async (cause: string) =>
  (await listQuarantine(query, undefined)).find((group) => group.cause === cause)!
const miss = 'lookup-miss:discharge-disposition:"ZZ"'

test('messages wait by what has to be put right, counted at once and after folding alike', async () => {
  for (let n = 0; n < 3; n++) await comes({ 'PV1-36': 'ZZ' })
  await comes({ 'PV1-36': 'YY' })
  await comes({ 'PV1-45': '20260230' })
  await comes({ 'MSH-9': '' })
  await decideAll()
  const expected = [
    [miss, 3],
    ...[['datetime-unreadable:PV1-45', 1] as const, ['lookup-miss:discharge-disposition:"YY"', 1] as const],
    ['message-type-missing', 1],
  ]
  const byCause = (one: readonly [string, number]) => one[0]
  const sorted = (list: readonly (readonly [string, number])[]) =>
    [...list].sort((a, b) => (byCause(a) < byCause(b) ? -1 : 1))
  expect(sorted(await groups())).toEqual(sorted(expected as [string, number][]))
  const before = await listQuarantine(query, undefined)
  while ((await inTransaction(database.dataSource, foldQuarantine)) > 0);
  expect(await listQuarantine(query, undefined)).toEqual(before)
  expect(await groupOf(miss)).toMatchObject({
    because: 'table discharge-disposition has no row for "ZZ"',
    firstAt: at,
    lastAt: at,
  })
  expect(await listQuarantine(query, new Date(at.getTime() + 1))).toEqual([])
})

test('a group is tested against the channel as it is, and as it would be; nothing changes', async () => {
  const group = await groupOf(miss)
  const before = await groups()
  expect(await testQuarantine(query, group, asWritten)).toMatchObject({
    ...{ tested: 3, trigger: 0, quarantined: 3, isPartial: false },
    reasons: [{ decision: 'quarantined', cause: miss, count: 3 }],
  })
  expect(await testQuarantine(query, group, corrected)).toMatchObject({ trigger: 3, reasons: [] })
  expect(await testQuarantine(query, group, corrected, 2)).toMatchObject({ tested: 2, isPartial: true })
  expect(await testQuarantine(query, group, undefined)).toMatchObject({
    reasons: [{ cause: 'channel-missing', count: 3 }],
  })
  expect(await groups()).toEqual(before)
})

test('a released group is decided again, each message once, with one line in the audit', async () => {
  const group = await groupOf(miss)
  const asked = (await askForRelease(ports, group.id, 'ZZ means home', 'cli:ana'))!
  // Asked twice, it is one release.
  expect((await askForRelease(ports, group.id, undefined, 'cli:bob'))!.id).toBe(asked.id)
  await comes({ 'PV1-36': 'ZZ' })
  await decideAll()
  const both = await Promise.all([finishRelease(ports, asked.id), finishRelease(ports, asked.id)])
  expect(both).toMatchObject([{ released: 3, wanted: 3 }, { released: 3 }])
  plan = corrected
  await decideAll()
  plan = asWritten
  // What came after it was asked for is not part of it.
  expect(await groupOf(miss)).toMatchObject({ count: 1 })
  expect(await query(`SELECT count(*)::int AS count FROM message WHERE state = 'triggered'`)).toEqual([
    { count: 3 },
  ])
  expect(await query(`SELECT actor, detail FROM audit WHERE action = 'quarantine-released'`)).toMatchObject([
    { actor: 'cli:ana', detail: { released: 3, withoutContent: 0, because: 'ZZ means home' } },
  ])
})

test('what is still wrong comes back into quarantine, and the walk does not meet it again', async () => {
  const group = await groupOf(miss)
  for (let n = 0; n < 4; n++) await comes({ 'PV1-36': 'ZZ' })
  await decideAll()
  const asked = (await askForRelease(ports, group.id, undefined, 'cli:ana'))!
  expect(asked.wanted).toBe(5)
  expect(await continueRelease(ports, asked.id)).toMatchObject({ released: 5, endedAt: at })
  await decideAll()
  expect(await groupOf(miss)).toMatchObject({ count: 5 })
  expect(await continueRelease(ports, asked.id)).toMatchObject({ released: 5 })
  expect(await groupOf(miss)).toMatchObject({ count: 5 })
})

test('a message whose content is gone stays, and is said to stay', async () => {
  const group = await groupOf(miss)
  const [newest] = await quarantinedIn(query, group, { before: undefined, limit: 1 })
  await query('DELETE FROM message_content WHERE message_id = $1', [newest!.id])
  expect(await testQuarantine(query, group, corrected)).toMatchObject({ trigger: 4, withoutContent: 1 })
  const asked = (await askForRelease(ports, group.id, undefined, 'cli:ana'))!
  expect(await finishRelease(ports, asked.id)).toMatchObject({ released: 4, withoutContent: 1 })
  expect(await groupOf(miss)).toMatchObject({ count: 1 })
  await decideAll()
})

test('a release of more than one batch goes on where it stopped', async () => {
  await query(
    `INSERT INTO message (channel, received_at, received_on, sender, control_id, digest, bytes, peer, lane, state, code, cause, because)
     SELECT 'gone', $1::timestamptz, '2026-03-02', 'HIS', n::text, '\\x00', 10, 'test', 3, 'quarantined', 'channel-missing',
       'channel-missing', 'channel “gone” is not loaded' FROM generate_series(1, 1200) AS n`,
    [at],
  )
  await query(
    `INSERT INTO message_content (received_on, message_id, content) SELECT received_on, id, $1 FROM message WHERE channel = 'gone'`,
    [sample],
  )
  const group = await groupOf('channel-missing')
  expect(group.count).toBe(1200)
  const asked = (await askForRelease(ports, group.id, undefined, 'cli:ana'))!
  expect(await continueRelease(ports, asked.id)).toMatchObject({ released: 500, endedAt: null })
  expect(await groupOf('channel-missing')).toMatchObject({ count: 700 })
  const seen: number[] = []
  await finishRelease(ports, asked.id, ({ released }) => void seen.push(released))
  expect(seen).toEqual([1000, 1200])
  expect(await listQuarantine(query, undefined)).not.toContainEqual(
    expect.objectContaining({ channel: 'gone' }),
  )
})

test('lookups without a row are counted by value, durably and in batches; too many values become other', async () => {
  const counter = makeMissCounter({ dataSource: database.dataSource, now: () => at })
  await comes({ 'PV1-36': 'ZZ' })
  for (
    let decided = await decide(ports, allLanes);
    decided.messages > 0;
    decided = await decide(ports, allLanes)
  )
    counter.note(decided.misses)
  counter.note([{ channel: plan.name, table: 'discharge-disposition', value: undefined }])
  await counter.flush()
  counter.note(
    Array.from({ length: 80 }, (_, n) => ({ channel: plan.name, table: 'patient-class', value: `V${n}` })),
  )
  await counter.flush()
  counter.note([{ channel: plan.name, table: 'patient-class', value: 'V1' }])
  counter.note([{ channel: plan.name, table: 'patient-class', value: 'V99' }])
  counter.note([{ channel: plan.name, table: 'gone', value: 'A' }])
  await counter.flush()
  await counter.flush()
  const standings = await tableStandings(query, [corrected])
  const of = (name: string) => standings.find(({ table }) => table === name)!
  expect(of('discharge-disposition')).toMatchObject({ misses: 2, lastMissAt: at })
  expect(of('discharge-disposition').values).toEqual([
    { kind: 'hidden', value: null, count: 1, firstAt: at, lastAt: at, hasRow: false },
    { kind: 'shown', value: 'ZZ', count: 1, firstAt: at, lastAt: at, hasRow: false },
  ])
  expect(of('patient-class')).toMatchObject({ misses: 82 })
  expect(of('patient-class').values).toHaveLength(51)
  expect(of('patient-class').values[0]).toMatchObject({ kind: 'other', value: null, count: 31 })
  expect(of('patient-class').values[1]).toMatchObject({ value: 'V1', count: 2 })
  expect(of('gone')).toMatchObject({ rows: null, misses: 1 })
})

test('a message is as old as it was when it came, however long it waited', async () => {
  await comes({ 'PV1-36': 'ZZ', 'MSH-10': 'weekend' })
  await decideAll()
  const group = await groupOf(miss)
  const late = { ...ports, now: () => new Date(at.getTime() + 9 * 86_400_000) }
  const asked = (await askForRelease(late, group.id, undefined, 'cli:ana'))!
  await finishRelease(late, asked.id)
  plan = corrected
  while ((await decide(late, allLanes)).messages > 0);
  plan = asWritten
  expect(await query(`SELECT state FROM message WHERE control_id = 'weekend'`)).toEqual([
    { state: 'triggered' },
  ])
})
