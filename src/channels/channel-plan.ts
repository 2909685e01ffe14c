import { inputOf } from '../domain/channel.ts'
import type {
  Alert,
  ChannelPlan,
  ChannelTest,
  Dedupe,
  FilterRule,
  Hold,
  InputKind,
  MappingPlan,
  ValuePath,
  Source,
} from '../domain/channel.ts'
import { isTimeZone } from '../lib/hl7v2-time.ts'
import { readTest } from './channel-test.ts'
import { readCondition, readPaths, readTimeSpan, report, warn } from './condition-plan.ts'
import type { Desk, PathKind } from './condition-plan.ts'
import { didYouMean } from './problem.ts'
import { readSource } from './source-plan.ts'
import { textAt } from './surroundings.ts'
import type { Surroundings, Values } from './surroundings.ts'
import type { Place } from './yaml-file.ts'

/** A channel file of the right shape, as a plan but for its revision; findings go to the desk. */
export function readChannel(
  desk: Desk,
  value: Values,
  surroundings: Surroundings,
): Omit<ChannelPlan, 'revision'> | undefined {
  const before = desk.problems.length
  // A channel that is off may name a server and secrets that are not there yet.
  const source = readSource(
    desk,
    value['source'] as Values,
    value['enabled'] === false
      ? { ...surroundings, fhirServers: undefined, hasSecret: undefined }
      : surroundings,
  )
  const { type, format } = value['source'] as Values
  const input = inputOf({ type, format } as Pick<Source, 'type'>)
  const kind: PathKind = input === 'fhir' ? 'fhirpath' : input
  const filter = readFilter(desk, value['filter'] as Values, kind)
  const mapping = readMap(desk, value['map'] as string, input, surroundings)
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
  warnOfNoEffect(desk, value, input)
  const tests = ((value['tests'] ?? []) as readonly Values[]).map((test, index) =>
    readTest(desk, ['tests', index], test, kind, filter, surroundings),
  )
  if (tests.reduce((sum, test) => sum + bytesOf(test), 0) > testBytesMax)
    report(
      desk,
      ['tests'],
      'test',
      `the samples of all tests have more than ${testBytesMax / 1024 / 1024} MB together`,
      'use a smaller sample, or fewer tests',
      'key',
    )
  if (desk.problems.some((problem, index) => index >= before && problem.severity === 'error'))
    return undefined
  return {
    name: value['channel'] as string,
    ...textAt(value, 'title'),
    ...textAt(value, 'owner'),
    enabled: value['enabled'] !== false,
    source: source!,
    timezone,
    ...(order !== undefined && { order }),
    ...(dedupe !== undefined && { dedupe }),
    filter,
    mapping: mapping!,
    ...(hold !== undefined && { hold }),
    ...textAt(value, 'visits'),
    ...(value['attach'] !== undefined && { attach: value['attach'] as 'summary' | 'additional' }),
    ...(value['identity'] === 'follow' && { identity: 'follow' }),
    on: { mappingError: 'quarantine', lookupMiss: 'quarantine' },
    alerts,
    retention: { contentMs: contentMs!, metadataMs: metadataMs!, errorsMs: errorsMs! },
    tests: tests.filter((test) => test !== undefined),
  }
}

/** They are all held in memory, each with its changes. */
const testBytesMax = 32 * 1024 * 1024

function bytesOf(test: ChannelTest | undefined): number {
  return test?.input instanceof Uint8Array ? test.input.length : 0
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

/** A key that says something and does nothing must not pass in silence. */
function warnOfNoEffect(desk: Desk, value: Values, input: InputKind): void {
  if (value['attach'] !== undefined && input === 'x12')
    warn(desk, ['attach'], 'not-in-effect', 'a remittance brings no document along', 'remove attach:')
  if (value['identity'] !== undefined && input !== 'hl7v2')
    warn(
      desk,
      ['identity'],
      'not-in-effect',
      'merges and moves of records are told in HL7v2 alone',
      'remove identity:',
    )
  if (value['alerts'] !== undefined)
    warn(
      desk,
      ['alerts'],
      'not-in-effect',
      'alerts are not raised by this version',
      'remove alerts:, and watch /metrics (bluepost_messages_received_total, bluepost_messages_decided_total)',
    )
  const dedupe = value['dedupe'] as Values | undefined
  const key = (dedupe?.['key'] ?? []) as readonly unknown[]
  const isUsual =
    key.every((path) => /^MSH-(3|4|10)(\.1)?$/.test(String(path))) &&
    dedupe?.['onSame'] !== 'drop' &&
    dedupe?.['onDifferent'] !== 'quarantine'
  if (dedupe !== undefined && !isUsual && (value['source'] as Values)['type'] === 'mllp')
    warn(
      desk,
      ['dedupe'],
      'not-in-effect',
      'repeats are recognised by sender (MSH-3, MSH-4), control id (MSH-10) and bytes, and not otherwise',
      'write dedupe: { key: [MSH-3, MSH-4, MSH-10], window: 7d, onSame: replay-ack, onDifferent: process }, or leave it out',
    )
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
