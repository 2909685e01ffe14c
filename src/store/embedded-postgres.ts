import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'
import { findBinaries } from './embedded-binaries.ts'
import { locate } from './embedded-location.ts'
import { makeCluster, urlOf, type Cluster } from './embedded-cluster.ts'
import {
  choosePort,
  livingPostmaster,
  logFileOf,
  startPostmaster,
  stopPostmaster,
  trimLog,
  type Started,
} from './embedded-postmaster.ts'
import { connect, takePlace, type Newcomer, type Presence } from './embedded-presence.ts'

export interface DatabaseOptions {
  /** Default ./var; the database lies in its subdirectory `postgres`. */
  readonly dataDirectory?: string
  /** One engine at a time may work on a directory; any number of visitors (commands) beside or without it. */
  readonly role: Newcomer['role']
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

/** Crash recovery replays at most max_wal_size of log; a server that says it is starting is given this long. */
const recoveryMsMax = 600_000
/** A living server that says nothing at all for this long is stopped and started again. */
const silenceMsMax = 30_000
/** How long backends that outlived their server may take to go. */
const departureMsMax = 30_000
const reportEveryMs = 10_000
const departurePollMs = 150
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

interface Entering extends Newcomer {
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
  if (outlived)
    log.warn('processes of the previous database server are still ending', { path: cluster.location.data })
  await pause(departurePollMs)
}
