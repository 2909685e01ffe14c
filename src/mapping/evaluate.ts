import type {
  ChannelPlan,
  ConstantRow,
  EachRow,
  FilterRule,
  MappingRow,
  ValueRow,
} from '../domain/channel.ts'
import { patientIdOf, type FhirPatient } from '../domain/fhir-patient.ts'
import type { Identifier } from '../domain/patient.ts'
import type { TriggerEvent } from '../domain/trigger-event.ts'
import { Hl7Unreadable } from '../lib/hl7v2-unreadable.ts'
import { ask, explain, firstOf, quotable } from './condition.ts'
import { assignerAt, dateFrom, isQuarantined, openInput, partsAt, timeFrom } from './input.ts'
import type { FhirResource, Input, Quarantined, QuarantineCode } from './input.ts'
import { isTriggerKind } from './targets.ts'

/** What becomes of one message, with the reason. */
export type Evaluation =
  | { readonly decision: 'trigger'; readonly event: TriggerEvent; readonly trace: readonly TraceStep[] }
  | { readonly decision: 'filtered'; readonly because: string; readonly trace: readonly TraceStep[] }
  | {
      readonly decision: 'quarantined'
      readonly code: QuarantineCode
      readonly because: string
      readonly trace: readonly TraceStep[]
    }

/** One step of the way to a decision, for `bluepost try`. `value` is PHI: it may be shown to whoever has the message, never logged. */
interface TraceStep {
  readonly step: 'filter' | 'row'
  /** File and line. */
  readonly at: string
  readonly outcome: 'passed' | 'stopped' | 'not asked' | 'gave' | 'gave nothing' | 'not needed'
  readonly to?: string
  readonly value?: string
  readonly because?: string
}

/** No field that names a patient, a visit or a document is longer. */
const valueLengthMax = 1_000

/**
 * Decides what a message means on a channel: a trigger event, filtered with the reason, or quarantined with the reason.
 * Pure, and never throws: whatever arrives ends in one of the three. Reasons carry no PHI.
 *
 * @param at the moment of receipt; the age of a message counts from here
 * @param options.trace also tell every step; off on the hot path
 */
export function evaluate(
  plan: ChannelPlan,
  received: Uint8Array | FhirResource,
  at: Date,
  options: { readonly trace?: boolean } = {},
): Evaluation {
  const trace: TraceStep[] = []
  const steps = options.trace === true ? trace : undefined
  const quarantined = ({ code, because }: Quarantined): Evaluation => ({
    decision: 'quarantined',
    code,
    because,
    trace,
  })
  try {
    const input = openInput(plan, received)
    if (isQuarantined(input)) return quarantined(input)
    for (const rule of plan.filter) {
      const stopped = stoppedBy(rule, input, at, steps)
      if (stopped === undefined) continue
      if (isQuarantined(stopped)) return quarantined(stopped)
      return rule.otherwise === 'quarantined'
        ? quarantined({ code: 'needs-a-person', because: stopped.because })
        : { decision: 'filtered', because: stopped.because, trace }
    }
    const event = eventOf(plan, input, at, steps)
    return isQuarantined(event) ? quarantined(event) : { decision: 'trigger', event, trace }
  } catch (error) {
    if (error instanceof Hl7Unreadable) return quarantined(error)
    // FHIRPath expressions fail on input they were not written for; their messages may quote it.
    return quarantined(
      plan.mapping.input === 'fhir'
        ? {
            code: 'fhirpath-failed',
            because: 'a FHIRPath expression of the channel or its mapping failed on this resource',
          }
        : { code: 'mapping-failed', because: 'the mapping could not be applied to this message' },
    )
  }
}

function stoppedBy(
  rule: FilterRule,
  input: Input,
  at: Date,
  trace: TraceStep[] | undefined,
): { readonly because: string } | Quarantined | undefined {
  if (rule.when !== undefined) {
    const concerned = ask(rule.when, input, at)
    if (isQuarantined(concerned)) return concerned
    if (!concerned) {
      trace?.push({ step: 'filter', at: rule.at, outcome: 'not asked' })
      return undefined
    }
  }
  const answer = ask(rule.condition, input, at)
  if (answer === true) {
    trace?.push({ step: 'filter', at: rule.at, outcome: 'passed' })
    return undefined
  }
  const stopped = answer === false ? { because: rule.because ?? explain(rule.condition, input) } : answer
  trace?.push({ step: 'filter', at: rule.at, outcome: 'stopped', because: stopped.because })
  return stopped
}

