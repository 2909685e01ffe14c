import type {
  AuthorizationChange,
  AuthorizationRequest,
  Frequency,
  IdentityAssurance,
} from '../domain/authorization.ts'
import { readDirectAddress } from '../domain/direct-address.ts'
import { canonicalAuthority, isStrong, type Identifier, type Patient } from '../domain/patient.ts'
import { triggerKinds, type TriggerKind } from '../domain/trigger-event.ts'
import { readCalendarSpan } from '../lib/calendar-span.ts'

/** One thing wrong with a request body; `where` is a JSON Pointer (RFC 6901). */
export interface RequestProblem {
  readonly where: string
  readonly what: string
}

export type Reading<Value> =
  | { readonly valid: true; readonly value: Value }
  | { readonly valid: false; readonly problems: readonly RequestProblem[] }

const destinationsMax = 20
const identifiersMax = 50
const textLengthMax = 500

/**
 * Reads the body of POST /api/v1/authorizations, every problem at once.
 *
 * @param aliases authorities by alias, so that identifiers are stored as matching looks them up
 */
export function readAuthorizationRequest(
  body: unknown,
  aliases: ReadonlyMap<string, string>,
  at: Date,
): Reading<AuthorizationRequest> {
  const fields = new Fields(body, '')
  fields.only([
    'patient',
    'destinations',
    'frequency',
    'triggers',
    'validFrom',
    'validUntil',
    'identityAssurance',
    'evidence',
    'sensitiveData',
  ])
  const frequency = readFrequency(fields) ?? { type: 'continuous' }
  const validFrom = fields.instant('validFrom') ?? at
  const validUntil = fields.instant('validUntil')
  if (validUntil !== undefined && validUntil <= validFrom)
    fields.problem('validUntil', 'must be later than validFrom')
  const evidence = fields.text('evidence')
  const value: AuthorizationRequest = {
    patient: readPatient(fields.object('patient', true), aliases),
    destinations: readDestinations(fields) ?? [],
    frequency,
    triggers: readTriggers(fields) ?? (frequency.type === 'continuous' ? defaultTriggers : []),
    validFrom,
    identityAssurance: readAssurance(fields.object('identityAssurance', true), at),
    sensitiveData: fields.oneOf('sensitiveData', ['excluded', 'included']) ?? 'excluded',
    ...(validUntil === undefined ? {} : { validUntil }),
    ...(evidence === undefined ? {} : { evidence }),
  }
  if (!fields.has('destinations')) fields.problem('destinations', 'is missing: one or more Direct addresses')
  if (frequency.type === 'continuous' && value.triggers.length === 0)
    fields.problem('triggers', 'must name at least one trigger for a continuous authorization')
  return fields.problems.length === 0 ? { valid: true, value } : { valid: false, problems: fields.problems }
}

/** Everything but schedules: what “continuously, when the record is updated” means (Blue Button+ transmit §E). */
const defaultTriggers: readonly TriggerKind[] = triggerKinds.filter((kind) => kind !== 'interval')

/** Reads the body of PATCH /api/v1/authorizations/:id. */
export function readAuthorizationChange(body: unknown): Reading<AuthorizationChange> {
  const fields = new Fields(body, '')
  fields.only(['destinations', 'frequency', 'triggers', 'validUntil', 'sensitiveData'])
  const frequency = readFrequency(fields)
  const destinations = readDestinations(fields)
  const triggers = readTriggers(fields)
  const sensitiveData = fields.oneOf('sensitiveData', ['excluded', 'included'])
  const validUntil = fields.isNull('validUntil') ? null : fields.instant('validUntil')
  const value: AuthorizationChange = {
    ...(frequency === undefined ? {} : { frequency }),
    ...(destinations === undefined ? {} : { destinations }),
    ...(triggers === undefined ? {} : { triggers }),
    ...(sensitiveData === undefined ? {} : { sensitiveData }),
    ...(validUntil === undefined ? {} : { validUntil }),
  }
  if (fields.problems.length === 0 && Object.keys(value).length === 0)
    fields.problem('', 'changes nothing: give destinations, frequency, triggers, validUntil or sensitiveData')
  return fields.problems.length === 0 ? { valid: true, value } : { valid: false, problems: fields.problems }
}

function readPatient(fields: Fields, aliases: ReadonlyMap<string, string>): Patient {
  fields.only(['identifiers', 'family', 'given', 'birthDate', 'previousFamilies'])
  const identifiers = fields.list('identifiers', identifiersMax).map((entry): Identifier => {
    entry.only(['system', 'value', 'type'])
    const type = entry.text('type')
    return {
      system: canonicalAuthority(entry.required('system'), aliases),
      value: entry.required('value').trim(),
      ...(type === undefined ? {} : { type }),
    }
  })
  if (!identifiers.some(isStrong))
    fields.problem(
      'identifiers',
      'needs at least one medical record or member number with the authority that issued it; a social security, account or visit number does not identify a patient here',
    )
  const birthDate = fields.required('birthDate')
  if (birthDate !== '' && !isBirthDate(birthDate))
    fields.problem('birthDate', 'is not a date: write YYYY-MM-DD')
  const given = fields.text('given')
  const previousFamilies = fields.texts('previousFamilies')
  return {
    identifiers,
    family: fields.required('family'),
    birthDate,
    ...(given === undefined ? {} : { given }),
    ...(previousFamilies === undefined ? {} : { previousFamilies }),
  }
}

function isBirthDate(text: string): boolean {
  const at = new Date(`${text}T00:00:00Z`)
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(at.getTime()) && at.toISOString().startsWith(text)
}

