import { readFileSync } from 'node:fs'
import { dirname, isAbsolute, resolve } from 'node:path'
import { readDirectAddress, type DirectAddress } from './domain/direct-address.ts'
import { readAccess, readAuthorities, readSecrets, type AccessSettings } from './settings/access.ts'
import {
  readDocuments,
  readFhirServers,
  type DocumentSettings,
  type FhirServerSetting,
} from './settings/documents.ts'
import { readDiscovery, type DiscoverySettings } from './settings/discovery.ts'
import type { Endpoint } from './settings/endpoint.ts'
import { readEdge, type EdgeSettings } from './settings/exchange.ts'
import { readKeys, type KeySetting } from './settings/keys.ts'
import { readSeal, type SealSettings } from './settings/seal.ts'
import { optional, rootSection, type Section } from './settings/section.ts'
import { SettingsFile, type SettingsProblem } from './settings/settings-file.ts'
import { readTrust, type TrustSettings } from './settings/trust.ts'
import { readTracking, type TrackingSettings } from './settings/tracking.ts'

/** Everything an installation decides, read whole from bluepost.yaml and the environment. */
export interface Settings {
  /** The file they came from; undefined where the defaults stand alone. */
  readonly file?: string
  readonly dataHolder?: { readonly name: string; readonly address: DirectAddress }
  /** `embedded`, or the URL of a PostgreSQL ≥ 14. */
  readonly database: string
  readonly dataDirectory: string
  readonly channelsDirectory: string
  readonly mappingsDirectory: string
  readonly listen: {
    readonly http: Endpoint
    readonly httpTls?: {
      readonly certificate: string
      readonly privateKey: string
      /** Authorities, as a PEM file: FHIR servers that notify show a certificate of one of them. */
      readonly clientCa?: string
    }
    readonly smtp?: Endpoint
    readonly lmtp?: Endpoint | { readonly path: string }
    /** STARTTLS for inbound mail. */
    readonly smtpTls?: { readonly certificate: string; readonly privateKey: string }
  }
  readonly keys: readonly KeySetting[]
  readonly trust: TrustSettings
  readonly discovery: DiscoverySettings
  readonly edge: EdgeSettings
  readonly fhirServers: readonly FhirServerSetting[]
  readonly documents: DocumentSettings
  readonly tracking: TrackingSettings
  readonly seal: SealSettings
  /** Alias → canonical assigning authority. */
  readonly authorities: ReadonlyMap<string, string>
  readonly access: AccessSettings
  /** Channel and mapping files that change are taken without a restart. */
  readonly watch: boolean
  /** Values that channel files name as `secret:NAME`. */
  readonly secrets: ReadonlyMap<string, string>
  /** The same, read again: files may hold renewed certificates. As they were where one cannot be read now. */
  readonly secretsNow: () => ReadonlyMap<string, string>
  readonly limits: { readonly holdMaxMs?: number }
  readonly retention: { readonly finishedMs: number }
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
  readonly timezone: string
  /** True: a channel whose tests fail, or that has none, is not started. False only where nobody’s record is at stake. */
  readonly production: boolean
}

export type SettingsReading =
  | { readonly valid: true; readonly settings: Settings }
  | { readonly valid: false; readonly problems: readonly SettingsProblem[] }

const fileBytesMax = 1024 * 1024

/**
 * Reads bluepost.yaml, or the defaults where no file is given. Every problem is reported at once and nothing starts half.
 *
 * @param file path of the file; relative paths inside it start from its folder
 * @param environment supplies `${NAME}`, `${NAME:-default}` and `env:NAME`
 */
export function readSettings(
  file: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): SettingsReading {
  if (file === undefined) return parseSettings('', undefined, environment)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const because = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    return {
      valid: false,
      problems: [
        { where: file, what: `cannot be read (${because})`, remedy: 'check the path and its permissions' },
      ],
    }
  }
  if (text.length > fileBytesMax)
    return {
      valid: false,
      problems: [
        { where: file, what: `is larger than ${fileBytesMax} bytes`, remedy: 'this is not a settings file' },
      ],
    }
  return parseSettings(text, file, environment)
}

/** {@link readSettings} on a text; `file` names it in problems and anchors relative paths. */
export function parseSettings(
  text: string,
  file: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): SettingsReading {
  const reader = new SettingsFile(text, file ?? 'bluepost.yaml', environment)
  const settings = settingsFrom(reader, file)
  return reader.problems.length === 0
    ? { valid: true, settings }
    : { valid: false, problems: reader.problems }
}