type Value = string | boolean | Date | readonly Identifier[]

/** Rows in order; of several with one target, the first that gives a value fills it. */
function eventOf(
  plan: ChannelPlan,
  input: Input,
  at: Date,
  trace: TraceStep[] | undefined,
): TriggerEvent | Quarantined {
  const given = new Map<string, Value>()
  const missing = new Map<string, string>()
  for (const row of plan.mapping.rows) {
    if (given.has(row.to)) {
      trace?.push({ step: 'row', at: row.at, to: row.to, outcome: 'not needed' })
      continue
    }
    const concerned = row.when === undefined || ask(row.when, input, at)
    if (concerned === false) {
      trace?.push({ step: 'row', at: row.at, to: row.to, outcome: 'not asked' })
      continue
    }
    const value = concerned === true ? valueOf(row, input, at) : concerned
    if (isQuarantined(value)) {
      trace?.push({ step: 'row', at: row.at, to: row.to, outcome: 'stopped', because: value.because })
      return value
    }
    if (value === undefined) {
      if (row.required && !missing.has(row.to)) missing.set(row.to, becauseMissing(row, input))
      trace?.push({ step: 'row', at: row.at, to: row.to, outcome: 'gave nothing' })
      continue
    }
    given.set(row.to, value)
    missing.delete(row.to)
    trace?.push({ step: 'row', at: row.at, to: row.to, outcome: 'gave', value: shown(value) })
  }
  for (const [, because] of missing) return { code: 'required-missing', because }
  return assembled(given, input)
}

function valueOf(row: MappingRow, input: Input, at: Date): Value | Quarantined | undefined {
  switch (row.type) {
    case 'constant':
      return row.value
    case 'value':
      return readValue(row, input)
    case 'each':
      return identifiersOf(row, input, at)
  }
}

function readValue(row: ValueRow, input: Input): string | Date | Quarantined | undefined {
  if (row.as === 'assigner') {
    for (const path of row.paths) {
      const assigner = assignerAt(input, path)
      if (assigner !== undefined) return checked(assigner, path.text)
    }
    return undefined
  }
  const found = firstOf(row.paths, input)
  if (found === undefined) return undefined
  const { path, value } = found
  if (row.as === 'datetime') {
    const time = timeFrom(input, value)
    return time.valid
      ? time.at
      : { code: 'datetime-unreadable', because: `${path.text} is not a time: ${time.because}` }
  }
  if (row.as === 'date') {
    const date = dateFrom(input, value)
    return date.valid
      ? date.date
      : { code: 'date-unreadable', because: `${path.text} is not a date: ${date.because}` }
  }
  if (row.table === undefined) return checked(value, path.text)
  const meaning = row.table.rows.get(value)
  if (meaning !== undefined || row.miss === 'skip') return meaning
  const code = quotable(path, value)
  return {
    code: 'lookup-miss',
    because: `table ${row.table.name} has no row for ${code === undefined ? `the value of ${path.text}` : `"${code}"`}`,
  }
}

/**
 * PostgreSQL holds no NUL in text; no name or identifier is that long; and one in which an earlier system has lost a
 * character (U+FFFD) would be compared with the wrong one.
 */
function checked(value: string, path: string): string | Quarantined {
  if (value.length > valueLengthMax)
    return { code: 'value-refused', because: `${path} is longer than ${valueLengthMax} characters` }
  if (value.includes('\0')) return { code: 'value-refused', because: `${path} holds a NUL character` }
  if (value.includes('\ufffd'))
    return {
      code: 'value-refused',
      because: `${path} holds U+FFFD: a system before the sender has lost a character`,
    }
  return value
}

function identifiersOf(
  row: EachRow,
  input: Input,
  at: Date,
): readonly Identifier[] | Quarantined | undefined {
  const identifiers: Identifier[] = []
  for (const part of partsAt(input, row.path)) {
    if (row.keep !== undefined) {
      const kept = ask(row.keep, part, at)
      if (isQuarantined(kept)) return kept
      if (!kept) continue
    }
    const identifier = identifierOf(row.rows, part, at)
    if (isQuarantined(identifier)) return identifier
    if (identifier !== undefined) identifiers.push(identifier)
  }
  return identifiers.length === 0 ? undefined : identifiers
}

