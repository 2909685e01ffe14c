import { hostname } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import type { Log } from '../lib/log.ts'
import { urlOf, type Cluster } from './embedded-cluster.ts'
import { stopPostmaster, type Postmaster } from './embedded-postmaster.ts'
import { isAlive } from './embedded-process.ts'

/** A session of ours on the server, holding the locks of its role. */
export interface Presence {
  readonly port: number
  readonly serverPid: number
  /** Resolves when the session has ended, whoever ended it. */
  readonly gone: Promise<void>
  /** True when nobody else is left: the server is then ours to stop, and newcomers wait until it is gone. */
  leaveAsLast(): Promise<boolean>
  close(): Promise<void>
}

/** Who wants to be on the server of which cluster. */
export interface Newcomer {
  readonly cluster: Cluster
  /** One engine at a time may work on a directory; any number of visitors beside or without it. */
  readonly role: 'engine' | 'visitor'
  readonly log: Log
}

/** The directory already has its engine. The message says which, since when, and what to do. */
class EngineRunning extends Error {
  override readonly name = 'EngineRunning'
}

/** Advisory locks of the embedded database, in its own key space. */
const lockSpace = 0x626c7565
/** Held by the engine for as long as it runs. */
const engineKey = 1
/** Held shared by everybody who works with the server; the last to leave gets it alone and stops the server. */
const presenceKey = 2

/** How long the session of a killed engine may take to go. */
const departureMsMax = 30_000
/** Who stops the server has fast, immediate and killing shutdown to try; newcomers wait a little longer than that. */
const placeMsMax = 60_000
const connectMsMax = 5_000
/** NAMEDATALEN - 1 */
const applicationNameBytesMax = 63
const pollMs = 15

export type Connected = { client: pg.Client; says?: never } | { client?: never; says?: string }

/** `says` is the server’s own reason for not taking us in now; silence has none. Anything lasting is thrown. */
export async function connect({ cluster, role }: Newcomer, port: number): Promise<Connected> {
  const client = new pg.Client({
    connectionString: urlOf(cluster, port, 'postgres', 'postgres'),
    application_name: `bluepost ${role} ${process.pid} on ${hostname()}`.slice(0, applicationNameBytesMax),
    connectionTimeoutMillis: connectMsMax,
    lock_timeout: placeMsMax,
    keepAlive: true,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    return { client }
  } catch (error) {
    await client.end().catch(() => {})
    const { code, message } = error as { code?: string; message: string }
    if (error instanceof pg.DatabaseError && passing.has(code ?? '')) return { says: message }
    if (error instanceof pg.DatabaseError || code === 'EACCES' || code === 'EPERM') {
      throw new Error(`the database server of ${cluster.location.data} refuses us: ${message}`, {
        cause: error,
      })
    }
    return {}
  }
}

/** cannot_connect_now, too_many_connections, admin_shutdown, crash_shutdown */
const passing = new Set(['57P03', '53300', '57P01', '57P02'])

/** Undefined when this server went away meanwhile: the last one out, or we, just stopped it. */
export async function takePlace(
  newcomer: Newcomer,
  client: pg.Client,
  server: Postmaster,
): Promise<Presence | undefined> {
  const { cluster, role } = newcomer
  const gone = new Promise<void>((settle) => client.once('end', () => settle()))
  try {
    await requireOurs(newcomer, client, server)
    await client.query('SELECT pg_advisory_lock_shared($1, $2)', [lockSpace, presenceKey])
    if (role === 'engine') await takeEngineLock(cluster, client)
  } catch (error) {
    await client.end().catch(() => {})
    if (isCut(error)) return undefined
    throw error
  }
  // The session alone does not keep the process from ending.
  const held = client as pg.Client & { ref(): void; unref(): void }
  held.unref()
  return {
    port: server.port,
    serverPid: server.pid,
    gone,
    async leaveAsLast() {
      held.ref()
      try {
        await client.query('SELECT pg_advisory_unlock_all()')
        if (await isAlone(client)) return true
        await client.end()
        return false
      } catch {
        // Our session was ended; the server may be in use all the same.
        const again = (await connect(newcomer, server.port)).client
        if (!again) return true
        const alone = await isAlone(again)
        await again.end()
        return alone
      }
    },
    async close() {
      await client.end().catch(() => {})
    },
  }
}

/** Takes the whole server when nobody else has a place on it; newcomers then wait until this session ends. */
async function isAlone(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ alone: boolean }>('SELECT pg_try_advisory_lock($1, $2) AS alone', [
    lockSpace,
    presenceKey,
  ])
  return rows[0]?.alone === true
}

