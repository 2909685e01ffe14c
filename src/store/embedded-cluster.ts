import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { totalmem, userInfo } from 'node:os'
import { join } from 'node:path'
import type { Binaries } from './embedded-binaries.ts'
import { writeWhole, type Location } from './embedded-location.ts'
import { isAlive } from './embedded-process.ts'

/** Everything needed to start, find and stop the one server of a location. */
export interface Cluster {
  readonly location: Location
  readonly binaries: Binaries
  /** False only for throw-away databases of tests: a power cut may then lose what was committed. */
  readonly durable: boolean
}

/** The socket’s whole path must fit sockaddr_un.sun_path: 104 bytes on macOS, 108 on Linux. */
const socketPathBytesMax = 100
const passwordBytes = 24

/** A port of a Unix socket is only a part of its name. */
export const socketPort = 5432

/** A quarter of the memory, as PostgreSQL’s manual advises; a page of it is only taken when it is used. */
function sharedMb(): number {
  const quarter = Math.floor(totalmem() / 4 / 1024 / 1024)
  return Math.min(Math.max(quarter, sharedMbMin), sharedMbMax)
}

const sharedMbMin = 128
/** Indexes of a million authorizations fit; beyond that DATABASE_URL is the better place to tune. */
const sharedMbMax = 1024

/** An engine takes up to 40; one that was killed leaves as many behind until its backends notice, and commands come on top. */
const connectionsMax = 150
/** Several engines at a time share the server of a test run. */
const connectionsMaxOfTests = 300

const settings = (
  cluster: Cluster,
) => `# Written anew at every start. What shall differ goes into extra.conf beside this file.
listen_addresses = ''
unix_socket_directories = ''
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = ${cluster.durable ? connectionsMax : connectionsMaxOfTests}
shared_buffers = '${sharedMb()}MB'
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

/** Written anew at every start: a setting of this build reaches the databases that older ones made. */
export function writeSettings(cluster: Cluster): void {
  writeWhole(settingsFile(cluster), settings(cluster))
  writeWhole(accessFile(cluster), hostBasedAccess)
}

export function settingsFile({ location }: Cluster): string {
  return join(location.home, 'postgresql.conf')
}

export function accessFile({ location }: Cluster): string {
  return join(location.home, 'pg_hba.conf')
}

/** Makes the cluster once: complete or absent, also when two begin at the same time or one is killed on the way. */
export function makeCluster(cluster: Cluster): void {
  const { home, data, account } = cluster.location
  sweepUnfinished(home)
  if (existsSync(data)) return requireSameMajor(cluster)
  if (!account) requireName()
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

/** initdb insists on an account with a name; containers often run under a number alone. */
function requireName(): void {
  try {
    userInfo()
  } catch (cause) {
    throw new Error(
      `PostgreSQL does not start for uid ${process.getuid?.()}, which has no name on this machine: ` +
        `add it to /etc/passwd, start as another user, or set DATABASE_URL`,
      { cause },
    )
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
export function environment(): NodeJS.ProcessEnv {
  return { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
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

/** The last words of what a program said, on one line; undefined where it said nothing. */
export function lastLines(text: string): string | undefined {
  const lines = text
    .trim()
    .split('\n')
    .filter((line) => line !== '')
  return lines.length === 0 ? undefined : lines.slice(-3).join(' | ')
}
