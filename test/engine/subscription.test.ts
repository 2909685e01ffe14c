import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import express from 'express'
import { subscriptionRoutes } from '../../src/api/fhir-subscription.ts'
import { failures } from '../../src/api/problem.ts'
import { loadChannels } from '../../src/channels/load.ts'
import type { ChannelPlan, FhirSubscriptionSource } from '../../src/domain/channel.ts'
import { followFeeds, type Feeds } from '../../src/engine/feeds.ts'
import { makeStops, type Stops } from '../../src/engine/stops.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { silentLog } from '../../src/lib/log.ts'
import { decide, type DecidePorts } from '../../src/pipeline/decide.ts'
import { hearNotification } from '../../src/pipeline/hear-notification.ts'
import { parseSettings, type Settings } from '../../src/settings.ts'
import { readBlindKey } from '../../src/store/decisions.ts'
import { entities } from '../../src/store/entities.ts'
import { moveCursor } from '../../src/store/feed-cursors.ts'
import { openInboundMessages, type InboundMessages } from '../../src/store/inbound-messages.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { anAuthorization } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const shipped = plans.find(({ name }) => name === 'encounter-finished')!
const plan = { ...shipped, enabled: true } as ChannelPlan & { source: FhirSubscriptionSource }
const lanes = Array.from({ length: 256 }, (_, lane) => lane)
const system = 'urn:oid:2.16.840.1.113883.19.5.1'
const secret = 'swordfish-and-more'

interface Encounter {
  status: string
  patient: string
  lastUpdated: Date
  version: number
}

let database: TestDatabase
let query: Query
let store: InboundMessages
let settings: Settings
let decidePorts: DecidePorts
let clinic: http.Server
let ours: http.Server
let stops: Stops
let feeds: Feeds
let asked: string[] = []
let isDown = false
const encounters = new Map<string, Encounter>()

const portOf = (server: http.Server) => (server.address() as AddressInfo).port
const base = () => `http://127.0.0.1:${portOf(clinic)}/fhir`
const listening = (server: http.Server) =>
  new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))

beforeAll(async () => {
  database = await freshDatabase({ entities })
  const { dataSource } = database
  query = queryOf(dataSource)
  await makeRoomForDays(dataSource, new Date())
  clinic = http.createServer(answer)
  await listening(clinic)
  const reading = parseSettings(`fhirServers: { clinic-r4: { baseUrl: '${base()}' } }`, undefined, {})
  if (!reading.valid) throw new Error(JSON.stringify(reading.problems))
  settings = reading.settings
  store = openInboundMessages(dataSource)
  decidePorts = {
    dataSource,
    channel: () => plan,
    aliases: new Map(),
    blindKey: await readBlindKey(query),
    holdMaxMs: undefined,
    deliveryRequested: true,
    now: () => new Date(),
  }
  const app = express()
  app.use(
    '/fhir/subscription',
    subscriptionRoutes({
      now: () => new Date(),
      needsCertificate: false,
      channel: (name) =>
        name !== plan.name
          ? undefined
          : {
              name,
              header: plan.source.verify.header,
              secret,
              hear: async (body) => {
                const heard = await hearNotification(
                  { dataSource, now: () => new Date() },
                  name,
                  base(),
                  body,
                )
                feeds.wake(name)
                return heard
              },
            },
    }),
  )
  app.use(failures(silentLog))
  ours = http.createServer(app)
  await listening(ours)
})
beforeEach(async () => {
  await query('DELETE FROM subscription_hint')
  await query('DELETE FROM subscription_count')
  encounters.clear()
  asked = []
  isDown = false
  // As if it had been followed for an hour.
  await moveCursor(query, plan.name, new Date(Date.now() - 3_600_000).toISOString(), new Date())
  start()
  await settled()
  asked = []
})
afterEach(() => stops.stopAll())
afterAll(async () => {
  await store.close()
  for (const server of [clinic, ours]) {
    server.close()
    server.closeAllConnections()
  }
  await database.close()
})

function start(): void {
  stops = makeStops(silentLog)
  feeds = followFeeds([plan], settings, { dataSource: database.dataSource, store, log: silentLog, stops })
}

