import { Failed } from '../domain/failure.ts'
import { objects } from '../domain/fhir-patient.ts'

/** What an export consists of; Bulk Data Access 2.0, “Response - Complete Status”. */
export interface ExportManifest {
  /** Everything up to this moment is in it: the next export begins here. */
  readonly transactionTime: string
  /** False: the addresses of the files are themselves the permission to fetch them. */
  readonly requiresAccessToken: boolean
  /** In the order in which they are read. */
  readonly files: readonly ExportFile[]
}

export interface ExportFile {
  readonly use: 'patients' | 'resources' | 'deletions' | 'errors'
  /** As the server says it. */
  readonly type?: string
  readonly url: string
  /** Resources in the file, where the server counts them. */
  readonly count?: number
}

const filesMax = 10_000
const urlCharactersMax = 8_192
const instant = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/
/** Clocks differ; a transactionTime further ahead would leave out everything until then. */
const aheadMsMax = 24 * 3_600_000

/**
 * Patients come first, then what is about them; what was deleted after that, and errors last.
 *
 * @param types what was asked for: files of anything else are left where they are
 * @throws Failed `fhir-refused`
 */
export function readManifest(
  server: string,
  body: unknown,
  { types, statusUrl, at }: { types: readonly string[]; statusUrl: string; at: Date },
): ExportManifest {
  const refuse = (because: string): never => {
    throw new Failed('fhir-refused', `${server} says that its export is complete, but ${because}`)
  }
  const manifest = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>
  const { transactionTime } = manifest
  if (typeof transactionTime !== 'string' || !instant.test(transactionTime))
    return refuse('its manifest has no transactionTime: the next export could not go on from this one')
  const timeMs = Date.parse(transactionTime)
  if (Number.isNaN(timeMs) || timeMs > at.getTime() + aheadMsMax)
    return refuse('its transactionTime lies in the future: correct the clock of the server')
  if (objects(manifest['link']).some(({ relation }) => relation === 'next'))
    return refuse('its manifest goes on in another one, which was not asked for (allowPartialManifests)')
  if (!Array.isArray(manifest['output'])) return refuse('its manifest has no output')
  const files = [
    ...filesIn(manifest['output'], (type) => (type === 'Patient' ? 'patients' : 'resources')).filter(
      ({ type }) => type === undefined || types.includes(type),
    ),
    ...filesIn(manifest['deleted'], () => 'deletions'),
    ...filesIn(manifest['error'], () => 'errors'),
  ]
  const isWhole =
    files.length ===
    objects(manifest['output']).filter(({ type }) => typeof type !== 'string' || types.includes(type))
      .length +
      objects(manifest['deleted']).length +
      objects(manifest['error']).length
  if (!isWhole) return refuse('a file in its manifest has no address that can be asked')
  if (files.length > filesMax)
    return refuse(`it has more than ${filesMax} files: have the server write larger ones`)
  return {
    transactionTime,
    requiresAccessToken: manifest['requiresAccessToken'] !== false,
    files: [
      ...files.filter(({ use }) => use === 'patients'),
      ...files.filter(({ use }) => use !== 'patients'),
    ],
  }

  function filesIn(list: unknown, useOf: (type: unknown) => ExportFile['use']): ExportFile[] {
    return objects(list).flatMap(({ type, url, count }): ExportFile[] => {
      if (typeof url !== 'string' || url.length > urlCharactersMax || !URL.canParse(url, statusUrl)) return []
      const where = new URL(url, statusUrl)
      if (!/^https?:$/.test(where.protocol) || where.username !== '') return []
      return [
        {
          use: useOf(type),
          url: where.href,
          ...(typeof type === 'string' && { type }),
          ...(Number.isSafeInteger(count) && (count as number) >= 0 && { count: count as number }),
        },
      ]
    })
  }
}

/** Whether a manifest that was fetched again lists the same files, whatever their addresses are by now. */
export function isSameExport(one: ExportManifest, other: ExportManifest): boolean {
  return (
    one.transactionTime === other.transactionTime &&
    one.files.length === other.files.length &&
    one.files.every(({ use, type, count }, nth) => {
      const twin = other.files[nth]!
      return use === twin.use && type === twin.type && count === twin.count
    })
  )
}
