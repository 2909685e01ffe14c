import type {
  AckPlan,
  Alert,
  ChannelPlan,
  ChannelTest,
  Dedupe,
  FilterRule,
  Hold,
  MappingPlan,
  SecretReference,
  Source,
  ValuePath,
} from '../domain/channel.ts'
import { frameBytesMax } from '../domain/limits.ts'
import { parsePath } from '../lib/hl7v2.ts'
import { isKnownCharset } from '../lib/hl7v2-charset.ts'
import { setField } from '../lib/hl7v2-edit.ts'
import { isTimeZone } from '../lib/hl7v2-time.ts'
import { dependsOnTime, readCondition, readPaths, readTimeSpan, report } from './condition-plan.ts'
import type { Desk, PathKind } from './condition-plan.ts'
import { didYouMean } from './problem.ts'
import { namePattern } from './schema.ts'
import { isRecord } from './yaml-file.ts'
import type { Place } from './yaml-file.ts'

/** What a channel file may refer to. What is undefined is not known here, and not checked. */
export interface Surroundings {
  readonly mappings: readonly string[]
  readonly mapping: (name: string) => MappingPlan | 'broken' | undefined
  readonly hasSecret: ((name: string) => boolean) | undefined
  readonly fhirServers: readonly string[] | undefined
  /** The bytes of a sample, or why there are none. */
  readonly sample: (path: string) => Buffer | string
}

type Values = Readonly<Record<string, unknown>>

/** A channel file of the right shape, as a plan but for its revision; findings go to the desk. */
export function readChannel(
  desk: Desk,
  value: Values,
  surroundings: Surroundings,
): Omit<ChannelPlan, 'revision'> | undefined {
  const before = desk.problems.length
  const source = readSource(desk, value['source'] as Values, surroundings)
  const kind: PathKind = source?.type === 'mllp' ? 'hl7v2' : 'fhirpath'
  const filter = readFilter(desk, value['filter'] as Values, kind)
  const mapping = readMap(desk, value['map'] as string, kind === 'hl7v2' ? 'hl7v2' : 'fhir', surroundings)
  const order =
    value['order'] === undefined ? undefined : { key: keyOf(desk, ['order', 'key'], value['order'], kind) }
  const dedupe = value['dedupe'] === undefined ? undefined : readDedupe(desk, value['dedupe'] as Values, kind)
  const hold = value['hold'] === undefined ? undefined : readHold(desk, value['hold'] as Values)
  const alerts = ((value['alerts'] ?? []) as readonly Values[]).map((alert, index) =>
    readAlert(desk, ['alerts', index], alert),
  )
  const retention = value['retention'] as Values
  const [contentMs, metadataMs, errorsMs] = ['content', 'metadata', 'errors'].map((key) =>
    readTimeSpan(desk, ['retention', key], retention[key]),
  )
  const timezone = readTimezone(desk, value['timezone'])
  const tests = ((value['tests'] ?? []) as readonly Values[]).map((test, index) =>
    readTest(desk, ['tests', index], test, kind, filter, surroundings),
  )
  if (desk.problems.some((problem, index) => index >= before && problem.severity === 'error'))
    return undefined
  return {
    name: value['channel'] as string,
    ...text(value, 'title'),
    ...text(value, 'owner'),
    enabled: value['enabled'] !== false,
    source: source!,
    timezone,
    ...(order !== undefined && { order }),
    ...(dedupe !== undefined && { dedupe }),
    filter,
    mapping: mapping!,
    ...(hold !== undefined && { hold }),
    on: { mappingError: 'quarantine', lookupMiss: 'quarantine' },
    alerts,
    retention: { contentMs: contentMs!, metadataMs: metadataMs!, errorsMs: errorsMs! },
    tests: tests.filter((test) => test !== undefined),
  }
}

function text<Key extends string>(value: Values, key: Key): { [K in Key]?: string } {
  return (typeof value[key] === 'string' ? { [key]: value[key] } : {}) as { [K in Key]?: string }
}

