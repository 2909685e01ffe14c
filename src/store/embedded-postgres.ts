import { hostname } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import type { Log } from '../lib/log.ts'
import { findBinaries } from './embedded-binaries.ts'
import { locate } from './embedded-location.ts'
import {
  choosePort,
  livingPostmaster,
  logFileOf,
  makeCluster,
  startPostmaster,
  stopPostmaster,
  trimLog,
  urlOf,
  type Cluster,
  type Postmaster,
  type Started,
} from './embedded-postmaster.ts'

export interface DatabaseOptions {
  /** Default ./var; the database lies in its subdirectory `postgres`. */
  readonly dataDirectory?: string
  /** One engine at a time may work on a directory; any number of visitors (commands) beside or without it. */
  readonly role: 'engine' | 'visitor'
  readonly log: Log
  /** What the person at the terminal should know, for example that the data lies elsewhere. */
  readonly onNotice?: (text: string) => void
  /** The server died under a running engine and could not be started again. */
  readonly onLost?: (error: Error) => void
  /** False gives up fsync: for throw-away databases of tests, never for messages. */
  readonly durable?: boolean
}

export interface OpenDatabase {
  /** postgresql://… of the role that owns the database. May hold a password: not for logs. */
  readonly url: string
  readonly location: { readonly data: string; readonly binaries: string; readonly asUid?: number }
  /** After the drain: leaves, and stops the server unless somebody else still works with it. */
  stop(): Promise<void>
}

/** The directory already has its engine. The message says which, since when, and what to do. */
export class EngineRunning extends Error {
  override readonly name = 'EngineRunning'
}

/** Advisory locks of the embedded database, in its own key space. */
const lockSpace = 0x626c7565
/** Held by the engine for as long as it runs. */
const engineKey = 1
/** Held shared by everybody who works with the server; the last to leave gets it alone and stops the server. */
const presenceKey = 2

/** Crash recovery replays at most max_wal_size of log; a server that says it is starting is given this long. */
const recoveryMsMax = 600_000
/** A living server that says nothing at all for this long is stopped and started again. */
const silenceMsMax = 30_000
/** How long the session of a killed engine, or a backend that outlived its server, may take to go. */
const departureMsMax = 30_000
/** Who stops the server has fast, immediate and killing shutdown to try; newcomers wait a little longer than that. */
const placeMsMax = 60_000
const connectMsMax = 5_000
const reportEveryMs = 10_000
const departurePollMs = 150
/** NAMEDATALEN - 1 */
const applicationNameBytesMax = 63
const pollMs = 15
const trimLogMs = 3_600_000

/**
 * The embedded PostgreSQL: made on first use, found again when it is already running, started when it is not.
 *
 * Survives every kill: of bluepost (its server is taken over), of the server (it recovers), of both.
 * Throws EngineRunning for a second engine, otherwise an Error that says what to do.
 */
export async function openDatabase(options: DatabaseOptions): Promise<OpenDatabase> {
  const { log, role } = options
  const location = locate(options.dataDirectory ?? './var')
  const binaries = findBinaries(location.home, location.account)
  const cluster: Cluster = { location, binaries, durable: options.durable ?? true }
  if (location.movedFrom !== undefined) {
    options.onNotice?.(
      `PostgreSQL does not run as root, and uid ${location.account?.uid} may not enter ${location.movedFrom}: ` +
        `the database is kept in ${location.home}`,
    )
  }
  if (binaries.copied) options.onNotice?.(`PostgreSQL’s programs were copied to ${binaries.directory}`)
  makeCluster(cluster)

  let leaving = false
  const entering = { cluster, role, log, given: () => leaving }
  let presence = await enter(entering)
  const { port } = presence
  let reviving: Promise<void> | undefined
  log.info('database open', { path: location.data, version: binaries.version, pid: presence.serverPid })

  const watch = () => {
    void presence.gone.then(() => {
      if (!leaving && role === 'engine') reviving = revive()
    })
  }
  const revive = async () => {
    log.error('the database server went away; it is started again', { path: location.data })
    try {
      presence = await enter(entering, port)
      log.info('the database server is back', { pid: presence.serverPid })
      watch()
    } catch (error) {
      if (leaving) return
      log.error('the database server could not be started again', { path: logFileOf(cluster) })
      options.onLost?.(error as Error)
    }
  }
  watch()
  const trimming = setInterval(() => trimLog(cluster), trimLogMs).unref()

  return {
    url: urlOf(cluster, port, 'bluepost'),
    location: {
      data: location.data,
      binaries: binaries.directory,
      ...(location.account ? { asUid: location.account.uid } : {}),
    },
    async stop() {
      if (leaving) return
      leaving = true
      clearInterval(trimming)
      await reviving
      if (!(await presence.leaveAsLast())) return
      const how = await stopPostmaster(cluster)
      await presence.close()
      const asUsual = how === 'fast' || how === 'was not running'
      log[asUsual ? 'info' : 'warn']('database stopped', { outcome: how })
    },
  }
}

