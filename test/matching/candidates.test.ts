import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Authorization } from '../../src/domain/authorization.ts'
import type { Identifier, Patient } from '../../src/domain/patient.ts'
import { insertAuthorization, markRevoked, updateAuthorization } from '../../src/store/authorizations.ts'
import { candidatesFor, loadAuthorizations } from '../../src/store/matching.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const ashby = 'urn:oid:2.16.840.1.113883.19.5'
const regional = 'urn:oid:2.16.840.1.113883.19.6'
const at = new Date('2026-06-01T12:00:00.000Z')

let database: TestDatabase
let query: Query
let ellen: Authorization
let george: Authorization
let ellensSecond: Authorization

beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
  ellen = await stored([of(ashby, 'E1001', 'MR'), of(regional, 'R-77')], {
    given: 'Ellen',
    previousFamilies: ['Miller', 'O’Neil'],
  })
  george = await stored([of(ashby, 'G2002')], { family: 'Bates' })
  ellensSecond = await stored([of(ashby, 'E1001')])
  // The first file of a run starts the server.
}, 60_000)
afterAll(() => database.close())

function of(system: string, value: string, type?: string): Identifier {
  return { system, value, ...(type === undefined ? {} : { type }) }
}

function stored(identifiers: Identifier[], patient: Partial<Patient> = {}): Promise<Authorization> {
  return insertAuthorization(
    query,
    {
      patient: { family: 'Ross', birthDate: '1956-08-14', ...patient, identifiers },
      destinations: ['ellen.ross@direct.somephr.example', 'dr.lee@direct.clinic.example'],
      frequency: { type: 'interval', every: 'P1M' },
      triggers: ['discharge', 'new-results'],
      validFrom: at,
      validUntil: new Date('2027-06-01T00:00:00Z'),
      identityAssurance: { method: 'in-person', verifiedBy: 'front desk', verifiedAt: at },
      evidence: 'scan 17',
      sensitiveData: 'excluded',
    },
    'test',
    at,
  )
}

/** Ids found for each event, in a fixed order. */
async function idsFor(...keys: Identifier[][]): Promise<string[][]> {
  return (await candidatesFor(query, keys)).map((list) => list.map(({ id }) => id).sort())
}

test('each event of a batch gets its own candidates, in the order of the events', async () => {
  expect(
    await idsFor(
      [of(ashby, 'G2002')],
      [],
      [of(ashby, 'nobody')],
      [of(ashby, 'E1001'), of(regional, 'R-77')],
      [of(regional, 'R-77')],
      [of(ashby, 'G2002'), of(regional, 'R-77')],
    ),
  ).toEqual([
    [george.id],
    [],
    [],
    [ellen.id, ellensSecond.id].sort(),
    [ellen.id],
    [ellen.id, george.id].sort(),
  ])
})

test('nothing is asked where there is nothing to ask for', async () => {
  expect(await idsFor()).toEqual([])
  expect(await idsFor([], [])).toEqual([[], []])
  expect(await loadAuthorizations(query, [])).toEqual([])
})

test.each([
  ['another case', ashby, 'e1001'],
  ['a zero in front', ashby, '0E1001'],
  ['an outer blank', ashby, 'E1001 '],
  ['another authority', regional, 'E1001'],
  ['the authority in capitals', ashby.toUpperCase(), 'E1001'],
  ['a wildcard', ashby, 'E%'],
  ['a quotation mark', ashby, `E1001' OR '1'='1`],
])('identifiers are compared to the letter: %s finds nobody', async (_, system, value) => {
  expect(await idsFor([of(system, value)])).toEqual([[]])
})

test('an authorization comes back whole', async () => {
  const [found] = await loadAuthorizations(query, [ellen.id])
  expect(found).toEqual({
    id: ellen.id,
    version: 1,
    patient: {
      identifiers: [of(ashby, 'E1001', 'MR'), of(regional, 'R-77')],
      family: 'Ross',
      given: 'Ellen',
      previousFamilies: ['Miller', 'O’Neil'],
      birthDate: '1956-08-14',
    },
    destinations: expect.arrayContaining([
      { id: expect.any(String), address: 'ellen.ross@direct.somephr.example' },
      { id: expect.any(String), address: 'dr.lee@direct.clinic.example' },
    ]),
    frequency: { type: 'interval', every: 'P1M' },
    triggers: ['discharge', 'new-results'],
    validFrom: at,
    validUntil: new Date('2027-06-01T00:00:00Z'),
    identityAssurance: { method: 'in-person', verifiedBy: 'front desk', verifiedAt: at },
    evidence: 'scan 17',
    sensitiveData: 'excluded',
  })
})

test('a revoked one is still a candidate, and says when; a removed destination is none any more', async () => {
  const before = await stored([of(ashby, 'X3003')])
  const changed = await updateAuthorization(
    query,
    before,
    { destinations: ['dr.lee@direct.clinic.example'], frequency: { type: 'continuous' }, validUntil: null },
    'test',
    at,
  )
  await markRevoked(query, changed, 'test', 'asked to', at)
  const [[candidate]] = (await candidatesFor(query, [[of(ashby, 'X3003')]])) as [Authorization[]]
  expect(candidate).toMatchObject({
    id: before.id,
    version: 3,
    revokedAt: at,
    frequency: { type: 'continuous' },
  })
  expect(candidate!.destinations.map(({ address }) => address)).toEqual(['dr.lee@direct.clinic.example'])
  expect(candidate).not.toHaveProperty('validUntil')
})

test('unknown ids are left out', async () => {
  const found = await loadAuthorizations(query, ['00000000-0000-4000-8000-000000000000', george.id])
  expect(found.map(({ id }) => id)).toEqual([george.id])
})

test('candidates are found by the primary key, also when the table is large and its statistics are old', async () => {
  await query(`
    WITH made AS (
      INSERT INTO transmit_authorization (id, family, birth_date, frequency, triggers, valid_from, assurance_method,
        assurance_by, assurance_at, created_at, created_by)
      SELECT gen_random_uuid(), 'Crowd', '1970-01-01', 'continuous', '{discharge}', now(), 'oral', 'x', now(), now(), 'x'
        FROM generate_series(1, 20000) RETURNING id)
    INSERT INTO authorization_identifier (system, value, authorization_id)
    SELECT '${ashby}', 'C' || row_number() OVER (), id FROM made`)
  const [found] = await candidatesFor(query, [[of(ashby, 'C777')]])
  expect(found).toHaveLength(1)
  await database.dataSource.transaction(async (manager) => {
    const own = queryOf(manager)
    const scans = async () => {
      const [row] = await own<{ scans: string }>(
        `SELECT coalesce(sum(seq_scan), 0) AS scans FROM pg_stat_xact_user_tables
          WHERE relname IN ('transmit_authorization', 'authorization_identifier', 'authorization_destination')`,
      )
      return Number(row!.scans)
    }
    const before = await scans()
    await candidatesFor(own, [[of(ashby, 'C4242')], [of(ashby, 'E1001')], [of(ashby, 'nobody')]])
    expect(await scans()).toBe(before)
  })
})
