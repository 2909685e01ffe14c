import { runMigrations } from 'graphile-worker'
import type { DataSource } from 'typeorm'
import { poolOf } from './data-source.ts'
import { migrate } from './migrate.ts'

/**
 * The whole schema: our migrations, then those of the job queue, under one lock.
 *
 * @returns the names of our migrations that this call applied
 * @throws SchemaNewer
 */
export function migrateAll(dataSource: DataSource): Promise<string[]> {
  return migrate(dataSource, { alsoMigrate: [() => runMigrations({ pgPool: poolOf(dataSource) })] })
}
