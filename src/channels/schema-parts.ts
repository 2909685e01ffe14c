import { triggerKinds } from '../domain/trigger-event.ts'

/** A JSON Schema 2020-12, as far as this format needs one. */
export interface JsonSchema {
  readonly [keyword: string]: unknown
}

/** Names of channels, mappings, tables and secrets: they are file names, too. */
export const namePattern = '^[a-z][a-z0-9-]{0,62}$'

export const name = {
  type: 'string',
  pattern: namePattern,
  description: 'lower-case letters, digits and hyphens',
}
export const duration = {
  type: 'string',
  pattern: '^[0-9]+(ms|s|m|h|d|w)$',
  description: 'a number with a unit, such as 30s, 10m, 6h, 3d',
}
export const code = { type: ['string', 'number', 'boolean'], description: 'a code' }
const codes = {
  type: 'array',
  items: code,
  minItems: 1,
  description: 'a list of codes, such as [A03, A13]',
}
export const path = {
  type: ['string', 'number'],
  description: 'a path such as PV1-19.1, or a FHIRPath expression',
}
export const paths = { type: 'array', items: path, minItems: 1, description: 'a list of paths' }
export const text = { type: 'string', minLength: 1, description: 'a text' }
export const flag = { type: 'boolean', description: 'true or false' }
export const secret = { type: 'string', description: 'secret:NAME, where NAME is a secret of the settings' }

export function object(
  description: string,
  properties: Record<string, JsonSchema>,
  required: readonly string[] = [],
): JsonSchema {
  return { type: 'object', description, properties, required, additionalProperties: false }
}

const textOrAbsent = {
  type: ['string', 'number', 'null'],
  description: 'the text; null where there must be none',
}
const idAndType = (of: string): JsonSchema => object(`the ${of}`, { id: textOrAbsent, type: textOrAbsent })

/** The parts of a trigger event that a test may name; trigger-event/1. */
export const expectedEvent = object('parts of the trigger event; null: it must not be there', {
  kind: { enum: [...triggerKinds], description: 'what happened' },
  occurredAt: { ...text, description: 'a moment in any zone, such as 2026-03-02T11:30:00-05:00' },
  cancels: { enum: [true, 'visit', null], description: 'true, visit, or null' },
  patient: object('the patient', {
    identifiers: {
      type: ['array', 'null'],
      items: object('an identifier', { system: textOrAbsent, value: textOrAbsent, type: textOrAbsent }),
      description: 'all identifiers, in the order of the message',
    },
    reference: textOrAbsent,
    family: textOrAbsent,
    given: textOrAbsent,
    birthDate: textOrAbsent,
  }),
  encounter: object('the visit', { id: textOrAbsent, class: textOrAbsent, disposition: textOrAbsent }),
  document: idAndType('document'),
  claim: idAndType('claim'),
})

const questions = {
  field: { ...path, description: 'the value to look at, as an HL7v2 path such as PV1-36' },
  first: { ...paths, description: 'several paths; the first that gives a value is looked at' },
  some: { ...path, description: 'holds where at least one value of all segments and repetitions does' },
  none: { ...path, description: 'holds where no value of all segments and repetitions does' },
  fhirpath: { ...text, description: 'a FHIRPath expression: a yes-or-no question, or the value to look at' },
  is: { ...code, description: 'holds where the value is this one' },
  in: { ...codes, description: 'holds where the value is one of these' },
  not: { ...code, description: 'holds where the value is not this one; also where there is none' },
  notIn: { ...codes, description: 'holds where the value is none of these; also where there is none' },
  present: { ...flag, description: 'true: holds where there is a value; false: where there is none' },
  matches: { ...text, description: 'holds where the value matches this regular expression' },
  newerThan: { ...duration, description: 'holds where the time is less than this long ago' },
  sameAs: { ...path, description: 'holds where the value is the same as the one at this path' },
  differsFrom: {
    ...path,
    description: 'holds where both values are there and differ',
  },
  all: {
    type: 'array',
    minItems: 1,
    items: { $ref: '#/$defs/condition' },
    description: 'a list of conditions',
  },
  any: {
    type: 'array',
    minItems: 1,
    items: { $ref: '#/$defs/condition' },
    description: 'a list of conditions',
  },
}

export const condition = object('a condition, such as { field: MSH-9.2, is: A13 }', questions)

export const rule = object('a filter rule, such as { field: MSH-11.1, is: P, else: "test message" }', {
  ...questions,
  when: { $ref: '#/$defs/condition', description: 'the rule is asked only of messages that satisfy this' },
  else: {
    ...text,
    description: 'the reason that is stored where the rule does not hold; never put patient data in it',
  },
  decision: {
    enum: ['filtered', 'quarantined'],
    description:
      'what becomes of a message that does not satisfy the rule; quarantined: a person has to look at it',
  },
})

export const ack = object('how messages are acknowledged', {
  mode: { const: 'auto', description: 'original or enhanced, chosen from MSH-15 and MSH-16' },
  after: {
    const: 'stored',
    description: 'acknowledged when the message is on disk; there is no other safe moment',
  },
  onStoreError: { const: 'retryable', description: 'AE or CE: the sender may send again' },
  onInvalid: { const: 'final', description: 'AR or CR: the sender must not send the same bytes again' },
})
