import { afterEach, beforeEach, expect, test } from '@jest/globals'
import pg from 'pg'
import { appendAudit, sealAudit, verifyAudit, type AuditEntry } from '../../src/store/audit.ts'
import { migrate } from '../../src/store/migrate.ts'
import { inTransaction, queryOf, type Query } from '../../src/store/query.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { noon } from './ellen.ts'

let database: TestDatabase
let query: Query
beforeEach(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
})
afterEach(() => database.close())

const entry = (subject: string): AuditEntry => ({
  at: noon,
  actor: 'engine',
  action: 'disclosure',
  subject,
  detail: { attempt: 1 },
})

const append = (...subjects: string[]) =>
  inTransaction(database.dataSource, (tx) => appendAudit(tx, subjects.map(entry)))
const seal = (db: TestDatabase = database) => inTransaction(db.dataSource, (tx) => sealAudit(tx, noon))

/** A seal stops at the oldest transaction of the whole cluster, and other test files have some of theirs under way. */
async function settled(db: TestDatabase = database): Promise<void> {
  for (let isBelow = false; !isBelow;) {
    const [row] = await queryOf(db.dataSource)<{ is_below: boolean }>(
      `SELECT coalesce(max(txid), 0) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
         + (SELECT audit_offset FROM installation) AS is_below FROM audit`,
    )
    isBelow = row!.is_below
  }
}

async function sealAll(db: TestDatabase = database): Promise<number> {
  await settled(db)
  return seal(db)
}

/** The embedded server’s administrator comes by the same socket; a server of DATABASE_URL_FOR_TESTS has its own role. */
async function asSuperuser(...statements: string[]): Promise<void> {
  const url = new URL(database.url)
  if (!process.env['DATABASE_URL_FOR_TESTS']) url.username = 'postgres'
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}

test.each([
  ['changed', `UPDATE audit SET actor = 'nobody'`],
  ['deleted', 'DELETE FROM audit'],
  ['truncated', 'TRUNCATE audit'],
  ['changed in its seals', `UPDATE audit_seal SET hash = '\\x00'`],
  ['deleted in its seals', 'DELETE FROM audit_seal'],
  ['truncated in its seals', 'TRUNCATE audit_seal'],
  ['changed in the history of authorizations', `UPDATE authorization_change SET by = 'nobody'`],
])('the audit cannot be %s, not even by the owner of its tables', async (_, statement) => {
  await append('transmission:1')
  await sealAll()
  await expect(query(statement)).rejects.toThrow(/is append-only/)
  expect(await query('SELECT subject FROM audit')).toEqual([{ subject: 'transmission:1' }])
})

test('switching triggers off by session_replication_role does not open it', async () => {
  await append('transmission:1')
  await expect(
    asSuperuser('SET session_replication_role = replica', `UPDATE audit SET actor = 'nobody'`),
  ).rejects.toThrow(/is append-only/)
})

test('what is told about and the entry exist together or not at all', async () => {
  const failing = inTransaction(database.dataSource, async (tx) => {
    await appendAudit(tx, [entry('transmission:1')])
    throw new Error('the step failed')
  })
  await expect(failing).rejects.toThrow('the step failed')
  expect(await query('SELECT FROM audit')).toEqual([])
})

test('entries are sealed once, each seal continues the one before, and the whole verifies', async () => {
  expect(await verifyAudit(query)).toEqual({ intact: true, seals: 0, entries: 0 })
  await append('transmission:1', 'transmission:2')
  expect(await sealAll()).toBe(2)
  expect(await seal()).toBe(0)
  const first = await verifyAudit(query)
  await append('transmission:3')
  expect(await sealAll()).toBe(1)
  const second = await verifyAudit(query)
  expect(second).toEqual({
    intact: true,
    seals: 2,
    entries: 3,
    head: expect.stringMatching(/^[0-9a-f]{64}$/),
  })
  expect(second).not.toMatchObject({ head: (first as { head: string }).head })
})

test('a long backlog is hashed page by page', async () => {
  await append(...Array.from({ length: 2500 }, (_, n) => `transmission:${n}`))
  expect(await sealAll()).toBe(2500)
  expect(await verifyAudit(query)).toMatchObject({ intact: true, entries: 2500 })
  await asSuperuser(
    'ALTER TABLE audit DISABLE TRIGGER ALL',
    `UPDATE audit SET detail = '{"attempt": 2}' WHERE subject = 'transmission:2499'`,
  )
  expect(await verifyAudit(query)).toMatchObject({ intact: false })
})

