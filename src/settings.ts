import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname, isAbsolute, resolve } from 'node:path'
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Node, type YAMLMap } from 'yaml'
import { readDirectAddress, type DirectAddress } from './domain/direct-address.ts'
import { documentBytesMax, inboundMailBytesMax } from './domain/limits.ts'
import { canonicalAuthority } from './domain/patient.ts'
import type { RetryPlan } from './domain/failure.ts'
import { closest } from './lib/closest.ts'
import { readDurationMs } from './lib/duration.ts'

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
    readonly httpTls?: { readonly certificate: string; readonly privateKey: string }
    readonly smtp?: Endpoint
    readonly lmtp?: Endpoint | { readonly path: string }
    /** STARTTLS for inbound mail. */
    readonly smtpTls?: { readonly certificate: string; readonly privateKey: string }
  }
  readonly keys: readonly KeySetting[]
  /** Paths or globs of PEM and DER files. */
  readonly anchors: readonly string[]
  readonly dns: { readonly servers: readonly string[]; readonly timeoutMs: number; readonly attempts: number }
  readonly edge: {
    readonly type: 'sta' | 'smtp'
    readonly routes: readonly RouteSetting[]
    readonly retry: RetryPlan
    readonly connectionsMax: number
    readonly timeoutMs: number
  }
  readonly fhirServers: readonly FhirServerSetting[]
  readonly documents: DocumentSettings
  readonly tracking: {
    readonly processedWithinMs: number
    readonly deliveredWithinMs: number
    readonly requestDelivery: boolean
    readonly messageBytesMax: number
  }
  readonly seal: {
    readonly threads: number
    readonly keyTransport: 'pkcs1' | 'oaep-sha256' | 'oaep-sha1'
  }
  /** Alias → canonical assigning authority. */
  readonly authorities: ReadonlyMap<string, string>
  readonly access: {
    readonly keys: readonly AccessKey[]
    readonly oidc?: { readonly issuer: string; readonly audience: string }
  }
  /** Values that channel files name as `secret:NAME`. */
  readonly secrets: ReadonlyMap<string, string>
  readonly limits: { readonly holdMaxMs?: number }
  readonly retention: { readonly finishedMs: number }
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
  readonly timezone: string
}

export interface Endpoint {
  readonly host: string
  readonly port: number
}

export type KeySetting =
  | {
      readonly certificate: string
      readonly privateKey: string
      readonly passphrase?: string
      readonly line: number
    }
  | { readonly pkcs12: string; readonly passphrase: string; readonly line: number }

export interface RouteSetting {
  /** Domain of the recipient, lower case, or `*`. */
  readonly domain: string
  readonly url: string
  readonly starttls: 'required' | 'opportunistic' | 'none'
  readonly verify: boolean
  readonly user?: string
  readonly password?: string
}

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

export interface DocumentSettings {
  /** Name under fhirServers; the only one where just one is configured. */
  readonly server?: string
  readonly codes: readonly string[]
  readonly bytesMax: number
  readonly freshnessToleranceMs: number
  readonly retry: RetryPlan
  readonly treatRestrictedAs: 'restricted' | 'normal'
}

export const roles = ['patient', 'provider', 'analyst', 'operator', 'auditor'] as const
export type Role = (typeof roles)[number]

export interface AccessKey {
  readonly name: string
  readonly role: Role
  readonly key: string
}

/** One thing wrong with the settings: where, what, and what to do about it. */
export interface SettingsProblem {
  readonly where: string
  readonly what: string
  readonly remedy: string
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
  const reader = new Reader(text, file ?? 'bluepost.yaml', environment)
  const settings = settingsFrom(reader, file)
  return reader.problems.length === 0
    ? { valid: true, settings }
    : { valid: false, problems: reader.problems }
}

