import type { DataSource } from 'typeorm'
import { makeLog } from '../lib/log.ts'
import type { Settings } from '../settings.ts'
import { makeDataSource } from '../store/data-source.ts'
import { openDatabase } from '../store/embedded-postgres.ts'
import { entities } from '../store/entities.ts'
import { SchemaNewer } from '../store/migrate.ts'
import { migrateAll } from '../store/schema.ts'
import { Findings } from './command.ts'

/** Runs on the installation’s database: beside a running engine, or with a server of its own for as long as it takes. */
export async function onDatabase<Result>(
  settings: Settings,
  work: (dataSource: DataSource, migrationsApplied: readonly string[]) => Promise<Result>,
): Promise<Result> {
  const log = makeLog('warn', process.stderr)
  const embedded =
    settings.database === 'embedded'
      ? await openDatabase({
          dataDirectory: settings.dataDirectory,
          role: 'visitor',
          log,
          onNotice: (text) => process.stderr.write(`${text}\n`),
        })
      : undefined
  try {
    const dataSource = makeDataSource(embedded?.url ?? settings.database, {
      poolSize: 4,
      entities,
      applicationName: 'bluepost command',
    })
    try {
      await dataSource.initialize()
      return await work(dataSource, await migrateAll(dataSource))
    } catch (error) {
      throw error instanceof SchemaNewer ? new Findings(error.message) : error
    } finally {
      if (dataSource.isInitialized) await dataSource.destroy()
    }
  } finally {
    await embedded?.stop()
  }
}