function answer(request: http.IncomingMessage, response: http.ServerResponse): void {
  const url = new URL(request.url!, base())
  asked.push(url.pathname.replace('/fhir/', '') + url.search)
  const say = (status: number, body: object) => {
    response.writeHead(status, { 'content-type': 'application/fhir+json' })
    response.end(JSON.stringify(body))
  }
  if (isDown) return say(503, { resourceType: 'OperationOutcome' })
  const [, type, id] = /^\/fhir\/([A-Za-z]+)(?:\/(.+))?$/.exec(url.pathname) ?? []
  if (type === 'Patient')
    return say(200, {
      resourceType: 'Patient',
      id,
      identifier: [{ system, value: id, type: { coding: [{ code: 'MR' }] } }],
      name: [{ family: 'Ross' }],
      birthDate: '1956-08-14',
    })
  const shown = (id: string, { status, patient, lastUpdated, version }: Encounter) => ({
    resourceType: 'Encounter',
    id,
    meta: { versionId: String(version), lastUpdated: lastUpdated.toISOString() },
    status,
    class: { code: 'IMP' },
    subject: { reference: `Patient/${patient}` },
    period: { end: new Date(lastUpdated.getTime() - 60_000).toISOString() },
  })
  if (id !== undefined) {
    const one = encounters.get(id)
    return one === undefined ? say(404, { resourceType: 'OperationOutcome' }) : say(200, shown(id, one))
  }
  const since = url.searchParams.get('_lastUpdated')?.replace(/^gt/, '') ?? ''
  const found = [...encounters].filter(([, one]) => one.lastUpdated.toISOString() > since)
  say(200, {
    resourceType: 'Bundle',
    type: 'searchset',
    entry: found.map(([id, one]) => ({ resource: shown(id, one) })),
  })
}

let people = 0
async function aPatient() {
  const id = `E${++people}`
  const { id: authorizationId } = await anAuthorization(database.dataSource, {
    patient: {
      identifiers: [{ system, value: id }],
      family: 'Ross',
      given: 'Ellen',
      birthDate: '1956-08-14',
    },
    validFrom: new Date(Date.now() - 86_400_000),
  })
  const transmissions = async () =>
    (
      await query<{ state: string }>(
        'SELECT state FROM transmission WHERE authorization_id = $1 ORDER BY created_at',
        [authorizationId],
      )
    ).map(({ state }) => state)
  return { id, transmissions }
}

let visits = 0
function happens(patient: string, status = 'finished', id = `enc-${++visits}`): string {
  const version = (encounters.get(id)?.version ?? 0) + 1
  encounters.set(id, { status, patient, lastUpdated: new Date(Date.now() + version), version })
  return id
}

const event = (number: number, ...focuses: string[]) => ({
  resourceType: 'Bundle',
  type: 'history',
  entry: [
    {
      resource: {
        resourceType: 'SubscriptionStatus',
        type: 'event-notification',
        eventsSinceSubscriptionStart: String(number),
        subscription: { reference: 'Subscription/s1' },
        notificationEvent: focuses.map((focus, nth) => ({
          eventNumber: String(number - focuses.length + 1 + nth),
          focus: { reference: focus },
        })),
      },
    },
  ],
})