function settingsFrom(reader: Reader, file: string | undefined): Settings {
  const folder = file === undefined ? process.cwd() : dirname(resolve(file))
  const path = (text: string) => (isAbsolute(text) ? text : resolve(folder, text))
  const root = reader.root([
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
  const documents = readDocuments(root, fhirServers)
  return {
    ...(file === undefined ? {} : { file: resolve(file) }),
    ...optional('dataHolder', readDataHolder(root)),
    database,
    dataDirectory: path(root.text('dataDirectory') ?? 'var'),
    channelsDirectory: path(root.text('channelsDirectory') ?? 'channels'),
    mappingsDirectory: path(root.text('mappingsDirectory') ?? 'mappings'),
    listen: readListen(root, path),
    keys: readKeys(root, path),
    anchors: readTrust(root).map(path),
    dns: readDns(root),
    edge: readEdge(root),
    fhirServers,
    documents,
    tracking: readTracking(root),
    seal: readSeal(root),
    authorities: readAuthorities(root),
    access: readAccess(root),
    secrets: readSecrets(root),
    limits: optional('holdMaxMs', root.section('limits', ['holdMax'])?.duration('holdMax')),
    retention: {
      finishedMs: root.section('retention', ['finished'])?.duration('finished') ?? 365 * 86_400_000,
    },
    logLevel: root.section('log', ['level'])?.oneOf('level', ['debug', 'info', 'warn', 'error']) ?? 'info',
    timezone: root.timezone('timezone') ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
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
    const files = section?.section(name, ['certificate', 'privateKey'])
    const certificate = files?.required('certificate', 'path of a PEM file')
    const privateKey = files?.secret('privateKey', true)
    return certificate === undefined || privateKey === undefined
      ? undefined
      : { certificate: path(certificate), privateKey }
  }
  return {
    http: section?.endpoint('http') ?? { host: '127.0.0.1', port: 8080 },
    ...optional('httpTls', tls('httpTls')),
    ...optional('smtp', section === undefined ? { host: '127.0.0.1', port: 2525 } : section.endpoint('smtp')),
    ...optional('lmtp', lmtp),
    ...optional('smtpTls', tls('smtpTls')),
  }
}

function readKeys(root: Section, path: (text: string) => string): KeySetting[] {
  return root
    .list('keys', ['certificate', 'privateKey', 'passphrase', 'pkcs12'])
    .flatMap((entry): KeySetting[] => {
      const pkcs12 = entry.text('pkcs12')
      const passphrase = entry.secret('passphrase', pkcs12 !== undefined)
      if (pkcs12 !== undefined)
        return passphrase === undefined ? [] : [{ pkcs12: path(pkcs12), passphrase, line: entry.line }]
      const certificate = entry.required('certificate', 'path of a PEM file, or use pkcs12:')
      const privateKey = entry.secret('privateKey', true)
      if (certificate === undefined || privateKey === undefined) return []
      return [
        {
          certificate: path(certificate),
          privateKey,
          ...optional('passphrase', passphrase),
          line: entry.line,
        },
      ]
    })
}

function readTrust(root: Section): string[] {
  const section = root.section('trust', ['anchors', 'bundles', 'revocation'])
  if (section === undefined) return []
  // Accepting these keys without doing what they say would be a promise not kept.
  if (section.list('bundles', ['name', 'url', 'refreshEvery', 'signer']).length > 0)
    section.problem(
      'bundles',
      'this version does not load trust bundles',
      'save the anchors of the bundle as files and list them under `anchors`',
    )
  const revocation = section.section('revocation', ['mode', 'grace'])
  if (revocation !== undefined && revocation.text('mode') !== 'off')
    revocation.problem(
      'mode',
      'this version does not check revocation',
      'write `revocation: { mode: off }` to confirm that you know, or leave it out',
    )
  return section.texts('anchors')
}

function readDns(root: Section): Settings['dns'] {
  const discovery = root.section('discovery', ['dns', 'ldap', 'allowPrivateAddresses'])
  discovery?.boolean('allowPrivateAddresses')
  const ldap = discovery?.section('ldap', ['enabled'])
  if (ldap?.boolean('enabled') === true)
    ldap.problem(
      'enabled',
      'this version does not look certificates up by LDAP',
      'write `ldap: { enabled: false }` or leave it out',
    )
  const dns = discovery?.section('dns', ['servers', 'timeout', 'attempts'])
  const servers = dns?.texts('servers') ?? []
  for (const server of servers)
    if (readDnsServer(server) === undefined)
      dns?.problem(
        'servers',
        `“${server}” is not an IP address`,
        'write 192.0.2.53, 127.0.0.1:15353 or [2001:db8::53]:53',
      )
  return {
    servers,
    timeoutMs: dns?.duration('timeout') ?? 3000,
    attempts: dns?.integer('attempts', 1, 10) ?? 3,
  }
}

function readDnsServer(text: string): Endpoint | undefined {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(text)
  const host = parts?.[1] ?? parts?.[2] ?? text
  return isIP(host) === 0 ? undefined : { host, port: Number(parts?.[3] ?? 53) }
}

function readEdge(root: Section): Settings['edge'] {
  const section = root.section('edge', ['type', 'routes', 'retry', 'connections', 'timeout'])
  const type = section?.oneOf('type', ['sta', 'smtp', 'xdr', 'rest']) ?? 'sta'
  if (type === 'xdr' || type === 'rest')
    section?.problem('type', `this version has no ${type} edge`, 'use sta, or smtp for an external HISP')
  const routes = (section?.entries('routes') ?? []).flatMap(([domain, value]): RouteSetting[] => {
    const options = value.isSection()
      ? value.asSection(['url', 'starttls', 'verify', 'user', 'password'])
      : undefined
    const url = options === undefined ? value.string() : options.required('url', 'smtp://host:port')
    if (url === undefined) return []
    if (!/^(smtps?|lmtp):\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?\/?$/.test(url)) {
      value.problem(`“${url}” is not a next hop`, 'write smtp://host:port or smtps://host:port')
      return []
    }
    return [
      {
        domain: domain.toLowerCase(),
        url,
        starttls: options?.oneOf('starttls', ['required', 'opportunistic', 'none']) ?? 'required',
        verify: options?.boolean('verify') ?? true,
        ...optional('user', options?.text('user')),
        ...optional('password', options?.secret('password', false)),
      },
    ]
  })
  if (type === 'smtp' && !routes.some(({ domain }) => domain === '*'))
    section?.problem(
      'routes',
      'an external HISP takes everything, but there is no route “*”',
      'add `"*": { url: smtps://hisp.example:465, user: …, password: env:HISP_PASSWORD }`',
    )
  return {
    type: type === 'smtp' ? 'smtp' : 'sta',
    routes,
    retry: readRetry(section, {
      firstDelayMs: 30_000,
      factor: 2,
      delayMsMax: 3_600_000,
      deadlineMs: 48 * 3_600_000,
    }),
    connectionsMax: section?.integer('connections', 1, 100) ?? 5,
    timeoutMs: section?.duration('timeout') ?? 120_000,
  }
}

function readRetry(section: Section | undefined, standard: RetryPlan): RetryPlan {
  const retry = section?.section('retry', ['first', 'factor', 'max', 'deadline'])
  return {
    firstDelayMs: retry?.duration('first') ?? standard.firstDelayMs,
    factor: retry?.number('factor', 1, 10) ?? standard.factor,
    delayMsMax: retry?.duration('max') ?? standard.delayMsMax,
    deadlineMs: retry?.duration('deadline') ?? standard.deadlineMs,
  }
}

function readFhirServers(root: Section): FhirServerSetting[] {
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

function readDocuments(root: Section, servers: readonly FhirServerSetting[]): DocumentSettings {
  const section = root.section('documents', [
    'server',
    'codes',
    'bytesMax',
    'freshness',
    'retry',
    'treatRestrictedAs',
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
    treatRestrictedAs: section?.oneOf('treatRestrictedAs', ['restricted', 'normal']) ?? 'restricted',
  }
}

function readTracking(root: Section): Settings['tracking'] {
  const section = root.section('tracking', [
    'processedWithin',
    'deliveredWithin',
    'requestDelivery',
    'messageBytesMax',
  ])
  return {
    processedWithinMs: section?.duration('processedWithin') ?? 3_600_000,
    deliveredWithinMs: section?.duration('deliveredWithin') ?? 3_600_000,
    requestDelivery: section?.boolean('requestDelivery') ?? true,
    messageBytesMax: section?.integer('messageBytesMax', 65_536, inboundMailBytesMax) ?? inboundMailBytesMax,
  }
}

function readSeal(root: Section): Settings['seal'] {
  const section = root.section('seal', ['threads', 'keyTransport'])
  return {
    threads: section?.integer('threads', 1, 64) ?? 2,
    // Every peer that was tried reads PKCS#1 v1.5; OAEP is for those that agreed to it.
    keyTransport: section?.oneOf('keyTransport', ['pkcs1', 'oaep-sha256', 'oaep-sha1']) ?? 'pkcs1',
  }
}

function readAuthorities(root: Section): Map<string, string> {
  const aliases = new Map<string, string>()
  for (const entry of root.list('authorities', ['id', 'aliases'])) {
    const id = entry.required('id', 'urn:oid:… or another URI')
    if (id === undefined) continue
    const canonical = canonicalAuthority(id, new Map())
    aliases.set(canonical, canonical)
    for (const alias of entry.texts('aliases')) {
      const spelled = canonicalAuthority(alias, new Map())
      if (aliases.has(spelled) && aliases.get(spelled) !== canonical)
        entry.problem(
          'aliases',
          `“${alias}” already stands for ${aliases.get(spelled)}`,
          'give each alias to one authority',
        )
      aliases.set(spelled, canonical)
    }
  }
  return aliases
}

function readAccess(root: Section): Settings['access'] {
  const section = root.section('access', ['keys', 'oidc'])
  const keys = (section?.list('keys', ['name', 'role', 'key']) ?? []).flatMap((entry): AccessKey[] => {
    const name = entry.required('name', 'who uses this key; it appears in the audit')
    const role = entry.oneOf('role', roles)
    const key = entry.secret('key', true)
    if (role === undefined && entry.text('role') === undefined)
      entry.problem('role', 'is missing', `write one of ${roles.join(', ')}`)
    if (key !== undefined && key.length < accessKeyLengthMin)
      entry.problem(
        'key',
        `is shorter than ${accessKeyLengthMin} characters`,
        'make one with: openssl rand -hex 32',
      )
    return name === undefined || role === undefined || key === undefined ? [] : [{ name, role, key }]
  })
  const oidc = section?.section('oidc', ['issuer', 'audience'])
  const issuer = oidc?.url('issuer')
  const audience = oidc?.required(
    'audience',
    'the audience your identity provider puts into tokens for bluepost',
  )
  return { keys, ...(issuer === undefined || audience === undefined ? {} : { oidc: { issuer, audience } }) }
}

/** 128 bits in hexadecimal. */
const accessKeyLengthMin = 32

function readSecrets(root: Section): Map<string, string> {
  const secrets = new Map<string, string>()
  for (const [name, value] of root.entries('secrets') ?? []) {
    const secret = value.secret()
    if (secret !== undefined) secrets.set(name, secret)
  }
  return secrets
}

function optional<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { [key in Name]?: Value } {
  return (value === undefined ? {} : { [name]: value }) as { [key in Name]?: Value }
}

/** Reads one YAML document with positions and collects problems. */
class Reader {
  readonly problems: SettingsProblem[] = []
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly file: string
  private readonly lines = new LineCounter()
  private readonly contents: Node | null

  constructor(text: string, file: string, environment: Readonly<Record<string, string | undefined>>) {
    this.file = file
    this.environment = environment
    const document = parseDocument(text, {
      lineCounter: this.lines,
      uniqueKeys: true,
      strict: true,
      version: '1.2',
    })
    for (const error of document.errors)
      this.problem(
        error.pos[0],
        error.message.split('\n')[0] ?? 'is not YAML',
        'correct the YAML; values with { } [ ] : # need quotes',
      )
    this.contents = document.errors.length > 0 ? null : document.contents
  }

  root(known: readonly string[]): Section {
    const { contents } = this
    const empty = contents === null || (isScalar(contents) && contents.value === null)
    if (!empty && !isMap(contents))
      this.problem(0, 'is not a list of settings', 'start with lines such as `dataDirectory: ./var`')
    return new Section(this, isMap(contents) ? contents : undefined, '', known)
  }

  line(node: Node | undefined): number {
    return this.lines.linePos(node?.range?.[0] ?? 0).line
  }

  problem(offset: number, what: string, remedy: string): void {
    const { line, col } = this.lines.linePos(offset)
    this.problems.push({ where: `${this.file}:${line}:${col}`, what, remedy })
  }

  /** `${NAME}` and `${NAME:-default}`. */
  expand(text: string, offset: number): string {
    return text.replace(
      /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g,
      (_, name: string, standard: string | undefined) => {
        const value = this.environment[name]
        if (value !== undefined && value !== '') return value
        if (standard !== undefined) return standard
        this.problem(offset, `the environment has no ${name}`, `set ${name}, or write \${${name}:-default}`)
        return ''
      },
    )
  }

  /** `env:NAME` and `file:PATH`; a secret written out is refused. */
  secret(text: string, offset: number): string | undefined {
    if (text.startsWith('env:')) {
      const value = this.environment[text.slice(4)]
      if (value === undefined || value === '') {
        this.problem(
          offset,
          `the environment has no ${text.slice(4)}`,
          `set ${text.slice(4)} before starting`,
        )
        return undefined
      }
      return value.includes('\\n') && value.includes('-----BEGIN') ? value.replaceAll('\\n', '\n') : value
    }
    const path = text.startsWith('file:')
      ? text.slice(5)
      : text.startsWith('./') || text.startsWith('/')
        ? text
        : undefined
    if (path === undefined) {
      this.problem(offset, 'is a secret written into the file', 'write env:NAME or file:PATH instead')
      return undefined
    }
    const absolute = isAbsolute(path) ? path : resolve(dirname(resolve(this.file)), path)
    try {
      return readFileSync(absolute, 'utf8').trimEnd()
    } catch (cause) {
      this.problem(
        offset,
        `${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unreadable'})`,
        'check the path and its permissions',
      )
      return undefined
    }
  }
}

/** One mapping of the file; reading a value that is not as it should be records a problem and yields undefined. */
class Section {
  private readonly reader: Reader
  private readonly map: YAMLMap | undefined
  private readonly name: string

  constructor(reader: Reader, map: YAMLMap | undefined, name: string, known: readonly string[] | undefined) {
    this.reader = reader
    this.map = map
    this.name = name
    for (const { key } of known === undefined ? [] : (map?.items ?? [])) {
      const text = isScalar(key) ? String(key.value) : '?'
      if (known!.includes(text)) continue
      const meant = closest(text, known!)
      reader.problem(
        offsetOf(key),
        `${this.label(text)} is not a setting`,
        meant === undefined ? `known here: ${known!.join(', ')}` : `did you mean “${meant}”?`,
      )
    }
  }

  get line(): number {
    return this.reader.line(this.map)
  }

  problem(key: string, what: string, remedy: string): void {
    const node = this.node(key) ?? this.map
    this.reader.problem(offsetOf(node), `${this.label(key)} ${what}`, remedy)
  }

  text(key: string): string | undefined {
    return this.value(key)?.string()
  }

  required(key: string, example: string): string | undefined {
    const text = this.text(key)
    if (this.node(key) === undefined || text === '') this.problem(key, 'is missing', `give ${example}`)
    return text === '' ? undefined : text
  }

  secret(key: string, isRequired: boolean): string | undefined {
    const value = this.value(key)
    if (value === undefined) {
      if (isRequired) this.problem(key, 'is missing', 'write env:NAME or file:PATH')
      return undefined
    }
    return value.secret()
  }

  oneOf<Choice extends string>(key: string, choices: readonly Choice[]): Choice | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    const choice = choices.find((candidate) => candidate === text)
    if (choice === undefined) {
      const meant = closest(text, choices)
      this.problem(
        key,
        `is “${text}”`,
        `${meant === undefined ? '' : `did you mean “${meant}”? `}use one of ${choices.join(', ')}`,
      )
    }
    return choice
  }

  boolean(key: string): boolean | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    if (text !== 'true' && text !== 'false') this.problem(key, `is “${text}”`, 'write true or false')
    return text === 'true'
  }

  number(key: string, least: number, most: number): number | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    const number = Number(text)
    if (text.trim() !== '' && number >= least && number <= most) return number
    this.problem(key, `is “${text}”`, `write a number from ${least} to ${most}`)
    return undefined
  }

  integer(key: string, least: number, most: number): number | undefined {
    const number = this.number(key, least, most)
    if (number === undefined || Number.isInteger(number)) return number
    this.problem(key, `is “${number}”`, `write a whole number from ${least} to ${most}`)
    return undefined
  }

  duration(key: string): number | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    const durationMs = readDurationMs(text)
    if (durationMs === undefined)
      this.problem(key, `is “${text}”`, 'write a duration such as 30s, 10m, 24h, 14d')
    return durationMs
  }

  timezone(key: string): string | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    try {
      return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone
    } catch {
      this.problem(key, `“${text}” is not a time zone`, 'write an IANA name such as America/New_York')
      return undefined
    }
  }

  url(key: string): string | undefined {
    const text = this.required(key, 'an https:// URL')
    if (text === undefined) return undefined
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
      this.problem(key, `“${text}” is not a URL`, 'write https://host/path')
      return undefined
    }
    if (url.username !== '' || url.password !== '') {
      this.problem(key, 'has credentials in the URL', 'move them to `auth`, as env: or file:')
      return undefined
    }
    if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
      this.problem(
        key,
        'is plain http to another machine',
        'use https; records and credentials would travel in clear',
      )
      return undefined
    }
    return text
  }

  endpoint(key: string): Endpoint | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text)
    const port = Number(parts?.[3])
    if (parts === null || port > 65_535) {
      this.problem(key, `is “${text}”`, 'write host:port, such as 127.0.0.1:8080')
      return undefined
    }
    return { host: parts[1] ?? parts[2]!, port }
  }

  texts(key: string): string[] {
    const node = this.node(key)
    if (node === undefined) return []
    if (!isSeq(node)) return [this.text(key)].filter((text) => text !== undefined)
    return node.items.flatMap((item) => new Value(this.reader, item as Node, this.label(key)).string() ?? [])
  }

  section(key: string, known: readonly string[]): Section | undefined {
    const value = this.value(key)
    return value === undefined ? undefined : value.asSection(known)
  }

  list(key: string, known: readonly string[]): Section[] {
    const node = this.node(key)
    if (node === undefined) return []
    if (!isSeq(node)) {
      this.problem(key, 'is not a list', 'start each entry with “- ”')
      return []
    }
    return node.items.map((item, index) =>
      new Value(this.reader, item as Node, `${this.label(key)}[${index}]`).asSection(known),
    )
  }

  entries(key: string): [string, Value][] | undefined {
    const node = this.node(key)
    if (node === undefined) return undefined
    if (!isMap(node)) {
      this.problem(key, 'is not a mapping', 'write NAME: value lines below it')
      return undefined
    }
    return node.items.map((pair) => {
      const name = isScalar(pair.key) ? String(pair.key.value) : ''
      return [name, new Value(this.reader, pair.value as Node, this.label(`${key}.${name}`))]
    })
  }

  private value(key: string): Value | undefined {
    const node = this.node(key)
    return node === undefined ? undefined : new Value(this.reader, node, this.label(key))
  }

  private node(key: string): Node | undefined {
    const node = this.map?.get(key, true) as Node | undefined
    return node === undefined || node === null || (isScalar(node) && node.value === null) ? undefined : node
  }

  private label(key: string): string {
    return this.name === '' ? key : `${this.name}.${key}`
  }
}

