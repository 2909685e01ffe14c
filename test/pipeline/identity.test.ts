import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import { loadChannels } from '../../src/channels/load.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { silentLog } from '../../src/lib/log.ts'
import { laneKey } from '../../src/mapping/lane-key.ts'
import { revoke } from '../../src/pipeline/authorize.ts'
import { decide, type DecidePorts } from '../../src/pipeline/decide.ts'
import { operate } from '../../src/pipeline/operate.ts'
import { makeReceive, type Receive } from '../../src/pipeline/receive.ts'
import { readBlindKey } from '../../src/store/decisions.ts'
import { entities } from '../../src/store/entities.ts'
import { openInboundMessages } from '../../src/store/inbound-messages.ts'
import { queryOf } from '../../src/store/query.ts'
import { hl7Time } from '../neighbours/ccd.ts'
import { anAuthorization } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { tracesOf } from '../journeys/traces.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const plan = plans.find(({ name }) => name === 'adt-discharge')!
const lanes = Array.from({ length: 256 }, (_, lane) => lane)
const oid = '2.16.840.1.113883.19.5.1'

let database: TestDatabase
let ports: DecidePorts
let receive: Receive
let closeStore: () => Promise<void>
beforeAll(async () => {
  database = await freshDatabase({ entities })
  const { dataSource } = database
  await makeRoomForDays(dataSource, new Date())
  ports = {
    dataSource,
    channel: (name) => plans.find((one) => one.name === name),
    aliases: new Map(),
    blindKey: await readBlindKey(queryOf(dataSource)),
    holdMaxMs: undefined,
    deliveryRequested: true,
    now: () => new Date(),
  }
  const store = openInboundMessages(dataSource)
  closeStore = () => store.close()
  let acks = 0
  receive = makeReceive({
    channel: plan.name,
    store,
    laneKey: (bytes) => laneKey(plan, bytes),
    clock: () => new Date(),
    newControlId: () => `ACK${++acks}`,
    log: silentLog,
  })
})
afterAll(async () => {
  await closeStore()
  await database.close()
})

const ellen = { family: 'Ross', given: 'Ellen', birthDate: '1956-08-14' }
const ada = { family: 'Okafor', given: 'Ada', birthDate: '1971-02-03' }
const cx = (id: string, authority = `ASHBY&${oid}&ISO`) => `${id}^^^${authority}^MR`
const newId = () => `P-${randomUUID()}`

async function aRequest(id: string, person = ellen) {
  const authorization = await anAuthorization(database.dataSource, {
    patient: { identifiers: [{ system: `urn:oid:${oid}`, value: id, type: 'MR' }], ...person },
    validFrom: new Date(Date.now() - 86_400_000),
  })
  const transmissions = () =>
    queryOf(database.dataSource)<{ id: string; state: string; code: string | null }>(
      'SELECT id, state, code FROM transmission WHERE authorization_id = $1 ORDER BY created_at, id',
      [authorization.id],
    )
  return { id: authorization.id, transmissions }
}

async function says(event: string, ...segments: readonly string[]): Promise<string> {
  const time = hl7Time(new Date())
  const controlId = randomUUID().slice(0, 20)
  const text = [
    `MSH|^~\\&|HIS|ASHBY|BLUEPOST|ASHBY|${time}||ADT^${event}|${controlId}|P|2.5.1`,
    `EVN|${event}|${time}||||${time}`,
    ...segments,
  ].join('\r')
  await receive.frame({ bytes: Buffer.from(`${text}\r`), endBlockComplete: true }, { address: '127.0.0.1' })
  while ((await decide(ports, lanes)).messages > 0);
  const [row] = await queryOf(database.dataSource)<{ because: string | null }>(
    'SELECT because FROM message WHERE control_id = $1',
    [controlId],
  )
  return row!.because ?? ''
}

const pid = (id: string, { family, given, birthDate } = ellen) =>
  `PID|1||${cx(id)}||${family}^${given}||${birthDate.replaceAll('-', '')}|F`
const pv1 = (visit: string) => `PV1|1|I|||||||||||||||||${visit}`
const discharge = (id: string, visit = `V-${randomUUID()}`, person = ellen) =>
  says('A03', pid(id, person), pv1(visit))
