import { afterAll, beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { loadChannels } from '../../src/channels/load.ts'
import { readAuthorizationRequest } from '../../src/authorizations/request.ts'
import { authorize, revoke } from '../../src/pipeline/authorize.ts'
import { decide, type DecidePorts } from '../../src/pipeline/decide.ts'
import { startDecider } from '../../src/pipeline/decider.ts'
import { makeReceive } from '../../src/pipeline/receive.ts'
import { replay } from '../../src/pipeline/replay.ts'
import { silentLog } from '../../src/lib/log.ts'
import { laneKey } from '../../src/mapping/lane-key.ts'
import { readBlindKey } from '../../src/store/decisions.ts'
import { entities } from '../../src/store/entities.ts'
import { openInboundMessages } from '../../src/store/inbound-messages.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { queryOf } from '../../src/store/query.ts'
import { adtOf, type AdtChoices } from '../neighbours/hl7-messages.ts'
import { freshDatabase } from '../support/database.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const plan = plans.find(({ name }) => name === 'adt-discharge')!
const allLanes = Array.from({ length: 256 }, (_, lane) => lane)

let database: Awaited<ReturnType<typeof freshDatabase>>
let ports: DecidePorts
let take: (message: string | Buffer) => Promise<void>
let closeStore: () => Promise<void>

beforeAll(async () => {
  database = await freshDatabase({ entities })
  const { dataSource } = database
  await makeRoomForDays(dataSource, new Date())
  ports = {
    dataSource,
    channel: (name) => (name === plan.name ? plan : undefined),
    aliases: new Map(),
    blindKey: await readBlindKey(queryOf(dataSource)),
    holdMaxMs: undefined,
    deliveryRequested: true,

    now: () => new Date(),
  }
  const store = openInboundMessages(dataSource, { onCommitted: () => {} })
  closeStore = () => store.close()
  let acks = 0
  const receive = makeReceive({
    channel: plan.name,
    store,
    laneKey: (bytes) => laneKey(plan, bytes),
    clock: () => new Date(),
    newControlId: () => `ACK${++acks}`,
    log: silentLog,
  })
  take = async (message) => {
    await receive.frame({ bytes: Buffer.from(message), endBlockComplete: true }, { address: '127.0.0.1' })
  }
})
afterAll(async () => {
  await closeStore()
  await database.close()
})

let patients = 0

/** Somebody new, with a continuous authorization for discharges. */
async function somebody() {
  const person = {
    identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value: `P${++patients}`, type: 'MR' }],
    family: 'Ross',
    given: 'Ellen',
    birthDate: '1975-05-01',
  }
  const reading = readAuthorizationRequest(
    {
      patient: person,
      destinations: ['ellen@direct.somephr.example'],
      triggers: ['discharge'],
      identityAssurance: { method: 'in-person', verifiedBy: 'desk' },
    },
    new Map(),
    new Date(),
  )
  if (!reading.valid) throw new Error(JSON.stringify(reading.problems))
  const authorization = await authorize({ ...ports, timezone: 'UTC' }, reading.value, 'test')
  const says = (choices: AdtChoices) => take(adtOf({ gender: 'female', ...person } as never, choices))
  const transmissions = () =>
    queryOf(database.dataSource)<{ state: string; because: string | null }>(
      'SELECT state, because FROM transmission WHERE authorization_id = $1 ORDER BY created_at',
      [authorization.id],
    )
  return { person, authorization, says, transmissions }
}

async function decideAll(): Promise<void> {
  while ((await decide(ports, allLanes)).messages > 0);
}

test('a discharge becomes one waiting transmission per destination, in one transaction with its job', async () => {
  const ellen = await somebody()
  await ellen.says({ event: 'A03' })
  await decideAll()
  expect(await ellen.transmissions()).toMatchObject([{ state: 'waiting' }])
})

test('an admission is filtered with a reason, not lost', async () => {
  const ellen = await somebody()
  await ellen.says({ event: 'A01', controlId: 'ADM-1' })
  await decideAll()
  expect(await ellen.transmissions()).toEqual([])
  const [row] = await queryOf(database.dataSource)<{ state: string; because: string }>(
    `SELECT state, because FROM message WHERE control_id = 'ADM-1'`,
  )
  expect(row).toMatchObject({ state: 'filtered', because: expect.stringMatching(/./) })
})

test('the same event of the same visit, told twice, is sent once', async () => {
  const ellen = await somebody()
  await ellen.says({ event: 'A03', visit: 'V-twice', controlId: 'T1' })
  await ellen.says({ event: 'A03', visit: 'V-twice', controlId: 'T2' })
  await decideAll()
  expect(await ellen.transmissions()).toHaveLength(1)
})

test('a cancel withdraws what has not left, in whichever order it is decided', async () => {
  const at = new Date()
  const after = await somebody()
  await after.says({ event: 'A03', visit: 'V-a', at })
  await after.says({ event: 'A13', visit: 'V-a', at })
  const before = await somebody()
  await before.says({ event: 'A13', visit: 'V-b', at })
  await before.says({ event: 'A03', visit: 'V-b', at })
  await decideAll()
  expect(await after.transmissions()).toMatchObject([{ state: 'withdrawn' }])
  expect((await before.transmissions()).filter(({ state }) => state === 'waiting')).toEqual([])
})

