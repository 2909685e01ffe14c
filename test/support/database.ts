import { jest } from '@jest/globals'
import { randomBytes } from 'node:crypto'
import { runMigrations } from 'graphile-worker'
import pg from 'pg'
import type { DataSource, EntitySchema } from 'typeorm'
import { silentLog } from '../../src/lib/log.ts'
import { makeDataSource } from '../../src/store/data-source.ts'
import { openDatabase } from '../../src/store/embedded-postgres.ts'
import { migrate } from '../../src/store/migrate.ts'
import { templateOf } from './server-directory.ts'

// The first file of a run makes the server and the template, on a machine that may be busy with everything else.
jest.setTimeout(60_000)

export interface TestDatabase {
  readonly url: string
  readonly dataSource: DataSource
  close(): Promise<void>
}

/** One per run; made by the first test file that comes, under an advisory lock. */
const templateName = templateOf(process.env['BLUEPOST_TEST_SERVER'] ?? '')
const templateKey = 0x7465_7374

let serverUrl: Promise<string> | undefined

/**
 * A migrated PostgreSQL database that nobody else uses, for one test file: `const database = await freshDatabase()` in
 * beforeAll, `await database.close()` in afterAll. The server is the run’s own (global-setup.ts), started on first use,
 * or the one of DATABASE_URL_FOR_TESTS, whose role must be allowed to create databases.
 */
export async function freshDatabase(
  options: { entities?: readonly EntitySchema[]; poolSize?: number } = {},
): Promise<TestDatabase> {
  serverUrl ??= startServer()
  const server = await serverUrl
  await makeTemplate(server)
  const name = `bluepost_${process.pid}_${randomBytes(6).toString('hex')}`
  await asAdministrator(server, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE ${templateName}`))
  const url = withDatabase(server, name)
  const dataSource = makeDataSource(url, { poolSize: 8, ...options })
  await dataSource.initialize()
  // Every installation has a key of its own; a copy of the template’s would hide a key that is fixed by mistake.
  await dataSource.query('UPDATE installation SET blind_key = $1', [randomBytes(32)])
  return {
    url,
    dataSource,
    async close() {
      if (dataSource.isInitialized) await dataSource.destroy()
      await asAdministrator(server, (client) => drop(client, name))
    },
  }
}

/**
 * FORCE ends whatever a test has left behind, but may not end an autovacuum worker, which is the server’s own; a plain DROP
 * sends those away by itself, and fails only where somebody else is connected.
 */
async function drop(client: pg.Client, name: string): Promise<void> {
  for (let attempt = 0; ; attempt++)
    try {
      await client.query(`DROP DATABASE ${name}${attempt % 2 === 0 ? ' WITH (FORCE)' : ''}`)
      return
    } catch (error) {
      const { code } = error as { code?: string }
      // insufficient_privilege, object_in_use
      if ((code !== '42501' && code !== '55006') || attempt >= dropAttemptsMax) throw error
    }
}

const dropAttemptsMax = 10

async function startServer(): Promise<string> {
  const given = process.env['DATABASE_URL_FOR_TESTS']
  if (given) return given
  const dataDirectory = process.env['BLUEPOST_TEST_SERVER']
  if (!dataDirectory)
    throw new Error('BLUEPOST_TEST_SERVER is not set: jest.config.js names global-setup.ts for this project?')
  const server = await openDatabase({ dataDirectory, role: 'visitor', log: silentLog, durable: false })
  return server.url
}

async function makeTemplate(server: string): Promise<void> {
  await asAdministrator(server, async (client) => {
    await client.query('SELECT pg_advisory_lock($1)', [templateKey])
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [templateName])
    if (rowCount) return
    const staging = `${templateName}_staging`
    await client.query(`DROP DATABASE IF EXISTS ${staging} WITH (FORCE)`)
    await client.query(`CREATE DATABASE ${staging} TEMPLATE template0 ENCODING 'UTF8'`)
    const url = withDatabase(server, staging)
    const dataSource = makeDataSource(url, { poolSize: 2 })
    await dataSource.initialize()
    await migrate(dataSource, { alsoMigrate: [() => runMigrations({ connectionString: url })] })
    await dataSource.destroy()
    await client.query(`ALTER DATABASE ${staging} RENAME TO ${templateName}`)
  })
}

async function asAdministrator<T>(server: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url)
  changed.pathname = `/${name}`
  return changed.href
}
