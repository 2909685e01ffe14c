import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { stringify } from 'yaml'
import type { AuthorizationRequest } from '../../src/domain/authorization.ts'
import { readPartners } from '../../src/partners.ts'
import { probeDueDestinations, type ProbePorts } from '../../src/pipeline/probe-destinations.ts'
import { parseSettings } from '../../src/settings.ts'
import { insertAuthorization, markRevoked } from '../../src/store/authorizations.ts'
import { countDestinations, listDestinations, readDestination } from '../../src/store/destinations.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { runDiscoveryTool, type RunningTool } from '../neighbours/discovery-tool.ts'
import { ellensRequest } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const dayMs = 86_400_000
let tool: RunningTool
let database: TestDatabase
let query: Query
let ports: ProbePorts
let now = new Date()
beforeAll(async () => {
  tool = await runDiscoveryTool('dcdt')
  database = await freshDatabase()
  query = queryOf(database.dataSource)
  ports = portsOf(tool.settings)
})

function portsOf(settings: object): ProbePorts {
  const reading = parseSettings(stringify(settings), undefined, {})
  if (!reading.valid) throw new Error(JSON.stringify(reading.problems))
  const { discovery, trust } = readPartners(reading.settings, now)
  const { dataSource } = database
  return {
    dataSource,
    discovery,
    trust,
    localDomain: 'direct.ashby.example',
    timezone: 'UTC',
    now: () => now,
  }
}

beforeEach(async () => {
  now = new Date()
  await query('DELETE FROM destination_standing')
  await query('UPDATE authorization_destination SET removed_at = added_at')
})
afterAll(async () => {
  await tool.close()
  await database.close()
})

const ofCase = (number: number) => tool.world.cases[number - 1]!.address
const store = (destinations: readonly string[], changes: Partial<AuthorizationRequest> = {}) =>
  insertAuthorization(query, ellensRequest({ destinations, validFrom: now, ...changes }), 'key:portal', now)
const standingOf = async (address: string) => (await readDestination(query, address))!
const auditOf = (address: string) =>
  query<{ detail: { outcome: string; before: string | null } }>(
    `SELECT detail FROM audit WHERE action = 'destination-probed' AND subject = $1 ORDER BY id`,
    [`destination:${address.toLowerCase()}`],
  )

test('every destination of a stored request is looked at, and what is found is kept with its trace', async () => {
  await store(tool.world.cases.map(({ address }) => address))
  expect((await countDestinations(query, [])).byOutcome.unprobed).toBe(18)
  expect(await probeDueDestinations(ports)).toEqual({ probed: 18, lost: 0 })
  const outcomeOf = { untrusted: 'untrusted', absent: 'absent', unreachable: 'unavailable' } as Record<
    string,
    string
  >
  for (const { address, ends, id } of tool.world.cases) {
    const { outcome, because, trace, endsAt, since } = await standingOf(address)
    expect({ id, outcome }).toEqual({ id, outcome: outcomeOf[ends] ?? 'trusted' })
    expect(because === null).toBe(outcome === 'trusted')
    expect(endsAt !== null).toBe(outcome === 'trusted')
    expect((trace as unknown[]).length).toBeGreaterThan(0)
    expect(since).toEqual(now)
  }
  expect(await probeDueDestinations(ports)).toEqual({ probed: 0, lost: 0 })
})

test('it is looked at again in the next night, and its outcome keeps its beginning', async () => {
  const address = ofCase(1)
  await store([address.toUpperCase()])
  await probeDueDestinations(ports)
  const first = await standingOf(address)
  const entries = (await auditOf(address)).length
  expect(first.outcome).toBe('trusted')
  expect(first.nextProbeAt.getUTCHours()).toBeGreaterThanOrEqual(1)
  expect(first.nextProbeAt.getUTCHours()).toBeLessThan(5)
  now = first.nextProbeAt
  expect(await probeDueDestinations(ports)).toEqual({ probed: 1, lost: 0 })
  expect(await standingOf(address)).toMatchObject({ outcome: 'trusted', since: first.since, probedAt: now })
  expect(await auditOf(address)).toHaveLength(entries)
})

test('a certificate that ends is announced before, and missed after', async () => {
  const address = ofCase(1)
  await store([address])
  await probeDueDestinations(ports)
  const { endsAt, endsFirst } = await standingOf(address)
  const ends = endsAt!.getTime()
  const moments = [ends, ends + 1000].map((ms) => new Date(ms))
  expect((await countDestinations(query, moments)).ending).toEqual([0, 1])
  expect(endsFirst).toMatch(/\w/)
  now = new Date(ends + dayMs)
  expect(await probeDueDestinations(ports)).toEqual({ probed: 1, lost: 1 })
  expect(await standingOf(address)).toMatchObject({
    outcome: 'untrusted',
    since: now,
    endsAt: null,
    endsFirst: null,
  })
  expect((await auditOf(address)).at(-1)!.detail).toMatchObject({ before: 'trusted', outcome: 'untrusted' })
  expect(await listDestinations(query, { outcome: 'untrusted', limit: 9 })).toHaveLength(1)
})

test('somebody who does not answer is asked again within the hour', async () => {
  await store(['anybody@nowhere.invalid'])
  const { discovery } = tool.settings as { discovery: object }
  const silent = portsOf({ discovery: { ...discovery, dns: { servers: ['127.0.0.1:9'] } } })
  await probeDueDestinations(silent)
  const { outcome, nextProbeAt } = await standingOf('anybody@nowhere.invalid')
  expect(outcome).toBe('unavailable')
  expect(nextProbeAt).toEqual(new Date(now.getTime() + 3_600_000))
})

test('what nobody asks for any more is forgotten; what is asked for by another stays', async () => {
  const [left, shared, ended, once] = [1, 2, 3, 4].map(ofCase) as [string, string, string, string]
  const revoked = await store([left, shared])
  await store([shared])
  await store([ended], { validUntil: new Date(now.getTime() + dayMs) })
  await store([once], { frequency: { type: 'once' }, triggers: [] })
  await markRevoked(query, revoked, 'key:portal', undefined, now)
  now = new Date(now.getTime() + 2 * dayMs)
  await probeDueDestinations(ports)
  expect((await listDestinations(query, { limit: 9 })).map(({ address }) => address)).toEqual([
    shared.toLowerCase(),
  ])
})

test('two processes share the work and none looks twice', async () => {
  await store(tool.world.cases.map(({ address }) => address))
  const rounds = await Promise.all([probeDueDestinations(ports), probeDueDestinations(ports)])
  expect(rounds.reduce((sum, { probed }) => sum + probed, 0)).toBe(18)
})

test('what a killed process took is due again ten minutes later', async () => {
  const address = ofCase(1)
  await store([address])
  const broken = { ...ports, discovery: undefined } as unknown as ProbePorts
  await expect(probeDueDestinations(broken)).rejects.toThrow()
  expect(await probeDueDestinations(ports)).toEqual({ probed: 0, lost: 0 })
  now = new Date(now.getTime() + 600_000)
  expect(await probeDueDestinations(ports)).toEqual({ probed: 1, lost: 0 })
})

test('one that stops looks at nothing more', async () => {
  await store([ofCase(1)])
  expect(await probeDueDestinations(ports, () => true)).toEqual({ probed: 0, lost: 0 })
})
