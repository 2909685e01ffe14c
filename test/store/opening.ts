import { afterAll, afterEach, beforeAll, jest } from '@jest/globals'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { removeServer } from '../support/server-directory.ts'

// Real processes and real clusters, on machines that are busy with other things.
jest.setTimeout(60_000)

export const isRoot = process.getuid?.() === 0
const script = join(import.meta.dirname, 'opening-process.ts')
export const project = join(import.meta.dirname, '../..')

export interface Event {
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

/** What was opened last. */
export const lastOpened = () => openings.at(-1)!

/** Removed after the test, with whatever runs in it. */
export const toRemove = (directory: string) => void directories.push(directory)

export function opens(
  role: 'engine' | 'visitor',
  directory: string,
  options: { asUid?: number; module?: string } = {},
) {
  const child = spawn(
    process.execPath,
    [script, role, directory, ...(options.module ? [options.module] : [])],
    {
      cwd: '/',
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
      ...(options.asUid === undefined ? {} : { uid: options.asUid, gid: options.asUid }),
    },
  )
  const opening = new Opening(child)
  openings.push(opening)
  return opening
}

export function aDirectory(mode = 0o755): string {
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
export let made: string
beforeAll(async () => {
  made = mkdtempSync(join(tmpdir(), 'bluepost-embedded-'))
  chmodSync(made, 0o755)
  const engine = opens('engine', made)
  const { url } = await engine.hears('open')
  await query(url, 'CREATE TABLE kept (what text)')
  await engine.ends('SIGTERM')
})
afterAll(() => rmSync(made, { recursive: true, force: true }))

export function aMadeDirectory(): string {
  const directory = aDirectory()
  const copied = spawnSync('cp', ['-Rp', join(made, 'postgres'), directory], { encoding: 'utf8' })
  if (copied.status !== 0) throw new Error(copied.stderr)
  return directory
}

export async function query<Row extends pg.QueryResultRow>(url: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Row>(sql)).rows
  } finally {
    await client.end()
  }
}

/** The pid in the server’s lock file. */
export function serverPid(directory: string): number | undefined {
  const file = join(directory, 'postgres/data/postmaster.pid')
  return existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : undefined
}

export function runs(pid: number | undefined): boolean {
  try {
    process.kill(pid ?? 0x7ffffff, 0)
    // A container’s pid 1 may leave the dead unburied.
    return !existsSync('/proc') || !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** Waits until the server is gone: its pid file goes a moment before the process does. */
export async function isGone(pid: number | undefined): Promise<true> {
  while (runs(pid)) await new Promise((resolve) => setTimeout(resolve, 10))
  return true
}
