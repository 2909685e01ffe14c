import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import express from 'express'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import pg from 'pg'
import { inboundRoutes } from '../../src/api/inbound.ts'
import { failures } from '../../src/api/problem.ts'
import { loadChannels } from '../../src/channels/load.ts'
import type { ChannelPlan, HttpSource } from '../../src/domain/channel.ts'
import { runChannels, type ChannelRuns } from '../../src/engine/channel-runs.ts'
import { startHttpChannel } from '../../src/engine/http-channel.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { silentLog } from '../../src/lib/log.ts'
import { Metrics } from '../../src/lib/metrics.ts'
import { openInboundMessages, type InboundMessages } from '../../src/store/inbound-messages.ts'
import { queryOf } from '../../src/store/query.ts'
import { adt, answer } from '../intake/adt.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const folder = mkdtempSync(join(tmpdir(), 'bluepost-http-'))
let database: TestDatabase
let store: InboundMessages
let runs: ChannelRuns
let server: http.Server
beforeAll(async () => {
  for (const part of ['channels', 'mappings']) cpSync(part, join(folder, part), { recursive: true })
  const posted = (name: string, source: string) => {
    const file = join(folder, 'channels', `${name}.yaml`)
    const text = readFileSync(file, 'utf8').replace(/\nsource:\n(?: .*\n)+/, `\nsource:\n${source}\n`)
    writeFileSync(file, text.replace(/^enabled: false.*\n/m, ''))
  }
  posted(
    'adt-discharge',
    '  { type: http, format: hl7v2, verify: { header: X-Feed, secret: secret:feed }, maxMessageBytes: 20000 }',
  )
  posted(
    'encounter-finished',
    '  { type: http, format: fhir, verify: { header: X-Feed, secret: secret:feed } }',
  )
  posted('lab-results', '  { type: http, format: hl7v2, verify: { header: X-Feed, secret: secret:missing } }')
  const { plans, problems } = loadChannels({
    channelsDirectory: join(folder, 'channels'),
    mappingsDirectory: join(folder, 'mappings'),
    environment: {},
  })
  expect(problems).toEqual([])
  database = await freshDatabase()
  await makeRoomForDays(database.dataSource, new Date())
  store = openInboundMessages(database.dataSource)
  runs = runChannels(async (plan) =>
    startHttpChannel(plan as ChannelPlan & { source: HttpSource }, {
      store,
      secrets: () => new Map([['feed', 's3cret']]),
      newControlId: () => 'ACK1',
      metrics: new Metrics(),
      log: silentLog,
      now: () => new Date(),
    }),
  )
  const posting = plans.filter(({ source }) => source.type === 'http')
  await runs.settle(new Map(posting.map((plan) => [plan.name, plan])))
  const app = express()
  app.use('/inbound', inboundRoutes({ channel: runs.fed, now: () => new Date(), needsCertificate: false }))
  app.use(failures(silentLog))
  server = http.createServer(app)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
}, 60_000)
beforeEach(() => queryOf(database.dataSource)('TRUNCATE message, message_content, fragment CASCADE'))
afterAll(async () => {
  server.close()
  server.closeAllConnections()
  await store.close()
  await database.close()
  rmSync(folder, { recursive: true })
})

