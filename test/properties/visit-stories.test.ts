import { afterAll, beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { randomUUID } from 'node:crypto'
import { loadChannels } from '../../src/channels/load.ts'
import { cancelToleranceMs } from '../../src/domain/story.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { laneKey } from '../../src/mapping/lane-key.ts'
import { silentLog } from '../../src/lib/log.ts'
import { decide, type DecidePorts } from '../../src/pipeline/decide.ts'
import { makeReceive, type Receive } from '../../src/pipeline/receive.ts'
import { readBlindKey } from '../../src/store/decisions.ts'
import { entities } from '../../src/store/entities.ts'
import { openInboundMessages } from '../../src/store/inbound-messages.ts'
import { inTransaction, queryOf } from '../../src/store/query.ts'
import { lockTransmission, recordOccurrence } from '../../src/store/transmissions.ts'
import { hl7Time } from '../neighbours/ccd.ts'
import { anAuthorization, ellensPhr } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const { plans } = loadChannels({
  channelsDirectory: 'test/properties/visit-stories/channels',
  mappingsDirectory: 'test/properties/visit-stories/mappings',
  environment: {},
})
const lanes = Array.from({ length: 256 }, (_, lane) => lane)
const system = 'urn:oid:2.16.840.1.113883.19.5.1'

let database: TestDatabase
let ports: DecidePorts
let receives: Map<string, Receive>
let closeStore: () => Promise<void>

beforeAll(async () => {
  database = await freshDatabase({ entities })
  const { dataSource } = database
  await makeRoomForDays(dataSource, new Date())
  ports = {
    dataSource,
    channel: (name) => plans.find((plan) => plan.name === name),
    aliases: new Map(),
    blindKey: await readBlindKey(queryOf(dataSource)),
    holdMaxMs: undefined,
    deliveryRequested: true,
    now: () => new Date(),
  }
  const store = openInboundMessages(dataSource)
  closeStore = () => store.close()
  let acks = 0
  receives = new Map(
    plans.map((plan) => [
      plan.name,
      makeReceive({
        channel: plan.name,
        store,
        laneKey: (bytes) => laneKey(plan, bytes),
        clock: () => new Date(),
        newControlId: () => `ACK${++acks}`,
        log: silentLog,
      }),
    ]),
  )
})
afterAll(async () => {
  await closeStore()
  await database.close()
})

/** One thing that is told about a visit, as the hospital means it. */
interface Told {
  readonly event: 'A03' | 'A13' | 'A02' | 'A12' | 'A11' | 'T02' | 'T11'
  readonly visit: number
  /** Minutes after the first: when it happened, or what the cancel takes back happened. */
  readonly minute: number
  readonly document?: number
  readonly channel: 'adt' | 'mdm'
}

const kinds = {
  A03: 'end',
  A13: 'end',
  A02: 'move',
  A12: 'move',
  T02: 'document',
  T11: 'document',
  A11: 'visit',
}
const isCancel = ({ event }: Told) => ['A13', 'A12', 'A11', 'T11'].includes(event)

/** The reference model: what stands, whatever the order in which it was heard. */
function standing(told: readonly Told[]): Told[] {
  const cancels = told.filter(isCancel)
  return told.filter(
    (one) =>
      !isCancel(one) &&
      !cancels.some(
        (cancel) =>
          cancel.visit === one.visit &&
          cancel.minute * 60_000 + cancelToleranceMs >= one.minute * 60_000 &&
          (cancel.event === 'A11' ||
            (kinds[cancel.event] === kinds[one.event] && cancel.document === one.document)),
      ),
  )
}

/** What happens in a hospital: visits with moves, documents and discharges, some of them taken back. */
const happenings = fc
  .array(
    fc.record({
      event: fc.constantFrom('A03' as const, 'A02' as const, 'T02' as const),
      visit: fc.nat(1),
      minute: fc.integer({ min: 0, max: 20 }).map((n) => n * 3),
      document: fc.nat(1),
      isTakenBack: fc.boolean(),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .chain((happened) => {
    const told = happened.flatMap(({ event, visit, minute, document, isTakenBack }): Told[] => {
      const channel = event === 'T02' ? 'mdm' : 'adt'
      const about = { visit, minute, channel, ...(event === 'T02' && { document }) } as const
      const cancel = { A03: 'A13', A02: 'A12', T02: 'T11' } as const
      return [{ event, ...about }, ...(isTakenBack ? [{ event: cancel[event], ...about }] : [])]
    })
    return fc.tuple(
      fc.shuffledSubarray(told, { minLength: told.length }),
      fc.subarray(told),
      fc.option(fc.record({ visit: fc.nat(1), minute: fc.integer({ min: 0, max: 60 }) }), { freq: 4 }),
      fc.array(fc.boolean(), { minLength: 24, maxLength: 24 }),
    )
  })
  .map(([shuffled, repeated, wholeVisit, pauses]) => ({
    told: [
      ...shuffled,
      // The same again, in a message of its own.
      ...repeated,
      ...(wholeVisit === null ? [] : [{ event: 'A11' as const, channel: 'adt' as const, ...wholeVisit }]),
    ],
    pauses,
  }))

async function aPatient() {
  const id = randomUUID()
  const authorization = await anAuthorization(database.dataSource, {
    patient: {
      identifiers: [{ system, value: id, type: 'MR' }],
      family: 'Ross',
      given: 'Ellen',
      birthDate: '1956-08-14',
    },
    destinations: [ellensPhr],
    triggers: ['discharge', 'transition', 'new-document'],
    validFrom: new Date(Date.now() - 86_400_000),
  })
  const start = Date.now() - 6 * 3_600_000
  const say = async (told: Told) => {
    const time = hl7Time(new Date(start + told.minute * 60_000))
    const type = told.event.startsWith('T') ? 'MDM' : 'ADT'
    const segments = [
      `MSH|^~\\&|HIS|ASHBY|BLUEPOST|ASHBY|${time}||${type}^${told.event}|${randomUUID().slice(0, 20)}|P|2.5.1`,
      `EVN|${told.event}|${time}||||${time}`,
      `PID|1||${id}^^^ASHBY&2.16.840.1.113883.19.5.1&ISO^MR||Ross^Ellen||19560814|F`,
      `PV1|1|I|||||||||||||||||V${told.visit}-${id}`,
      ...(told.document === undefined ? [] : [`TXA|1|DS|||||||||D${told.document}-${id}`]),
    ]
    const [txa] = segments.slice(4)
    // TXA-12 is the unique document number.
    if (txa !== undefined) segments[4] = `TXA|1|DS||||||||||D${told.document}-${told.visit}-${id}`
    await receives
      .get(told.channel)!
      .frame(
        { bytes: Buffer.from(`${segments.join('\r')}\r`), endBlockComplete: true },
        { address: '127.0.0.1' },
      )
  }
  return { authorization, say }
}

/** Two processes decide at the same time. */
async function decideAll(): Promise<void> {
  const drain = async () => {
    while ((await decide(ports, lanes, 3)).messages > 0);
  }
  await Promise.all([drain(), drain()])
  await drain()
}

interface Row {
  readonly id: string
  readonly state: string
  readonly visit: string
  readonly ends: number
  readonly stands: number
}

function transmissionsOf(authorizationId: string): Promise<Row[]> {
  return queryOf(database.dataSource)<Row>(
    `SELECT t.id, t.state, encode(t.encounter_key, 'hex') AS visit,
       (count(*) FILTER (WHERE e.kind = 'discharge'))::int AS ends,
       (count(*) FILTER (WHERE e.taken_back_by IS NULL))::int AS stands
     FROM transmission t JOIN transmission_event te ON te.transmission_id = t.id JOIN trigger_event e ON e.id = te.event_id
     WHERE t.authorization_id = $1 GROUP BY t.id ORDER BY t.created_at, t.id`,
    [authorizationId],
  )
}

test('what waits at the end is what stands, one transmission for each visit, in whichever order it was told', async () => {
  await fc.assert(
    fc.asyncProperty(happenings, async ({ told, pauses }) => {
      const { authorization, say } = await aPatient()
      for (const [nth, one] of told.entries()) {
        await say(one)
        if (pauses[nth] === true) await decideAll()
      }
      await decideAll()
      const rows = await transmissionsOf(authorization.id)
      // A cancel of a visit at a time before anything that was heard of: nobody can say what it means.
      const isUnclear = told.some(
        (cancel) =>
          cancel.event === 'A11' &&
          !told.some(
            (one) => !isCancel(one) && one.visit === cancel.visit && one.minute <= cancel.minute + 1,
          ),
      )
      const open = rows.filter(({ state }) => state === 'waiting' || (isUnclear && state === 'held'))
      const expected = new Set(standing(told).map(({ visit }) => visit))
      expect(rows.filter((row) => !open.includes(row) && row.state !== 'withdrawn')).toEqual([])
      expect(open.length).toBe(expected.size)
      expect(new Set(open.map(({ visit }) => visit)).size).toBe(expected.size)
      expect(open.every(({ stands }) => stands > 0)).toBe(true)
    }),
    { numRuns: 60 },
  )
})

test('no end of a visit is sent twice without a cancel in between, and nothing withdrawn is ever sent', async () => {
  await fc.assert(
    fc.asyncProperty(happenings, async ({ told, pauses }) => {
      const { authorization, say } = await aPatient()
      for (const [nth, one] of told.entries()) {
        await say(one)
        if (pauses[nth] !== true) continue
        await decideAll()
        for (const { id, state } of await transmissionsOf(authorization.id))
          if (state === 'waiting') await sendOff(id)
      }
      await decideAll()
      const rows = await transmissionsOf(authorization.id)
      for (const visit of new Set(rows.map((row) => row.visit))) {
        const sent = rows.filter((row) => row.visit === visit && row.state === 'submitted' && row.ends > 0)
        const cancels = told.filter(({ event }) => event === 'A13' || event === 'A11').length
        expect(sent.length).toBeLessThanOrEqual(1 + cancels)
      }
    }),
    { numRuns: 40 },
  )
})

/** As the steps do it, without the neighbours. */
async function sendOff(id: string): Promise<void> {
  await inTransaction(database.dataSource, async (query) => {
    for (const what of ['preparing', 'sealed', 'handing-over', 'submitted'] as const)
      await recordOccurrence(query, (await lockTransmission(query, id))!, { what }, new Date())
  })
}