test('an entry of a transaction that is still open is sealed later and breaks nothing', async () => {
  const runner = database.dataSource.createQueryRunner()
  await runner.startTransaction()
  await appendAudit(queryOf(runner.manager), [entry('transmission:slow')])
  await append('transmission:quick')
  expect(await seal()).toBe(0)
  await runner.commitTransaction()
  await runner.release()
  expect(await sealAll()).toBe(2)
  expect(await verifyAudit(query)).toMatchObject({ intact: true, entries: 2 })
})

test('two that seal at the same time make one chain', async () => {
  await append('transmission:1')
  await settled()
  const sealed = await Promise.all([seal(), seal(), seal()])
  expect(sealed.sort()).toEqual([0, 0, 1])
  expect(await verifyAudit(query)).toMatchObject({ intact: true, seals: 1 })
})

test.each([
  [
    'changed',
    `UPDATE audit SET actor = 'nobody' WHERE subject = 'transmission:2'`,
    /not those that were sealed/,
  ],
  ['removed', `DELETE FROM audit WHERE subject = 'transmission:2'`, /not those that were sealed/],
  [
    'added to what is sealed',
    `INSERT INTO audit (txid, at, actor, action, subject, detail)
     SELECT txid, at, actor, action, 'transmission:9', detail FROM audit WHERE subject = 'transmission:2'`,
    /not those that were sealed/,
  ],
  ['given another time', `UPDATE audit SET at = at + interval '1 microsecond'`, /not those that were sealed/],
  ['robbed of a seal', 'DELETE FROM audit_seal WHERE id = 1', /does not continue/],
])('a row %s by a superuser with the triggers switched off is found', async (_, statement, because) => {
  await append('transmission:1', 'transmission:2')
  await sealAll()
  await append('transmission:3')
  await sealAll()
  expect(await verifyAudit(query)).toMatchObject({ intact: true })
  await asSuperuser(
    'ALTER TABLE audit DISABLE TRIGGER ALL',
    'ALTER TABLE audit_seal DISABLE TRIGGER ALL',
    statement,
  )
  expect(await verifyAudit(query)).toMatchObject({ intact: false, because: expect.stringMatching(because) })
})

test('after a restore into a new cluster, whose transaction ids begin anew, the chain goes on', async () => {
  // An old cluster is far ahead; one entry was not sealed yet when the dump was made.
  await query('UPDATE installation SET audit_offset = 5000000000')
  await append('transmission:sealed')
  await sealAll()
  await append('transmission:not-yet')
  const restored = await freshDatabase()
  try {
    const there = queryOf(restored.dataSource)
    for (const table of ['audit', 'audit_seal']) {
      const rows = await query(`SELECT * FROM ${table} ORDER BY id`)
      await there(
        `INSERT INTO ${table} OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_recordset(NULL::${table}, $1)`,
        [
          JSON.stringify(
            await query(`SELECT to_json(${table}) AS row FROM ${table} ORDER BY id`).then((all) =>
              all.map(({ row }) => row),
            ),
          ),
        ],
      )
      await there(`SELECT setval(pg_get_serial_sequence('${table}', 'id'), $1)`, [rows.length])
    }
    await migrate(restored.dataSource)
    await inTransaction(restored.dataSource, (tx) => appendAudit(tx, [entry('transmission:after')]))
    expect(await sealAll(restored)).toBe(2)
    expect(await verifyAudit(there)).toMatchObject({ intact: true, seals: 2, entries: 3 })
    // Opening it again changes nothing any more.
    const [before] = await there('SELECT audit_offset FROM installation')
    await migrate(restored.dataSource)
    expect(await there('SELECT audit_offset FROM installation')).toEqual([before])
  } finally {
    await restored.close()
  }
})

test('opening a database in its own cluster does not shift its transaction ids', async () => {
  const runner = database.dataSource.createQueryRunner()
  await runner.startTransaction()
  await appendAudit(queryOf(runner.manager), [entry('transmission:open')])
  await append('transmission:newest')
  await migrate(database.dataSource)
  await runner.rollbackTransaction()
  await runner.release()
  expect(await query('SELECT audit_offset FROM installation')).toEqual([{ audit_offset: '0' }])
})
