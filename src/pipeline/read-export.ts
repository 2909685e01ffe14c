import type { ExportFile, ExportManifest } from '../documents/bulk-manifest.ts'
import { Failed } from '../domain/failure.ts'
import { objects } from '../domain/fhir-patient.ts'
import { frameBytesMax } from '../domain/limits.ts'
import { ndjsonLines, type NdjsonLine } from '../intake/ndjson-lines.ts'
import { keepPatients, moveJob, type ExportJob } from '../store/export-jobs.ts'
import { queryOf } from '../store/query.ts'
import type { ExportPlan, ExportPorts } from './export-ports.ts'
import { makeKeepExported, type Exported } from './keep-exported.ts'

/** What the server says it could not export: how often which `severity code`. */
export interface ExportErrors {
  readonly counts: ReadonlyMap<string, number>
  /** Files and lines of errors that say nothing we can read. */
  readonly unreadable: number
}

/** Lines, and bytes, that wait for one commit. */
const groupMax = 256
const groupBytesMax = 4 * 1024 * 1024
/** Kinds of errors that are told apart. */
const errorKindsMax = 20

/**
 * Reads the files of an export, each as it comes: a group of lines is in memory, whatever its size. After each group is
 * committed the place behind it is kept; whoever goes on from there has lost nothing, and what lies in between is known
 * again by its version.
 *
 * @throws Failed `fhir-unavailable` | `fhir-refused`; `detail.isFault` where a file is not what it should be
 */
export async function readExport(
  ports: ExportPorts,
  plan: ExportPlan,
  job: ExportJob & { readonly manifest: ExportManifest },
): Promise<ExportErrors | 'interrupted'> {
  const { files, requiresAccessToken } = job.manifest
  const counts = new Map<string, number>()
  let unreadable = 0
  const keep = makeKeepExported(ports, plan, job.manifest)
  for (let at = job.file; at < files.length; at++) {
    const file = files[at]!
    const from = at === job.file ? job.line : 0
    if (file.use === 'errors') {
      unreadable += await readErrors(ports, file, requiresAccessToken, counts)
    } else {
      await readFile(at, file, from)
    }
    if (ports.signal.aborted) return 'interrupted'
  }
  return { counts, unreadable }

  async function readFile(at: number, file: ExportFile, from: number): Promise<void> {
    let group: NdjsonLine[] = []
    let bytes = 0
    let lines = 0
    const commit = async (line: number) => {
      await keepGroup(at, file, group, line)
      group = []
      bytes = 0
    }
    const chunks = ports.server.file(file.url, requiresAccessToken)
    for await (const some of ndjsonLines(chunks, frameBytesMax)) {
      for (const line of some) {
        lines++
        if (line.number <= from) continue
        checkLine(at, file, line)
        group.push(line)
        bytes += line.bytes?.length ?? 0
        if (group.length < groupMax && bytes < groupBytesMax) continue
        await commit(line.number)
        if (ports.signal.aborted) return
      }
    }
    const last = group.at(-1)?.number
    if (last !== undefined) await commit(last)
    if (file.count !== undefined && lines < file.count)
      throw fault(`${nameOf(at, file)} holds ${lines} lines and should hold ${file.count}: it was cut off`)
    await moveJob(queryOf(ports.dataSource), plan.name, { file: at + 1, line: 0 }, nothing)
  }

  async function keepGroup(at: number, file: ExportFile, group: readonly NdjsonLine[], line: number) {
    const query = queryOf(ports.dataSource)
    const patients = new Map<string, string>()
    const exported: Exported[] = []
    for (const { number, bytes } of group) {
      const resource = bytes === undefined ? undefined : parsed(bytes)
      const { resourceType, id } = resource ?? {}
      if (resourceType === 'Patient' && typeof id === 'string' && file.use !== 'deletions')
        patients.set(id, bytes!.toString('utf8').replaceAll('\0', ''))
      else exported.push({ resource, bytes, place: `${at}/${number}` })
    }
    if (patients.size > 0) await keepPatients(query, plan.name, patients)
    const kept = file.use === 'deletions' ? await keep.deletions(exported) : await keep.resources(exported)
    await moveJob(query, plan.name, { file: at, line }, kept)
  }

  function nameOf(at: number, { type = 'unnamed' }: ExportFile): string {
    const shown = /^[A-Za-z]{1,64}$/.test(type) ? type : 'unnamed'
    return `${ports.server.name}: file ${at + 1} of ${files.length} of the export (${shown})`
  }

  /** A first line, or remains behind the last line feed, that are no resource: the file is not what it should be. */
  function checkLine(at: number, file: ExportFile, { number, bytes, isEnded }: NdjsonLine): void {
    if ((number > 1 && isEnded) || bytes === undefined || parsed(bytes) !== undefined) return
    throw fault(
      isEnded
        ? `${nameOf(at, file)} does not hold one FHIR resource on each line`
        : `${nameOf(at, file)} breaks off in the middle of line ${number}`,
    )
  }
}

const nothing = { resources: 0, fresh: 0, deletions: 0 }

function fault(because: string): Failed {
  return new Failed('fhir-unavailable', because, { detail: { isFault: true } })
}

/** OperationOutcomes quote whatever they like: severity and code are fixed words, and all that is taken from them. */
async function readErrors(
  { server, signal }: ExportPorts,
  file: ExportFile,
  requiresAccessToken: boolean,
  counts: Map<string, number>,
): Promise<number> {
  let unreadable = 0
  try {
    for await (const lines of ndjsonLines(server.file(file.url, requiresAccessToken), frameBytesMax))
      for (const { bytes } of lines) {
        const issues = objects(bytes === undefined ? undefined : parsed(bytes)?.['issue'])
        if (issues.length === 0) unreadable++
        for (const { severity, code } of issues) {
          const name = `${word(severity)} ${word(code)}`
          if (counts.has(name) || counts.size < errorKindsMax) counts.set(name, (counts.get(name) ?? 0) + 1)
          else unreadable++
        }
      }
  } catch (error) {
    if (!(error instanceof Failed) || signal.aborted) throw error
    // What could not be exported is lost to us either way: the rest of the export does not wait for the reasons.
    unreadable++
  }
  return unreadable
}

function word(value: unknown): string {
  return typeof value === 'string' && /^[a-z-]{1,30}$/.test(value) ? value : 'unknown'
}

function parsed(bytes: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value = JSON.parse(bytes.toString('utf8')) as unknown
    const isResource =
      typeof value === 'object' &&
      value !== null &&
      typeof (value as { resourceType?: unknown }).resourceType === 'string'
    return isResource ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
