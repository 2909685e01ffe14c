import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { randomBytes, randomUUID } from 'node:crypto'
import type { Occurrence } from '../../src/domain/transmission.ts'
import { lockAuthorization, markRevoked } from '../../src/store/authorizations.ts'
import { readOccurrences } from '../../src/store/occurrences.ts'
import { inTransaction, queryOf, type Query } from '../../src/store/query.ts'
import { holdStories } from '../../src/store/stories.ts'
import { withStepLock } from '../../src/store/step-lock.ts'
import {
  insertTransmissions,
  lockTransmission,
  readTransmission,
  readTransmissions,
  recordOccurrence,
  type Circumstances,
} from '../../src/store/transmissions.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { anAuthorization, aNewTransmission, aTransmission, minutesAfter, noon } from './ellen.ts'

let database: TestDatabase
let query: Query
let authorizationId: string
beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
  authorizationId = (await anAuthorization(database.dataSource)).id
})
afterAll(() => database.close())

const insert = (...rows: Parameters<typeof insertTransmissions>[1]) =>
  inTransaction(database.dataSource, (tx) => insertTransmissions(tx, rows, noon))

const record = (id: string, occurrence: Occurrence, circumstances: Circumstances = {}, at = noon) =>
  inTransaction(database.dataSource, async (tx) =>
    recordOccurrence(tx, (await lockTransmission(tx, id))!, occurrence, at, circumstances),
  )

const due = async (id: string) => (await readTransmission(query, id))!.dueAt

test('a request is pushed once per destination until it has failed', async () => {
  const once = (await anAuthorization(database.dataSource, { frequency: { type: 'once' } })).id
  const push = () => aNewTransmission(once, { cause: 'request', occurredAt: new Date() })
  const first = push()
  expect((await insert(first)).size).toBe(1)
  expect((await insert(push())).size).toBe(0)
  await record(first.id, { what: 'cancelled' })
  expect((await insert(push())).size).toBe(1)
})

test('the story begins with how it was created, and every occurrence follows with its reason', async () => {
  const id = await aTransmission(database.dataSource, authorizationId)
  await record(id, { what: 'preparing' }, { attempts: 1, firstAttemptAt: noon })
  await record(
    id,
    { what: 'attempt-failed', code: 'fhir-unavailable', willRetry: true },
    { code: 'fhir-unavailable', because: 'no answer', dueAt: minutesAfter(5), detail: { host: 'fhir' } },
    minutesAfter(1),
  )
  const refused = await record(id, { what: 'submitted' }, {}, minutesAfter(2))
  expect(refused.advance.outcome).toBe('refused')
  expect(await readOccurrences(query, id)).toMatchObject([
    { what: 'created', to: 'waiting' },
    { what: 'preparing', from: 'waiting', to: 'preparing' },
    {
      what: 'attempt-failed',
      to: 'preparing',
      code: 'fhir-unavailable',
      because: 'no answer',
      detail: { host: 'fhir' },
    },
    {
      what: 'submitted (refused)',
      from: 'preparing',
      to: 'preparing',
      because: expect.stringContaining('cannot follow'),
    },
  ])
  expect(await readTransmission(query, id)).toMatchObject({
    state: 'preparing',
    attempts: 1,
    firstAttemptAt: noon,
    dueAt: minutesAfter(5),
  })
})

test('whatever waits for nothing is due at no time: held, failed, cancelled, processed where no more was asked', async () => {
  const held = await aTransmission(database.dataSource, authorizationId)
  await record(held, { what: 'held' })
  expect(await due(held)).toBeUndefined()
  await record(held, { what: 'released' }, { dueAt: minutesAfter(1) })
  expect(await due(held)).toEqual(minutesAfter(1))
  await record(held, { what: 'cancelled' }, {}, minutesAfter(2))
  expect(await readTransmission(query, held)).toMatchObject({ state: 'cancelled', endedAt: minutesAfter(2) })
  expect(await due(held)).toBeUndefined()

  const processed = await aTransmission(database.dataSource, authorizationId, { deliveryRequested: false })
  for (const what of ['preparing', 'sealed', 'handing-over', 'submitted'] as const)
    await record(processed, { what })
  await record(
    processed,
    { what: 'notified', disposition: 'processed' },
    { dueAt: minutesAfter(60) },
    minutesAfter(3),
  )
  expect(await readTransmission(query, processed)).toMatchObject({
    state: 'processed',
    processedAt: minutesAfter(3),
    endedAt: minutesAfter(3),
  })
  expect(await due(processed)).toBeUndefined()
})

test('a retry opens an ended transmission again', async () => {
  const id = await aTransmission(database.dataSource, authorizationId)
  await record(id, { what: 'attempt-failed', code: 'fhir-unavailable', willRetry: false })
  expect(await readTransmission(query, id)).toMatchObject({ state: 'failed', endedAt: noon })
  await record(id, { what: 'retried' }, { dueAt: minutesAfter(1) })
  const again = await readTransmission(query, id)
  expect(again).toMatchObject({ state: 'waiting', dueAt: minutesAfter(1) })
  expect(again).not.toHaveProperty('endedAt')
})

