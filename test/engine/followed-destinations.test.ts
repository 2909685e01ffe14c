import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { followDestinations } from '../../src/engine/followed-destinations.ts'
import { makeStops, type Stops } from '../../src/engine/stops.ts'
import { silentLog, type Log, type LogFields } from '../../src/lib/log.ts'
import { Metrics } from '../../src/lib/metrics.ts'
import { readPartners } from '../../src/partners.ts'
import { parseSettings } from '../../src/settings.ts'
import { insertAuthorization } from '../../src/store/authorizations.ts'
import { recordProbe } from '../../src/store/destinations.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { ellensRequest } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const dayMs = 86_400_000
let database: TestDatabase
let query: Query
let stops: Stops
beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
})
beforeEach(async () => {
  stops = makeStops(silentLog)
  await query('DELETE FROM destination_standing')
})
afterEach(() => stops.stopAll())
afterAll(() => database.close())

interface Line extends LogFields {
  readonly level: string
  readonly text: string
}

/** An engine that looks ahead; nobody answers it, so what it finds by itself is that nobody can say. */
function follow() {
  const lines: Line[] = []
  const at =
    (level: string) =>
    (text: string, fields: LogFields = {}) =>
      void lines.push({ level, text, ...fields })
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  const reading = parseSettings(
    'discovery: { dns: { servers: [ 127.0.0.1:1 ] }, ldap: { enabled: false } }',
    undefined,
    {},
  )
  if (!reading.valid) throw new Error(JSON.stringify(reading.problems))
  const metrics = new Metrics()
  const partners = readPartners(reading.settings, new Date())
  const followed = followDestinations(reading.settings, partners, database.dataSource, {
    log,
    metrics,
    stops,
  })
  return { followed, metrics, lines }
}

/** One that was looked at just now and can receive for so many days. */
async function canReceive(address: string, days: number): Promise<void> {
  const at = new Date()
  await insertAuthorization(
    query,
    ellensRequest({ destinations: [address], validFrom: at }),
    'key:portal',
    at,
  )
  const ends = { at: new Date(at.getTime() + days * dayMs), subject: `CN=${address}` }
  const probed = { outcome: 'trusted', because: '', ends, trace: [] } as const
  await recordProbe(query, address, probed, at, new Date(at.getTime() + dayMs))
}

async function said(metrics: Metrics): Promise<string[]> {
  const text = await metrics.registry.metrics()
  return text.split('\n').filter((line) => /^bluepost_destinations/.test(line))
}

async function until<Value>(
  ask: () => Value | Promise<Value>,
  isSo: (value: Value) => boolean,
): Promise<Value> {
  for (;;) {
    const value = await ask()
    if (isSo(value)) return value
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

test('counts tell how many can receive, and for how long still', async () => {
  await canReceive('soon@direct.a.example', 5)
  await canReceive('later@direct.b.example', 20)
  await canReceive('long@direct.c.example', 300)
  const { metrics } = follow()
  const lines = await until(
    () => said(metrics),
    (lines) => lines.includes('bluepost_destinations{outcome="trusted"} 3'),
  )
  expect(lines).toEqual(
    expect.arrayContaining([
      'bluepost_destinations{outcome="untrusted"} 0',
      'bluepost_destinations_ending{days="1"} 0',
      'bluepost_destinations_ending{days="7"} 1',
      'bluepost_destinations_ending{days="14"} 1',
      'bluepost_destinations_ending{days="30"} 2',
    ]),
  )
})

test('what ends soon is spoken of once a day, by number and never by address', async () => {
  await canReceive('soon@direct.a.example', 5)
  await canReceive('later@direct.b.example', 20)
  const { followed, lines } = follow()
  await until(
    () => lines,
    (lines) => lines.length > 0,
  )
  for (let round = 0; round < 3; round++) followed.lookNow()
  await stops.stopAll()
  expect(lines).toEqual([
    {
      level: 'error',
      text: 'destinations whose certificates end within 7 days: bluepost destinations --ending 7',
      code: 'expires-soon',
      count: 1,
    },
  ])
  expect(JSON.stringify(lines)).not.toContain('direct.a.example')
})

test('a new destination is looked at when it is stored, without waiting for the next minute', async () => {
  const { followed, metrics } = follow()
  await until(
    () => said(metrics),
    (lines) => lines.includes('bluepost_destinations{outcome="unprobed"} 0'),
  )
  const at = new Date()
  await insertAuthorization(
    query,
    ellensRequest({ destinations: ['new@direct.d.example'], validFrom: at }),
    'key:portal',
    at,
  )
  followed.lookNow()
  await until(
    () => said(metrics),
    (lines) => lines.includes('bluepost_destinations{outcome="unavailable"} 1'),
  )
})