/** A session of ours on the server, holding the locks of its role. */
interface Presence {
  readonly port: number
  readonly serverPid: number
  /** Resolves when the session has ended, whoever ended it. */
  readonly gone: Promise<void>
  /** True when nobody else is left: the server is then ours to stop, and newcomers wait until it is gone. */
  leaveAsLast(): Promise<boolean>
  close(): Promise<void>
}

interface Entering {
  readonly cluster: Cluster
  readonly role: DatabaseOptions['role']
  readonly log: Log
  /** Whether the wish to enter was given up. */
  readonly given: () => boolean
}

/** Finds the server or starts it, and waits for as long as it visibly makes its way. */
async function enter(entering: Entering, wantedPort?: number): Promise<Presence> {
  const { cluster, log } = entering
  const began = performance.now()
  let heardAt = began
  let reportedAt = began
  let started: Started | undefined
  while (!entering.given()) {
    const server = livingPostmaster(cluster)
    if (!server && started?.hasEnded() !== false) {
      if (started) await sayWhyItEnded(entering, await started.ended, began)
      started = await startPostmaster(cluster, await choosePort(cluster, wantedPort))
      heardAt = performance.now()
    }
    if (server) {
      const tried = await connect(entering, server.port)
      const presence = tried.client && (await takePlace(entering, tried.client, server))
      if (presence) return presence
      if (tried.client || tried.says !== undefined) heardAt = performance.now()
      if (performance.now() - heardAt > silenceMsMax) {
        log.warn('the database server is alive and does not answer; it is stopped', { pid: server.pid })
        await stopPostmaster(cluster)
        heardAt = performance.now()
      }
      if (performance.now() - reportedAt > reportEveryMs) {
        reportedAt = performance.now()
        log.info('waiting for the database server, which is starting or stopping', { pid: server.pid })
      }
      if (performance.now() - began > recoveryMsMax) {
        throw new Error(
          `the database server (pid ${server.pid}) takes no connections (${tried.says ?? 'no answer'}): ` +
            `look into ${logFileOf(cluster)}`,
        )
      }
    }
    await pause(pollMs)
  }
  throw new Error('the database was closed while it was being opened')
}

/** Throws unless the reason passes by itself: processes of the last server still ending, a port taken meanwhile. */
async function sayWhyItEnded({ cluster, log }: Entering, because: string, began: number): Promise<void> {
  const outlived = /shared memory block .* is still in use|lock file .* already exists/.test(because)
  const portTaken = /could not (bind|create any)/.test(because)
  if (!(outlived || portTaken) || performance.now() - began > departureMsMax) {
    throw new Error(
      `the database server did not start: ${because} (more in ${logFileOf(cluster)})` +
        (outlived ? ': end the old server processes of this directory' : ''),
    )
  }
  if (outlived) log.warn('processes of the previous database server are still ending', { path: cluster.location.data })
  await pause(departurePollMs)
}

type Connected = { client: pg.Client; says?: never } | { client?: never; says?: string }

/** `says` is the server’s own reason for not taking us in now; silence has none. Anything lasting is thrown. */
async function connect({ cluster, role }: Entering, port: number): Promise<Connected> {
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
async function takePlace(
  entering: Entering,
  client: pg.Client,
  server: Postmaster,
): Promise<Presence | undefined> {
  const { cluster, role } = entering
  const gone = new Promise<void>((settle) => client.once('end', () => settle()))
  try {
    await requireOurs(entering, client, server)
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
        const again = (await connect(entering, server.port)).client
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
async function requireOurs({ cluster, log }: Entering, client: pg.Client, server: Postmaster): Promise<void> {
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
  let alive = elsewhere
  if (!elsewhere) {
    try {
      process.kill(pid, 0)
      alive = true
    } catch (error) {
      alive = (error as NodeJS.ErrnoException).code === 'EPERM'
    }
  }
  return { pid, since: row.backend_start, alive }
}
