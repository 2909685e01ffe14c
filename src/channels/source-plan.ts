import { isIP } from 'node:net'
import { resolve } from 'node:path'
import type { AckPlan, FileDropSource, SecretReference, Source } from '../domain/channel.ts'
import { frameBytesMax } from '../domain/limits.ts'
import { charsetNamed } from '../lib/hl7v2-charset.ts'
import { readTimeSpan, report } from './condition-plan.ts'
import type { Desk } from './condition-plan.ts'
import { readFhirExport } from './export-source.ts'
import { didYouMean } from './problem.ts'
import { namePattern } from './schema-parts.ts'
import { textAt } from './surroundings.ts'
import type { Surroundings, Values } from './surroundings.ts'
import type { Place } from './yaml-file.ts'

/** The source of a channel file; undefined, with findings, where it cannot be run. */
export function readSource(desk: Desk, source: Values, surroundings: Surroundings): Source | undefined {
  switch (source['type']) {
    case 'mllp':
      return readMllp(desk, source, surroundings)
    case 'http': {
      const verify = source['verify'] as Values
      const secret = readSecret(desk, ['source', 'verify', 'secret'], verify['secret'], surroundings)
      checkEncoding(desk, source)
      if (secret === undefined) return undefined
      return {
        type: 'http',
        format: source['format'] as 'hl7v2',
        verify: { header: verify['header'] as string, secret },
        ...textAt(source, 'encoding'),
        maxMessageBytes: (source['maxMessageBytes'] ?? frameBytesMax) as number,
        ack: ackOf(source),
      }
    }
    case 'fhir-subscription': {
      checkServer(desk, source['server'] as string, surroundings)
      const verify = source['verify'] as Values
      const secret = readSecret(desk, ['source', 'verify', 'secret'], verify['secret'], surroundings)
      const sweep = source['sweep'] as Values | undefined
      const [heartbeatMs, everyMs, lookbackMs] = [
        source['heartbeat'] === undefined
          ? undefined
          : readTimeSpan(desk, ['source', 'heartbeat'], source['heartbeat']),
        sweep && readTimeSpan(desk, ['source', 'sweep', 'every'], sweep['every']),
        sweep && readTimeSpan(desk, ['source', 'sweep', 'lookback'], sweep['lookback']),
      ]
      if (source['topic'] === undefined && source['fallbackCriteria'] === undefined)
        report(
          desk,
          ['source'],
          'missing-key',
          'nothing says what is subscribed to',
          'add topic: or fallbackCriteria:',
          'key',
        )
      if (secret === undefined) return undefined
      return {
        type: 'fhir-subscription',
        server: source['server'] as string,
        ...textAt(source, 'topic'),
        ...textAt(source, 'fallbackCriteria'),
        payload: (source['payload'] ?? 'id-only') as 'id-only',
        verify: { header: verify['header'] as string, secret },
        ...(heartbeatMs !== undefined && { heartbeatMs }),
        gaps: (source['gaps'] ?? 'replay') as 'replay',
        ...(everyMs !== undefined && lookbackMs !== undefined && { sweep: { everyMs, lookbackMs } }),
      }
    }
    case 'fhir-poll': {
      checkServer(desk, source['server'] as string, surroundings)
      const cursor = source['cursor'] as Values
      const query = source['query'] as string
      if (!query.includes('{cursor}'))
        report(
          desk,
          ['source', 'query'],
          'wrong-value',
          'the query has no {cursor}',
          'add _lastUpdated=gt{cursor}',
        )
      if (/^[a-z]+:|^\//i.test(query))
        report(
          desk,
          ['source', 'query'],
          'wrong-value',
          'the query names a host',
          'begin with the resource type; the server is named in server:',
        )
      const everyMs = readTimeSpan(desk, ['source', 'every'], source['every'])
      const overlapMs =
        cursor['overlap'] === undefined
          ? 0
          : readTimeSpan(desk, ['source', 'cursor', 'overlap'], cursor['overlap'])
      return {
        type: 'fhir-poll',
        server: source['server'] as string,
        query,
        everyMs: everyMs ?? 0,
        cursor: { field: cursor['field'] as string, overlapMs: overlapMs ?? 0 },
      }
    }
    case 'fhir-export':
      checkServer(desk, source['server'] as string, surroundings)
      return readFhirExport(desk, source)
    case 'file-drop':
      return readFileDrop(desk, source)
    default:
      return undefined
  }
}

/** Looking is a list of names: more often than this finds nothing sooner, as a file must stand still over two looks. */
const everyMsMin = 1_000
const everyMsUsual = 10_000

function readFileDrop(desk: Desk, source: Values): FileDropSource {
  const directory = resolve(source['directory'] as string)
  const archive = resolve(directory, (source['archive'] as string | undefined) ?? 'archive')
  const quarantine = resolve(directory, (source['quarantine'] as string | undefined) ?? 'quarantine')
  for (const [key, place] of [
    ['archive', archive],
    ['quarantine', quarantine],
  ] as const)
    if (place === directory)
      report(
        desk,
        ['source', key],
        'wrong-value',
        `${key}: is the directory that is watched: what was taken would be taken again`,
        `write ${key}: ${key}, or leave it out`,
      )
  if (archive === quarantine)
    report(
      desk,
      ['source', source['quarantine'] === undefined ? 'archive' : 'quarantine'],
      'wrong-value',
      'archive: and quarantine: are the same directory: nobody could tell what was taken',
      'name two directories, or leave both out',
    )
  const pattern = (source['pattern'] ?? '*') as string
  if (/[/\\]/.test(pattern))
    report(
      desk,
      ['source', 'pattern'],
      'wrong-value',
      'the pattern names a directory; subdirectories are not looked into',
      'write a pattern of file names, such as *.835',
    )
  const everyMs =
    source['every'] === undefined ? everyMsUsual : readTimeSpan(desk, ['source', 'every'], source['every'])
  if (everyMs !== undefined && everyMs < everyMsMin)
    report(
      desk,
      ['source', 'every'],
      'duration',
      'looking more often than once a second finds nothing sooner',
      'write 1s or more',
    )
  return {
    type: 'file-drop',
    directory,
    pattern,
    format: source['format'] as FileDropSource['format'],
    archive,
    quarantine,
    everyMs: everyMs ?? everyMsUsual,
  }
}

function readMllp(desk: Desk, source: Values, surroundings: Surroundings): Source {
  const listen = source['listen'] as { host: string; port: number }
  const tls = source['tls'] as Values | undefined
  const encoding = source['encoding'] as string | undefined
  if (isIP(listen.host) === 0 && !hostPattern.test(listen.host))
    report(
      desk,
      ['source', 'listen', 'host'],
      'wrong-value',
      '"host" is neither an IP address nor a host name',
      'write an address of this machine, such as 127.0.0.1 or 0.0.0.0; the port has a key of its own',
    )
  if (tls === undefined && !isLoopback(listen.host))
    report(
      desk,
      ['source', 'listen', 'host'],
      'tls-missing',
      `${listen.host} can be reached by others, and the channel has no tls`,
      'add tls: { cert: secret:NAME, key: secret:NAME }, or listen on 127.0.0.1',
    )
  checkEncoding(desk, source)
  const secret = (key: string): SecretReference | undefined =>
    tls?.[key] === undefined ? undefined : readSecret(desk, ['source', 'tls', key], tls[key], surroundings)
  const [cert, key, clientCa] = [secret('cert'), secret('key'), secret('clientCa')]
  const clientAuth = (tls?.['clientAuth'] ?? (tls?.['clientCa'] === undefined ? 'none' : 'required')) as
    'none' | 'required'
  if (clientAuth === 'required' && tls !== undefined && tls['clientCa'] === undefined)
    report(
      desk,
      ['source', 'tls'],
      'missing-key',
      'senders are to show a certificate, and nothing says whose',
      'add clientCa: secret:NAME',
      'key',
    )
  return {
    type: 'mllp',
    listen: { host: listen.host, port: listen.port },
    ...(cert && key && { tls: { cert, key, ...(clientCa && { clientCa }), clientAuth } }),
    ...(encoding !== undefined && { encoding }),
    maxMessageBytes: (source['maxMessageBytes'] ?? frameBytesMax) as number,
    release: (source['release'] ?? 1) as 1,
    ack: ackOf(source),
  }
}

function ackOf(source: Values): AckPlan {
  return {
    mode: 'auto',
    after: 'stored',
    onStoreError: 'retryable',
    onInvalid: 'final',
    ...(source['ack'] as Partial<AckPlan>),
  }
}

function checkEncoding(desk: Desk, source: Values): void {
  const encoding = source['encoding'] as string | undefined
  if (encoding !== undefined && charsetNamed(encoding) === undefined)
    report(
      desk,
      ['source', 'encoding'],
      'encoding',
      `"${encoding}" is not a character set of HL7 table 0211`,
      `such as UNICODE UTF-8, 8859/1, ASCII, ISO IR87${didYouMean(encoding, ['utf-8', 'UNICODE UTF-8', '8859/1', '8859/15', 'ASCII'])}`,
    )
}

/** RFC 1123 §2.1. A last label of digits alone would be an address that is none. */
const hostPattern =
  /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*(?![0-9]+$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

const secretPattern = new RegExp(`^secret:(${namePattern.slice(1, -1)})$`)

function readSecret(
  desk: Desk,
  place: Place,
  value: unknown,
  { hasSecret }: Surroundings,
): SecretReference | undefined {
  const found = secretPattern.exec(String(value))
  if (found === null)
    return report(
      desk,
      place,
      'secret-reference',
      `"${String(place.at(-1))}" must be written as secret:NAME`,
      'the secret itself belongs in the settings, under secrets:, never in a channel file',
    )
  const name = found[1]!
  if (hasSecret?.(name) === false)
    return report(
      desk,
      place,
      'secret-unknown',
      `the settings have no secret "${name}"`,
      `add it to bluepost.yaml: secrets: { ${name}: file:PATH } or env:NAME`,
    )
  return { secret: name }
}

function checkServer(desk: Desk, server: string, { fhirServers }: Surroundings): void {
  if (fhirServers === undefined || fhirServers.includes(server)) return
  report(
    desk,
    ['source', 'server'],
    'server-unknown',
    `the settings have no FHIR server "${server}"`,
    fhirServers.length === 0
      ? 'add it to bluepost.yaml under fhirServers:'
      : `fhirServers: has: ${fhirServers.join(', ')}${didYouMean(server, fhirServers)}`,
  )
}
