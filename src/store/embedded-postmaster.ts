import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  linkSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Binaries } from './embedded-binaries.ts'
import { writeWhole, type Location } from './embedded-location.ts'

/** Everything needed to start, find and stop the one server of a location. */
export interface Cluster {
  readonly location: Location
  readonly binaries: Binaries
  /** False only for throw-away databases of tests: a power cut may then lose what was committed. */
  readonly durable: boolean
}

/** What postmaster.pid says about a server that is alive. */
export interface Postmaster {
  readonly pid: number
  readonly port: number
}

/** The socket’s whole path must fit sockaddr_un.sun_path: 104 bytes on macOS, 108 on Linux. */
const socketPathBytesMax = 100
/** One older log of the same size is kept beside it. */
const logBytesMax = 16 * 1024 * 1024
/** A fast shutdown writes out shared_buffers; past this it is cut short, and the next start recovers from the log. */
const fastStopMsMax = 30_000
const immediateStopMsMax = 10_000
const pollMs = 10
const passwordBytes = 24

/** A port of a Unix socket is only a part of its name. */
const socketPort = 5432

const settings = (
  cluster: Cluster,
) => `# Written anew at every start. What shall differ goes into extra.conf beside this file.
listen_addresses = ''
unix_socket_directories = ''
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 60
shared_buffers = '128MB'
# Neither a small /dev/shm (containers) nor systemd's RemoveIPC can take its memory away.
dynamic_shared_memory_type = 'mmap'
fsync = ${cluster.durable ? 'on' : 'off'}
full_page_writes = ${cluster.durable ? 'on' : 'off'}
synchronous_commit = ${cluster.durable ? 'on' : 'off'}
wal_level = 'minimal'
max_wal_senders = 0
wal_compression = 'on'
min_wal_size = '80MB'
max_wal_size = '1GB'
checkpoint_timeout = '5min'
random_page_cost = 1.1
timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] '
# Nothing that may quote a row or a parameter: failed statements are bluepost's to report, without their values.
log_min_messages = 'log'
log_min_error_statement = 'panic'
log_error_verbosity = 'terse'
log_statement = 'none'
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_autovacuum_min_duration = -1
log_checkpoints = off
${existsSync(join(cluster.location.home, 'extra.conf')) ? "include 'extra.conf'\n" : ''}`

/** Local: only who may enter the socket's directory (mode 0700). TCP: loopback, with the generated password. */
const hostBasedAccess = `local all all trust
host all all 127.0.0.1/32 scram-sha-256
`