/** One identifier; undefined where a required part, or the value itself, is not there. */
function identifierOf(
  rows: readonly (ValueRow | ConstantRow)[],
  part: Input,
  at: Date,
): Identifier | Quarantined | undefined {
  const given = new Map<string, string>()
  const missing = new Set<string>()
  for (const row of rows) {
    if (given.has(row.to)) continue
    const concerned = row.when === undefined || ask(row.when, part, at)
    if (concerned === false) continue
    const value = concerned === true ? valueOf(row, part, at) : concerned
    if (isQuarantined(value)) return value
    if (typeof value === 'string') {
      given.set(row.to, value)
      missing.delete(row.to)
    } else if (row.required) missing.add(row.to)
  }
  const value = given.get('value')
  const type = given.get('type')
  if (value === undefined || missing.size > 0) return undefined
  return { system: given.get('system') ?? '', value, ...(type !== undefined && { type }) }
}

function becauseMissing(row: MappingRow, input: Input): string {
  if (row.type !== 'each') return `${row.to} is required and no source gave a value`
  const parts = partsAt(input, row.path).length
  const needed = row.rows.filter((each) => each.required).map((each) => each.to)
  if (parts === 0) return `${row.to} is required and ${row.path.text} is empty`
  return `${row.to} is required and none of the ${parts} in ${row.path.text} was kept and gave ${
    [...new Set(needed)].join(' and ') || 'a value'
  }`
}

function assembled(given: ReadonlyMap<string, Value>, input: Input): TriggerEvent | Quarantined {
  const kind = given.get('kind')
  const occurredAt = given.get('occurredAt')
  if (typeof kind !== 'string' || !isTriggerKind(kind))
    return { code: 'required-missing', because: 'kind is required and no source gave a value' }
  if (!(occurredAt instanceof Date))
    return { code: 'required-missing', because: 'occurredAt is required and no source gave a value' }
  const mapped = texts(given, 'patient', ['reference', 'family', 'given', 'birthDate'])
  const fetched = fetchedPatient(input, mapped['reference'])
  const identifiers =
    (given.get('patient.identifiers') as readonly Identifier[] | undefined) ?? fetched?.identifiers
  const named: Record<string, string> = {
    ...(fetched?.families[0] !== undefined && { family: fetched.families[0] }),
    ...(fetched?.birthDate !== undefined && { birthDate: fetched.birthDate }),
    ...mapped,
  }
  const patient = { ...(identifiers !== undefined && { identifiers }), ...named }
  if (identifiers === undefined && named['reference'] === undefined)
    return {
      code: 'required-missing',
      because: 'the patient is required and no source gave identifiers or a reference',
    }
  const encounter = texts(given, 'encounter', ['id', 'class', 'disposition'])
  const document = texts(given, 'document', ['id', 'type'])
  const claim = texts(given, 'claim', ['id', 'type'])
  const cancels = cancelsOf(given.get('cancels'))
  return {
    kind,
    occurredAt,
    ...(cancels !== undefined && { cancels }),
    patient,
    ...(Object.keys(encounter).length > 0 && { encounter }),
    ...(Object.keys(document).length > 0 && { document }),
    ...(Object.keys(claim).length > 0 && { claim }),
  }
}

/** The Patient that came along counts only where the mapping names her: a reference to somebody else is somebody else. */
function fetchedPatient(input: Input, reference: string | undefined): FhirPatient | undefined {
  if (input.type !== 'fhir' || input.patient === undefined || reference === undefined) return undefined
  return patientIdOf({ reference }) === input.patient.id ? input.patient : undefined
}

function cancelsOf(value: Value | undefined): TriggerEvent['cancels'] {
  return value === true || value === 'visit' ? value : undefined
}

function texts(
  given: ReadonlyMap<string, Value>,
  group: string,
  names: readonly string[],
): Record<string, string> {
  const result: Record<string, string> = {}
  for (const name of names) {
    const value = given.get(`${group}.${name}`)
    if (typeof value === 'string') result[name] = value
  }
  return result
}

function shown(value: Value): string {
  if (value instanceof Date) return value.toISOString()
  return typeof value === 'object'
    ? value
        .map(({ system, value, type }) => `${value} (${[type, system].filter(Boolean).join(', ')})`)
        .join(', ')
    : String(value)
}
