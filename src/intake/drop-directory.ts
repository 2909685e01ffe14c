import { constants } from 'node:fs'
import { copyFile, lstat, mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'

/** Where a channel takes files from, and where it puts them. */
export interface DropPlaces {
  /** Names the folder for work: two channels may share a directory. */
  readonly channel: string
  readonly directory: string
  readonly pattern: string
  readonly archive: string
  readonly quarantine: string
}

export interface DropDirectory {
  /** Files that are being worked on, in the order they came: those an earlier process could not finish, too. */
  atWork(): Promise<readonly string[]>
  /** Takes the next files that stood still since the last look, and says how many. */
  take(countMax: number): Promise<number>
  /** Puts a file away that was taken. */
  archive(path: string, at: Date): Promise<void>
  /** Puts a file aside that cannot be read, and why beside it; says where. */
  quarantine(path: string, because: string, at: Date): Promise<string>
}

/** Names of files that are still being written, or are none of ours. */
const unfinished = /^\.|\.(?:tmp|part|partial|filepart|crdownload)$/i

/** A directory in which others put files, as one process sees it. Subdirectories and links are not followed. */
export function dropDirectory(places: DropPlaces): DropDirectory {
  const { directory } = places
  const work = join(directory, `.bluepost-${places.channel}`, 'work')
  const wanted = patternOf(places.pattern)
  /** What each file looked like at the last look. */
  let seen = new Map<string, string>()

  return {
    atWork: () => filesIn(work, () => true),

    async take(countMax) {
      const now = new Map<string, string>()
      let taken = 0
      // The directory itself is not made: a name that is misspelled should be told, not followed for ever.
      const files = await filesIn(directory, (name) => wanted.test(name) && !unfinished.test(name))
      await makeFolder(work)
      for (const path of files) {
        const stand = await standOf(path)
        if (stand === undefined) continue
        const name = basename(path)
        const isStill = seen.get(name) === stand
        if (!isStill || taken >= countMax) now.set(name, stand)
        else if (await moveTo(path, join(work, name))) taken++
      }
      seen = now
      return taken
    },

    async archive(path, at) {
      await putAway(path, places.archive, at)
    },

    async quarantine(path, because, at) {
      const place = await putAway(path, places.quarantine, at)
      await writeFile(`${place}.reason.txt`, `${because}\n`, { mode: 0o640 })
      return place
    },
  }
}

/** Plain files, the oldest first; of the same moment, by name. */
async function filesIn(directory: string, isWanted: (name: string) => boolean): Promise<string[]> {
  const found: { path: string; name: string; mtimeMs: number }[] = []
  for (const entry of await entriesOf(directory)) {
    if (!entry.isFile() || !isWanted(entry.name)) continue
    const path = join(directory, entry.name)
    const stat = await lstat(path).catch(() => undefined)
    if (stat?.isFile() === true) found.push({ path, name: entry.name, mtimeMs: stat.mtimeMs })
  }
  found.sort((a, b) => a.mtimeMs - b.mtimeMs || (a.name < b.name ? -1 : 1))
  return found.map(({ path }) => path)
}

async function entriesOf(directory: string) {
  try {
    return await readdir(directory, { withFileTypes: true })
  } catch (error) {
    // The folder for work is made when the first file comes.
    if (codeOf(error) === 'ENOENT' && directory.endsWith('work')) return []
    throw error
  }
}

async function standOf(path: string): Promise<string | undefined> {
  const stat = await lstat(path).catch(() => undefined)
  return stat?.isFile() === true ? `${stat.ino} ${stat.size} ${stat.mtimeMs}` : undefined
}

/** False where another process was faster, or a file of that name is being worked on. */
async function moveTo(path: string, target: string): Promise<boolean> {
  if ((await standOf(target)) !== undefined) return false
  try {
    await rename(path, target)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

/** Under the moment and its name, and another number where that is taken: nothing is ever overwritten. */
async function putAway(path: string, directory: string, at: Date): Promise<string> {
  await makeFolder(directory)
  const moment = at.toISOString().slice(0, 19).replaceAll(':', '-')
  for (let number = 1; ; number++) {
    const place = join(directory, `${moment}Z-${number === 1 ? '' : `${number}-`}${basename(path)}`)
    try {
      // The name is reserved first: whoever comes at the same time takes the next one.
      await (await open(place, 'wx', 0o640)).close()
    } catch (error) {
      if (codeOf(error) === 'EEXIST') continue
      throw error
    }
    try {
      await moveOver(path, place)
    } catch (error) {
      await rm(place, { force: true })
      throw error
    }
    return place
  }
}

async function moveOver(path: string, place: string): Promise<void> {
  try {
    await rename(path, place)
  } catch (error) {
    // Another file system: the copy is on disk before the original goes.
    if (codeOf(error) !== 'EXDEV') throw error
    await copyFile(path, place)
    const copy = await open(place, constants.O_RDWR)
    await copy.sync()
    await copy.close()
    await rm(path)
  }
}

async function makeFolder(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o750 })
}

function patternOf(glob: string): RegExp {
  const escaped = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*+/g, '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${escaped}$`, 's')
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code
}