/**
 * A server that we found running may have been left by another build, or by a test that does not care for its data.
 * Such a server is stopped and started as this build wants it, unless others are working with it.
 */
async function requireOurs({ cluster, log }: Newcomer, client: pg.Client, server: Postmaster): Promise<void> {
  const { rows } = await client.query<{ directory: string; version: string; fsync: boolean }>(
    `SELECT current_setting('data_directory') AS directory, current_setting('server_version') AS version,
       current_setting('fsync')::bool AS fsync`,
  )
  const [found] = rows
  if (found?.directory !== cluster.location.data) {
    throw new Error(
      `the server on port ${server.port} serves ${found?.directory}, not ${cluster.location.data}: ` +
        `stop it, or set another dataDirectory`,
    )
  }
  const careless = cluster.durable && !found.fsync
  if (!careless && found.version === cluster.binaries.version) return
  if (await isAlone(client)) {
    log.info('the database server that was running is replaced', {
      pid: server.pid,
      version: cluster.binaries.version,
    })
    await stopPostmaster(cluster)
    return
  }
  if (careless) {
    throw new Error(
      `the running server of ${cluster.location.data} does not keep data safe (fsync off) and is in use: stop what uses it`,
    )
  }
  log.warn('the running database server is of another version and in use', { version: found.version })
}

function isCut(error: unknown): boolean {
  const { code, message } = error as { code?: string; message: string }
  if (error instanceof pg.DatabaseError) return code?.startsWith('57P') === true
  return code !== undefined || /connection (terminated|ended)|not queryable|was closed/i.test(message)
}

/** Waits only for an engine that is already dead and whose session the server has not yet noticed to be. */
async function takeEngineLock(cluster: Cluster, client: pg.Client): Promise<void> {
  const until = performance.now() + departureMsMax
  for (;;) {
    const { rows } = await client.query<{ taken: boolean }>('SELECT pg_try_advisory_lock($1, $2) AS taken', [
      lockSpace,
      engineKey,
    ])
    if (rows[0]?.taken) return
    const holder = await engineHolding(client)
    if (holder && (holder.alive || performance.now() > until)) {
      throw new EngineRunning(
        `another bluepost works on ${cluster.location.data}: process ${holder.pid}, since ${holder.since.toISOString()}. ` +
          `Stop it (kill ${holder.pid}), or give this one another dataDirectory; ` +
          `several engines on one database need a PostgreSQL server of their own (DATABASE_URL)`,
      )
    }
    await pause(pollMs)
  }
}

async function engineHolding(
  client: pg.Client,
): Promise<{ pid: number; since: Date; alive: boolean } | undefined> {
  const { rows } = await client.query<{ application_name: string; backend_start: Date }>(
    `SELECT application_name, backend_start FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND classid = $1 AND objid = $2 AND objsubid = 2 AND granted
       AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [lockSpace, engineKey],
  )
  const [row] = rows
  if (!row) return undefined
  const named = /^bluepost engine (\d+) on (.*)$/.exec(row.application_name)
  const pid = Number(named?.[1] ?? 0)
  const elsewhere = !hostname().startsWith(named?.[2] ?? '')
  return { pid, since: row.backend_start, alive: elsewhere || isAlive(pid) }
}
