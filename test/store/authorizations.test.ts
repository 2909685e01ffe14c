import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { authorize, change, revoke, type AuthorizePorts } from '../../src/pipeline/authorize.ts'
import { loadAuthorizations, candidatesFor } from '../../src/store/matching.ts'
import { inTransaction, queryOf, type Query } from '../../src/store/query.ts'
import { lockTransmission, readTransmission, recordOccurrence } from '../../src/store/transmissions.ts'
import { authorizationIdsFor } from '../../src/store/views.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { aTransmission, ellensPhr, ellensRequest, minutesAfter, noon } from './ellen.ts'

let database: TestDatabase
let query: Query
let ports: AuthorizePorts
beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
  ports = { dataSource: database.dataSource, deliveryRequested: true, timezone: 'UTC', now: () => noon }
})
afterAll(() => database.close())

const lee = 'dr.lee@direct.example'

const changesOf = (id: string) =>
  query<{ version: number; what: string; by: string; at: Date; because: string | null; snapshot: object }>(
    'SELECT version, what, by, at, because, snapshot FROM authorization_change WHERE authorization_id = $1 ORDER BY version',
    [id],
  )

const transmissionsOf = (id: string) =>
  query<{ destination: string; state: string }>(
    'SELECT destination, state FROM transmission WHERE authorization_id = $1 ORDER BY destination',
    [id],
  )

test('what was asked for comes back whole', async () => {
  const request = ellensRequest({
    patient: {
      identifiers: [
        { system: 'urn:oid:1.2.3', value: '00O’Hara-1', type: 'MR' },
        { system: 'urn:oid:4.5', value: 'x' },
      ],
      family: 'Röß',
      previousFamilies: ['O’Neil', 'de la “Cruz”'],
      birthDate: '1956',
    },
    destinations: [ellensPhr, lee],
    frequency: { type: 'interval', every: 'P1M' },
    validUntil: minutesAfter(60),
    evidence: 'portal:4711',
    sensitiveData: 'included',
  })
  const { id } = await authorize(ports, request, 'key:portal')
  const [found] = await loadAuthorizations(query, [id])
  expect(found).toEqual({
    ...request,
    id,
    version: 1,
    destinations: [
      { id: expect.any(String), address: expect.any(String) },
      { id: expect.any(String), address: expect.any(String) },
    ],
  })
  expect(found!.destinations.map(({ address }) => address).sort()).toEqual([lee, ellensPhr])
})

test('each change is recorded with who and when, and every version can be shown', async () => {
  const { id } = await authorize(ports, ellensRequest(), 'key:portal')
  const later = { ...ports, now: () => minutesAfter(10) }
  await change(later, id, { destinations: [lee], sensitiveData: 'included' }, 'oidc:ellen')
  await revoke({ ...ports, now: () => minutesAfter(20) }, id, 'moved away', 'cli:maria')
  expect(await changesOf(id)).toMatchObject([
    {
      version: 1,
      what: 'created',
      by: 'key:portal',
      at: noon,
      snapshot: { destinations: [{ address: ellensPhr }] },
    },
    {
      version: 2,
      what: 'changed',
      by: 'oidc:ellen',
      at: minutesAfter(10),
      snapshot: { destinations: [{ address: lee }] },
    },
    { version: 3, what: 'revoked', by: 'cli:maria', at: minutesAfter(20), because: 'moved away' },
  ])
  const audited = await query('SELECT actor, action, at FROM audit WHERE authorization_id = $1 ORDER BY id', [
    id,
  ])
  expect(audited).toEqual([
    { actor: 'key:portal', action: 'authorization-created', at: noon },
    { actor: 'oidc:ellen', action: 'authorization-changed', at: minutesAfter(10) },
    { actor: 'cli:maria', action: 'authorization-revoked', at: minutesAfter(20) },
  ])
  const [{ text }] = (await query(`SELECT string_agg(detail::text, ' ') AS text FROM audit`)) as [
    { text: string },
  ]
  expect(text).not.toMatch(/Ross|1956|Ellen Ross/)
})

test('a destination taken out and put back is active once, under a row of its own', async () => {
  const { id } = await authorize(ports, ellensRequest(), 'key:portal')
  await change(ports, id, { destinations: [lee] }, 'key:portal')
  await change(ports, id, { destinations: [lee, ellensPhr] }, 'key:portal')
  const [found] = await loadAuthorizations(query, [id])
  expect(found!.destinations.map(({ address }) => address).sort()).toEqual([lee, ellensPhr])
  expect(
    await query(
      'SELECT removed_at IS NULL AS active FROM authorization_destination WHERE authorization_id = $1 AND address = $2 ORDER BY added_at, active',
      [id, ellensPhr],
    ),
  ).toEqual([{ active: false }, { active: true }])
})

