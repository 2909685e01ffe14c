import { randomBytes } from 'node:crypto'
import { MigrationExecutor, type DataSource, type QueryRunner } from 'typeorm'
import { continueAudit } from './audit.ts'
import { migrationTable } from './data-source.ts'
import { queryOf } from './query.ts'

export interface SchemaStanding {
  /** Name of the newest migration applied, undefined on an empty database. */
  readonly current: string | undefined
  /** Known to this build and not applied yet, oldest first. */
  readonly pending: readonly string[]
  /** Applied, and unknown to this build: a newer bluepost was here. */
  readonly unknown: readonly string[]
}

/** A newer bluepost migrated this database. This build would misread it, so it does not start. */
export class SchemaNewer extends Error {
  override readonly name = 'SchemaNewer'

  constructor(unknown: readonly string[]) {
    super(
      `the database was migrated by a newer bluepost (${unknown.join(', ')} is not known to this build): ` +
        `install that version or a newer one, or restore the backup taken before the upgrade`,
    )
  }
}

export interface MigrateOptions {
  /** Migrations kept elsewhere (those of graphile-worker); run under the same lock, after ours. Must bear repetition. */
  readonly alsoMigrate?: readonly (() => Promise<unknown>)[]
}

/** Session advisory lock (two-key form), in a key space of its own beside the embedded database’s. */
const lockSpace = 0x626c7565
const migrateKey = 3

/** Length of the HMAC-SHA-256 key of the blind indexes: that of the hash (RFC 2104 §3). */
const blindKeyBytes = 32

/**
 * Brings the schema up to this build and makes the installation’s row. Any number of processes may call it at once.
 *
 * @returns the names of the migrations that this call applied
 * @throws SchemaNewer
 */
export async function migrate(dataSource: DataSource, options: MigrateOptions = {}): Promise<string[]> {
  const runner = dataSource.createQueryRunner()
  try {
    await runner.query('SELECT pg_advisory_lock($1, $2)', [lockSpace, migrateKey])
    try {
      const before = await standing(dataSource, runner)
      if (before.unknown.length > 0) throw new SchemaNewer(before.unknown)
      const executor = new MigrationExecutor(dataSource, runner)
      executor.transaction = 'each'
      const applied = before.pending.length > 0 ? await executor.executePendingMigrations() : []
      await runner.query('INSERT INTO installation (blind_key) VALUES ($1) ON CONFLICT DO NOTHING', [
        randomBytes(blindKeyBytes),
      ])
      await continueAudit(queryOf(runner.manager))
      for (const run of options.alsoMigrate ?? []) await run()
      return applied.map((migration) => migration.name)
    } finally {
      await runner.query('SELECT pg_advisory_unlock($1, $2)', [lockSpace, migrateKey])
    }
  } finally {
    await runner.release()
  }
}

/** Where the schema stands; changes nothing. */
export async function schemaStanding(dataSource: DataSource): Promise<SchemaStanding> {
  const runner = dataSource.createQueryRunner()
  try {
    return await standing(dataSource, runner)
  } finally {
    await runner.release()
  }
}

/** For processes that do not migrate: throws SchemaNewer, or an Error naming the command that migrates. */
export async function requireCurrentSchema(dataSource: DataSource): Promise<void> {
  const { pending, unknown } = await schemaStanding(dataSource)
  if (unknown.length > 0) throw new SchemaNewer(unknown)
  if (pending.length > 0) {
    throw new Error(
      `the database lacks ${pending.length} migration(s), first ${pending[0]}: run \`bluepost migrate\``,
    )
  }
}

async function standing(dataSource: DataSource, runner: QueryRunner): Promise<SchemaStanding> {
  const [table] = (await runner.query('SELECT to_regclass($1) AS oid', [migrationTable])) as {
    oid: string | null
  }[]
  const rows = table?.oid
    ? ((await runner.query(`SELECT name FROM ${migrationTable} ORDER BY timestamp, id`)) as {
        name: string
      }[])
    : []
  const applied = rows.map((row) => row.name)
  const known = dataSource.migrations.map((migration) => migration.name ?? migration.constructor.name)
  return {
    current: applied.at(-1),
    pending: known.filter((name) => !applied.includes(name)),
    unknown: applied.filter((name) => !known.includes(name)),
  }
}
