import { spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import {
  accessFile,
  environment,
  lastLines,
  listensOnSocket,
  settingsFile,
  socketPort,
  writeSettings,
  type Cluster,
} from './embedded-cluster.ts'
import { writeWhole, type Location } from './embedded-location.ts'
import { commandOf, isAlive } from './embedded-process.ts'

/** What postmaster.pid says about a server that is alive. */
export interface Postmaster {
  readonly pid: number
  readonly port: number
}

/** One older log of the same size is kept beside it. */
const logBytesMax = 16 * 1024 * 1024
/** A fast shutdown writes out shared_buffers; past this it is cut short, and the next start recovers from the log. */
const fastStopMsMax = 30_000
const immediateStopMsMax = 10_000
const pollMs = 10

/** The server of this data directory that is alive now, whoever started it. */
export function livingPostmaster({ location }: Cluster): Postmaster | undefined {
  const lines = postmasterFile(location.data)
  const pid = Number(lines?.[0])
  const port = Number(lines?.[3])
  if (!(pid > 0) || !isPostmasterOf(pid, location.data)) return undefined
  return { pid, port }
}

/** PostgreSQL’s own lock file: pid, data directory, start, port, socket directory, address, shared memory, status. */
function postmasterFile(data: string): string[] | undefined {
  try {
    return readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Whether this pid is a running postmaster of this directory. After a crash the number may belong to another program,
 * or to a dead process that a container’s pid 1 never reaps (its command line is then empty).
 */
function isPostmasterOf(pid: number, data: string): boolean {
  if (!isAlive(pid)) return false
  const command = commandOf(pid)
  return command !== undefined && /postgres/.test(command) && command.includes(data)
}

/** A started server process: `ended` settles with the last words of its log when it is gone. */
export interface Started {
  readonly pid: number
  readonly ended: Promise<string>
  hasEnded(): boolean
}

/**
 * Starts the server in a process group of its own, so that Ctrl-C reaches bluepost only and the server outlives the
 * drain. It also outlives a killed bluepost; the next start finds it (livingPostmaster).
 */
export async function startPostmaster(cluster: Cluster, port: number): Promise<Started> {
  const { location, binaries } = cluster
  writeSettings(cluster)
  disownStaleLocks(location)
  trimLog(cluster)
  const logFile = logFileOf(cluster)
  const log = openSync(logFile, 'a', 0o600)
  const loggedBefore = fstatSync(log).size
  const listen = listensOnSocket(cluster)
    ? ['-c', `unix_socket_directories=${quoteList(location.run)}`]
    : ['-c', 'listen_addresses=127.0.0.1']
  const child = spawn(
    join(binaries.directory, 'bin', 'postgres'),
    [
      ...['-D', location.data, '-c', `config_file=${settingsFile(cluster)}`],
      ...['-c', `hba_file=${accessFile(cluster)}`, '-c', `port=${port}`, ...listen],
    ],
    { cwd: '/', env: environment(), detached: true, stdio: ['ignore', log, log], ...location.account },
  )
  closeSync(log)
  child.unref()
  let ended = false
  const gone = new Promise<string>((settle) => {
    child.once('error', (error) => {
      ended = true
      settle(error.message)
    })
    child.once('exit', (code, signal) => {
      ended = true
      settle(lastLines(readFrom(logFile, loggedBefore)) ?? `exit ${code ?? signal}`)
    })
  })
  return { pid: child.pid ?? 0, ended: gone, hasEnded: () => ended }
}

/** unix_socket_directories is a list: a name with a comma or a blank has to be quoted. */
function quoteList(path: string): string {
  return `"${path.replaceAll('"', '""')}"`
}

/**
 * PostgreSQL takes its lock file for valid as soon as *some* process has the pid written there, and for stale when it
 * is its own parent’s (miscinit.c, CreateLockFile). The caller has seen that no postmaster of ours lives: writing our
 * pid leaves every other check of PostgreSQL in force, above all the one for backends that outlived their postmaster.
 */
function disownStaleLocks({ data, run, account }: Location): void {
  for (const name of [join(data, 'postmaster.pid'), join(run, `.s.PGSQL.${socketPort}.lock`)]) {
    let content: string
    try {
      content = readFileSync(name, 'utf8')
    } catch {
      continue
    }
    const [pid] = content.split('\n')
    if (!(Number(pid) > 0) || isPostmasterOf(Number(pid), data)) continue
    const rewritten = content.replace(/^\d+/, String(process.pid))
    // Written as the account itself: root follows no link inside a directory that is not root's.
    if (account) {
      spawnSync('/bin/sh', ['-c', 'cat > "$1"', 'sh', name], { cwd: '/', input: rewritten, ...account })
    } else {
      writeFileSync(name, rewritten)
    }
  }
}

/** The port to listen on: always the same for a socket; on loopback the last one while it is free. */
export async function choosePort(cluster: Cluster, wanted?: number): Promise<number> {
  if (listensOnSocket(cluster)) return socketPort
  const record = join(cluster.location.home, 'port')
  const last = wanted ?? (existsSync(record) ? Number(readFileSync(record, 'utf8')) : 0)
  const port = (last > 0 ? await freePort(last) : undefined) ?? (await freePort(0))
  if (port === undefined) throw new Error('no free port was found on 127.0.0.1')
  writeWhole(record, `${port}\n`)
  return port
}

function freePort(port: number): Promise<number | undefined> {
  return new Promise((settle) => {
    const probe = createServer()
    probe.once('error', () => settle(undefined))
    probe.listen({ host: '127.0.0.1', port, exclusive: true }, () => {
      const address = probe.address()
      probe.close(() => settle(typeof address === 'object' && address ? address.port : undefined))
    })
  })
}

/**
 * Fast shutdown (SIGINT: sessions are ended, everything is written out); past its time an immediate one (SIGQUIT: the
 * next start recovers), past that SIGKILL. Resolves when the server is gone.
 */
export async function stopPostmaster(
  cluster: Cluster,
): Promise<'fast' | 'immediate' | 'killed' | 'was not running'> {
  const found = livingPostmaster(cluster)
  if (!found) return 'was not running'
  for (const [signal, msMax, how] of [
    ['SIGINT', fastStopMsMax, 'fast'],
    ['SIGQUIT', immediateStopMsMax, 'immediate'],
    ['SIGKILL', immediateStopMsMax, 'killed'],
  ] as const) {
    try {
      process.kill(found.pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
    for (const until = performance.now() + msMax; performance.now() < until; await pause(pollMs)) {
      if (!isPostmasterOf(found.pid, cluster.location.data)) return how
    }
  }
  throw new Error(`the database server (pid ${found.pid}) of ${cluster.location.data} cannot be stopped`)
}

export function logFileOf({ location }: Cluster): string {
  return join(location.home, 'postgres.log')
}

/** Bounds the log. The server appends to one open file, so the file is copied and cut, never renamed. */
export function trimLog(cluster: Cluster): void {
  const path = logFileOf(cluster)
  if (!existsSync(path) || statSync(path).size <= logBytesMax) return
  copyFileSync(path, `${path}.1`)
  truncateSync(path)
}

function readFrom(path: string, offset: number): string {
  let file
  try {
    file = openSync(path, 'r')
  } catch {
    // The directory was removed with the server still in it.
    return ''
  }
  try {
    const buffer = Buffer.alloc(Math.min(16_384, Math.max(0, fstatSync(file).size - offset)))
    return buffer.subarray(0, readSync(file, buffer, 0, buffer.length, offset)).toString('utf8')
  } finally {
    closeSync(file)
  }
}