/** One value of the file with its place. */
class Value {
  private readonly reader: Reader
  private readonly node: Node
  private readonly name: string

  constructor(reader: Reader, node: Node, name: string) {
    this.reader = reader
    this.node = node
    this.name = name
  }

  isSection(): boolean {
    return isMap(this.node)
  }

  problem(what: string, remedy: string): void {
    this.reader.problem(offsetOf(this.node), `${this.name}: ${what}`, remedy)
  }

  string(): string | undefined {
    if (!isScalar(this.node)) {
      this.problem('is not a single value', 'write one value; quote it if it contains { } [ ] or a colon')
      return undefined
    }
    // The spelling of the file counts: 1.10 is not 1.1, and 0123 keeps its zero.
    const text =
      typeof this.node.value === 'string' ? this.node.value : (this.node.source ?? String(this.node.value))
    return this.reader.expand(text, offsetOf(this.node))
  }

  secret(): string | undefined {
    const text = isScalar(this.node) ? String(this.node.value) : undefined
    if (text === undefined) this.problem('is not a single value', 'write env:NAME or file:PATH')
    return text === undefined ? undefined : this.reader.secret(text, offsetOf(this.node))
  }

  asSection(known: readonly string[]): Section {
    if (!isMap(this.node)) this.problem('is not a mapping', `write { ${known.slice(0, 2).join(': …, ')}: … }`)
    return new Section(this.reader, isMap(this.node) ? this.node : undefined, this.name, known)
  }
}

function offsetOf(node: unknown): number {
  return (node as { range?: [number, number, number] } | null | undefined)?.range?.[0] ?? 0
}

/** True for names and addresses of this machine only. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase()
  return bare === 'localhost' || bare === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(bare)
}
