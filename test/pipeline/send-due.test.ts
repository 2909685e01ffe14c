import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { authorize, change, revoke } from '../../src/pipeline/authorize.ts'
import { sendDue } from '../../src/pipeline/send-due.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { ellensPhr, ellensRequest, minutesAfter, noon } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
let query: Query
let at = noon
const dayMs = 86_400_000
const ports = () => ({
  dataSource: database.dataSource,
  deliveryRequested: true,
  timezone: 'America/New_York',
  now: () => at,
})
const monthly = { frequency: { type: 'interval', every: 'P1M' }, triggers: [] } as const

beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
})
beforeEach(async () => {
  at = noon
  await query('UPDATE transmit_authorization SET next_due_at = NULL')
})
afterAll(() => database.close())

const transmissions = (id: string) =>
  query<{ cause: string; state: string; dueAt: Date; destination: string }>(
    `SELECT cause, state, due_at AS "dueAt", destination FROM transmission WHERE authorization_id = $1 ORDER BY created_at, destination`,
    [id],
  )
const dueAt = async (id: string) => {
  const [row] = await query<{ due: Date | null }>(
    'SELECT next_due_at AS due FROM transmit_authorization WHERE id = $1',
    [id],
  )
  return row!.due
}
/** Whatever was on its way is over. */
const sent = () => query(`UPDATE transmission SET state = 'delivered', due_at = NULL`)

test('a request by interval sends at once, then in the night of the same day of each month', async () => {
  const { id } = await authorize(ports(), ellensRequest(monthly), 'test')
  expect(await transmissions(id)).toMatchObject([{ cause: 'interval', state: 'waiting', dueAt: noon }])
  const first = (await dueAt(id))!
  expect(first.toISOString()).toMatch(/^2026-12-23T(0[6-9]|10):/)
  await sent()
  at = new Date(first.getTime() - 1000)
  expect(await sendDue(ports())).toBe(0)
  at = new Date(first.getTime() + 5000)
  expect(await sendDue(ports())).toBe(1)
  expect(await sendDue(ports())).toBe(0)
  expect((await dueAt(id))!.toISOString()).toMatch(/^2027-01-23T/)
  expect(await transmissions(id)).toHaveLength(2)
})

test('after a year of downtime it is due once, a little later; two engines at once start it once', async () => {
  const ids = await Promise.all(
    Array.from({ length: 250 }, async () => (await authorize(ports(), ellensRequest(monthly), 'test')).id),
  )
  await sent()
  at = new Date(noon.getTime() + 400 * dayMs)
  const started = await Promise.all([sendDue(ports()), sendDue(ports())])
  // Each may have passed by what the other had locked; nothing is left for the next look.
  expect(started[0] + started[1] + (await sendDue(ports()))).toBe(250)
  const due: number[] = []
  for (const id of ids) {
    const [, second, ...more] = await transmissions(id)
    expect(more).toEqual([])
    due.push(second!.dueAt.getTime() - at.getTime())
    expect((await dueAt(id))!.getTime()).toBeGreaterThan(at.getTime())
  }
  expect(Math.min(...due)).toBeGreaterThanOrEqual(0)
  expect(Math.max(...due)).toBeLessThan(4 * 3_600_000)
  // Spread: no quarter of the time has nearly everything.
  for (const quarter of [0, 1, 2, 3])
    expect(due.filter((ms) => Math.floor(ms / 3_600_000) === quarter).length).toBeGreaterThan(25)
})

test('where one is still on its way to an address, no second one is begun there', async () => {
  const other = 'lee@direct.otherphr.example'
  const { id } = await authorize(
    ports(),
    ellensRequest({ ...monthly, destinations: [ellensPhr, other] }),
    'test',
  )
  await query(
    `UPDATE transmission SET state = 'delivered', due_at = NULL WHERE authorization_id = $1 AND destination = $2`,
    [id, other],
  )
  at = new Date((await dueAt(id))!.getTime() + 1000)
  expect(await sendDue(ports())).toBe(1)
  expect((await transmissions(id)).map(({ destination }) => destination).sort()).toEqual(
    [ellensPhr, other, other].sort(),
  )
})

test('it begins with the authorization, and ends with its end, a revocation and another frequency', async () => {
  const later = await authorize(ports(), ellensRequest({ ...monthly, validFrom: minutesAfter(60) }), 'test')
  expect(await transmissions(later.id)).toEqual([])
  expect(await dueAt(later.id)).toEqual(minutesAfter(60))
  at = minutesAfter(61)
  expect(await sendDue(ports())).toBe(1)
  expect((await transmissions(later.id))[0]!.dueAt).toEqual(at)

  const ending = await authorize(
    ports(),
    ellensRequest({ ...monthly, validUntil: minutesAfter(3 * 1440) }),
    'test',
  )
  const revoked = await authorize(ports(), ellensRequest(monthly), 'test')
  const changed = await authorize(ports(), ellensRequest(monthly), 'test')
  await revoke(ports(), revoked.id, undefined, 'test')
  await change(ports(), changed.id, { frequency: { type: 'continuous' }, triggers: ['discharge'] }, 'test')
  expect([await dueAt(revoked.id), await dueAt(changed.id)]).toEqual([null, null])
  await sent()
  at = new Date(noon.getTime() + 45 * dayMs)
  await sendDue(ports())
  expect(await dueAt(ending.id)).toBeNull()
  for (const { id } of [ending, revoked, changed]) expect(await transmissions(id)).toHaveLength(1)
})

test('a shorter interval counts from the change; the same one again, or another address, moves nothing', async () => {
  const { id } = await authorize(ports(), ellensRequest(monthly), 'test')
  const first = await dueAt(id)
  at = minutesAfter(1440)
  await change(ports(), id, { destinations: ['lee@direct.otherphr.example'] }, 'test')
  expect(await dueAt(id)).toEqual(first)
  await change(ports(), id, { frequency: { type: 'interval', every: 'P1W' } }, 'test')
  expect((await dueAt(id))!.toISOString()).toMatch(/^2026-12-01T/)
  expect(await transmissions(id)).toHaveLength(1)
})