function readSource(desk: Desk, source: Values, surroundings: Surroundings): Source | undefined {
  switch (source['type']) {
    case 'mllp':
      return readMllp(desk, source, surroundings)
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
        ...text(source, 'topic'),
        ...text(source, 'fallbackCriteria'),
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
    default:
      return undefined
  }
}

function readMllp(desk: Desk, source: Values, surroundings: Surroundings): Source {
  const listen = source['listen'] as { host: string; port: number }
  const tls = source['tls'] as Values | undefined
  const encoding = source['encoding'] as string | undefined
  if (encoding !== undefined && !isKnownCharset(encoding))
    report(
      desk,
      ['source', 'encoding'],
      'encoding',
      `"${encoding}" is not a character set of HL7 table 0211`,
      `such as UNICODE UTF-8, 8859/1, ASCII, ISO IR87${didYouMean(encoding, ['utf-8', 'UNICODE UTF-8', '8859/1', '8859/15', 'ASCII'])}`,
    )
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
    ack: {
      mode: 'auto',
      after: 'stored',
      onStoreError: 'retryable',
      onInvalid: 'final',
      ...(source['ack'] as Partial<AckPlan>),
    },
  }
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

function readFilter(desk: Desk, filter: Values, kind: PathKind): readonly FilterRule[] {
  const rules: FilterRule[] = []
  for (const [index, each] of (filter['all'] as readonly Values[]).entries()) {
    const place: Place = ['filter', 'all', index]
    const condition = readCondition(desk, place, each, kind)
    const when =
      each['when'] === undefined ? undefined : readCondition(desk, [...place, 'when'], each['when'], kind)
    if (condition === undefined || (each['when'] !== undefined && when === undefined)) continue
    rules.push({
      condition,
      ...(when !== undefined && { when }),
      ...(each['else'] !== undefined && { because: each['else'] as string }),
      otherwise: each['decision'] === 'quarantined' ? 'quarantined' : 'filtered',
      at: `${desk.yaml.file}:${desk.yaml.line(place)}`,
    })
  }
  return rules
}

function readMap(
  desk: Desk,
  name: string,
  input: MappingPlan['input'],
  { mapping, mappings }: Surroundings,
): MappingPlan | undefined {
  const found = mapping(name)
  if (found === undefined)
    return report(
      desk,
      ['map'],
      'mapping-unknown',
      `mapping "${name}" does not exist`,
      mappings.length === 0
        ? `add mappings/${name}.yaml`
        : `mappings/ has: ${mappings.join(', ')}${didYouMean(name, mappings)}`,
    )
  if (found === 'broken')
    return report(
      desk,
      ['map'],
      'mapping-broken',
      `mapping "${name}" has errors of its own`,
      'correct the mapping first',
    )
  if (found.input !== input)
    return report(
      desk,
      ['map'],
      'mapping-input',
      `mapping "${name}" reads ${found.input}, the source gives ${input}`,
      `use a mapping with input: ${input}`,
    )
  return found
}

function keyOf(desk: Desk, place: Place, holder: unknown, kind: PathKind): readonly ValuePath[] {
  return readPaths(desk, place, (holder as Values)['key'], kind)
}

function readDedupe(desk: Desk, value: Values, kind: PathKind): Dedupe {
  return {
    key: keyOf(desk, ['dedupe', 'key'], value, kind),
    windowMs: readTimeSpan(desk, ['dedupe', 'window'], value['window']) ?? 0,
    onSame: (value['onSame'] ?? (kind === 'hl7v2' ? 'replay-ack' : 'drop')) as Dedupe['onSame'],
    onDifferent: (value['onDifferent'] ?? 'process') as Dedupe['onDifferent'],
  }
}

function readHold(desk: Desk, value: Values): Hold {
  return {
    forMs: readTimeSpan(desk, ['hold', 'for'], value['for']) ?? 0,
    ...(value['cancelWhen'] === 'cancels' && { cancelWhen: 'cancels' }),
    ...(value['merge'] === 'patient' && { merge: 'patient' }),
  }
}

