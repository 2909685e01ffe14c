import type { ChannelPlan, ValuePath } from '../domain/channel.ts'
import { objects, readFhirPatient, type FhirPatient } from '../domain/fhir-patient.ts'
import { readHl7 } from '../lib/hl7v2.ts'
import type { Hl7Message } from '../lib/hl7v2.ts'
import type { Hl7Repetition } from '../lib/hl7v2-segment.ts'
import { Hl7Unreadable } from '../lib/hl7v2-unreadable.ts'
import { readDate, readTimestamp, zoneOf } from '../lib/hl7v2-time.ts'
import type { DateReading, TimestampReading, Zone } from '../lib/hl7v2-time.ts'
import { readX12, type X12Message } from '../lib/x12-message.ts'
import { X12Unreadable, type X12Segment } from '../lib/x12.ts'
import { askFhirpath } from './fhirpath.ts'
import { noteValue, type Seen } from './trace.ts'

export type FhirResource = Readonly<Record<string, unknown>>

/** What was received, opened for reading: a whole message or resource, or one repetition of it. */
export type Input =
  | {
      readonly type: 'hl7v2'
      /** Where what is looked at is written down; only where somebody looks on. */
      readonly seen?: Seen[]
      /** Where lookups without a row are written down; only where somebody counts them. */
      readonly misses?: LookupMiss[]
      readonly message: Hl7Message
      readonly zone: Zone
      readonly part?: Hl7Repetition
    }
  | {
      readonly type: 'x12'
      readonly seen?: Seen[]
      readonly misses?: LookupMiss[]
      readonly message: X12Message
      readonly zone: Zone
      readonly part?: X12Segment
    }
  | {
      readonly type: 'fhir'
      readonly seen?: Seen[]
      readonly misses?: LookupMiss[]
      readonly resource: unknown
      readonly zone: Zone
      /** The Patient that was fetched along with the resource. */
      readonly patient?: FhirPatient
    }

/** Why a message waits for a person. `because` carries no PHI. */
export interface Quarantined {
  readonly code: QuarantineCode
  readonly because: string
  /** Where: a path, a target, a row of a table. Part of what makes two messages wait for the same reason; no PHI. */
  readonly where?: string
}

/** A table was asked for a value that it has no row for. */
export interface LookupMiss {
  readonly table: string
  /** Undefined where the value may not be shown. */
  readonly value: string | undefined
}

export type QuarantineCode =
  | Hl7Unreadable['code']
  | 'fhir-unreadable'
  | 'x12-unreadable'
  | 'needs-a-person'
  | 'lookup-miss'
  | 'required-missing'
  | 'datetime-unreadable'
  | 'date-unreadable'
  | 'age-unknown'
  | 'fhirpath-failed'
  | 'value-refused'
  | 'mapping-failed'

export function isQuarantined(value: unknown): value is Quarantined {
  return typeof value === 'object' && value !== null && 'code' in value && 'because' in value
}

/** Opens what came over a channel, as the channel’s mapping expects it. */
export function openInput(plan: ChannelPlan, received: Uint8Array | FhirResource): Input | Quarantined {
  if (plan.mapping.input === 'hl7v2') {
    if (!(received instanceof Uint8Array))
      return { code: 'hl7-no-msh', because: 'the channel expects an HL7v2 message, not a FHIR resource' }
    return openHl7(plan, asBuffer(received))
  }
  if (plan.mapping.input === 'x12') {
    if (!(received instanceof Uint8Array))
      return {
        code: 'x12-unreadable',
        because: 'the channel expects an X12 transaction, not a FHIR resource',
      }
    return openX12(plan, asBuffer(received))
  }
  const resource = received instanceof Uint8Array ? parseJson(asBuffer(received)) : received
  if (
    typeof resource !== 'object' ||
    resource === null ||
    Array.isArray(resource) ||
    !('resourceType' in resource)
  )
    return { code: 'fhir-unreadable', because: 'it is not a FHIR resource in JSON' }
  return openFhir(resource, plan.timezone)
}

/**
 * A resource, or what a feed keeps: a collection of the resource and of the Patient it is about, both as the server of the
 * settings gave them.
 */
