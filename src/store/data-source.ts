import { readdirSync } from 'node:fs'
import { extname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type pg from 'pg'
import { DataSource, type EntitySchema, type MigrationInterface } from 'typeorm'

export interface DataSourceOptions {
  /** Connections at most; the embedded server has 60 for everybody. */
  readonly poolSize?: number
  readonly entities?: readonly EntitySchema[]
  /** Shown in pg_stat_activity. */
  readonly applicationName?: string
  /** Whoever only looks: the server itself refuses every change. */
  readonly readOnly?: boolean
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
    ...(options.readOnly === true && { extra: { options: '-c default_transaction_read_only=on' } }),
    installExtensions: false,
    synchronize: false,
    logging: false,
  })
}

/** The pg pool under a data source that is connected: for the job queue, and for statements TypeORM has no words for. */
export function poolOf(dataSource: DataSource): pg.Pool {
  return (dataSource.driver as unknown as { master: pg.Pool }).master
}

class CheckedDataSource extends DataSource {
  override async initialize(): Promise<this> {
    await super.initialize()
    await survivesLostConnections(poolOf(this))
    const [server]: [Server] = await this.query(
      `SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
         current_setting('server_encoding') AS encoding`,
    )
    const because = whyUnfit(server)
    if (because === undefined) return this
    await this.destroy()
    throw new Error(because)
  }
}

/**
 * A connection that breaks while it is lent out reports it to the query under way, and by an event that would end the
 * process if nobody listened.
 */
async function survivesLostConnections(pool: pg.Pool): Promise<void> {
  const listen = (client: pg.ClientBase) => void client.on('error', () => {})
  pool.on('connect', listen)
  // The one that initialize() made came before.
  const first = await pool.connect()
  listen(first)
  first.release()
}

/** What a server says about itself. */
export interface Server {
  /** As server_version_num has it: 140000 is 14.0. */
  readonly number: number
  readonly version: string
  readonly encoding: string
}

/** Why bluepost cannot work on this server, and what to do; undefined where it can. */
export function whyUnfit({ number, version, encoding }: Server): string | undefined {
  if (number < serverVersionMin)
    return `the database server is PostgreSQL ${version}; bluepost needs 14 or newer: point DATABASE_URL at one`
  if (encoding !== 'UTF8')
    return `the database is encoded in ${encoding}; names need UTF8: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`
  return undefined
}