const waiting = async (request: { transmissions: () => Promise<{ state: string }[]> }) =>
  (await request.transmissions()).filter(({ state }) => state === 'waiting').length

test.each(['A40', 'A18', 'A30', 'A34', 'A36', 'A39', 'A46', 'A47', 'A49', 'A51'])(
  'after a merge (%s) a request goes on under the new number, and late messages under the old one still count',
  async (event) => {
    const [old, current] = [newId(), newId()]
    const request = await aRequest(old)
    expect(await says(event, pid(current), `MRG|${cx(old)}`)).toBe(
      'identity: merge, 1 authorization under both identifiers now',
    )
    await discharge(current)
    await discharge(old)
    expect(await waiting(request)).toBe(2)
  },
)

test('who asked under the number that stays is found by the one that was given up, too', async () => {
  const [old, current] = [newId(), newId()]
  const request = await aRequest(current)
  await says('A40', pid(current), `MRG|${cx(old)}`)
  await discharge(old)
  expect(await waiting(request)).toBe(1)
})

test('one message merges several patients (ADT_A39), and merges follow each other', async () => {
  const [a, b, c, d, e] = [newId(), newId(), newId(), newId(), newId()]
  const [first, second] = [await aRequest(a), await aRequest(c, ada)]
  expect(
    await says('A40', pid(b), `MRG|${cx(a)}`, pid(d, ada).replace('PID|1', 'PID|2'), `MRG|${cx(c)}`),
  ).toBe(
    'identity: merge, 1 authorization under both identifiers now; merge, 1 authorization under both identifiers now',
  )
  await says('A40', pid(e), `MRG|${cx(b)}`)
  await discharge(e)
  await discharge(d, undefined, ada)
  expect([await waiting(first), await waiting(second)]).toEqual([1, 1])
})

test('where two different people both asked, nothing goes out until a person has decided', async () => {
  const [old, current] = [newId(), newId()]
  const [one, other] = [await aRequest(old), await aRequest(current, ada)]
  await discharge(old)
  await discharge(current, undefined, ada)
  expect(await says('A40', pid(current, ada), `MRG|${cx(old)}`)).toBe(
    'identity: merge, 2 authorizations under both identifiers now; they describe different people, 2 transmissions held',
  )
  for (const request of [one, other])
    expect(await request.transmissions()).toMatchObject([{ state: 'held', code: 'ambiguous' }])
  // What comes later, under either number, is held as well.
  await discharge(current, undefined, ada)
  await discharge(old)
  expect(await waiting(one)).toBe(0)
  expect(await waiting(other)).toBe(0)
  // The wrong request is revoked: the other one counts again, and what was held may be released.
  await revoke(ports, one.id, 'merged by mistake', 'operator')
  await discharge(current, undefined, ada)
  expect(await waiting(other)).toBe(1)
  const [held] = await other.transmissions()
  expect(await operate(ports, 'release', held!.id, 'compared', 'operator')).toMatchObject({ outcome: 'done' })
})

test('two requests of one person go on side by side', async () => {
  const [old, current] = [newId(), newId()]
  const [one, other] = [await aRequest(old), await aRequest(current)]
  await says('A40', pid(current), `MRG|${cx(old)}`)
  await discharge(current)
  expect([await waiting(one), await waiting(other)]).toEqual([1, 1])
})

test('a merge onto somebody else’s record sends nothing of hers: birth date and name veto', async () => {
  const [old, hers] = [newId(), newId()]
  const request = await aRequest(old)
  await says('A40', pid(hers, ada), `MRG|${cx(old)}`)
  await discharge(hers, undefined, ada)
  expect(await request.transmissions()).toMatchObject([{ state: 'held', code: 'birth-date-differs' }])
})

test('numbers of different authorities, weak numbers and nonsense merge nothing', async () => {
  const [old, current] = [newId(), newId()]
  const request = await aRequest(old)
  for (const mrg of [`MRG|${cx(old, 'OTHER&1.2.3.4.5&ISO')}`, `MRG|${old}^^^ASHBY&${oid}&ISO^SS`])
    expect(await says('A40', pid(current), mrg)).toContain('nothing was changed')
  // Without a number to give up it is an ordinary message, and the filter’s.
  expect(await says('A40', pid(current), 'MRG|')).toContain('MSH-9.2 is A40')
  await discharge(current)
  expect(await request.transmissions()).toEqual([])
})

