import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Stops } from './stops.ts'

/** Whoever writes several files needs a moment; a change is taken when two looks this far apart see the same. */
const lookMs = 500

/**
 * Says when something in these folders has changed and is quiet again. Looks at names, sizes and times instead of being told: that
 * works on network shares, mounted volumes and folders swapped by a link, too, and costs a few stat calls.
 */
export function watchFiles(folders: readonly string[], onChange: () => void, stops: Stops): void {
  let known = signatureOf(folders)
  let seen = known
  const timer = setInterval(() => {
    const now = signatureOf(folders)
    const isQuiet = now === seen
    seen = now
    if (!isQuiet || now === known) return
    known = now
    onChange()
  }, lookMs)
  timer.unref()
  stops.add('the watch on the files', async () => clearInterval(timer))
}

function signatureOf(folders: readonly string[]): string {
  return folders
    .flatMap((folder) =>
      namesIn(folder)
        .map((name) => `${name}\t${standingOf(join(folder, name))}`)
        .concat('\n'),
    )
    .join('\n')
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}

function standingOf(path: string): string {
  try {
    const { ino, size, mtimeMs, ctimeMs } = statSync(path)
    return `${ino} ${size} ${mtimeMs} ${ctimeMs}`
  } catch {
    return 'gone'
  }
}