function readAssurance(fields: Fields, at: Date): IdentityAssurance {
  fields.only(['method', 'verifiedBy', 'verifiedAt'])
  const method = fields.oneOf('method', ['portal-login', 'in-person', 'known-to-provider', 'written', 'oral'])
  if (method === undefined && !fields.has('method'))
    fields.problem('method', 'is missing: how was the patient’s identity verified?')
  return {
    method: method ?? 'in-person',
    verifiedBy: fields.required('verifiedBy'),
    verifiedAt: fields.instant('verifiedAt') ?? at,
  }
}

function readDestinations(fields: Fields): string[] | undefined {
  const addresses = fields.texts('destinations')
  if (addresses === undefined) return undefined
  if (addresses.length === 0) fields.problem('destinations', 'needs at least one Direct address')
  if (addresses.length > destinationsMax)
    fields.problem('destinations', `has more than ${destinationsMax} addresses`)
  const seen = new Set<string>()
  addresses.forEach((text, index) => {
    const reading = readDirectAddress(text)
    if (!reading.valid) fields.problem(`destinations/${index}`, `is not a Direct address: ${reading.because}`)
    else if (seen.has(text.trim().toLowerCase())) fields.problem(`destinations/${index}`, 'is there twice')
    seen.add(text.trim().toLowerCase())
  })
  return addresses.map((text) => text.trim())
}

function readTriggers(fields: Fields): TriggerKind[] | undefined {
  const names = fields.texts('triggers')
  names?.forEach((name, index) => {
    if (!(triggerKinds as readonly string[]).includes(name))
      fields.problem(`triggers/${index}`, `is not a trigger: use ${triggerKinds.join(', ')}`)
  })
  return names as TriggerKind[] | undefined
}

/** `once`, `continuous`, or `interval: P1M` (an ISO 8601 duration). */
function readFrequency(fields: Fields): Frequency | undefined {
  const raw = fields.raw('frequency')
  if (raw === undefined) return undefined
  if (raw === 'once' || raw === 'continuous') return { type: raw }
  const every =
    typeof raw === 'string'
      ? /^interval:\s*(\S+)$/.exec(raw)?.[1]
      : typeof raw === 'object' && raw !== null && 'interval' in raw && typeof raw.interval === 'string'
        ? raw.interval
        : undefined
  if (every !== undefined && readCalendarSpan(every) !== undefined) return { type: 'interval', every }
  fields.problem(
    'frequency',
    every === undefined
      ? 'is neither once, continuous nor an interval: an interval looks like “interval: P1M”'
      : 'is not an interval: write years, months, weeks and days, such as “interval: P1M” or “interval: P2W”, a day at least and ten years at most',
  )
  return undefined
}

/** The members of one JSON object; what is wrong is collected, shared with nested objects. */
class Fields {
  readonly problems: RequestProblem[]
  private readonly members: Readonly<Record<string, unknown>>
  private readonly pointer: string

  constructor(value: unknown, pointer: string, problems: RequestProblem[] = []) {
    this.problems = problems
    this.pointer = pointer
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    if (!isObject) problems.push({ where: pointer, what: 'must be a JSON object' })
    this.members = isObject ? (value as Record<string, unknown>) : {}
  }

  problem(name: string, what: string): void {
    this.problems.push({ where: name === '' ? this.pointer : `${this.pointer}/${name}`, what })
  }

  only(known: readonly string[]): void {
    for (const name of Object.keys(this.members))
      if (!known.includes(name)) this.problem(name, `is not known here: ${known.join(', ')}`)
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined
  }

  isNull(name: string): boolean {
    return Object.hasOwn(this.members, name) && this.members[name] === null
  }

  raw(name: string): unknown {
    const value = Object.hasOwn(this.members, name) ? this.members[name] : undefined
    return value === null ? undefined : value
  }

  text(name: string): string | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined

    if (typeof value !== 'string' || value.length > textLengthMax || /[\x00-\x1f\x7f]/.test(value)) {
      this.problem(name, `must be one line of text of at most ${textLengthMax} characters`)
      return undefined
    }
    return value.trim()
  }

  required(name: string): string {
    const text = this.text(name)
    if (!this.has(name) || text === '') this.problem(name, 'is missing')
    return text ?? ''
  }

  texts(name: string): string[] | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    if (
      Array.isArray(value) &&
      value.every((item) => typeof item === 'string' && item.length <= textLengthMax)
    )
      return value as string[]
    this.problem(name, 'must be a list of texts')
    return undefined
  }

  oneOf<Choice extends string>(name: string, choices: readonly Choice[]): Choice | undefined {
    const value = this.raw(name)
    const choice = choices.find((candidate) => candidate === value)
    if (value !== undefined && choice === undefined)
      this.problem(name, `must be one of ${choices.join(', ')}`)
    return choice
  }

  instant(name: string): Date | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    const at =
      typeof value === 'string' && /^\d{4}-\d{2}-\d{2}(T.*(Z|[+-]\d{2}:\d{2}))?$/.test(value)
        ? new Date(value)
        : undefined
    if (at !== undefined && !Number.isNaN(at.getTime())) return at
    this.problem(name, 'must be a date (YYYY-MM-DD) or a time with its zone (2026-03-02T11:30:00-05:00)')
    return undefined
  }

  object(name: string, isRequired: boolean): Fields {
    const value = this.raw(name)
    if (value === undefined && isRequired) {
      this.problem(name, 'is missing')
      return new Fields({}, `${this.pointer}/${name}`)
    }
    return new Fields(value ?? {}, `${this.pointer}/${name}`, this.problems)
  }

  list(name: string, most: number): Fields[] {
    const value = this.raw(name)
    if (value === undefined) return []
    if (!Array.isArray(value) || value.length > most) {
      this.problem(name, `must be a list of at most ${most}`)
      return []
    }
    return value.map((item, index) => new Fields(item, `${this.pointer}/${name}/${index}`, this.problems))
  }
}
