import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { migrate, requireCurrentSchema, schemaStanding, SchemaNewer } from '../../src/store/migrate.ts'
import { makeDataSource, migrations, migrationTable, whyUnfit } from '../../src/store/data-source.ts'
import { migrateAll } from '../../src/store/schema.ts'
import { randomBytes } from 'node:crypto'

let database: TestDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
const names: string[] = []
afterAll(async () => {
  for (const name of names) await database.dataSource.query(`DROP DATABASE ${name} WITH (FORCE)`)
  await database.close()
})

test('a migrated database is current, and migrating it again changes nothing', async () => {
  const standing = await schemaStanding(database.dataSource)
  expect(standing).toEqual({ current: migrations.at(-1)?.name, pending: [], unknown: [] })
  expect(await migrate(database.dataSource)).toEqual([])
  await requireCurrentSchema(database.dataSource)
})

/** A database without any table, beside the fresh one. */
async function anEmptyDatabase(options = ''): Promise<string> {
  const name = `empty_${randomBytes(6).toString('hex')}`
  await database.dataSource.query(`CREATE DATABASE ${name} TEMPLATE template0 ${options}`)
  names.push(name)
  const url = new URL(database.url)
  url.pathname = `/${name}`
  return url.href
}

test('any number of processes migrate an empty database at once; one does it, and its key is made once', async () => {
  const url = await anEmptyDatabase()
  const sources = await Promise.all([1, 2, 3].map(() => makeDataSource(url, { poolSize: 3 }).initialize()))
  try {
    await expect(requireCurrentSchema(sources[0]!)).rejects.toThrow(
      /lacks \d+ migration.*run `bluepost migrate`/,
    )
    const applied = await Promise.all(sources.map((source) => migrateAll(source)))
    expect(applied.flat()).toEqual(migrations.map(({ name }) => name))
    await requireCurrentSchema(sources[0]!)
    const keys = await sources[0]!.query('SELECT length(blind_key) AS bytes FROM installation')
    expect(keys).toEqual([{ bytes: 32 }])
    await sources[0]!.query('SELECT FROM graphile_worker.jobs')
  } finally {
    for (const source of sources) await source.destroy()
  }
})

test('a database that a newer bluepost migrated is refused and left as it is', async () => {
  const { dataSource } = database
  await dataSource.query(
    `INSERT INTO ${migrationTable} (timestamp, name) VALUES (9999999999999, 'Tomorrow9999999999999')`,
  )
  try {
    await expect(migrate(dataSource)).rejects.toThrow(SchemaNewer)
    await expect(requireCurrentSchema(dataSource)).rejects.toThrow(
      /newer bluepost \(Tomorrow9999999999999 is not known to this build\): install that version/,
    )
    expect(await schemaStanding(dataSource)).toMatchObject({ current: 'Tomorrow9999999999999', pending: [] })
  } finally {
    await dataSource.query(`DELETE FROM ${migrationTable} WHERE timestamp = 9999999999999`)
  }
  await requireCurrentSchema(dataSource)
})

test('a migration never goes back', async () => {
  await expect(database.dataSource.undoLastMigration()).rejects.toThrow(/go forward only: restore the backup/)
})

test('servers before PostgreSQL 14, and databases that cannot hold every name, are refused with the remedy', async () => {
  expect(whyUnfit({ number: 140000, version: '14.0', encoding: 'UTF8' })).toBeUndefined()
  expect(whyUnfit({ number: 130022, version: '13.22', encoding: 'UTF8' })).toBe(
    'the database server is PostgreSQL 13.22; bluepost needs 14 or newer: point DATABASE_URL at one',
  )
  const latin = makeDataSource(
    await anEmptyDatabase("ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc"),
  )
  await expect(latin.initialize()).rejects.toThrow(/encoded in SQL_ASCII; names need UTF8/)
  expect(latin.isInitialized).toBe(false)
})
