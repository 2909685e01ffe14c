import type { RetryPlan } from '../domain/failure.ts'
import { documentBytesMax } from '../domain/limits.ts'
import { triggerKinds, type TriggerKind } from '../domain/trigger-event.ts'
import { readRetry } from './exchange.ts'
import { optional, type Section } from './section.ts'

export interface FhirServerSetting {
  readonly name: string
  readonly baseUrl: string
  readonly auth:
    | { readonly type: 'none' }
    | { readonly type: 'basic'; readonly user: string; readonly password: string }
    | { readonly type: 'bearer'; readonly token: string }
    | {
        readonly type: 'smart-backend'
        readonly clientId: string
        readonly key: string
        readonly keyId?: string
        readonly nextKey?: string
        readonly tokenUrl?: string
        readonly scope: string
      }
  readonly timeoutMs: number
  /** Other origins that attachments may be fetched from. */
  readonly attachmentOrigins: readonly string[]
}

/** What is done with documents marked R, not marked, or marked with something unknown. */
export interface ConfidentialitySetting {
  readonly restricted: 'hold' | 'send'
  readonly missing: 'hold' | 'send'
  readonly unknown: 'hold' | 'send'
}

export type DocumentSourceSetting =
  | {
      readonly type: 'folder'
      /** As written, for people. */
      readonly name: string
      readonly directory: string
      readonly confidentiality: ConfidentialitySetting
    }
  | { readonly type: 'server'; readonly server: string; readonly confidentiality: ConfidentialitySetting }

export interface DocumentSettings {
  readonly codes: readonly string[]
  /** LOINC codes of what goes along with the summary, by trigger. */
  readonly additional: ReadonlyMap<TriggerKind, readonly string[]>
  /** Where documents come from, asked in this order. */
  readonly sources: readonly DocumentSourceSetting[]
  /** By channel: what its messages say of the documents they bring. */
  readonly channelConfidentiality: ReadonlyMap<string, ConfidentialitySetting>
  readonly bytesMax: number
  readonly freshnessToleranceMs: number
  readonly retry: RetryPlan
  readonly confidentiality: ConfidentialitySetting
}

export function readFhirServers(root: Section): FhirServerSetting[] {
  return (root.entries('fhirServers') ?? []).flatMap(([name, value]): FhirServerSetting[] => {
    const section = value.asSection(['baseUrl', 'auth', 'timeout', 'attachmentOrigins'])
    const baseUrl = section.url('baseUrl')
    const auth = readFhirAuth(section)
    if (baseUrl === undefined || auth === undefined) return []
    const attachmentOrigins = section.texts('attachmentOrigins')
    for (const origin of attachmentOrigins)
      if (!URL.canParse(origin) || new URL(origin).origin !== origin)
        section.problem(
          'attachmentOrigins',
          `“${origin}” is not an origin`,
          'write https://host or https://host:port',
        )
    return [
      {
        name,
        baseUrl: baseUrl.replace(/\/+$/, ''),
        auth,
        timeoutMs: section.duration('timeout') ?? 30_000,
        attachmentOrigins,
      },
    ]
  })
}

function readFhirAuth(server: Section): FhirServerSetting['auth'] | undefined {
  const section = server.section('auth', [
    'type',
    'user',
    'password',
    'token',
    'clientId',
    'key',
    'keyId',
    'nextKey',
    'tokenUrl',
    'scope',
  ])
  if (section === undefined) return { type: 'none' }
  switch (section.oneOf('type', ['none', 'basic', 'bearer', 'smart-backend'])) {
    case 'none':
      return { type: 'none' }
    case 'basic': {
      const user = section.required('user', 'the account name')
      const password = section.secret('password', true)
      return user === undefined || password === undefined ? undefined : { type: 'basic', user, password }
    }
    case 'bearer': {
      const token = section.secret('token', true)
      return token === undefined ? undefined : { type: 'bearer', token }
    }
    case 'smart-backend': {
      const clientId = section.required('clientId', 'the client id the server gave you')
      const key = section.secret('key', true)
      const tokenUrl = section.text('tokenUrl') === undefined ? undefined : section.url('tokenUrl')
      const nextKey = section.secret('nextKey', false)
      if (clientId === undefined || key === undefined) return undefined
      const scope = section.text('scope') ?? 'system/Patient.rs system/DocumentReference.rs system/Binary.rs'
      return {
        type: 'smart-backend',
        clientId,
        key,
        scope,
        ...optional('keyId', section.text('keyId')),
        ...optional('nextKey', nextKey),
        ...optional('tokenUrl', tokenUrl),
      }
    }
    default:
      if (section.text('type') === undefined)
        section.problem('type', 'is missing', 'write none, basic, bearer or smart-backend')
      return undefined
  }
}