function readAlert(desk: Desk, place: Place, value: Values): Alert {
  const span = (key: string): number | undefined =>
    value[key] === undefined ? undefined : readTimeSpan(desk, [...place, key], value[key])
  const [forMs, withinMs] = [span('for'), span('within')]
  return {
    when: value['when'] as Alert['when'],
    notify: value['notify'] as string,
    ...(forMs !== undefined && { forMs }),
    ...(withinMs !== undefined && { withinMs }),
    ...(value['over'] !== undefined && { over: value['over'] as number }),
    ...(value['between'] !== undefined && { between: value['between'] as string }),
  }
}

function readTimezone(desk: Desk, value: unknown): string {
  const name = (value as string | undefined) ?? Intl.DateTimeFormat().resolvedOptions().timeZone
  if (isTimeZone(name)) return name
  report(
    desk,
    ['timezone'],
    'timezone',
    `"${name}" is not a time zone of the IANA database`,
    `such as America/New_York${didYouMean(name, Intl.supportedValuesOf('timeZone'))}`,
  )
  return 'UTC'
}

/** The moment of a test whose outcome does not depend on it. */
const anyMoment = new Date('2026-01-01T00:00:00Z')

function readTest(
  desk: Desk,
  place: Place,
  value: Values,
  kind: PathKind,
  filter: readonly FilterRule[],
  surroundings: Surroundings,
): ChannelTest | undefined {
  const now = readNow(desk, place, value['now'], filter)
  const input =
    kind === 'hl7v2' ? readSample(desk, place, value, surroundings) : readResource(desk, place, value)
  if (now === undefined || input === undefined) return undefined
  return {
    name: value['name'] as string,
    now,
    input,
    expect: value['expect'] as ChannelTest['expect'],
    at: `${desk.yaml.file}:${desk.yaml.line(place)}`,
  }
}

function readNow(desk: Desk, place: Place, value: unknown, filter: readonly FilterRule[]): Date | undefined {
  if (value === undefined) {
    if (!filter.some((rule) => dependsOnTime(rule.condition))) return anyMoment
    return report(
      desk,
      place,
      'test',
      'the filter asks for the age of a message, and the test has no now:',
      'add now: 2026-03-02T12:00:00-05:00',
    )
  }
  const isMoment = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/.test(String(value))
  const now = new Date(String(value))
  if (isMoment && !Number.isNaN(now.getTime())) return now
  return report(
    desk,
    [...place, 'now'],
    'test',
    'now: is not a moment with a time zone',
    'write it as 2026-03-02T12:00:00-05:00',
  )
}

function readResource(desk: Desk, place: Place, value: Values): Values | undefined {
  const { input } = value
  for (const key of ['sample', 'set'])
    if (value[key] !== undefined)
      return report(
        desk,
        [...place, key],
        'test',
        `${key}: is for HL7v2 messages`,
        'write the resource under input:',
        'key',
      )
  if (isRecord(input) && typeof input['resourceType'] === 'string') return input
  return report(desk, place, 'test', 'the test has no FHIR resource', 'add input: with a resourceType')
}

function readSample(desk: Desk, place: Place, value: Values, { sample }: Surroundings): Buffer | undefined {
  if (value['input'] !== undefined)
    return report(
      desk,
      [...place, 'input'],
      'test',
      'input: is for FHIR resources',
      'write sample: and set:',
      'key',
    )
  if (value['sample'] === undefined)
    return report(desk, place, 'test', 'the test has no message', 'add sample: samples/NAME.hl7')
  const found = sample(value['sample'] as string)
  if (typeof found === 'string')
    return report(desk, [...place, 'sample'], 'sample-unknown', found, 'samples lie in channels/samples/')
  let bytes = found
  for (const [path, wanted] of Object.entries((value['set'] ?? {}) as Values)) {
    const at = [...place, 'set', path]
    const reading = parsePath(path)
    if (!reading.valid) return report(desk, at, 'path', reading.because, undefined, 'key')
    try {
      bytes = setField(bytes, path, String(wanted))
    } catch (error) {
      return report(
        desk,
        at,
        'test',
        `it cannot be set: ${error instanceof Error ? error.message : 'unknown'}`,
        undefined,
        'key',
      )
    }
  }
  return bytes
}