function openFhir(resource: FhirResource, zone: Zone): Input {
  const entries =
    resource['resourceType'] === 'Bundle' && resource['type'] === 'collection' ? resource['entry'] : []
  const [focus, about] = objects(entries).map(({ resource }) => resource as FhirResource | undefined)
  if (focus === undefined) return { type: 'fhir', resource, zone }
  const patient = about === undefined ? undefined : readFhirPatient(about)
  return { type: 'fhir', resource: focus, zone, ...(patient !== undefined && { patient }) }
}

function openHl7(plan: ChannelPlan, bytes: Buffer): Input | Quarantined {
  const encoding = 'encoding' in plan.source ? plan.source.encoding : undefined
  try {
    const message = readHl7(bytes, encoding === undefined ? {} : { charset: encoding })
    return { type: 'hl7v2', message, zone: zoneOf(message.first('MSH-7')) ?? plan.timezone }
  } catch (error) {
    if (error instanceof Hl7Unreadable) return { code: error.code, because: error.because }
    throw error
  }
}

function openX12(plan: ChannelPlan, bytes: Buffer): Input | Quarantined {
  try {
    return { type: 'x12', message: readX12(bytes), zone: plan.timezone }
  } catch (error) {
    if (error instanceof X12Unreadable) return { code: 'x12-unreadable', because: error.because }
    throw error
  }
}

/** The value at a path, trimmed; undefined where there is none. @throws Error where a FHIRPath expression fails */
export function valueAt(input: Input, path: ValuePath): string | undefined {
  const value = readAt(input, path)
  if (input.seen !== undefined) noteValue(input.seen, path, value)
  return value
}

function readAt(input: Input, path: ValuePath): string | undefined {
  const value = rawAt(input, path)
  if (value === undefined) return undefined
  const trimmed = value.trim()
  return trimmed === '' ? undefined : trimmed
}

function rawAt(input: Input, path: ValuePath): string | undefined {
  switch (input.type) {
    case 'hl7v2':
      return hl7ValueAt(input, path)
    case 'fhir':
      return fhirValueAt(input.resource, path)
    case 'x12':
      if (path.type === 'x12') return input.message.first(path.path)
      return path.type === 'x12-part' && input.part !== undefined
        ? input.message.valueIn(input.part, path.path)
        : undefined
  }
}

function hl7ValueAt(input: Input & { type: 'hl7v2' }, path: ValuePath): string | undefined {
  if (path.type === 'hl7v2') return input.message.first(path.path)
  return path.type === 'repetition' ? input.part?.value(path.path) : undefined
}

function fhirValueAt(resource: unknown, path: ValuePath): string | undefined {
  if (path.type !== 'fhirpath') return undefined
  for (const value of askFhirpath(path.text, resource)) {
    if (typeof value === 'string') return value
    if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  }
  return undefined
}

/** Every value that a path may mean: of all segments of that name, all repetitions of the field. */
export function valuesAt(input: Input, path: ValuePath): Iterable<string> {
  const values = readAllAt(input, path)
  return input.seen === undefined ? values : noted(input.seen, path, values)
}

function* noted(seen: Seen[], path: ValuePath, values: Iterable<string>): Generator<string> {
  let isNone = true
  for (const value of values) {
    noteValue(seen, path, value)
    isNone = false
    yield value
  }
  if (isNone) noteValue(seen, path, undefined)
}

function* readAllAt(input: Input, path: ValuePath): Generator<string> {
  if (input.type === 'fhir') {
    if (path.type !== 'fhirpath') return
    for (const value of askFhirpath(path.text, input.resource))
      if (typeof value === 'string' && value.trim() !== '') yield value.trim()
    return
  }
  if (input.type === 'x12' && path.type === 'x12') {
    yield* input.message.all(path.path)
    return
  }
  if (path.type !== 'hl7v2' || input.type !== 'hl7v2') {
    const value = readAt(input, path)
    if (value !== undefined) yield value
    return
  }
  const { segment, occurrence, field, repetition, component = 1, subcomponent = 1 } = path.path
  const named = input.message.segments(segment)
  for (const one of occurrence === undefined ? named : named.slice(occurrence - 1, occurrence)) {
    const parts = one.repetitions(field)
    for (const part of repetition === undefined ? parts : parts.slice(repetition - 1, repetition)) {
      const value = part.value({ component, subcomponent })?.trim()
      if (value !== undefined && value !== '') yield value
    }
  }
}

