import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** Directories of test servers: this, the pid of their jest, and something random. */
export const serverPrefix = 'bluepost-test-'

/** The template database of the run that this directory belongs to. */
export function templateOf(directory: string): string {
  return basename(directory).toLowerCase().replace(/\W+/g, '_')
}

const stopMsMax = 10_000

/** Ends the server of a directory at once, whatever it is doing, and removes the directory: nothing in it is kept. */
export async function removeServer(directory: string): Promise<void> {
  const lock = join(directory, 'postgres', 'data', 'postmaster.pid')
  if (existsSync(lock)) {
    const [pid] = readFileSync(lock, 'utf8').split('\n')
    try {
      process.kill(Number(pid), 'SIGQUIT')
    } catch {
      // It is gone already.
    }
    for (const until = performance.now() + stopMsMax; existsSync(lock) && performance.now() < until;)
      await pause(10)
  }
  rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
}

/** What runs that were killed left behind. */
export async function removeAbandoned(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const pid = Number(new RegExp(`^${serverPrefix}(\\d+)-`).exec(name)?.[1])
    const directory = join(tmpdir(), name)
    if (!(pid > 0) || isAlive(pid)) continue
    if (statSync(directory, { throwIfNoEntry: false })?.uid === process.getuid?.())
      await removeServer(directory)
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
