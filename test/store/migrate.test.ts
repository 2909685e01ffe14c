import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { migrate, requireCurrentSchema, schemaStanding, SchemaNewer } from '../../src/store/migrate.ts'
import { makeDataSource, migrations, migrationTable } from '../../src/store/data-source.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

test('a migrated database is current, and migrating it again changes nothing', async () => {
  const standing = await schemaStanding(database.dataSource)
  expect(standing).toEqual({ current: migrations.at(-1)?.name, pending: [], unknown: [] })
  expect(await migrate(database.dataSource)).toEqual([])
  await requireCurrentSchema(database.dataSource)
})