test('a revoked authorization matches nothing any more', async () => {
  const ellen = await somebody()
  await revoke(ports, ellen.authorization.id, undefined, 'test')
  await ellen.says({ event: 'A03' })
  await decideAll()
  expect(await ellen.transmissions()).toEqual([])
})

test('who has no authorization leaves a decision and nothing of herself', async () => {
  const query = queryOf(database.dataSource)
  await take(
    adtOf(
      {
        identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value: 'UNKNOWN-77', type: 'MR' }],
        family: 'Zzyzxfamily',
        given: 'Quentin',
        birthDate: '1961-07-13',
        gender: 'male',
      } as never,
      { event: 'A03', visit: 'VISIT-Zzyzx', controlId: 'NOBODY-1' },
    ),
  )
  await decideAll()
  const [row] = await query<{ state: string; id: string }>(
    `SELECT state, id FROM message WHERE control_id = 'NOBODY-1'`,
  )
  expect(row?.state).toBe('triggered')
  expect(await query('SELECT outcome FROM trigger_event WHERE message_id = $1', [row!.id])).toEqual([
    { outcome: 'no-authorization' },
  ])
  const tables = await query<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
     WHERE schemaname IN ('public', 'graphile_worker')`,
  )
  for (const { name } of tables) {
    const rows = await query<{ text: string }>(`SELECT t::text AS text FROM ${name} t`)
    const hex = (word: string) => Buffer.from(word).toString('hex')
    for (const { text } of rows)
      for (const word of ['Zzyzxfamily', 'UNKNOWN-77', '19610713', 'VISIT-Zzyzx'])
        expect(text.includes(word) || text.includes(hex(word)) ? `${word} in ${name}` : '').toBe('')
  }
})

test('whatever the bytes, every message is decided and none keeps its lane waiting', async () => {
  const whole = Buffer.from(dischargeText())
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.constantFrom(0, 10, 13, 92, 94, 124, 126, 255)), {
        minLength: 1,
        maxLength: 12,
      }),
      async (edits) => {
        const bytes = Buffer.from(whole)
        for (const [place, value] of edits) bytes[place] = value
        await take(bytes)
      },
    ),
    { numRuns: 400 },
  )
  await decideAll()
  const [left] = await queryOf(database.dataSource)<{ count: string }>(
    `SELECT count(*) FROM message WHERE state = 'received'`,
  )
  expect(left?.count).toBe('0')
})

test('a message in quarantine is decided again when an operator replays it; one that was sent is not', async () => {
  const ellen = await somebody()
  await ellen.says({ event: 'A03', controlId: 'REPLAY-1' })
  const query = queryOf(database.dataSource)
  const [row] = await query<{ id: string }>(`SELECT id FROM message WHERE control_id = 'REPLAY-1'`)
  const withoutChannel = { ...ports, channel: () => undefined }
  while ((await decide(withoutChannel, allLanes)).messages > 0);
  expect(await ellen.transmissions()).toEqual([])
  expect(await replay(ports, row!.id, 'channel restored', 'test')).toEqual({
    outcome: 'done',
    state: 'received',
  })
  await decideAll()
  expect(await ellen.transmissions()).toMatchObject([{ state: 'waiting' }])
  expect(await replay(ports, row!.id, undefined, 'test')).toMatchObject({ outcome: 'refused' })
  expect(await replay(ports, '999999999', undefined, 'test')).toEqual({ outcome: 'unknown' })
  const audit = await query(`SELECT actor FROM audit WHERE action = 'message-replayed' AND subject = $1`, [
    `message:${row!.id}`,
  ])
  expect(audit).toEqual([{ actor: 'test' }])
})

test('a message that cannot be decided is set aside, and the one behind it is not kept waiting', async () => {
  const ellen = await somebody()
  await ellen.says({ event: 'A03', controlId: 'STUMBLE' })
  await ellen.says({ event: 'A03', controlId: 'BEHIND' })
  // A bug of ours that the first of the two runs into: in the pass over both, and again when it is alone.
  const stumbles = [true, true]
  const decider = startDecider(
    {
      ...ports,
      channel: () => {
        if (stumbles.shift() === true) throw new TypeError('a bug')
        return plan
      },
    },
    silentLog,
    () => {},
  )
  decider.wake(allLanes)
  const query = queryOf(database.dataSource)
  for (let left = 1; left > 0;) {
    const [row] = await query<{ count: string }>(`SELECT count(*) FROM message WHERE state = 'received'`)
    left = Number(row?.count)
  }
  await decider.stop()
  const rows = await query<{ control_id: string; state: string; code: string | null }>(
    `SELECT control_id, state, code FROM message WHERE control_id IN ('STUMBLE', 'BEHIND') ORDER BY id`,
  )
  expect(rows).toMatchObject([
    { control_id: 'STUMBLE', state: 'quarantined', code: 'undecidable' },
    { control_id: 'BEHIND', state: 'triggered' },
  ])
})

function dischargeText(): string {
  return adtOf(
    {
      identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value: 'E1001', type: 'MR' }],
      family: 'Ross',
      given: 'Ellen',
      birthDate: '1975-05-01',
      gender: 'female',
    } as never,
    { event: 'A03', visit: 'V1', controlId: 'FUZZ' },
  )
}
