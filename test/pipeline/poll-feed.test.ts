import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { loadChannels } from '../../src/channels/load.ts'
import { fhirServer } from '../../src/documents/fhir-server.ts'
import type { ChannelPlan, FhirPollSource } from '../../src/domain/channel.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { decide, type DecidePorts } from '../../src/pipeline/decide.ts'
import { pollFeed, type PollPorts } from '../../src/pipeline/poll-feed.ts'
import { readBlindKey } from '../../src/store/decisions.ts'
import { entities } from '../../src/store/entities.ts'
import { readCursor } from '../../src/store/feed-cursors.ts'
import { openInboundMessages } from '../../src/store/inbound-messages.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { anAuthorization } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const plan = plans.find(({ name }) => name === 'eob-feed') as ChannelPlan & { source: FhirPollSource }
const lanes = Array.from({ length: 256 }, (_, lane) => lane)
const system = 'urn:oid:2.16.840.1.113883.3.88'

interface Claim {
  readonly id: string
  readonly patient: string
  readonly status?: string
  readonly lastUpdated: Date
}

let database: TestDatabase
let query: Query
let ports: PollPorts
let decidePorts: DecidePorts
let server: http.Server
let closeStore: () => Promise<void>
let claims: Claim[] = []
let asked: string[] = []
let pageSize = 2
/** What the server says to a page, counted from 1; undefined: the page. */
let fault: (page: number) => number | 'elsewhere' | undefined = () => undefined
let now = new Date()

beforeAll(async () => {
  database = await freshDatabase({ entities })
  const { dataSource } = database
  query = queryOf(dataSource)
  await makeRoomForDays(dataSource, now)
  server = http.createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const store = openInboundMessages(dataSource)
  closeStore = () => store.close()
  ports = {
    dataSource,
    store,
    now: () => now,
    server: fhirServer(
      { name: 'payer-r4', baseUrl: base(), auth: { type: 'none' }, timeoutMs: 5000, attachmentOrigins: [] },
      { pause: () => Promise.resolve() },
    ),
  }
  decidePorts = {
    dataSource,
    channel: (name) => plans.find((one) => one.name === name),
    aliases: new Map(),
    blindKey: await readBlindKey(query),
    holdMaxMs: undefined,
    deliveryRequested: true,
    now: () => now,
  }
})
beforeEach(async () => {
  await query('DELETE FROM feed_cursor')
  claims = []
  asked = []
  pageSize = 2
  fault = () => undefined
  now = new Date()
})
afterAll(async () => {
  await closeStore()
  server.close()
  server.closeAllConnections()
  await database.close()
})

