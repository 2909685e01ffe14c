import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { randomBytes, randomUUID } from 'node:crypto'
import { appendAudit } from '../../src/store/audit.ts'
import { writeBlob } from '../../src/store/blobs.ts'
import {
  forgetContent,
  insertEvents,
  insertVerdicts,
  patientKey,
  readBlindKey,
  recordMessages,
  type NewEvent,
} from '../../src/store/decisions.ts'
import { openInboundMessages } from '../../src/store/inbound-messages.ts'
import { storyKey } from '../../src/store/stories.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { reconcile } from '../../src/store/reconcile.ts'
import { insertTransmissions } from '../../src/store/transmissions.ts'
import {
  countOpen,
  eventsOfPatient,
  listMessages,
  listTransmissions,
  readEvent,
  readMessage,
  readVerdicts,
} from '../../src/store/views.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { aMessage, anAuthorization, aNewTransmission, aStoredMessage, minutesAfter, noon } from './ellen.ts'

let database: TestDatabase
let query: Query
let authorizationId: string
beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
  authorizationId = (await anAuthorization(database.dataSource)).id
})
afterAll(() => database.close())

const ellensId = { system: 'urn:oid:1.2.3', value: 'MR-1' }

const anEvent = (messageId: string, changes: Partial<NewEvent> = {}): NewEvent => ({
  messageId,
  channel: 'adt-discharge',
  kind: 'discharge',
  occurredAt: noon,
  cancels: false,
  cancelsVisit: false,
  patientKeys: [],
  encounterKey: null,
  subjectKey: null,
  outcome: 'matched',
  because: 'the identifier is equal',
  ...changes,
})

/** A message with its whole fate: event, verdict, transmission. */
async function aTriggered(changes: Partial<NewEvent> = {}) {
  const message = await aStoredMessage(query, 'triggered')
  const events = await insertEvents(query, [anEvent(message, changes)], noon)
  const eventId = events.get(message)!
  const verdict = {
    authorizationId,
    authorizationVersion: 1,
    outcome: 'matched',
    code: 'matched',
    because: 'equal',
  } as const
  await insertVerdicts(query, [{ eventId, ...verdict }], noon)
  const transmission = aNewTransmission(authorizationId, { eventId })
  await insertTransmissions(query, [transmission], noon)
  return { message, eventId, transmission: transmission.id }
}

/** What reconciling finds while something is wrong; what is wrong is undone afterwards. */
async function findingsWhile(break_: (tx: Query) => Promise<unknown>): Promise<string[]> {
  const runner = database.dataSource.createQueryRunner()
  await runner.startTransaction()
  try {
    const tx = queryOf(runner.manager)
    await break_(tx)
    return (await reconcile(tx)).findings.map(({ what, example }) => `${what}: ${example}`)
  } finally {
    await runner.rollbackTransaction()
    await runner.release()
  }
}

test('messages of every fate add up, and a message just received is one of them', async () => {
  const inbound = openInboundMessages(database.dataSource)
  await inbound.keep(aMessage())
  await inbound.close()
  await aTriggered()
  await aStoredMessage(query, 'filtered', 'not a discharge')
  await aStoredMessage(query, 'quarantined', 'no row for ZZ')
  expect(await reconcile(query)).toEqual({
    messages: 4,
    fates: { received: 1, triggered: 1, filtered: 1, quarantined: 1 },
    findings: [],
  })
})

test('an orphan of every kind is found and named', async () => {
  const { message, eventId, transmission } = await aTriggered()
  const alone = await findingsWhile((tx) => aStoredMessage(tx, 'triggered'))
  expect(alone).toEqual([expect.stringMatching(/^message is triggered but has no trigger event: \d+$/)])
  expect(
    await findingsWhile((tx) =>
      tx(`UPDATE message SET state = 'filtered', because = 'x' WHERE id = $1`, [message]),
    ),
  ).toEqual([`message is not triggered but has a trigger event: ${message}`])
  expect(await findingsWhile((tx) => aStoredMessage(tx, 'filtered'))).toEqual([
    expect.stringMatching(/^message was filtered or quarantined without a reason/),
  ])
  expect(await findingsWhile((tx) => aStoredMessage(tx, 'received'))).toEqual([
    expect.stringMatching(/^message waits to be decided and its content is gone/),
  ])
  expect(await findingsWhile((tx) => tx('DELETE FROM verdict WHERE event_id = $1', [eventId]))).toEqual([
    `matched event has no verdict: ${eventId}`,
  ])
  const without = async (tx: Query) => {
    await tx('DELETE FROM occurrence WHERE transmission_id = $1', [transmission])
    await tx('DELETE FROM transmission_event WHERE transmission_id = $1', [transmission])
    await tx('DELETE FROM transmission WHERE id = $1', [transmission])
  }
  expect(await findingsWhile(without)).toEqual([
    expect.stringMatching(new RegExp(`^matched event has a verdict but no transmission.*: ${eventId}$`)),
  ])
  expect(
    await findingsWhile((tx) => tx('UPDATE transmission SET due_at = NULL WHERE id = $1', [transmission])),
  ).toEqual([`transmission is under way but nothing will look at it again: ${transmission}`])
  expect(
    await findingsWhile((tx) => tx(`UPDATE transmission SET state = 'sealed' WHERE id = $1`, [transmission])),
  ).toEqual([`transmission is sealed or sent and has no sealed message: ${transmission}`])
  expect(
    await findingsWhile((tx) =>
      tx('UPDATE transmission SET first_sent_at = $2 WHERE id = $1', [transmission, noon]),
    ),
  ).toEqual([`transmission was sent without a disclosure in the audit: ${transmission}`])
  expect(await findingsWhile((tx) => writeBlob(tx, 'sealed', [Buffer.from('x')], 10, noon))).toEqual([
    expect.stringMatching(/^stored bytes belong to nothing: /),
  ])
  const misnamed = async (tx: Query) => {
    const blob = await writeBlob(tx, 'sealed', [Buffer.from('x')], 10, noon)
    await tx(`INSERT INTO sealed_message VALUES ($1, $2, '<a@b>', '{}', '{}', $3)`, [
      transmission,
      blob.id,
      noon,
    ])
    await tx(`UPDATE transmission SET message_id = '<c@d>' WHERE id = $1`, [transmission])
  }
  expect(await findingsWhile(misnamed)).toEqual([
    `transmission was sent with another Message-ID than it was sealed with: ${transmission}`,
  ])
  expect((await reconcile(query)).findings).toEqual([])
})