/** Whether a FHIRPath condition holds. @throws Error where the expression fails or answers with something else */
export function holds(input: Input, path: ValuePath): boolean {
  if (input.type !== 'fhir' || path.type !== 'fhirpath') return false
  const answers = askFhirpath(path.text, input.resource)
  if (input.seen !== undefined)
    noteValue(input.seen, path, answers.length === 0 ? undefined : String(answers[0]))
  if (answers.length === 0) return false
  if (answers.length === 1 && typeof answers[0] === 'boolean') return answers[0]
  throw new TypeError('the expression is not a yes-or-no question')
}

/** The repetitions of a field, or the elements that an expression finds, each opened for reading. */
export function partsAt(input: Input, path: ValuePath): readonly Input[] {
  if (input.type === 'hl7v2')
    return path.type === 'hl7v2'
      ? input.message.repetitions(path.path).map((part) => ({ ...input, part }))
      : []
  if (input.type === 'x12')
    return path.type === 'x12-segment'
      ? input.message.segments(path.path).map((part) => ({ ...input, part }))
      : []
  return path.type === 'fhirpath'
    ? askFhirpath(path.text, input.resource).map((resource) => ({ ...input, resource }))
    : []
}

/**
 * The assigning authority at a path, as one text: `urn:oid:…` or `urn:uuid:…` where a universal id of that type is
 * given, else the namespace (HD: namespace & universal id & type, HL7 v2.5.1 ch. 2A.36).
 */
export function assignerAt(input: Input, path: ValuePath): string | undefined {
  if (path.type !== 'hl7v2' && path.type !== 'repetition') return valueAt(input, path)
  const [namespace, id, type] = [1, 2, 3].map((subcomponent) =>
    readAt(input, subcomponentOf(path, subcomponent)),
  )
  if (input.seen !== undefined) noteValue(input.seen, path, assignerText([namespace, id, type]))
  if (id !== undefined) {
    const kind = type?.toUpperCase()
    if (kind === 'ISO' && /^[0-2](\.(0|[1-9][0-9]*))+$/.test(id)) return `urn:oid:${id}`
    if ((kind === 'UUID' || kind === 'GUID') && /^[0-9a-f-]{36}$/i.test(id))
      return `urn:uuid:${id.toLowerCase()}`
    if (kind === 'URI' || kind === 'URL') return id
  }
  return namespace ?? id
}

/** As it stands in a message, with the usual separator. */
function assignerText(parts: readonly (string | undefined)[]): string | undefined {
  const text = parts.map((part) => part ?? '').join('&')
  return text === '&&' ? undefined : text.replace(/&+$/, '')
}

function subcomponentOf(path: ValuePath & { type: 'hl7v2' | 'repetition' }, subcomponent: number): ValuePath {
  return path.type === 'hl7v2'
    ? { ...path, path: { ...path.path, component: path.path.component ?? 1, subcomponent } }
    : { ...path, path: { ...path.path, subcomponent } }
}

export function timeFrom(input: Input, text: string): TimestampReading {
  if (input.type === 'hl7v2') return readTimestamp(text, input.zone)
  // CCYYMMDD, with HHMM, HHMMSS or HHMMSSDD behind it (X12 data elements 373 and 337).
  if (input.type === 'x12') return readTimestamp(text.replace(/^(\d{14})(\d{1,2})$/, '$1.$2'), input.zone)
  // FHIR dateTime: the same digits with punctuation (R4 §2.24.0.1).
  if (!/^\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?)?)?$/.test(text))
    return { valid: false, because: 'it is not a FHIR dateTime' }
  const time = text.slice(10).replace('T', '').replaceAll(':', '').replace('Z', '+0000')
  const compact = text.slice(0, 10).replaceAll('-', '') + time
  return readTimestamp(compact, input.zone)
}

export function dateFrom(input: Input, text: string): DateReading {
  if (input.type !== 'fhir') return readDate(text)
  return /^\d{4}(-\d{2}(-\d{2})?)?$/.test(text)
    ? readDate(text.replaceAll('-', ''))
    : { valid: false, because: 'it is not a FHIR date' }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown
  } catch {
    return undefined
  }
}
