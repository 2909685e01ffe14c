import type { RetryPlan } from '../domain/failure.ts'
import { documentBytesMax } from '../domain/limits.ts'
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

export interface DocumentSettings {
  /** Name under fhirServers; the only one where just one is configured. */
  readonly server?: string
  readonly codes: readonly string[]
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
      if (clientId === undefined || key === undefined) return undefined
      const scope = section.text('scope') ?? 'system/Patient.rs system/DocumentReference.rs system/Binary.rs'
      return {
        type: 'smart-backend',
        clientId,
        key,
        scope,
        ...optional('keyId', section.text('keyId')),
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

export function readDocuments(root: Section, servers: readonly FhirServerSetting[]): DocumentSettings {
  const section = root.section('documents', [
    'server',
    'codes',
    'bytesMax',
    'freshness',
    'retry',
    'confidentiality',
  ])
  const server = section?.text('server') ?? (servers.length === 1 ? servers[0]!.name : undefined)
  if (server !== undefined && !servers.some(({ name }) => name === server))
    section?.problem(
      'server',
      `“${server}” is not under fhirServers`,
      `name one of: ${servers.map(({ name }) => name).join(', ') || '(none configured)'}`,
    )
  const codes = section?.texts('codes') ?? []
  return {
    ...optional('server', server),
    codes: codes.length > 0 ? codes : summaryCodes,
    bytesMax: section?.integer('bytesMax', 1024, documentBytesMax) ?? documentBytesMax,
    freshnessToleranceMs: section?.duration('freshness') ?? 24 * 3_600_000,
    retry: readRetry(section, {
      firstDelayMs: 30_000,
      factor: 2,
      delayMsMax: 30 * 60_000,
      deadlineMs: 72 * 3_600_000,
    }),
    confidentiality: readConfidentiality(section, { restricted: 'hold', missing: 'send', unknown: 'hold' }),
  }
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
