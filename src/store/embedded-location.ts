import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

/** The unprivileged account PostgreSQL runs under when bluepost itself was started as root. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/**
 * Where one embedded database lives.
 *
 * `home` belongs to whoever starts bluepost and holds settings, log and password; only `data` and `run` belong to the
 * account. Started as root, nothing inside those two is ever written by root: a planted symbolic link gains nothing.
 */
export interface Location {
  readonly home: string
  readonly data: string
  readonly run: string
  readonly account?: Account
  /** The data directory that was asked for, when the account cannot enter it and `home` lies elsewhere. */
  readonly movedFrom?: string
}

/** A short text file in the data directory that says where its database went. */
const pointerName = 'postgres.location'

/** Where root keeps what an unprivileged account must reach; the second only where the first cannot be made. */
const reachableRoots = ['/var/lib/bluepost', join(tmpdir(), 'bluepost')]

/** The directory (mode 0755) exists afterwards, whatever the umask; one that existed keeps its mode. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return
  makeDirectory(dirname(path))
  try {
    mkdirSync(path)
    chmodSync(path, 0o755)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** The same directory gives the same location every time, also after it was moved. Throws with what to do about it. */
export function locate(dataDirectory: string): Location {
  const wanted = resolve(dataDirectory)
  try {
    makeDirectory(wanted)
  } catch (error) {
    throw new Error(
      `the data directory ${wanted} cannot be made (${codeOf(error)}): set dataDirectory to a place this user may write`,
      { cause: error },
    )
  }
  const directory = realpathSync(wanted)
  const within = join(directory, 'postgres')
  const pointer = join(directory, pointerName)
  const pointed = existsSync(pointer) ? readFileSync(pointer, 'utf8').trim() : undefined

  if (pointed !== undefined && !existsSync(pointed)) {
    throw new Error(
      `the database of ${directory} was kept in ${pointed} (says ${pointer}), and that is gone: ` +
        `restore it, or delete ${pointer} to begin with an empty database`,
    )
  }
  if (process.getuid?.() !== 0) return asThisUser(pointed ?? within)

  const existing = pointed ?? (existsSync(join(within, 'data')) ? within : undefined)
  if (existing !== undefined) {
    const account = ownerOf(join(existing, 'data')) ?? accountOwning(directory) ?? nobody()
    if (!canEnter(existing, account)) {
      throw new Error(
        `the database in ${existing} runs as uid ${account.uid}, which may no longer enter that directory: ` +
          `allow it (chmod o+x on every directory above it), or start as the user it belongs to`,
      )
    }
    return asAccount(existing, account, pointed === undefined ? undefined : directory)
  }

  const account = accountOwning(directory) ?? nobody()
  if (canEnter(directory, account)) return asAccount(within, account)
  const home = join(reachableRoot(account), createHash('sha256').update(directory).digest('hex').slice(0, 16))
  const location = asAccount(home, account, directory)
  writeWhole(pointer, `${home}\n`)
  return location
}

function asThisUser(home: string): Location {
  const uid = process.getuid?.()
  const data = join(home, 'data')
  const owner = existsSync(data) ? statSync(data).uid : uid
  if (owner !== uid) {
    throw new Error(
      `the database in ${home} belongs to uid ${owner}, not to the user of this process (uid ${uid}): ` +
        `start as root or as that user, or set another dataDirectory`,
    )
  }
  makeDirectory(home)
  const run = join(home, 'run')
  mkdirSync(run, { recursive: true, mode: 0o700 })
  return { home, data, run }
}

function asAccount(home: string, account: Account, movedFrom?: string): Location {
  makeDirectory(home)
  const run = join(home, 'run')
  if (!existsSync(run)) {
    mkdirSync(run, { mode: 0o700 })
    chownSync(run, account.uid, account.gid)
  }
  return {
    home,
    data: join(home, 'data'),
    run,
    account,
    ...(movedFrom === undefined ? {} : { movedFrom }),
  }
}

/** A directory of root’s own that the account can enter and nobody else can have prepared. */
export function reachableRoot(account: Account): string {
  const refused: string[] = []
  for (const root of reachableRoots) {
    try {
      makeDirectory(root)
      const found = lstatSync(root)
      if (!found.isDirectory() || found.uid !== 0 || (found.mode & 0o022) !== 0) {
        refused.push(`${root} exists and is not a directory that only root may write`)
      } else if (canEnter(root, account)) {
        return root
      } else {
        refused.push(`uid ${account.uid} may not enter ${root}`)
      }
    } catch (error) {
      refused.push(`${root}: ${codeOf(error)}`)
    }
  }
  throw new Error(
    `no place was found for a database that uid ${account.uid} can reach (${refused.join('; ')}): ` +
      `set dataDirectory to one, start as a normal user, or set DATABASE_URL`,
  )
}

/** Really tried, as the account: modes alone do not know access lists, mounts and security modules. */
function canEnter(directory: string, account: Account): boolean {
  const shell = spawnSync('/bin/sh', ['-c', 'cd -- "$1"', 'sh', directory], {
    cwd: '/',
    uid: account.uid,
    gid: account.gid,
    stdio: 'ignore',
  })
  if (shell.error) {
    throw new Error(
      `root cannot start a process as uid ${account.uid} (${codeOf(shell.error)}): ` +
        `start bluepost as a normal user, or set DATABASE_URL`,
      { cause: shell.error },
    )
  }
  return shell.status === 0
}

function ownerOf(path: string): Account | undefined {
  const found = statSync(path, { throwIfNoEntry: false })
  return found === undefined || found.uid === 0 ? undefined : { uid: found.uid, gid: found.gid }
}

function accountOwning(path: string): Account | undefined {
  const owner = ownerOf(path)
  return owner && accountNamed(String(owner.uid))
}

/** Debian, Red Hat, Alpine and macOS all have it; initdb insists on an account with a name. */
function nobody(): Account {
  const account = accountNamed('nobody')
  if (account) return account
  throw new Error(
    'PostgreSQL refuses to run as root and there is no account “nobody” to run it: ' +
      'start bluepost as a normal user, or set DATABASE_URL',
  )
}

function accountNamed(name: string): Account | undefined {
  try {
    const ask = (option: string) =>
      execFileSync('id', [option, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    ask('-un')
    const uid = Number(ask('-u'))
    const gid = Number(ask('-g'))
    return Number.isInteger(uid) && Number.isInteger(gid) && uid > 0 ? { uid, gid } : undefined
  } catch {
    return undefined
  }
}

/** Readers see the old content or the new, never half of it. */
export function writeWhole(path: string, content: string, mode = 0o644): void {
  const staged = `${path}.${process.pid}`
  writeFileSync(staged, content, { mode })
  chmodSync(staged, mode)
  renameSync(staged, path)
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? (error as Error).name
}