const base = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/fhir`
const minutes = (count: number) => new Date(now.getTime() + count * 60_000)

function answer(request: http.IncomingMessage, response: http.ServerResponse): void {
  const url = new URL(request.url!, base())
  asked.push(url.pathname + url.search)
  const say = (status: number, body: object) => {
    response.writeHead(status, { 'content-type': 'application/fhir+json' })
    response.end(JSON.stringify(body))
  }
  const person = /^\/fhir\/Patient\/(.+)$/.exec(url.pathname)?.[1]
  if (person !== undefined)
    return say(200, {
      resourceType: 'Patient',
      id: person,
      identifier: [{ system, value: person, type: { coding: [{ code: 'MB' }] } }],
      name: [{ family: 'Ross', given: ['Ellen'] }],
      birthDate: '1956-08-14',
    })
  const since = url.searchParams.get('_lastUpdated')?.replace(/^gt/, '') ?? ''
  const page = Number(url.searchParams.get('page') ?? 1)
  const failing = fault(page)
  if (typeof failing === 'number') return say(failing, { resourceType: 'OperationOutcome' })
  const found = claims
    .filter(({ lastUpdated }) => lastUpdated.toISOString() > since)
    .sort((a, b) => a.lastUpdated.getTime() - b.lastUpdated.getTime())
  const next = new URL(url)
  next.searchParams.set('page', String(page + 1))
  if (failing === 'elsewhere') next.host = 'elsewhere.example'
  say(200, {
    resourceType: 'Bundle',
    type: 'searchset',
    link: page * pageSize < found.length ? [{ relation: 'next', url: next.href }] : [],
    entry: found
      .slice((page - 1) * pageSize, page * pageSize)
      .map(({ id, patient, status, lastUpdated }) => ({
        resource: {
          resourceType: 'ExplanationOfBenefit',
          id,
          meta: { versionId: String(lastUpdated.getTime()), lastUpdated: lastUpdated.toISOString() },
          status: status ?? 'active',
          use: 'claim',
          outcome: 'complete',
          patient: { reference: `Patient/${patient}` },
        },
      })),
  })
}

let people = 0
async function aMember() {
  const id = `M${++people}`
  const { id: authorizationId } = await anAuthorization(database.dataSource, {
    patient: {
      identifiers: [{ system, value: id }],
      family: 'Ross',
      given: 'Ellen',
      birthDate: '1956-08-14',
    },
    triggers: ['eob-available'],
    validFrom: new Date(now.getTime() - 86_400_000),
  })
  const transmissions = () =>
    query<{ state: string; cause: string }>(
      'SELECT state, cause FROM transmission WHERE authorization_id = $1 ORDER BY created_at',
      [authorizationId],
    )
  return { id, transmissions }
}

const kept = async () =>
  Number(
    (await query<{ count: string }>(`SELECT count(*) FROM message WHERE channel = 'eob-feed'`))[0]!.count,
  )

async function decideAll(): Promise<void> {
  while ((await decide(decidePorts, lanes)).messages > 0);
}

/** From now on claims count. */
async function begun(): Promise<number> {
  expect(await pollFeed(ports, plan)).toEqual({ outcome: 'begun' })
  return kept()
}

test('the first time nothing of the past is read: only what changes from then on counts', async () => {
  const member = await aMember()
  claims = [{ id: 'old', patient: member.id, lastUpdated: minutes(-60) }]
  const before = await begun()
  expect(asked).toEqual([])
  expect(await pollFeed(ports, plan)).toEqual({ outcome: 'read', resources: 0, fresh: 0 })
  expect(await kept()).toBe(before)
})

test('a new claim is kept with its patient and becomes a transmission for who asked', async () => {
  const member = await aMember()
  await begun()
  claims = [{ id: 'c-1', patient: member.id, lastUpdated: minutes(1) }]
  expect(await pollFeed(ports, plan)).toEqual({ outcome: 'read', resources: 1, fresh: 1 })
  await decideAll()
  expect(await member.transmissions()).toEqual([{ state: 'waiting', cause: 'eob-available' }])
})

test('many claims of one evening go out once, and a cancelled one is taken back', async () => {
  const [many, one] = [await aMember(), await aMember()]
  await begun()
  claims = [
    ...[1, 2, 3, 4, 5].map((n) => ({ id: `m-${n}`, patient: many.id, lastUpdated: minutes(n) })),
    { id: 'single', patient: one.id, lastUpdated: minutes(6) },
  ]
  expect(await pollFeed(ports, plan)).toMatchObject({ resources: 6, fresh: 6 })
  await decideAll()
  expect(await many.transmissions()).toMatchObject([{ state: 'waiting' }])
  claims = [
    { id: 'single', patient: one.id, status: 'cancelled', lastUpdated: minutes(20) },
    { id: 'm-3', patient: many.id, status: 'cancelled', lastUpdated: minutes(21) },
  ]
  await pollFeed(ports, plan)
  await decideAll()
  expect(await one.transmissions()).toMatchObject([{ state: 'withdrawn' }])
  // The others of the evening stand.
  expect(await many.transmissions()).toMatchObject([{ state: 'waiting' }])
})

test('pages follow each other; a patient is asked for once', async () => {
  const member = await aMember()
  await begun()
  claims = Array.from({ length: 7 }, (_, n) => ({
    id: `p-${n}`,
    patient: member.id,
    lastUpdated: minutes(n + 1),
  }))
  expect(await pollFeed(ports, plan)).toEqual({ outcome: 'read', resources: 7, fresh: 7 })
  expect(asked.filter((path) => path.includes('page='))).toHaveLength(3)
  expect(asked.filter((path) => path.includes('/Patient/'))).toHaveLength(1)
})

test('what breaks off in the middle goes on from there: nothing is lost and nothing kept twice', async () => {
  const member = await aMember()
  const before = await begun()
  claims = Array.from({ length: 9 }, (_, n) => ({
    id: `b-${n}`,
    patient: member.id,
    lastUpdated: minutes(n * 10 + 1),
  }))
  fault = (page) => (page === 3 ? 500 : undefined)
  expect(await pollFeed(ports, plan)).toMatchObject({ outcome: 'failed' })
  expect(await kept()).toBe(before + 4)
  // Behind the fourth, and not behind what was never read.
  expect(await readCursor(query, 'eob-feed')).toBe(claims[3]!.lastUpdated.toISOString())
  fault = () => undefined
  expect(await pollFeed(ports, plan)).toMatchObject({ outcome: 'read', fresh: 5 })
  expect(await kept()).toBe(before + 9)
})

test('in an order that is not the cursor’s the cursor waits for the whole answer', async () => {
  const member = await aMember()
  const unsorted = {
    ...plan,
    source: { ...plan.source, query: 'ExplanationOfBenefit?_lastUpdated=gt{cursor}' },
  }
  const before = await begun()
  const cursor = await readCursor(query, 'eob-feed')
  claims = Array.from({ length: 6 }, (_, n) => ({
    id: `u-${n}`,
    patient: member.id,
    lastUpdated: minutes(n * 10 + 1),
  }))
  fault = (page) => (page === 3 ? 503 : undefined)
  expect(await pollFeed(ports, unsorted)).toMatchObject({ outcome: 'failed' })
  expect(await readCursor(query, 'eob-feed')).toBe(cursor)
  fault = () => undefined
  expect(await pollFeed(ports, unsorted)).toMatchObject({ resources: 6, fresh: 2 })
  expect(await kept()).toBe(before + 6)
})

test('what is read again within the overlap is known, and a new version of it is not', async () => {
  const member = await aMember()
  const before = await begun()
  claims = [{ id: 'o-1', patient: member.id, lastUpdated: minutes(1) }]
  await pollFeed(ports, plan)
  expect(await pollFeed(ports, plan)).toEqual({ outcome: 'read', resources: 1, fresh: 0 })
  claims = [{ id: 'o-1', patient: member.id, lastUpdated: minutes(2) }]
  expect(await pollFeed(ports, plan)).toEqual({ outcome: 'read', resources: 1, fresh: 1 })
  expect(await kept()).toBe(before + 2)
})

test('a page that points to another server is not followed', async () => {
  const member = await aMember()
  await begun()
  claims = Array.from({ length: 3 }, (_, n) => ({
    id: `e-${n}`,
    patient: member.id,
    lastUpdated: minutes(n + 1),
  }))
  fault = (page) => (page === 1 ? 'elsewhere' : undefined)
  expect(await pollFeed(ports, plan)).toMatchObject({
    outcome: 'failed',
    because: expect.stringContaining('elsewhere.example'),
  })
})

test('two processes do not read a feed at the same time', async () => {
  await begun()
  const gate = Promise.withResolvers<void>()
  const isAsked = Promise.withResolvers<void>()
  server.removeAllListeners('request')
  server.on('request', (request, response) => {
    isAsked.resolve()
    void gate.promise.then(() => answer(request, response))
  })
  const first = pollFeed(ports, plan)
  await isAsked.promise
  expect(await pollFeed(ports, plan)).toEqual({ outcome: 'busy' })
  gate.resolve()
  expect(await first).toMatchObject({ outcome: 'read' })
})