test('a moved visit is held: whose it is, a person decides; other visits go on', async () => {
  const [hers, others] = [newId(), newId()]
  const request = await aRequest(hers)
  await discharge(hers, 'V-MOVED')
  await discharge(hers, 'V-STAYS')
  expect(await says('A45', pid(others, ada), `MRG|${cx(hers)}||||V-MOVED`, pv1('V-MOVED'))).toBe(
    'identity: a move, 1 transmission held',
  )
  expect((await request.transmissions()).map(({ state, code }) => [state, code])).toEqual([
    ['held', 'visit-moved'],
    ['waiting', null],
  ])
})

test('a move that names the visit alone holds what is on its way about it', async () => {
  const hers = newId()
  const request = await aRequest(hers)
  await discharge(hers, 'V-NAMED')
  await discharge(hers, 'V-OTHER')
  expect(await says('A45', pid(newId(), ada), 'MRG|||||V-NAMED', pv1('V-NAMED'))).toBe(
    'identity: a move, 1 transmission held',
  )
  expect((await request.transmissions()).map(({ state }) => state)).toEqual(['held', 'waiting'])
})

test.each([
  ['A42', (old: string) => `MRG|||||${old}`, (id: string) => pid(id), pv1],
  ['A50', (old: string) => `MRG|||||${old}`, (id: string) => pid(id), pv1],
  [
    'A51',
    (old: string) => `MRG||||||${old}`,
    (id: string) => pid(id),
    (v: string) => `PV1|1|I${'|'.repeat(48)}${v}`,
  ],
  [
    'A41',
    (old: string) => `MRG|||${old}`,
    (id: string, v: string) => `${pid(id)}${'|'.repeat(10)}${v}`,
    () => 'PV1|1|I',
  ],
  [
    'A49',
    (old: string) => `MRG|||${old}`,
    (id: string, v: string) => `${pid(id)}${'|'.repeat(10)}${v}`,
    () => 'PV1|1|I',
  ],
])(
  '%s: a visit under another number is the same: sent once, and taken back under either number',
  async (event, mrg, pidOf, pv1Of) => {
    for (const cancelled of ['old', 'new']) {
      const [hers, [first, second]] = [newId(), [newId(), newId()]]
      const request = await aRequest(hers)
      await discharge(hers, first)
      expect(await says(event, pidOf(hers, second), mrg(first), pv1Of(second))).toBe(
        'identity: a visit goes by another number',
      )
      // Late, and repeated: one visit ends once.
      await discharge(hers, first)
      await discharge(hers, second)
      expect(await request.transmissions()).toMatchObject([{ state: 'waiting' }])
      await says('A13', pid(hers), pv1(cancelled === 'old' ? first : second))
      expect(await request.transmissions()).toMatchObject([{ state: 'withdrawn' }])
    }
  },
)

test('two visits that turn out to be one are sent once; a number that comes back is itself again', async () => {
  const [hers, one, other, third] = [newId(), newId(), newId(), newId()]
  const request = await aRequest(hers)
  await discharge(hers, one)
  await discharge(hers, other)
  expect(await says('A42', pid(hers), `MRG|||||${other}`, pv1(one))).toBe(
    'identity: a visit goes by another number, 1 transmission joined',
  )
  expect((await request.transmissions()).map(({ state, code }) => [state, code])).toEqual([
    ['waiting', null],
    ['withdrawn', 'joined'],
  ])
  // On to a third number, and back: no circle, and the oldest number still finds it.
  await says('A42', pid(hers), `MRG|||||${one}`, pv1(third))
  await says('A42', pid(hers), `MRG|||||${third}`, pv1(one))
  await says('A13', pid(hers), pv1(other))
  expect((await request.transmissions()).map(({ state }) => state)).toEqual(['withdrawn', 'withdrawn'])
})

