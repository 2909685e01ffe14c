import type {
  ChannelPlan,
  Condition,
  ConstantRow,
  EachRow,
  FilterRule,
  MappingRow,
  ValueRow,
} from '../domain/channel.ts'
import type { Identifier } from '../domain/patient.ts'
import { causeOf } from '../domain/quarantine.ts'
import type { TriggerEvent } from '../domain/trigger-event.ts'
import { Hl7Unreadable } from '../lib/hl7v2-unreadable.ts'
import { assembled, type Value } from './assemble.ts'
import { ask, explain, firstOf } from './condition.ts'
import { assignerAt, dateFrom, isQuarantined, openInput, partsAt, timeFrom } from './input.ts'
import type { FhirResource, Input, LookupMiss, Quarantined, QuarantineCode } from './input.ts'
import { question, sourceOf } from './question.ts'
import { quotable } from './quotable.ts'
import { noteLookup, taken, type Seen, type TraceStep } from './trace.ts'

/** What becomes of one message, with the reason. */
export type Evaluation =
  | { readonly decision: 'trigger'; readonly event: TriggerEvent; readonly trace: readonly TraceStep[] }
  | { readonly decision: 'filtered'; readonly because: string; readonly trace: readonly TraceStep[] }
  | {
      readonly decision: 'quarantined'
      readonly code: QuarantineCode
      /** The same for all messages that wait for the same thing to be put right. */
      readonly cause: string
      readonly because: string
      readonly trace: readonly TraceStep[]
    }

/** No field that names a patient, a visit or a document is longer. */
const valueLengthMax = 1_000

/**
 * Decides what a message means on a channel: a trigger event, filtered with the reason, or quarantined with the reason.
 * Pure, and never throws: whatever arrives ends in one of the three. Reasons carry no PHI.
 *
 * @param at the moment of receipt; the age of a message counts from here
 * @param options.trace also tell every step; off on the hot path
 * @param options.misses takes every lookup that found no row, whatever the mapping makes of it
 */
export function evaluate(
  plan: ChannelPlan,
  received: Uint8Array | FhirResource,
  at: Date,
  options: { readonly trace?: boolean; readonly misses?: LookupMiss[] } = {},
): Evaluation {
  const trace: TraceStep[] = []
  const steps = options.trace === true ? trace : undefined
  const { misses } = options
  const quarantined = ({ code, because, where }: Quarantined): Evaluation => ({
    decision: 'quarantined',
    code,
    cause: causeOf(code, where),
    because,
    trace,
  })
  try {
    const opened = openInput(plan, received)
    if (isQuarantined(opened)) return quarantined(opened)
    const input =
      steps === undefined && misses === undefined
        ? opened
        : { ...opened, ...(steps !== undefined && { seen: [] }), ...(misses !== undefined && { misses }) }
    for (const rule of plan.filter) {
      const stopped = stoppedBy(rule, input, at, steps)
      if (stopped === undefined) continue
      if (isQuarantined(stopped)) return quarantined(stopped)
      return rule.otherwise === 'quarantined'
        ? quarantined({ code: 'needs-a-person', because: stopped.because, where: stopped.because })
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
    if (isQuarantined(concerned)) {
      if (trace !== undefined) noteRule(trace, rule, rule.when, input, 'stopped', concerned.because)
      return concerned
    }
    if (!concerned) {
      if (trace !== undefined) noteRule(trace, rule, rule.when, input, 'not asked')
      return undefined
    }
  }
  const answer = ask(rule.condition, input, at)
  if (answer === true) {
    if (trace !== undefined) noteRule(trace, rule, rule.condition, input, 'passed')
    return undefined
  }
  const seen = taken(input.seen)
  const stopped = answer === false ? { because: rule.because ?? explain(rule.condition, input) } : answer
  if (trace !== undefined) noteRule(trace, rule, rule.condition, input, 'stopped', stopped.because, seen)
  return stopped
}

function noteRule(
  trace: TraceStep[],
  { at, when }: FilterRule,
  asked: Condition,
  { seen }: Input,
  outcome: TraceStep['outcome'],
  because?: string,
  saw: readonly Seen[] = taken(seen),
): void {
  const where = when === undefined || when === asked ? '' : `, asked where ${question(when)}`
  const asks = when === asked ? `only where ${question(asked)}` : `${question(asked)}${where}`
  trace.push({ step: 'filter', at, asks, outcome, saw, ...(because !== undefined && { because }) })
}

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
      if (trace !== undefined) noteRow(trace, row, input, 'not needed')
      continue
    }
    const concerned = row.when === undefined || ask(row.when, input, at)
    if (concerned === false) {
      if (trace !== undefined) noteRow(trace, row, input, 'not asked')
      continue
    }
    const value = concerned === true ? valueOf(row, input, at) : concerned
    if (isQuarantined(value)) {
      if (trace !== undefined) noteRow(trace, row, input, 'stopped', { because: value.because })
      return value
    }
    if (value === undefined) {
      if (trace !== undefined) noteRow(trace, row, input, 'gave nothing')
      if (row.required && !missing.has(row.to)) missing.set(row.to, becauseMissing(row, input))
      continue
    }
    given.set(row.to, value)
    missing.delete(row.to)
    if (trace !== undefined) noteRow(trace, row, input, 'gave', { value: shown(value) })
  }
  for (const [where, because] of missing) return { code: 'required-missing', because, where }
  return assembled(given, input)
}

