import { Failed } from '../domain/failure.ts'
import { NoAnswer, type HttpAnswer } from './bounded-fetch.ts'
import { readManifest, type ExportManifest } from './bulk-manifest.ts'
import { refusal } from './fhir-answer.ts'
import {
  openDoor,
  readBaseUrl,
  retryAfterMs,
  type FhirServerPorts,
  type FhirServerSetting,
} from './fhir-door.ts'
import { fhirServer, isId, type FhirServer } from './fhir-server.ts'

export interface ExportQuestion {
  readonly level: 'system' | 'patient' | 'group'
  readonly group?: string
  readonly types: readonly string[]
  readonly typeFilters: readonly string[]
  /** FHIR `instant`. */
  readonly since: string
}

export type ExportStanding =
  | { readonly state: 'running'; readonly retryAfterMs?: number; readonly progress?: string }
  | { readonly state: 'complete'; readonly manifest: ExportManifest }

/**
 * FHIR Bulk Data Access (STU 1 to 3). Whatever goes wrong is thrown as Failed `fhir-unavailable` | `fhir-refused`, without
 * PHI; `detail.status` is what the server answered, `detail.retryAfterMs` how long it wants to be left alone.
 */
export interface BulkServer extends Pick<FhirServer, 'name' | 'read'> {
  /** Kick-off: asked once, as each one begins an export. @returns the address that tells how the export stands */
  start(question: ExportQuestion): Promise<string>
  standing(statusUrl: string, types: readonly string[]): Promise<ExportStanding>
  /**
   * One file of an export, unpacked.
   *
   * @throws Failed also while it is read: `fhir-unavailable` where it breaks off
   */
  file(url: string, requiresAccessToken: boolean): AsyncGenerator<Buffer>
  /** The server may forget the export and its files. */
  remove(statusUrl: string): Promise<void>
}

/** Ten thousand files with long signed addresses. */
const manifestBytesMax = 64 * 1024 * 1024
const answerBytesMax = 1024 * 1024

/**
 * @param fileOrigins where jobs and files may lie beside the server’s own origin; the access token goes there with what is
 * asked about a job, and to files where the manifest requires it
 */
export function bulkServer(
  setting: FhirServerSetting,
  fileOrigins: readonly string[],
  ports: FhirServerPorts = {},
): BulkServer {
  const { name } = setting
  const base = readBaseUrl(setting)
  const now = ports.now ?? (() => new Date())
  const door = openDoor({ ...setting, attachmentOrigins: fileOrigins }, base, ports)
  const server = fhirServer(setting, ports, door)

  async function ask(method: 'GET' | 'DELETE', url: URL, prefer?: string): Promise<HttpAnswer> {
    return door.ask({
      method,
      url,
      headers: {
        accept: 'application/fhir+json, application/json;q=0.9',
        ...(prefer === undefined ? {} : { prefer }),
      },
      credentials: 'allowed',
      body: undefined,
      bytesMax: method === 'GET' && prefer === undefined ? manifestBytesMax : answerBytesMax,
      whenTooLarge: 'fhir-refused',
      // The pace is that of the job, and is kept durably.
      attempts: 1,
    })
  }

  return {
    name,
    read: (type, id) => server.read(type, id),

    async start(question) {
      const url = kickOffUrl(base, question)
      const answer = await ask('GET', url, 'respond-async')
      if ([404, 405, 501].includes(answer.status))
        throw new Failed(
          'fhir-refused',
          `${name} answered ${answer.status}: it has no $export at this level, or no such group; see level: and group: of the channel`,
          { detail: { status: answer.status } },
        )
      if (answer.status < 200 || answer.status > 299) throw refusal(name, answer)
      const location = answer.headers.get('content-location') ?? answer.headers.get('location')
      if (answer.status !== 202 || location === null || !URL.canParse(location, url.href))
        throw new Failed(
          'fhir-refused',
          `${name} answered ${answer.status} to $export without saying where the export can be asked for (202 with Content-Location)`,
          { detail: { status: answer.status } },
        )
      return new URL(location, url).href
    },

    async standing(statusUrl, types) {
      const answer = await ask('GET', new URL(statusUrl))
      if (answer.status === 202) {
        const waitMs = retryAfterMs(answer.headers, now())
        const progress = progressIn(answer.headers.get('x-progress'))
        return {
          state: 'running',
          ...(waitMs !== undefined && { retryAfterMs: waitMs }),
          ...(progress !== undefined && { progress }),
        }
      }
      if (answer.status !== 200) throw refusal(name, answer)
      return {
        state: 'complete',
        manifest: readManifest(name, jsonOf(answer), { types, statusUrl, at: now() }),
      }
    },

    async *file(url, requiresAccessToken) {
      const answer = await door.stream({
        method: 'GET',
        url: new URL(url),
        headers: { accept: 'application/fhir+ndjson, application/ndjson;q=0.9, */*;q=0.1' },
        credentials: requiresAccessToken ? 'allowed' : 'none',
        redirects: 'allowed',
      })
      const { status } = answer
      const wantedMs = retryAfterMs(answer.headers, now())
      const isPage = /^text\/html/i.test(answer.headers.get('content-type') ?? '')
      if (status !== 200 || isPage) {
        answer.discard()
        throw new Failed(
          status === 408 || status === 425 || status === 429 || status >= 500
            ? 'fhir-unavailable'
            : 'fhir-refused',
          status === 200
            ? `${name} gave a web page instead of a file of its export: a login page?`
            : `${name} answered ${status} for a file of its export`,
          {
            detail: {
              status,
              ...(wantedMs === undefined ? {} : { retryAfterMs: wantedMs }),
              // Addresses of files are good for a while; the manifest gives fresh ones.
              hasRunOut: [401, 403, 404, 410].includes(status),
            },
          },
        )
      }
      try {
        yield* answer.chunks()
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error
        throw new Failed('fhir-unavailable', `${name}: ${error.because}`, { cause: error })
      }
    },

    async remove(statusUrl) {
      const answer = await ask('DELETE', new URL(statusUrl))
      if (answer.status === 401 || answer.status === 403 || answer.status >= 500) throw refusal(name, answer)
    },
  }
}

function kickOffUrl(base: URL, { level, group = '', types, typeFilters, since }: ExportQuestion): URL {
  if (level === 'group' && !isId(group)) throw new Error('a group without an id')
  const path = { system: '$export', patient: 'Patient/$export', group: `Group/${group}/$export` }[level]
  const url = new URL(path, base)
  url.searchParams.set('_since', since)
  url.searchParams.set('_type', types.join(','))
  // Repeated rather than in a list: their own commas stay what they are.
  for (const filter of typeFilters) url.searchParams.append('_typeFilter', filter)
  return url
}

/** X-Progress is free text; the share that is done says enough, and nothing else. */
function progressIn(header: string | null): string | undefined {
  const found = /(\d{1,3})(?:\.\d+)?\s?%/.exec(header ?? '')
  return found === null ? undefined : `${found[1]!} %`
}

function jsonOf({ bytes }: HttpAnswer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8').replace(/^\uFEFF/, ''))
  } catch {
    return undefined
  }
}
