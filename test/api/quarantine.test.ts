import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { finishRelease } from '../../src/pipeline/release-quarantine.ts'
import { queryOf } from '../../src/store/query.ts'
import { anApi } from './an-api.ts'

let api: Awaited<ReturnType<typeof anApi>>
beforeAll(async () => {
  api = await anApi()
  for (let n = 0; n < 5; n++)
    await queryOf(api.database.dataSource)(
      `WITH m AS (
         INSERT INTO message (channel, received_at, received_on, sender, control_id, digest, bytes, peer, lane, state, code, cause, because)
         VALUES ('adt-discharge', '2026-03-02T09:10:00Z', '2026-03-02', 'HIS', $1, '\\x00', 10, 'test', 3, 'quarantined', 'lookup-miss',
           'lookup-miss:discharge-disposition:"ZZ"', 'table discharge-disposition has no row for "ZZ"') RETURNING id, received_on)
       INSERT INTO message_content (received_on, message_id, content) SELECT received_on, id, $2 FROM m`,
      [randomUUID(), readFileSync('channels/samples/a03.hl7')],
    )
})
afterAll(() => api.close())

async function theGroup(): Promise<Record<string, unknown>> {
  const { body } = await api.ask('GET', '/api/v1/quarantine', 'analyst')
  return (body['items'] as Record<string, unknown>[])[0]!
}

test('groups are listed with their sentence, count, remedy and samples', async () => {
  expect(await theGroup()).toMatchObject({
    channel: 'adt-discharge',
    cause: 'lookup-miss:discharge-disposition:"ZZ"',
    sentence: 'table discharge-disposition has no row for "ZZ"',
    count: 5,
    firstAt: '2026-03-02T09:10:00.000Z',
    remedy: expect.stringContaining('add a row for "ZZ" to mappings/tables/discharge-disposition.csv'),
    samples: [expect.any(String), expect.any(String), expect.any(String)],
  })
  const late = await api.ask('GET', '/api/v1/quarantine?since=2026-03-03T00:00:00Z', 'analyst')
  expect(late.body).toEqual({ items: [] })
  expect((await api.ask('GET', '/api/v1/quarantine?since=yesterday', 'analyst')).status).toBe(400)
})

test('one group has its messages page by page', async () => {
  const { id } = await theGroup()
  const first = await api.ask('GET', `/api/v1/quarantine/${String(id)}?limit=3`, 'operator')
  expect(first.body['messages']).toHaveLength(3)
  const path = `/api/v1/quarantine/${String(id)}?limit=3&before=${String(first.body['next'])}`
  expect((await api.ask('GET', path, 'operator')).body['messages']).toHaveLength(2)
  expect((await api.ask('GET', '/api/v1/quarantine/0123456789ab', 'operator')).status).toBe(404)
})

test('an analyst lists and tests; only an operator releases; nobody else sees anything', async () => {
  const { id } = await theGroup()
  const path = `/api/v1/quarantine/${String(id)}`
  expect((await api.ask('POST', `${path}/test`, 'analyst')).body).toMatchObject({ tested: 5, quarantined: 0 })
  expect((await api.ask('POST', `${path}/release`, 'analyst')).status).toBe(403)
  for (const who of ['patient', 'provider', 'auditor'] as const)
    expect((await api.ask('GET', '/api/v1/quarantine', who)).status).toBe(403)
  expect((await theGroup())['count']).toBe(5)
})

test('a release is accepted at once, done by a job, and its progress is shown', async () => {
  const { id } = await theGroup()
  const path = `/api/v1/quarantine/${String(id)}`
  const asked = await api.ask('POST', `${path}/release`, 'operator', { because: 'ZZ has a row now' })
  expect(asked).toMatchObject({
    status: 202,
    body: { wanted: 5, released: 0, endedAt: null, actor: 'key:opal' },
  })
  expect((await api.ask('GET', path, 'analyst')).body['release']).toMatchObject({ wanted: 5, endedAt: null })
  const { dataSource } = api.database
  expect(await queryOf(dataSource)(`SELECT task_identifier AS task FROM graphile_worker.jobs`)).toEqual([
    { task: 'release-quarantine' },
  ])
  await finishRelease({ dataSource, now: () => new Date() }, asked.body['id'] as string)
  expect((await api.ask('GET', '/api/v1/quarantine', 'operator')).body).toEqual({ items: [] })
  expect((await api.ask('POST', `${path}/release`, 'operator')).status).toBe(404)
})

test('tables are listed with what they were asked for in vain', async () => {
  await queryOf(api.database.dataSource)(
    `INSERT INTO lookup_miss VALUES ('adt-discharge', 'patient-class', 'shown', 'Q', 7, now(), now())`,
  )
  const { body } = await api.ask('GET', '/api/v1/tables', 'analyst')
  expect(body['items']).toContainEqual(
    expect.objectContaining({
      channel: 'adt-discharge',
      table: 'patient-class',
      misses: 7,
      rows: expect.any(Number),
    }),
  )
  expect((await api.ask('GET', '/api/v1/tables', 'patient')).status).toBe(403)
})