/** Makes the cluster once: complete or absent, also when two begin at the same time or one is killed on the way. */
export function makeCluster(cluster: Cluster): void {
  const { home, data, account } = cluster.location
  sweepUnfinished(home)
  if (existsSync(data)) return requireSameMajor(cluster)
  const staging = mkdtempSync(join(home, `making-${process.pid}-`))
  try {
    const staged = join(staging, 'data')
    if (account) {
      chownSync(staging, account.uid, account.gid)
      chmodSync(staging, 0o700)
    }
    runProgram(cluster, 'initdb', [
      ...['-D', staged, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--locale=C'],
      ...['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--data-checksums', '--no-instructions'],
      ...(cluster.durable ? [] : ['--no-sync']),
    ])
    const password = passwordOf(home)
    const statements = [
      `ALTER ROLE postgres PASSWORD '${password}'`,
      `CREATE ROLE bluepost LOGIN CREATEDB PASSWORD '${password}'`,
      `CREATE DATABASE bluepost OWNER bluepost`,
    ]
    runProgram(
      cluster,
      'postgres',
      ['--single', '-D', staged, ...(cluster.durable ? [] : ['-F']), 'postgres'],
      statements.map((statement) => `${statement};\n`).join(''),
    )
    renameSync(staged, data)
  } catch (error) {
    if (!existsSync(join(data, 'PG_VERSION'))) throw error
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

/** Made once, before the cluster: two that make the cluster at the same time must agree on it. */
function passwordOf(home: string): string {
  const path = join(home, 'password')
  const made = `${path}.${process.pid}`
  if (!existsSync(path)) {
    writeFileSync(made, randomBytes(passwordBytes).toString('hex'), { mode: 0o600 })
    try {
      linkSync(made, path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    } finally {
      rmSync(made)
    }
  }
  return readFileSync(path, 'utf8')
}

/** What a process that was killed while it made a cluster left behind. */
function sweepUnfinished(home: string): void {
  for (const name of readdirSync(home)) {
    const pid = Number(/^making-(\d+)-/.exec(name)?.[1])
    if (pid > 0 && !isAlive(pid)) rmSync(join(home, name), { recursive: true, force: true })
  }
}

function requireSameMajor({ location, binaries }: Cluster): void {
  const made = readFileSync(join(location.data, 'PG_VERSION'), 'utf8').trim()
  if (binaries.version.split('.')[0] === made) return
  throw new Error(
    `the database in ${location.data} was made by PostgreSQL ${made}, this bluepost brings ${binaries.version}: ` +
      `go back to the bluepost that made it, dump it (pg_dump), and restore it into a new dataDirectory`,
  )
}

function runProgram({ location, binaries }: Cluster, program: string, args: string[], input = ''): void {
  const run = spawnSync(join(binaries.directory, 'bin', program), args, {
    cwd: '/',
    env: environment(),
    input,
    encoding: 'utf8',
    ...location.account,
  })
  // Single-user mode reports a refused statement and still exits with 0.
  const refused = /\b(?:ERROR|FATAL|PANIC):.*/.exec(run.stderr ?? '')?.[0]
  if (run.status === 0 && refused === undefined) return
  const because =
    refused ?? run.error?.message ?? lastLines(run.stderr ?? '') ?? `exit ${run.status ?? run.signal}`
  throw new Error(`${program} could not make the database in ${location.home}: ${because}`)
}

/** Nothing of ours: PGPORT and its like would change what the server does. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
}

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

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
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

function commandOf(pid: number): string | undefined {
  try {
    if (process.platform === 'linux')
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    return execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
  } catch {
    return undefined
  }
}

/** Whether the socket’s path is short enough; otherwise the server listens on loopback. */
export function listensOnSocket({ location }: Cluster): boolean {
  return Buffer.byteLength(join(location.run, `.s.PGSQL.${socketPort}`)) <= socketPathBytesMax
}

/** postgresql://… for a role; understood by pg, TypeORM, graphile-worker and psql alike. */
export function urlOf(
  cluster: Cluster,
  port: number,
  role: 'bluepost' | 'postgres',
  database = 'bluepost',
): string {
  if (listensOnSocket(cluster)) {
    return `postgresql://${role}@localhost:${port}/${database}?host=${encodeURIComponent(cluster.location.run)}`
  }
  return `postgresql://${role}:${passwordOf(cluster.location.home)}@127.0.0.1:${port}/${database}`
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
  writeWhole(join(location.home, 'postgresql.conf'), settings(cluster))
  writeWhole(join(location.home, 'pg_hba.conf'), hostBasedAccess)
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
      ...['-D', location.data, '-c', `config_file=${join(location.home, 'postgresql.conf')}`],
      ...['-c', `hba_file=${join(location.home, 'pg_hba.conf')}`, '-c', `port=${port}`, ...listen],
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
  for (const path of [join(data, 'postmaster.pid'), join(run, `.s.PGSQL.${socketPort}.lock`)]) {
    const name = path
    let content: string
    try {
      content = readFileSync(name, 'utf8')
    } catch {
      continue
    }
    const [pid] = content.split('\n')
    if (!(Number(pid) > 0) || !isAlive(Number(pid))) continue
    if (isPostmasterOf(Number(pid), data)) continue
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
  const file = openSync(path, 'r')
  try {
    const buffer = Buffer.alloc(Math.min(16_384, Math.max(0, fstatSync(file).size - offset)))
    return buffer.subarray(0, readSync(file, buffer, 0, buffer.length, offset)).toString('utf8')
  } finally {
    closeSync(file)
  }
}

function lastLines(text: string): string | undefined {
  const lines = text
    .trim()
    .split('\n')
    .filter((line) => line !== '')
  return lines.length === 0 ? undefined : lines.slice(-3).join(' | ')
}
