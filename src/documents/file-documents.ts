import { constants } from 'node:fs'
import { open, realpath, stat } from 'node:fs/promises'
import { isAbsolute, join, relative } from 'node:path'
import { Failed } from '../domain/failure.ts'
import { strongIdentifiers } from '../domain/identity.ts'
import { canonicalAuthority, identifierKey } from '../domain/patient.ts'
import type { FoundDocument, FoundDocuments, WantedDocument } from './find-document.ts'

/** A folder of documents with a list of whose they are; both written by another system. */
export interface DocumentFolder {
  find(wanted: WantedDocument, at: Date): Promise<FoundDocuments>
}

interface Entry {
  readonly file: string
  readonly code: string
  readonly date?: Date
  /** Its line in the index. */
  readonly line: number
}

/** The list in the folder: one document a line, tabs between, the first line naming the columns. */
export const indexName = 'index.tsv'
const columns = ['authority', 'identifier', 'file', 'code', 'date'] as const
/** One million documents with long names. */
const indexBytesMax = 256 * 1024 * 1024

/**
 * Documents from files: `index.tsv` says which patient identifier each file belongs to; what the files themselves say is
 * checked afterwards like everywhere. The index is read again whenever it was changed.
 *
 * @param name for people: the folder as the settings write it
 * @throws Failed `patient-unknown` | `document-missing` | `document-stale` | `document-refused`
 */
export function documentFolder(
  directory: string,
  name: string,
  aliases: ReadonlyMap<string, string>,
): DocumentFolder {
  let known: { readonly version: string; readonly entries: ReadonlyMap<string, readonly Entry[]> } | undefined

  async function entries(): Promise<ReadonlyMap<string, readonly Entry[]>> {
    const path = join(directory, indexName)
    const found = await stat(path).catch(() => undefined)
    if (found === undefined) throw new Failed('document-missing', `${name} has no readable ${indexName}`)
    const version = `${found.ino} ${found.size} ${found.mtimeMs}`
    if (known?.version !== version) {
      const bytes = await readWhole(path, indexBytesMax, `${name}/${indexName}`)
      known = { version, entries: readIndex(bytes.toString('utf8'), name, aliases) }
    }
    return known.entries
  }

  return {
    async find(wanted, at) {
      const index = await entries()
      const identifiers = strongIdentifiers(wanted.patient.identifiers, aliases)
      const hers = identifiers.flatMap((identifier) => index.get(identifierKey(identifier)) ?? [])
      if (hers.length === 0)
        throw new Failed(
          'patient-unknown',
          `${name}/${indexName} has no document for any of the ${identifiers.length} identifiers of the authorization`,
        )
      const summary = newest(hers, wanted.documentCodes)
      if (summary === undefined)
        throw new Failed('document-missing', `${name} has no clinical summary for the patient`)
      if (isStale(summary, wanted))
        throw new Failed(
          'document-stale',
          `the newest document in ${name} is of ${summary.date!.toISOString()}, wanted is one after ${wanted.freshAfter!.toISOString()}`,
        )
      const additional = newest(hers, wanted.additionalCodes ?? [])
      return {
        summary: await fetched(summary),
        additional:
          additional === undefined || additional.file === summary.file || isStale(additional, wanted)
            ? []
            : [await fetched(additional)],
      }

      async function fetched(entry: Entry): Promise<FoundDocument> {
        const bytes = await readInside(directory, entry, name, wanted.bytesMax)
        return { bytes, source: `${name}/${indexName}:${entry.line}`, fetchedAt: at }
      }
    },
  }
}

/** The newest; of several without a date, or of the same, the one that stands last. */
function newest(entries: readonly Entry[], codes: readonly string[]): Entry | undefined {
  return entries
    .filter(({ code }) => codes.includes(code))
    .sort((a, b) => (b.date?.getTime() ?? 0) - (a.date?.getTime() ?? 0) || b.line - a.line)[0]
}

function isStale({ date }: Entry, { freshAfter }: WantedDocument): boolean {
  return date !== undefined && freshAfter !== undefined && date < freshAfter
}

function readIndex(
  text: string,
  name: string,
  aliases: ReadonlyMap<string, string>,
): ReadonlyMap<string, readonly Entry[]> {
  const [head = '', ...lines] = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  const names = head.split('\t').map((column) => column.trim())
  const missing = columns.slice(0, 4).filter((column) => !names.includes(column))
  if (missing.length > 0)
    throw new Failed(
      'document-refused',
      `${name}/${indexName} has no column ${missing.join(', ')}; its first line must be: ${columns.join(' ')}, with tabs between`,
    )
  const at = columns.map((column) => names.indexOf(column))
  const entries = new Map<string, Entry[]>()
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue
    const values = line.split('\t')
    const [authority = '', value = '', file = '', code = '', date = ''] = at.map((n) => values[n]?.trim())
    if (authority === '' || value === '' || file === '') continue
    const key = identifierKey({ system: canonicalAuthority(authority, aliases), value })
    const listed = entries.get(key) ?? []
    const known = date === '' ? Number.NaN : Date.parse(date)
    listed.push({ file, code, line: index + 2, ...(Number.isNaN(known) ? {} : { date: new Date(known) }) })
    entries.set(key, listed)
  }
  return entries
}

/** What the index names is read only where it really lies in the folder, whatever links say. */
async function readInside(
  directory: string,
  { file, line }: Entry,
  name: string,
  bytesMax: number,
): Promise<Buffer> {
  const place = `${name}/${indexName}:${line}`
  const [root, path] = await Promise.all(
    [directory, join(directory, file)].map((one) => realpath(one).catch(() => undefined)),
  )
  if (root === undefined || path === undefined)
    throw new Failed('document-missing', `${place} names a file that is not there`)
  const inside = relative(root, path)
  if (isAbsolute(file) || isAbsolute(inside) || inside === '' || inside.split(/[/\\]/)[0] === '..')
    throw new Failed('document-refused', `${place} names a file outside the folder`)
  return readWhole(path, bytesMax, place)
}

async function readWhole(path: string, bytesMax: number, place: string): Promise<Buffer> {
  // Opened once and measured on the open file: what is checked is what is read. A pipe would be waited for without end.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => undefined)
  if (file === undefined) throw new Failed('document-missing', `${place}: the file cannot be read`)
  try {
    const found = await file.stat()
    if (!found.isFile()) throw new Failed('document-refused', `${place} is not a file`)
    if (found.size > bytesMax)
      throw new Failed('document-refused', `${place}: the file is larger than ${bytesMax} bytes`)
    return await file.readFile()
  } finally {
    await file.close()
  }
}
