import type { ChannelTest, FilterRule } from '../domain/channel.ts'
import { setField } from '../lib/hl7v2-edit.ts'
import { parsePath } from '../lib/hl7v2-path.ts'
import { setX12 } from '../lib/x12-message.ts'
import { dependsOnTime, hintForPath, report } from './condition-plan.ts'
import type { Desk, PathKind } from './condition-plan.ts'
import { setElement } from './set-element.ts'
import type { Surroundings, Values } from './surroundings.ts'
import { isRecord } from './yaml-file.ts'
import type { Place } from './yaml-file.ts'

/** The moment of a test whose outcome does not depend on it. */
const anyMoment = new Date('2026-01-01T00:00:00Z')

/** A test of a channel file, with its sample read and changed; undefined, with findings, where it cannot be run. */
export function readTest(
  desk: Desk,
  place: Place,
  value: Values,
  kind: PathKind,
  filter: readonly FilterRule[],
  surroundings: Surroundings,
): ChannelTest | undefined {
  const now = readNow(desk, place, value['now'], filter)
  const input =
    kind !== 'fhirpath'
      ? readSample(desk, place, value, surroundings, kind)
      : readResource(desk, place, value, surroundings)
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

/** The resource of a test: written under `input:`, or a sample in JSON; with its elements set. */
function readResource(desk: Desk, place: Place, value: Values, { sample }: Surroundings): Values | undefined {
  let resource: unknown = value['input']
  if (value['sample'] !== undefined) {
    const at = [...place, 'sample']
    if (resource !== undefined)
      return report(desk, at, 'test', 'the test has a sample and an input', 'keep one of them', 'key')
    const found = sample(value['sample'] as string)
    if (typeof found === 'string')
      return report(desk, at, 'sample-unknown', found, 'samples lie in channels/samples/')
    resource = parsed(found)
    if (!isRecord(resource) || typeof resource['resourceType'] !== 'string')
      return report(
        desk,
        at,
        'test',
        'the sample is no FHIR resource in JSON',
        'a FHIR channel takes samples such as samples/encounter.json',
      )
  }
  if (!isRecord(resource) || typeof resource['resourceType'] !== 'string')
    return report(
      desk,
      place,
      'test',
      'the test has no FHIR resource',
      'add input: with a resourceType, or sample: samples/NAME.json',
    )
  let changed: Values = resource
  for (const [path, wanted] of Object.entries((value['set'] ?? {}) as Values))
    try {
      changed = setElement(changed, path, wanted)
    } catch (error) {
      return report(
        desk,
        [...place, 'set', path],
        'test',
        `it cannot be set: ${error instanceof Error ? error.message : 'unknown'}`,
        'write it as type.coding[0].code, from the element below the resource',
        'key',
      )
    }
  return changed
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

function readSample(
  desk: Desk,
  place: Place,
  value: Values,
  { sample }: Surroundings,
  kind: PathKind,
): Buffer | undefined {
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
    return report(
      desk,
      place,
      'test',
      'the test has no message',
      kind === 'x12' ? 'add sample: samples/NAME.835' : 'add sample: samples/NAME.hl7',
    )
  const found = sample(value['sample'] as string)
  if (typeof found === 'string')
    return report(desk, [...place, 'sample'], 'sample-unknown', found, 'samples lie in channels/samples/')
  let bytes = found
  for (const [path, wanted] of Object.entries((value['set'] ?? {}) as Values)) {
    const at = [...place, 'set', path]
    if (kind === 'hl7v2') {
      const reading = parsePath(path)
      if (!reading.valid) return report(desk, at, 'path', reading.because, hintForPath(path), 'key')
    }
    try {
      bytes = (kind === 'x12' ? setX12 : setField)(bytes, path, String(wanted))
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