function settingsFrom(reader: SettingsFile, file: string | undefined): Settings {
  const folder = file === undefined ? process.cwd() : dirname(resolve(file))
  const path = (text: string) => (isAbsolute(text) ? text : resolve(folder, text))
  const root = rootSection(reader, [
    'dataHolder',
    'database',
    'dataDirectory',
    'channelsDirectory',
    'mappingsDirectory',
    'listen',
    'keys',
    'trust',
    'discovery',
    'edge',
    'fhirServers',
    'documents',
    'tracking',
    'seal',
    'authorities',
    'access',
    'secrets',
    'limits',
    'retention',
    'log',
    'timezone',
    'production',
    'watch',
  ])
  const databaseDefault = reader.environment['DATABASE_URL'] ?? 'embedded'
  const database = root.text('database') ?? (databaseDefault === '' ? 'embedded' : databaseDefault)
  if (database !== 'embedded' && !/^postgres(ql)?:\/\//.test(database))
    root.problem(
      'database',
      'is neither “embedded” nor a postgres:// URL',
      'write `database: embedded` or a URL such as postgres://user@host/bluepost',
    )
  const fhirServers = readFhirServers(root)
  const documents = readDocuments(root, fhirServers, path)
  const secrets = readSecrets(root)
  return {
    ...(file === undefined ? {} : { file: resolve(file) }),
    ...optional('dataHolder', readDataHolder(root)),
    database,
    dataDirectory: path(root.text('dataDirectory') ?? 'var'),
    channelsDirectory: path(root.text('channelsDirectory') ?? 'channels'),
    mappingsDirectory: path(root.text('mappingsDirectory') ?? 'mappings'),
    listen: readListen(root, path),
    keys: readKeys(root, path),
    trust: readTrust(root, path),
    discovery: readDiscovery(root),
    edge: readEdge(root, path),
    fhirServers,
    documents,
    tracking: readTracking(root),
    seal: readSeal(root),
    authorities: readAuthorities(root),
    access: readAccess(root),
    secrets,
    secretsNow: secretsAgain(reader, root, secrets),
    limits: optional('holdMaxMs', root.section('limits', ['holdMax'])?.duration('holdMax')),
    retention: {
      finishedMs: root.section('retention', ['finished'])?.duration('finished') ?? 365 * 86_400_000,
    },
    logLevel: root.section('log', ['level'])?.oneOf('level', ['debug', 'info', 'warn', 'error']) ?? 'info',
    timezone: root.timezone('timezone') ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
    production: root.boolean('production') ?? true,
    watch: root.boolean('watch') ?? true,
  }
}

function secretsAgain(
  { problems }: SettingsFile,
  root: Section,
  first: ReadonlyMap<string, string>,
): Settings['secretsNow'] {
  let last = first
  return () => {
    const known = problems.length
    const fresh = readSecrets(root)
    // A file that is being replaced may be gone for a moment: what was good stays.
    if (problems.splice(known).length === 0) last = fresh
    return last
  }
}

function readDataHolder(root: Section): Settings['dataHolder'] {
  const section = root.section('dataHolder', ['name', 'address'])
  if (section === undefined) return undefined
  const name = section.required('name', 'the name patients know, such as Ashby Medical Center')
  const text = section.required(
    'address',
    'the Direct address that sends, such as transmit@direct.ashby.example',
  )
  const reading = text === undefined ? undefined : readDirectAddress(text)
  if (reading?.valid === false)
    section.problem('address', `is not a Direct address: ${reading.because}`, 'write name@direct.example.org')
  if (name !== undefined && /[\r\n]/.test(name))
    section.problem('name', 'has a line break', 'write it on one line')
  return name !== undefined && reading?.valid === true ? { name, address: reading.address } : undefined
}

function readListen(root: Section, path: (text: string) => string): Settings['listen'] {
  const section = root.section('listen', ['http', 'smtp', 'lmtp', 'httpTls', 'smtpTls'])
  const lmtpText = section?.text('lmtp')
  const lmtp =
    lmtpText === undefined
      ? undefined
      : lmtpText.startsWith('/') || lmtpText.startsWith('unix:')
        ? { path: path(lmtpText.replace(/^unix:/, '')) }
        : section!.endpoint('lmtp')
  const tls = (name: 'httpTls' | 'smtpTls') => {
    const files = section?.section(name, [
      'certificate',
      'privateKey',
      ...(name === 'httpTls' ? ['clientCa'] : []),
    ])
    const certificate = files?.required('certificate', 'path of a PEM file')
    const privateKey = files?.secret('privateKey', true)
    const clientCa = name === 'httpTls' ? files?.text('clientCa') : undefined
    return certificate === undefined || privateKey === undefined
      ? undefined
      : {
          certificate: path(certificate),
          privateKey,
          ...(clientCa !== undefined && { clientCa: path(clientCa) }),
        }
  }
  return {
    http: section?.endpoint('http') ?? { host: '127.0.0.1', port: 8080 },
    ...optional('httpTls', tls('httpTls')),
    ...optional('smtp', section === undefined ? { host: '127.0.0.1', port: 2525 } : section.endpoint('smtp')),
    ...optional('lmtp', lmtp),
    ...optional('smtpTls', tls('smtpTls')),
  }
}