/** LOINC codes of the clinical summaries of C-CDA R1.1 – R5 that a patient may be sent; domain.md 2.4. */
const summaryCodes = [
  '34133-9',
  '18842-5',
  '57133-1',
  '18761-7',
  '11506-3',
  '11488-4',
  '34117-2',
  '28570-0',
  '11504-8',
  '52521-2',
  '18776-5',
]

/**
 * What goes along with the clinical summary (Blue Button+ transmit §F): a transition of care summary, an ambulatory or an
 * inpatient one. Where there is none, the summary alone is what is meant.
 */
const additionalCodes: readonly (readonly [TriggerKind, readonly string[]])[] = [
  ['transition', ['57133-1', '18761-7']],
  ['end-of-encounter', ['11506-3']],
  ['discharge', ['18842-5']],
]

/** @param path makes a path of the file absolute */
export function readDocuments(
  root: Section,
  servers: readonly FhirServerSetting[],
  path: (text: string) => string,
): DocumentSettings {
  const section = root.section('documents', [
    'server',
    'sources',
    'codes',
    'additional',
    'bytesMax',
    'freshness',
    'retry',
    'confidentiality',
  ])
  const usual = readConfidentiality(section, { restricted: 'hold', missing: 'send', unknown: 'hold' })
  const { sources, channelConfidentiality } = readSources(section, servers, usual, path)
  const codes = section?.texts('codes') ?? []
  return {
    sources,
    channelConfidentiality,
    codes: codes.length > 0 ? codes : summaryCodes,
    additional: readAdditional(section),
    bytesMax: section?.integer('bytesMax', 1024, documentBytesMax) ?? documentBytesMax,
    freshnessToleranceMs: section?.duration('freshness') ?? 24 * 3_600_000,
    retry: readRetry(section, {
      firstDelayMs: 30_000,
      factor: 2,
      delayMsMax: 30 * 60_000,
      deadlineMs: 72 * 3_600_000,
    }),
    confidentiality: usual,
  }
}

/** Those that are listed, in their order; `server`, or the only one there is, is asked where none is listed. */
function readSources(
  section: Section | undefined,
  servers: readonly FhirServerSetting[],
  usual: ConfidentialitySetting,
  path: (text: string) => string,
): Pick<DocumentSettings, 'sources' | 'channelConfidentiality'> {
  const sources: DocumentSourceSetting[] = []
  const channelConfidentiality = new Map<string, ConfidentialitySetting>()
  for (const entry of section?.list('sources', ['server', 'directory', 'channel', 'confidentiality']) ?? []) {
    const [server, directory, channel] = ['server', 'directory', 'channel'].map((key) => entry.text(key))
    const confidentiality = readConfidentiality(entry, usual)
    if ([server, directory, channel].filter((one) => one !== undefined).length !== 1)
      entry.problem(
        'server',
        'is not the only thing that says where documents come from',
        'write one of server (a name under fhirServers), directory, channel',
      )
    else if (channel !== undefined) channelConfidentiality.set(channel, confidentiality)
    else if (directory !== undefined)
      sources.push({ type: 'folder', name: directory, directory: path(directory), confidentiality })
    else {
      checkServer(entry, server!, servers)
      sources.push({ type: 'server', server: server!, confidentiality })
    }
  }
  const named = section?.text('server')
  if (section !== undefined && named !== undefined) checkServer(section, named, servers)
  const only = named ?? (servers.length === 1 ? servers[0]!.name : undefined)
  if (only !== undefined && !sources.some(({ type }) => type === 'server'))
    sources.push({ type: 'server', server: only, confidentiality: usual })
  return { sources, channelConfidentiality }
}

function checkServer(section: Section, server: string, servers: readonly FhirServerSetting[]): void {
  if (!servers.some(({ name }) => name === server))
    section.problem(
      'server',
      `“${server}” is not under fhirServers`,
      `name one of: ${servers.map(({ name }) => name).join(', ') || '(none configured)'}`,
    )
}

function readAdditional(section: Section | undefined): ReadonlyMap<TriggerKind, readonly string[]> {
  const additional = new Map<TriggerKind, readonly string[]>(additionalCodes)
  const own = section?.section('additional', triggerKinds)
  for (const kind of triggerKinds) {
    const codes = own?.texts(kind) ?? []
    if (own?.has(kind) === true) additional.set(kind, codes)
  }
  return additional
}

function readConfidentiality(
  holder: Section | undefined,
  usual: ConfidentialitySetting,
): ConfidentialitySetting {
  const section = holder?.section('confidentiality', ['restricted', 'missing', 'unknown'])
  const choices = ['hold', 'send'] as const
  return {
    restricted: section?.oneOf('restricted', choices) ?? usual.restricted,
    missing: section?.oneOf('missing', choices) ?? usual.missing,
    unknown: section?.oneOf('unknown', choices) ?? usual.unknown,
  }
}