test('the moments of the way are written once each', async () => {
  const id = await aTransmission(database.dataSource, authorizationId)
  const messageId = `<${randomUUID()}@ashby.example>`
  await record(id, { what: 'preparing' })
  await record(id, { what: 'sealed' }, { messageId }, minutesAfter(1))
  await record(id, { what: 'handing-over' }, {}, minutesAfter(2))
  await record(
    id,
    { what: 'attempt-failed', code: 'edge-lost-after-data', willRetry: true },
    {},
    minutesAfter(3),
  )
  await record(id, { what: 'handing-over' }, {}, minutesAfter(4))
  await record(id, { what: 'submitted' }, {}, minutesAfter(5))
  await record(id, { what: 'notified', disposition: 'delivered' }, {}, minutesAfter(6))
  expect(await readTransmissions(query, [id])).toMatchObject([
    {
      state: 'delivered',
      ambiguous: false,
      onWire: false,
      messageId,
      sealedAt: minutesAfter(1),
      firstSentAt: minutesAfter(2),
      submittedAt: minutesAfter(5),
      deliveredAt: minutesAfter(6),
      endedAt: minutesAfter(6),
    },
  ])
})

test('the waits count from the first hand-over that may have arrived', async () => {
  const id = await aTransmission(database.dataSource, authorizationId)
  await record(id, { what: 'preparing' })
  await record(id, { what: 'sealed' })
  const deferred = { what: 'attempt-failed', code: 'edge-deferred', willRetry: true } as const
  await record(id, { what: 'handing-over' }, {}, minutesAfter(1))
  await record(id, deferred, {}, minutesAfter(2))
  expect(await readTransmission(query, id)).not.toHaveProperty('firstSentAt')
  await record(id, { what: 'handing-over' }, {}, minutesAfter(30))
  await record(id, { ...deferred, code: 'edge-lost-after-data' }, {}, minutesAfter(31))
  await record(id, { what: 'handing-over' }, {}, minutesAfter(60))
  await record(id, deferred, {}, minutesAfter(61))
  expect(await readTransmission(query, id)).toMatchObject({ firstSentAt: minutesAfter(30), ambiguous: true })
})

test('they count anew, and nothing is known yet, when a person has it tried again', async () => {
  const id = await aTransmission(database.dataSource, authorizationId)
  for (const what of ['preparing', 'sealed', 'handing-over', 'submitted'] as const) await record(id, { what })
  await record(id, { what: 'timed-out', awaiting: 'processed' }, {}, minutesAfter(60))
  await record(id, { what: 'retried' }, {}, minutesAfter(90))
  const again = await readTransmission(query, id)
  expect(again?.state).toBe('waiting')
  expect(again).not.toHaveProperty('firstSentAt')
  expect(again).not.toHaveProperty('submittedAt')
})

test('a transmission is one process’s at a time, and free again when that is done or dead', async () => {
  const id = randomUUID()
  let isInside = false
  const outcomes = await Promise.all([
    withStepLock(database.dataSource, id, async () => {
      isInside = true
      expect(await withStepLock(database.dataSource, id, () => Promise.resolve())).toBe(false)
      isInside = false
    }),
    withStepLock(database.dataSource, randomUUID(), () => Promise.resolve()),
  ])
  expect(outcomes).toEqual([true, true])
  expect(isInside).toBe(false)
  await expect(
    withStepLock(database.dataSource, id, () => Promise.reject(new Error('broke'))),
  ).rejects.toThrow('broke')
  expect(await withStepLock(database.dataSource, id, () => Promise.resolve())).toBe(true)
  const killed = withStepLock(database.dataSource, id, async () => {
    await query(
      `SELECT pg_terminate_backend(pid) FROM pg_locks
       WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    )
  })
  await expect(killed).rejects.toThrow()
  expect(await withStepLock(database.dataSource, id, () => Promise.resolve())).toBe(true)
})

test('a cancel of visits and a revocation of the same authorization wait for each other, never in a circle', async () => {
  const { id } = await anAuthorization(database.dataSource)
  const visits = [randomBytes(16), randomBytes(16)]
  const ids: string[] = []
  for (const encounterKey of visits) ids.push(await aTransmission(database.dataSource, id, { encounterKey }))
  let revoking: Promise<unknown> = Promise.resolve()
  await inTransaction(database.dataSource, async (cancel) => {
    await holdStories(cancel, visits, [id])
    // The cancels take the transmissions in the order opposite to that in which a revocation goes.
    await lockTransmission(cancel, ids.toSorted()[1]!)
    revoking = inTransaction(database.dataSource, async (revoke) => {
      const before = await lockAuthorization(revoke, id, 'NO KEY UPDATE')
      for (const one of ids.toSorted()) await lockTransmission(revoke, one)
      await markRevoked(revoke, before!, 'key:portal', undefined, noon)
    })
    await waiting(id)
    expect(await lockTransmission(cancel, ids.toSorted()[0]!)).toMatchObject({ state: 'waiting' })
  })
  await revoking
})

/** Until somebody waits for the row of the authorization. */
async function waiting(id: string): Promise<void> {
  for (;;) {
    const rows = await query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    )
    if (rows.length > 0) return
    await query('SELECT FROM transmit_authorization WHERE id = $1', [id])
  }
}