test('two changes at the same time both count, one after the other', async () => {
  const { id } = await authorize(ports, ellensRequest(), 'key:portal')
  await Promise.all([
    change(ports, id, { sensitiveData: 'included' }, 'key:portal'),
    change(ports, id, { triggers: ['discharge', 'new-results'] }, 'key:portal'),
  ])
  expect(await loadAuthorizations(query, [id])).toMatchObject([
    { version: 3, sensitiveData: 'included', triggers: ['discharge', 'new-results'] },
  ])
})

test('revoking cancels everything unsent in its own transaction, and nothing that has left', async () => {
  const { id } = await authorize(ports, ellensRequest(), 'key:portal')
  const ways = {
    waiting: [],
    preparing: ['preparing'],
    sealed: ['preparing', 'sealed'],
    held: ['held'],
    onWire: ['preparing', 'sealed', 'handing-over'],
    submitted: ['preparing', 'sealed', 'handing-over', 'submitted'],
  } as const
  const ids: Record<string, string> = {}
  for (const [name, way] of Object.entries(ways)) {
    ids[name] = await aTransmission(database.dataSource, id, { destination: `${name}@direct.example` })
    for (const what of way)
      await inTransaction(database.dataSource, async (tx) =>
        recordOccurrence(tx, (await lockTransmission(tx, ids[name]!))!, { what }, noon),
      )
  }
  await revoke(ports, id, undefined, 'oidc:ellen')
  const states = await Promise.all(
    Object.values(ids).map(async (one) => (await readTransmission(query, one))!.state),
  )
  expect(Object.fromEntries(Object.keys(ids).map((name, at) => [name, states[at]]))).toEqual({
    waiting: 'cancelled',
    preparing: 'cancelled',
    sealed: 'cancelled',
    held: 'cancelled',
    onWire: 'sealed',
    submitted: 'submitted',
  })
  // Told once each, in the transaction of the revocation: they carry its transaction id.
  expect(
    await query(
      `SELECT action, count(*)::int AS count, count(DISTINCT txid)::int AS transactions FROM audit
       WHERE authorization_id = $1 AND txid = (SELECT txid FROM audit WHERE authorization_id = $1 AND action = 'authorization-revoked')
       GROUP BY action ORDER BY action`,
      [id],
    ),
  ).toEqual([
    { action: 'authorization-revoked', count: 1, transactions: 1 },
    { action: 'transmission-cancelled', count: 4, transactions: 1 },
  ])
})

test('a once request starts its transmissions with it; revoked, nothing more can be changed', async () => {
  const request = ellensRequest({ frequency: { type: 'once' }, triggers: [], destinations: [ellensPhr, lee] })
  const { id } = await authorize(ports, request, 'key:portal')
  expect(await transmissionsOf(id)).toEqual([
    { destination: lee, state: 'waiting' },
    { destination: ellensPhr, state: 'waiting' },
  ])
  await revoke(ports, id, undefined, 'oidc:ellen')
  expect((await transmissionsOf(id)).map(({ state }) => state)).toEqual(['cancelled', 'cancelled'])
  expect(await change(ports, id, { destinations: [lee] }, 'key:portal')).toMatchObject({ outcome: 'revoked' })
  expect(await revoke(ports, id, undefined, 'key:portal')).toMatchObject({ outcome: 'revoked' })
  expect(await changesOf(id)).toHaveLength(2)
})

test('authorizations are found by exact authority and value only, revoked ones among them', async () => {
  const identifier = { system: 'urn:oid:9.8.7', value: '0042' }
  const patient = { ...ellensRequest().patient, identifiers: [identifier, { ...identifier, type: 'MR' }] }
  const { id } = await authorize(ports, ellensRequest({ patient }), 'key:portal')
  const other = await authorize(ports, ellensRequest({ patient }), 'key:portal')
  await revoke(ports, other.id, undefined, 'key:portal')
  const asked = [
    [{ system: 'urn:oid:9.8.7', value: '0042' }],
    [{ system: 'urn:oid:9.8.7', value: '42' }],
    [{ system: 'URN:OID:9.8.7', value: '0042' }],
    [],
    [identifier, identifier],
  ]
  const found = await candidatesFor(query, asked)
  const both = [id, other.id].sort()
  expect(found.map((list) => list.map((one) => one.id).sort())).toEqual([both, [], [], [], both])
  expect((await authorizationIdsFor(query, identifier.system, identifier.value)).sort()).toEqual(both)
})
