import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Town } from '../neighbours/neighbourhood.ts'
import { aTown } from '../neighbours/town.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { aPatientWhoAsked, discharges, expectDelivered, expectReconciled } from './killed-engine.ts'
import { durableMoments, Watch } from './moments.ts'

const startMsMax = 120_000
const storyMsMax = 90_000
const messagesPerKill = 3

let database: TestDatabase
let town: Town
let watch: Watch
let sent = 0

beforeAll(async () => {
  database = await freshDatabase()
  town = await aTown({ database: database.url })
  watch = await Watch.on(database.url)
}, startMsMax)
afterAll(async () => {
  await watch?.close()
  await town?.close()
  await database?.close()
}, startMsMax)

/** Messages flow, the engine is killed at the moment, and started again: nothing is lost, nothing is doubled. */
async function survives(kill: () => Promise<unknown>): Promise<void> {
  const people = await Promise.all(
    Array.from({ length: messagesPerKill }, (_, number) => aPatientWhoAsked(town, `K${sent + number}`)),
  )
  sent += messagesPerKill
  const results = discharges(town, people)
  await kill()
  expect(town.engine.isRunning).toBe(false)
  await town.engine.start()
  for (const { ack } of await results) expect(ack).toBe('AA')
  for (const asking of people) await expectDelivered(town, asking)
  const [stored] = await database.dataSource.query<{ count: string }[]>('SELECT count(*) FROM message')
  expect(stored?.count).toBe(String(sent))
  const [open] = await database.dataSource.query<{ count: string }[]>(
    `SELECT count(*) FROM message m WHERE (SELECT count(*) FROM trigger_event e WHERE e.message_id = m.id) <> 1`,
  )
  expect(open?.count).toBe('0')
}

test.each(durableMoments)(
  'killed when $what',
  async (moment) => {
    const { reached, forget } = await watch.committed(moment)
    await survives(async () => {
      await reached
      await town.engine.kill('SIGKILL')
      await forget()
    })
  },
  storyMsMax,
)

test.each(durableMoments.filter(({ table }) => ['message', 'sealed_message', 'attempt'].includes(table)))(
  'killed just before it is durable that $what',
  async (moment) => {
    const held = await watch.uncommitted(moment)
    await survives(async () => {
      await town.until(moment.what, () => held.isReached())
      await town.engine.kill('SIGKILL')
      await held.letGo()
    })
  },
  storyMsMax,
)

test(
  'killed while the FHIR server is being asked',
  async () => {
    await town.clinic.fails({ how: 'hang', path: 'Binary/' })
    const told = town.clinic.process.happenings.length
    await survives(async () => {
      await town.until('a document is asked for', () =>
        town.clinic.process.happenings
          .slice(told)
          .some(({ what, path }) => what === 'asked' && String(path).includes('Binary/')),
      )
      await town.engine.kill('SIGKILL')
      await town.clinic.fails(null)
    })
  },
  storyMsMax,
)

test(
  'killed when the next hop has every byte and has not answered: the same bytes come again',
  async () => {
    await town.phr.door({ at: 'data', how: 'hang', times: 1 })
    // An MDN about the first arrival would close it, and nothing more would be sent.
    await town.phr.answers({ never: true, times: 1 })
    const before = town.phr.inbox.length
    const told = town.phr.process.happenings.length
    await survives(async () => {
      await town.until('the final dot is there', () =>
        town.phr.process.happenings.slice(told).some(({ what, at }) => what === 'fault' && at === 'data'),
      )
      await town.engine.kill('SIGKILL')
      await town.phr.door(null)
    })
    const arrivals = town.phr.inbox.slice(before).map((message) => message.arrivals)
    expect(arrivals).toContain(2)
  },
  storyMsMax,
)

test(
  'after all that every message has exactly one fate',
  async () => {
    await expectReconciled(town, sent)
    expect(town.phr.refused).toEqual([])
  },
  storyMsMax,
)
