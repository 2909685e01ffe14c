import { readdirSync } from 'node:fs'
import { extname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { DataSource, type EntitySchema, type MigrationInterface } from 'typeorm'

export interface DataSourceOptions {
  /** Connections at most; the embedded server has 60 for everybody. */
  readonly poolSize?: number
  readonly entities?: readonly EntitySchema[]
  /** Shown in pg_stat_activity. */
  readonly applicationName?: string
  /** A pooled connection broke while it lay idle (the server restarts): worth a log line, the pool replaces it. */
  readonly onIdleError?: (error: unknown) => void
}

type MigrationClass = new () => MigrationInterface

/** The oldest server whose SQL ours is: unnest of several arrays, pg_current_xact_id and partitions as we use them. */
const serverVersionMin = 140_000
const poolSizeDefault = 16
const connectMsMax = 10_000

/** Table in which TypeORM keeps the names of the migrations that were applied. */
export const migrationTable = 'schema_migration'

/** Every migration of this build, oldest first: migrations/*.ts beside the source, *.js in a built package. */
export const migrations: readonly MigrationClass[] = await readMigrations()

async function readMigrations(): Promise<MigrationClass[]> {
  const directory = join(import.meta.dirname, '../../migrations')
  const extension = extname(import.meta.filename)
  const names = readdirSync(directory).filter((name) => name.endsWith(extension) && !name.endsWith('.d.ts'))
  const classes: MigrationClass[] = []
  for (const name of names.sort()) {
    const module = (await import(pathToFileURL(join(directory, name)).href)) as Record<string, unknown>
    classes.push(
      ...Object.values(module).filter((value): value is MigrationClass => typeof value === 'function'),
    )
  }
  return classes
}

/** TypeORM over a PostgreSQL server; `initialize()` connects, and refuses a server older than 14. */
export function makeDataSource(url: string, options: DataSourceOptions = {}): DataSource {
  return new CheckedDataSource({
    type: 'postgres',
    url,
    entities: [...(options.entities ?? [])],
    migrations: [...migrations],
    migrationsTableName: migrationTable,
    migrationsTransactionMode: 'each',
    poolSize: options.poolSize ?? poolSizeDefault,
    connectTimeoutMS: connectMsMax,
    applicationName: options.applicationName ?? `bluepost ${process.pid}`,
    poolErrorHandler: options.onIdleError ?? (() => {}),
    installExtensions: false,
    synchronize: false,
    logging: false,
  })
}

class CheckedDataSource extends DataSource {
  override async initialize(): Promise<this> {
    await super.initialize()
    const [row] = (await this.query(
      `SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS text,
         current_setting('server_encoding') AS encoding`,
    )) as { number: number; text: string; encoding: string }[]
    if (row === undefined || row.number < serverVersionMin) {
      await this.destroy()
      throw new Error(
        `the database server is PostgreSQL ${row?.text}; bluepost needs 14 or newer: point DATABASE_URL at one`,
      )
    }
    if (row.encoding !== 'UTF8') {
      await this.destroy()
      throw new Error(
        `the database is encoded in ${row.encoding}; names need UTF8: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`,
      )
    }
    return this
  }
}
