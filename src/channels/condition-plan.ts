import type { Condition, Test, ValuePath } from '../domain/channel.ts'
import { parsePath, parseRelativePath } from '../lib/hl7v2-path.ts'
import { parseX12Part, parseX12Path, parseX12Segment } from '../lib/x12-path.ts'
import { readDurationMs } from '../lib/duration.ts'
import { checkFhirpath, fhirpathFunctions } from '../mapping/fhirpath.ts'
import { resourceTypes } from '../mapping/resource-types.ts'
import { readPattern } from './pattern.ts'
import { didYouMean } from './problem.ts'
import type { Problem, ProblemCode } from './problem.ts'
import type { Place, YamlFile } from './yaml-file.ts'

/** What the paths of a file mean: places in a message, places in a repetition, or FHIRPath. */
export type PathKind = ValuePath['type']

/** One file while it is read: where findings go. */
export interface Desk {
  readonly yaml: YamlFile
  readonly problems: Problem[]
}

export function report(
  desk: Desk,
  place: Place,
  code: ProblemCode,
  what: string,
  remedy?: string,
  at?: 'key' | 'value',
): undefined {
  desk.problems.push(desk.yaml.problem(place, code, what, remedy, at))
}

/** A finding that does not keep the channel from running. */
export function warn(desk: Desk, place: Place, code: ProblemCode, what: string, remedy: string): void {
  desk.problems.push({ ...desk.yaml.problem(place, code, what, remedy, 'key'), severity: 'warning' })
}

export function readPath(desk: Desk, place: Place, value: unknown, kind: PathKind): ValuePath | undefined {
  const text = String(value)
  if (kind === 'fhirpath') {
    const reading = checkFhirpath(text)
    if (reading.valid) return { type: 'fhirpath', text }
    if (reading.unknownType !== undefined)
      return report(
        desk,
        place,
        'fhirpath',
        reading.because,
        `an expression begins with the type of the resource, such as Encounter.period.end${didYouMean(reading.unknownType, resourceTypes)}`,
      )
    if (reading.unknownFunction === undefined)
      return report(
        desk,
        place,
        'fhirpath',
        reading.because,
        'write an expression such as Encounter.period.end',
      )
    return report(
      desk,
      place,
      'fhirpath-function',
      reading.because,
      `allowed: ${fhirpathFunctions.join(', ')}${didYouMean(reading.unknownFunction, fhirpathFunctions)}`,
    )
  }
  if (kind === 'x12') {
    const reading = parseX12Path(text)
    return reading.valid
      ? { type: 'x12', text, path: reading.path }
      : report(desk, place, 'path', reading.because, hintForX12(text))
  }
  if (kind === 'x12-segment') {
    const reading = parseX12Segment(text)
    return reading.valid
      ? { type: 'x12-segment', text, path: reading.path }
      : report(desk, place, 'path', reading.because, 'each: takes whole segments: "NM1[QC]"')
  }
  if (kind === 'x12-part') {
    const reading = parseX12Part(text)
    if (reading.valid) return { type: 'x12-part', text, path: reading.path }
    // Who issued a member number stands in another segment than the number.
    const elsewhere = parseX12Path(text)
    return elsewhere.valid
      ? { type: 'x12', text, path: elsewhere.path }
      : report(
          desk,
          place,
          'path',
          reading.because,
          'inside each:, paths begin at the element: "9" for the ninth',
        )
  }
  if (kind === 'hl7v2') {
    const reading = parsePath(text)
    return reading.valid
      ? { type: 'hl7v2', text, path: reading.path }
      : report(desk, place, 'path', reading.because, hintForPath(text))
  }
  const reading = parseRelativePath(text)
  return reading.valid
    ? { type: 'repetition', text, path: reading.path }
    : report(
        desk,
        place,
        'path',
        reading.because,
        'inside each:, paths begin at the component: "5" for the fifth',
      )
}

/** Elements are often written with two digits, as the implementation guides do: CLP02. */
function hintForX12(text: string): string | undefined {
  const repaired = text
    .toUpperCase()
    .replace(
      /^([A-Z][A-Z0-9]{1,2}?(?:\[[A-Z0-9]{1,3}\])?)[-. _]?0?([1-9][0-9]?)(?:-0?([1-9][0-9]?))?$/,
      '$1-$2.$3',
    )
    .replace(/\.$/, '')
  return repaired !== text && parseX12Path(repaired).valid ? `did you mean "${repaired}"?` : undefined
}

/** A path that was probably meant. */
export function hintForPath(text: string): string | undefined {
  const repaired = text
    .toUpperCase()
    .replace(/^([A-Z][A-Z0-9]{2})[.:_ ]?-?([0-9])/, '$1-$2')
    .replace(/(-[0-9]+)-/, '$1.')
  return repaired !== text && parsePath(repaired).valid ? `did you mean "${repaired}"?` : undefined
}

export function readPaths(desk: Desk, place: Place, value: unknown, kind: PathKind): readonly ValuePath[] {
  return (value as readonly unknown[])
    .map((each, index) => readPath(desk, [...place, index], each, kind))
    .filter((path) => path !== undefined)
}