function noteRow(
  trace: TraceStep[],
  row: MappingRow,
  { seen }: Input,
  outcome: TraceStep['outcome'],
  told: Pick<TraceStep, 'value' | 'because'> = {},
): void {
  const isFromMessage = row.type === 'each' || (row.type === 'value' && row.table === undefined)
  const asks = outcome === 'not asked' ? `only where ${question(row.when!)}` : sourceOf(row)
  trace.push({ step: 'row', at: row.at, to: row.to, asks, outcome, isFromMessage, saw: taken(seen), ...told })
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
      : {
          code: 'datetime-unreadable',
          because: `${path.text} is not a time: ${time.because}`,
          where: path.text,
        }
  }
  if (row.as === 'date') {
    const date = dateFrom(input, value)
    return date.valid
      ? date.date
      : {
          code: 'date-unreadable',
          because: `${path.text} is not a date: ${date.because}`,
          where: path.text,
        }
  }
  if (row.table === undefined) return checked(value, path.text)
  const meaning = row.table.rows.get(value)
  if (input.seen !== undefined) noteLookup(input.seen, row.table.name, path, value, meaning)
  if (meaning !== undefined) return meaning
  const code = quotable(path, value)
  input.misses?.push({ table: row.table.name, value: code })
  if (row.miss === 'skip') return undefined
  const quoted = code === undefined ? undefined : `"${code}"`
  return {
    code: 'lookup-miss',
    because: `table ${row.table.name} has no row for ${quoted ?? `the value of ${path.text}`}`,
    where: `${row.table.name}:${quoted ?? path.text}`,
  }
}

/**
 * PostgreSQL holds no NUL in text; no name or identifier is that long; and one in which an earlier system has lost a
 * character (U+FFFD) would be compared with the wrong one.
 */
function checked(value: string, path: string): string | Quarantined {
  const because =
    value.length > valueLengthMax
      ? `${path} is longer than ${valueLengthMax} characters`
      : value.includes('\0')
        ? `${path} holds a NUL character`
        : value.includes('\ufffd')
          ? `${path} holds U+FFFD: a system before the sender has lost a character`
          : undefined
  return because === undefined ? value : { code: 'value-refused', because, where: path }
}

function identifiersOf(
  row: EachRow,
  input: Input,
  at: Date,
): readonly Identifier[] | Quarantined | undefined {
  const identifiers: Identifier[] = []
  let number = 0
  for (const part of partsAt(input, row.path)) {
    number++
    part.seen?.push({ saw: 'repetition', of: row.path.text, number })
    if (row.keep !== undefined) {
      const kept = ask(row.keep, part, at)
      if (isQuarantined(kept)) return kept
      part.seen?.push({ saw: 'keep', kept })
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
      part.seen?.push({ saw: 'part', to: row.to, value })
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

function shown(value: Value): string {
  if (value instanceof Date) return value.toISOString()
  return typeof value === 'object'
    ? value
        .map(({ system, value, type }) => `${value} (${[type, system].filter(Boolean).join(', ')})`)
        .join(', ')
    : String(value)
}