async function post(
  channel: string,
  body: string | Buffer,
  headers: Record<string, string> = {},
  method = 'POST',
) {
  const { port } = server.address() as AddressInfo
  const response = await fetch(`http://127.0.0.1:${port}/inbound/${channel}`, {
    method,
    headers: { 'X-Feed': 's3cret', 'content-type': 'application/hl7-v2', ...headers },
    ...(method === 'POST' && { body }),
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

const stored = () =>
  queryOf(database.dataSource)<{ channel: string; controlId: string; state: string; content: Buffer }>(
    `SELECT channel, control_id AS "controlId", state, content FROM message
     JOIN message_content ON message_id = id ORDER BY id`,
  )

test('a message is answered by its acknowledgement once it is on disk, a repeat with the same one', async () => {
  const first = await post('adt-discharge', adt('1'))
  expect([first.status, answer(first.text)]).toEqual([200, 'AA 1'])
  expect(first.headers.get('content-type')).toContain('application/hl7-v2')
  expect((await post('adt-discharge', adt('1'))).text).toBe(first.text)
  expect(await stored()).toMatchObject([
    { channel: 'adt-discharge', controlId: '1', state: 'received', content: Buffer.from(adt('1')) },
  ])
})

test('who wants no acknowledgement gets none; MLLP blocks around it and gzip are taken off', async () => {
  expect(await post('adt-discharge', adt('2', { 15: 'NE', 16: 'NE' }))).toMatchObject({
    status: 204,
    text: '',
  })
  expect(answer((await post('adt-discharge', `\x0b${adt('3')}\x1c\r`)).text)).toBe('AA 3')
  const zipped = await post('adt-discharge', gzipSync(adt('4')), { 'content-encoding': 'gzip' })
  expect(answer(zipped.text)).toBe('AA 4')
  expect((await stored()).map(({ content }) => content.subarray(0, 4).toString())).toEqual(
    Array(3).fill('MSH|'),
  )
})

test('each message of a batch is acknowledged, and one that is refused refuses the answer', async () => {
  const { status, text } = await post('adt-discharge', adt('5') + adt('', { 10: '' }) + adt('6'))
  expect(status).toBe(400)
  expect(text.match(/MSA\|../g)).toEqual(['MSA|AA', 'MSA|AR', 'MSA|AA'])
  expect((await stored()).map(({ state }) => state)).toEqual(['received', 'quarantined', 'received'])
})

test('what is no HL7, empty, or too large is answered in words, and the first is kept', async () => {
  expect(await post('adt-discharge', 'hello')).toMatchObject({
    status: 400,
    text: expect.stringMatching(/begin with MSH/),
  })
  expect(await post('adt-discharge', '')).toMatchObject({ status: 400, text: expect.stringMatching(/empty/) })
  expect((await post('adt-discharge', adt('7') + 'ZZZ|'.repeat(6000))).status).toBe(413)
  expect(
    (await post('adt-discharge', gzipSync('x'.repeat(50_000)), { 'content-encoding': 'gzip' })).status,
  ).toBe(413)
  expect(await queryOf(database.dataSource)('SELECT because FROM fragment')).toHaveLength(1)
  expect(await stored()).toEqual([])
})

test('strangers learn nothing: no secret, a wrong one, no such channel, a channel of another kind', async () => {
  const answers = await Promise.all([
    post('adt-discharge', adt('8'), { 'X-Feed': '' }),
    post('adt-discharge', adt('8'), { 'X-Feed': 's3cres' }),
    post('no-such-channel', adt('8')),
    post('documents', adt('8')),
    post('lab-results', adt('8')),
  ])
  expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401])
  expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
  expect((await post('adt-discharge', '', {}, 'GET')).status).toBe(405)
  expect(await stored()).toEqual([])
})

test('a channel whose secret is not in the settings fails, and says so; the others listen', () => {
  expect(runs.standing('adt-discharge')).toMatchObject({ state: 'running', because: null })
  expect(runs.standing('lab-results')).toMatchObject({
    state: 'failed',
    because: 'the settings have no secret “missing”',
  })
  expect(runs.listens()).toContainEqual({
    what: 'channel adt-discharge (HTTP)',
    on: '/inbound/adt-discharge',
  })
})

const encounter = (version: string, more: object = {}) =>
  JSON.stringify({
    resourceType: 'Encounter',
    id: 'e1',
    meta: { versionId: version },
    status: 'finished',
    subject: { reference: 'Patient/p1' },
    ...more,
  })

test('a resource is stored as it is, known again, and answered by an OperationOutcome', async () => {
  const first = await post('encounter-finished', encounter('1'))
  expect([first.status, JSON.parse(first.text)]).toMatchObject([201, { resourceType: 'OperationOutcome' }])
  expect((await post('encounter-finished', encounter('1'))).status).toBe(200)
  expect((await post('encounter-finished', encounter('2'))).status).toBe(201)
  const withPatient = {
    resourceType: 'Bundle',
    type: 'collection',
    entry: [
      { resource: JSON.parse(encounter('3')) as object },
      { resource: { resourceType: 'Patient', id: 'p1' } },
    ],
  }
  expect((await post('encounter-finished', JSON.stringify(withPatient))).status).toBe(201)
  expect((await stored()).map(({ controlId }) => controlId)).toEqual(
    [1, 2, 3].map((n) => `Encounter/e1/_history/${n}`),
  )
})

test.each(['', 'hello', '[]', 'null', '{}', '{"resourceType":7}', '{"resourceType":"../x"}'])(
  '%j is no resource',
  async (body) => {
    const { status, text } = await post('encounter-finished', body)
    expect([status, JSON.parse(text)]).toMatchObject([
      400,
      { issue: [{ severity: 'error', code: 'structure' }] },
    ])
    expect(await stored()).toEqual([])
  },
)

test('what cannot be stored is to be sent again', async () => {
  const url = new URL(database.url)
  const name = url.pathname.slice(1)
  url.pathname = '/postgres'
  const administrator = new pg.Client({ connectionString: url.href })
  await administrator.connect()
  try {
    await administrator.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`)
    await administrator.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [
      name,
    ])
    const refused = await post('adt-discharge', adt('9'))
    expect([refused.status, answer(refused.text), refused.headers.get('retry-after')]).toEqual([
      503,
      'AE 9',
      '5',
    ])
    expect((await post('adt-discharge', adt('10', { 15: 'NE', 16: 'NE' }))).status).toBe(503)
    expect(await post('encounter-finished', encounter('9'))).toMatchObject({
      status: 503,
      text: expect.stringMatching(/transient/),
    })
  } finally {
    await administrator.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`)
    await administrator.end()
  }
  expect(answer((await post('adt-discharge', adt('9'))).text)).toBe('AA 9')
  for (let isBack = false; !isBack;)
    isBack = await database.dataSource.query('SELECT 1').then(
      () => true,
      () => false,
    )
})