async function notify(body: object | string | undefined, headers: Record<string, string> = {}, path = '') {
  const response = await fetch(`http://127.0.0.1:${portOf(ours)}/fhir/subscription/${plan.name}${path}`, {
    method: path === '' ? 'POST' : 'PUT',
    headers: { 'content-type': 'application/fhir+json', 'x-hook-secret': secret, ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  await response.arrayBuffer()
  return response.status
}

/** Until every hint is fetched or searched for, and everything that was kept is decided. */
async function settled(): Promise<void> {
  for (;;) {
    const [row] = await query<{ hints: string }>('SELECT count(*) AS hints FROM subscription_hint')
    while ((await decide(decidePorts, lanes)).messages > 0);
    if (row!.hints === '0' && asked.length > 0) break
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  while ((await decide(decidePorts, lanes)).messages > 0);
}

test('a notified encounter is fetched from the server and becomes a transmission', async () => {
  const ellen = await aPatient()
  const id = happens(ellen.id)
  expect(await notify(event(1, `Encounter/${id}`))).toBe(200)
  await settled()
  expect(await ellen.transmissions()).toEqual(['waiting'])
  expect(asked).toContain(`Encounter/${id}`)
})

test.each<[string, (id: string) => [object | undefined, string?]]>([
  ['an empty body', () => [undefined]],
  ['a resource by POST', (id) => [{ resourceType: 'Encounter', id, status: 'planned' }]],
  ['a PUT of its path', (id) => [undefined, `/Encounter/${id}`]],
  ['a reference to the server itself', (id) => [event(1, `${base()}/Encounter/${id}/_history/3`)]],
  ['an event without focus', () => [event(1)]],
])('%s is enough of a hint', async (_, shape) => {
  const ellen = await aPatient()
  const id = happens(ellen.id)
  const [body, path] = shape(id)
  expect(await notify(body, {}, path)).toBe(200)
  await settled()
  expect(await ellen.transmissions()).toEqual(['waiting'])
})

test('repeated and reordered notifications make one transmission', async () => {
  const [ellen, ada] = [await aPatient(), await aPatient()]
  const [a, b] = [happens(ellen.id), happens(ada.id)]
  for (const [number, focus] of [
    [2, b],
    [1, a],
    [2, b],
    [1, a],
  ] as const)
    expect(await notify(event(number, `Encounter/${focus}`))).toBe(200)
  await settled()
  expect([await ellen.transmissions(), await ada.transmissions()]).toEqual([['waiting'], ['waiting']])
})

test('what was lost between two numbers is searched for', async () => {
  const [ellen, ada, joan] = [await aPatient(), await aPatient(), await aPatient()]
  await notify(event(1, `Encounter/${happens(ellen.id)}`))
  await settled()
  happens(ada.id)
  await notify(event(3, `Encounter/${happens(joan.id)}`))
  await settled()
  for (const one of [ellen, ada, joan]) expect(await one.transmissions()).toEqual(['waiting'])
})

test('a heartbeat that counts further than we heard makes us search', async () => {
  const ellen = await aPatient()
  await notify(event(1, `Encounter/${happens((await aPatient()).id)}`))
  await settled()
  happens(ellen.id)
  await notify({
    resourceType: 'Bundle',
    entry: [
      {
        resource: {
          resourceType: 'SubscriptionStatus',
          type: 'heartbeat',
          eventsSinceSubscriptionStart: '2',
          subscription: { reference: 'Subscription/s1' },
        },
      },
    ],
  })
  await settled()
  expect(await ellen.transmissions()).toEqual(['waiting'])
})

test('a server that counts anew, and one that reports an error, are searched', async () => {
  const [ellen, ada] = [await aPatient(), await aPatient()]
  await notify(event(40, `Encounter/${happens((await aPatient()).id)}`))
  await settled()
  happens(ellen.id)
  await notify(event(2, `Encounter/${happens((await aPatient()).id)}`))
  await settled()
  expect(await ellen.transmissions()).toEqual(['waiting'])
  happens(ada.id)
  const error = { resourceType: 'SubscriptionStatus', status: 'error', error: [{ text: 'queue lost' }] }
  await notify({ resourceType: 'Bundle', entry: [{ resource: error }] })
  await settled()
  expect(await ada.transmissions()).toEqual(['waiting'])
})

test('finished that goes on is taken back', async () => {
  const ellen = await aPatient()
  const id = happens(ellen.id)
  await notify(event(1, `Encounter/${id}`))
  await settled()
  happens(ellen.id, 'in-progress', id)
  await notify(event(2, `Encounter/${id}`))
  await settled()
  expect(await ellen.transmissions()).toEqual(['withdrawn'])
})

test('what was noted before the process ended is fetched after it starts again', async () => {
  const ellen = await aPatient()
  const id = happens(ellen.id)
  isDown = true
  expect(await notify(event(1, `Encounter/${id}`))).toBe(200)
  await stops.stopAll()
  isDown = false
  start()
  await settled()
  expect(await ellen.transmissions()).toEqual(['waiting'])
})

test('without the secret, or for another server, nothing is noted and nothing asked', async () => {
  const ellen = await aPatient()
  const id = happens(ellen.id)
  const body = event(1, `Encounter/${id}`)
  expect(await notify(body, { 'x-hook-secret': 'wrong' })).toBe(401)
  expect(await notify(body, { 'x-hook-secret': '' })).toBe(401)
  for (const focus of [
    'https://evil.example/fhir/Encounter/1',
    '//evil.example/Encounter/1',
    '../../Encounter/1',
    'Encounter/1?_include=x',
    'http://127.0.0.1:1/fhir/Encounter/1',
    `${base()}.evil.example/Encounter/1`,
  ])
    expect(await notify(event(1, focus))).toBe(422)
  const foreign = event(1, `Encounter/${id}`)
  foreign.entry[0]!.resource.subscription.reference = 'https://evil.example/fhir/Subscription/s1'
  expect(await notify(foreign)).toBe(422)
  expect(await query('SELECT 1 FROM subscription_hint')).toEqual([])
  expect(asked).toEqual([])
  const unknown = await fetch(`http://127.0.0.1:${portOf(ours)}/fhir/subscription/nobody`, { method: 'POST' })
  expect(unknown.status).toBe(401)
  const got = await fetch(`http://127.0.0.1:${portOf(ours)}/fhir/subscription/${plan.name}`)
  expect(got.status).toBe(405)
})

test('what a full-resource notification claims is never used', async () => {
  const [ellen, ada] = [await aPatient(), await aPatient()]
  const id = happens(ellen.id, 'planned')
  const claims = event(1, `Encounter/${id}`)
  const forged = {
    resourceType: 'Encounter',
    id,
    status: 'finished',
    subject: { reference: `Patient/${ada.id}` },
  }
  expect(await notify({ ...claims, entry: [...claims.entry, { resource: forged }] })).toBe(200)
  await settled()
  expect([await ellen.transmissions(), await ada.transmissions()]).toEqual([[], []])
})

test('a flood is held back, and what is too large refused', async () => {
  const statuses = await Promise.all(Array.from({ length: 700 }, () => notify(event(1))))
  expect(statuses).toContain(429)
  expect(await notify(JSON.stringify({ resourceType: 'Bundle', padding: 'x'.repeat(3_000_000) }))).toBe(413)
}, 60_000)
