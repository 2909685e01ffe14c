import { triggerKinds } from '../domain/trigger-event.ts'

/** What a row of a mapping may fill: the parts of trigger-event/1, and how each is read where the row does not say. */
export const targets = {
  kind: 'kind',
  occurredAt: 'datetime',
  cancels: 'cancels',
  'patient.identifiers': 'identifiers',
  'patient.reference': 'text',
  'patient.family': 'text',
  'patient.given': 'text',
  'patient.birthDate': 'date',
  'encounter.id': 'text',
  'encounter.class': 'text',
  'encounter.disposition': 'text',
  'document.id': 'text',
  'document.type': 'text',
  'claim.id': 'text',
  'claim.type': 'text',
} as const

/** What the rows inside `each: PID-3` may fill. */
export const identifierTargets = { system: 'assigner', value: 'text', type: 'text' } as const

/** Without these no mapping can yield an event; of the patient, one of the two is enough. */
export const neededTargets = ['kind', 'occurredAt'] as const
export const patientTargets = ['patient.identifiers', 'patient.reference'] as const

export function isTriggerKind(text: string): text is (typeof triggerKinds)[number] {
  return (triggerKinds as readonly string[]).includes(text)
}