const subjects = ['field', 'first', 'some', 'none', 'fhirpath', 'all', 'any'] as const
const tests = [
  'is',
  'in',
  'not',
  'notIn',
  'present',
  'matches',
  'newerThan',
  'sameAs',
  'differsFrom',
] as const

/** A condition that has the right shape; undefined, with findings, where its parts make no question. */
export function readCondition(
  desk: Desk,
  place: Place,
  value: unknown,
  kind: PathKind,
): Condition | undefined {
  const parts = value as Readonly<Record<string, unknown>>
  const [subject, ...otherSubjects] = subjects.filter((key) => parts[key] !== undefined)
  const [test, ...otherTests] = tests.filter((key) => parts[key] !== undefined)
  const subjectsHere =
    kind === 'fhirpath' ? 'fhirpath, first, some, none, all, any' : 'field, first, some, none, all, any'
  if (subject === undefined || otherSubjects.length > 0)
    return report(
      desk,
      place,
      'condition',
      'a condition looks at exactly one thing',
      `write one of ${subjectsHere}`,
    )
  if (subject === 'all' || subject === 'any') {
    if (test !== undefined)
      return report(
        desk,
        [...place, test],
        'condition',
        `"${test}" does not belong beside ${subject}:`,
        'move it into the list',
        'key',
      )
    const list = (parts[subject] as readonly unknown[]).map((each, index) =>
      readCondition(desk, [...place, subject, index], each, kind),
    )
    if (list.some((each) => each === undefined)) return undefined
    const conditions = list as readonly Condition[]
    return subject === 'all' ? { all: conditions } : { any: conditions }
  }
  const isAnywhere = subject === 'first' || subject === 'some' || subject === 'none'
  if ((subject === 'field') === (kind === 'fhirpath') && !isAnywhere)
    return report(
      desk,
      [...place, subject],
      'condition',
      kind === 'fhirpath' ? 'field: is for HL7v2 and X12 messages' : 'fhirpath: is for FHIR resources',
      `write one of ${subjectsHere}`,
      'key',
    )
  if (otherTests.length > 0)
    return report(
      desk,
      place,
      'condition',
      'a condition asks exactly one question',
      `keep one of ${[test, ...otherTests].join(', ')}`,
    )
  const paths =
    subject === 'first'
      ? readPaths(desk, [...place, 'first'], parts['first'], kind)
      : [readPath(desk, [...place, subject], parts[subject], kind)].filter((path) => path !== undefined)
  if (test === undefined) {
    if (subject !== 'fhirpath')
      return report(
        desk,
        place,
        'condition',
        'the condition asks no question',
        `add one of ${tests.join(', ')}`,
      )
    return paths[0] && { holds: paths[0] }
  }
  const question = readTest(desk, [...place, test], test, parts[test], kind)
  if (question === undefined || paths.length === 0) return undefined
  if (subject !== 'some' && subject !== 'none') return { paths, test: question }
  if (test === 'present')
    return report(
      desk,
      [...place, test],
      'condition',
      `"${subject}" looks at values, and what is not there is none`,
      `write { field: ${paths[0]!.text}, present: ${subject === 'some' ? 'true' : 'false'} }`,
      'key',
    )
  return { of: subject, path: paths[0]!, test: question }
}

function readTest(
  desk: Desk,
  place: Place,
  test: (typeof tests)[number],
  value: unknown,
  kind: PathKind,
): Test | undefined {
  switch (test) {
    case 'is':
      return { type: 'in', values: new Set([String(value)]) }
    case 'in':
      return { type: 'in', values: new Set((value as readonly unknown[]).map(String)) }
    case 'not':
      return { type: 'not-in', values: new Set([String(value)]) }
    case 'notIn':
      return { type: 'not-in', values: new Set((value as readonly unknown[]).map(String)) }
    case 'present':
      return { type: 'present', present: value === true }
    case 'matches': {
      const reading = readPattern(String(value))
      if (!reading.valid) return report(desk, place, 'pattern', reading.because, reading.remedy)
      return { type: 'matches', pattern: reading.pattern }
    }
    case 'newerThan': {
      const ageMsMax = readTimeSpan(desk, place, value)
      return ageMsMax === undefined ? undefined : { type: 'newer-than', ageMsMax }
    }
    case 'sameAs':
    case 'differsFrom': {
      const path = readPath(desk, place, value, kind)
      return path && { type: test === 'sameAs' ? 'same-as' : 'differs-from', path }
    }
  }
}

export function readTimeSpan(desk: Desk, place: Place, value: unknown): number | undefined {
  const ms = typeof value === 'string' ? readDurationMs(value) : undefined
  if (ms !== undefined) return ms
  return report(
    desk,
    place,
    'duration',
    `"${String(place.at(-1))}" is not a time span, or longer than ten years`,
    'write a number with a unit: 30s, 10m, 6h, 3d, 2w',
  )
}

/** True where the condition depends on the moment it is asked. */
export function dependsOnTime(condition: Condition): boolean {
  if ('holds' in condition) return false
  if ('all' in condition) return condition.all.some(dependsOnTime)
  if ('any' in condition) return condition.any.some(dependsOnTime)
  return condition.test.type === 'newer-than'
}