test('a disclosure in the audit accounts for what was sent', async () => {
  const { transmission } = await aTriggered()
  const accounted = async (tx: Query) => {
    await tx('UPDATE transmission SET first_sent_at = $2 WHERE id = $1', [transmission, noon])
    const entry = { at: noon, actor: 'engine', action: 'disclosure', detail: {} } as const
    await appendAudit(tx, [{ ...entry, subject: `transmission:${transmission}` }])
  }
  expect(await findingsWhile(accounted)).toEqual([])
})

test('why something was sent can be told from a message, a patient and a day, and only by who knows the identifier', async () => {
  const blindKey = await readBlindKey(query)
  const key = patientKey(blindKey, ellensId)
  const visit = storyKey(blindKey, 'adt-discharge', 'encounter V-7')
  const { message, eventId, transmission } = await aTriggered({ patientKeys: [key], encounterKey: visit })
  await recordMessages(
    query,
    [{ id: message, state: 'triggered', code: null, cause: null, because: null, revision: 'abc' }],
    minutesAfter(1),
  )
  expect(await readMessage(query, message)).toMatchObject({
    state: 'triggered',
    revision: 'abc',
    decidedAt: minutesAfter(1),
  })
  expect(await readEvent(query, message)).toMatchObject({ id: eventId, outcome: 'matched' })
  expect(await readVerdicts(query, eventId)).toMatchObject([{ authorizationId, code: 'matched' }])
  expect(await listTransmissions(query, { receivedMessage: message, limit: 10 })).toMatchObject([
    { id: transmission, receivedMessage: message, state: 'waiting' },
  ])
  const [from, until] = [minutesAfter(-60), minutesAfter(60)]
  expect(await eventsOfPatient(query, [key], from, until)).toMatchObject([{ id: eventId }])
  expect(await eventsOfPatient(query, [key], until, minutesAfter(120))).toEqual([])
  expect(await eventsOfPatient(query, [patientKey(randomBytes(32), ellensId)], from, until)).toEqual([])
  expect(visit).not.toEqual(storyKey(blindKey, 'other-channel', 'encounter V-7'))
})

test('pages of messages and transmissions follow each other without gap or repeat', async () => {
  for (let n = 0; n < 5; n++) await aTriggered()
  for (const list of [
    (before?: string) => listMessages(query, { limit: 3, ...(before === undefined ? {} : { before }) }),
    (before?: string) => listTransmissions(query, { limit: 3, ...(before === undefined ? {} : { before }) }),
  ]) {
    const seen: string[] = []
    for (let page = await list(); page.length > 0; page = await list(seen.at(-1)))
      seen.push(...page.map(({ id }) => id))
    expect(new Set(seen).size).toBe(seen.length)
    expect(seen.length).toBeGreaterThanOrEqual(5)
  }
  const [{ count }] = (await query(`SELECT count(*) FROM message WHERE state = 'quarantined'`)) as [
    { count: string },
  ]
  expect(await listMessages(query, { state: 'quarantined', limit: 50 })).toHaveLength(Number(count))
  expect(await listTransmissions(query, { authorizationId: randomUUID(), limit: 50 })).toEqual([])
})

test('what is open is counted by state, and how long the oldest has been due', async () => {
  await query('UPDATE transmission SET due_at = NULL')
  const held = aNewTransmission(authorizationId, { state: 'held', dueAt: null })
  const waiting = [
    aNewTransmission(authorizationId),
    aNewTransmission(authorizationId, { dueAt: minutesAfter(60) }),
  ]
  await insertTransmissions(query, [held, ...waiting], noon)
  const { states, overdueSeconds } = await countOpen(query, minutesAfter(2))
  expect(Object.fromEntries(states)).toEqual({ held: 1, waiting: 2 })
  expect(overdueSeconds).toBe(120)
})

test('content that concerns nobody is forgotten, and only that', async () => {
  const inbound = openInboundMessages(database.dataSource)
  const [gone, kept] = [aMessage(), aMessage()]
  for (const message of [gone, kept]) await inbound.keep(message)
  await inbound.close()
  const idOf = async (controlId: string) =>
    (await query<{ id: string }>('SELECT id FROM message WHERE control_id = $1', [controlId]))[0]!.id
  await forgetContent(query, [{ id: await idOf(gone.controlId), receivedOn: '2026-11-23' }])
  const contents = await query<{ message_id: string }>('SELECT message_id FROM message_content')
  expect(contents.map((row) => row.message_id)).toContain(await idOf(kept.controlId))
  expect(contents.map((row) => row.message_id)).not.toContain(await idOf(gone.controlId))
})