test('moved identifiers name no visit: everything on its way waits for a person', async () => {
  const hers = newId()
  const request = await aRequest(hers)
  await discharge(hers)
  expect(await says('A43', pid(newId(), ada), `MRG|${cx(hers)}`)).toBe(
    'identity: a move, 1 transmission held',
  )
  expect(await request.transmissions()).toMatchObject([{ state: 'held', code: 'visit-moved' }])
})

test('links and their undoing widen nothing', async () => {
  const [one, other] = [newId(), newId()]
  const request = await aRequest(one)
  for (const event of ['A24', 'A37']) {
    expect(await says(event, pid(one), pid(other).replace('PID|1', 'PID|2'))).toBe(
      'identity: a link between records, which widens no authorization',
    )
    await discharge(other)
  }
  expect(await request.transmissions()).toEqual([])
})

test('a deleted record holds what was on its way', async () => {
  const hers = newId()
  const request = await aRequest(hers)
  await discharge(hers)
  expect(await says('A29', pid(hers))).toBe('identity: record deleted, 1 transmission held')
  expect(await request.transmissions()).toMatchObject([{ state: 'held', code: 'record-deleted' }])
})

test('a merge counts for what comes after it, also in the same pass, and for nothing before', async () => {
  const [old, current] = [newId(), newId()]
  const request = await aRequest(old)
  const time = hl7Time(new Date())
  const message = (event: string, ...segments: string[]) =>
    Buffer.from(
      [
        `MSH|^~\\&|HIS|ASHBY|BLUEPOST|ASHBY|${time}||ADT^${event}|${randomUUID().slice(0, 20)}|P|2.5.1`,
        `EVN|${event}|${time}||||${time}`,
        ...segments,
      ].join('\r') + '\r',
    )
  for (const bytes of [
    message('A03', pid(current), pv1('V-BEFORE')),
    message('A40', pid(current), `MRG|${cx(old)}`),
    message('A03', pid(current), pv1('V-AFTER')),
  ])
    await receive.frame({ bytes, endBlockComplete: true }, { address: '127.0.0.1' })
  while ((await decide(ports, lanes)).messages > 0);
  expect(await waiting(request)).toBe(1)
})

test('a test system’s merge changes nothing, and of people who asked for nothing nothing is kept', async () => {
  const [old, current] = [newId(), newId()]
  const request = await aRequest(old)
  const time = hl7Time(new Date())
  const bytes = Buffer.from(
    `MSH|^~\\&|HIS|ASHBY|BLUEPOST|ASHBY|${time}||ADT^A40|TEST-MERGE|T|2.5.1\r${pid(current)}\rMRG|${cx(old)}\r`,
  )
  await receive.frame({ bytes, endBlockComplete: true }, { address: '127.0.0.1' })
  while ((await decide(ports, lanes)).messages > 0);
  await discharge(current)
  expect(await request.transmissions()).toEqual([])

  const stranger = { family: 'Quackenbush', given: 'Philippa', birthDate: '1931-12-29' }
  await says('A40', pid('STRANGER-NEW-1', stranger), `MRG|${cx('STRANGER-OLD-1')}`)
  expect(
    await tracesOf(database.dataSource, ['Quackenbush', 'STRANGER-NEW-1', 'STRANGER-OLD-1', '19311229']),
  ).toEqual([])
})

test('every merge is a version of the request, with its reason, and stands in the audit', async () => {
  const [old, current] = [newId(), newId()]
  const { id } = await aRequest(old)
  await says('A40', pid(current), `MRG|${cx(old)}`)
  const query = queryOf(database.dataSource)
  const changes = await query<{ version: number; by: string; because: string }>(
    'SELECT version, by, because FROM authorization_change WHERE authorization_id = $1 ORDER BY version',
    [id],
  )
  expect(changes).toMatchObject([
    { version: 1 },
    { version: 2, by: 'engine', because: expect.stringMatching(/^the source merged two records/) },
  ])
  const audit = await query('SELECT actor FROM audit WHERE action = $1 AND subject = $2', [
    'authorization-changed',
    `authorization:${id}`,
  ])
  expect(audit).toEqual([{ actor: 'engine' }])
  // Told again, it changes nothing more.
  await says('A40', pid(current), `MRG|${cx(old)}`)
  expect(await query('SELECT 1 FROM authorization_change WHERE authorization_id = $1', [id])).toHaveLength(2)
})
