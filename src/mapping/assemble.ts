import { patientIdOf, type FhirPatient } from '../domain/fhir-patient.ts'
import type { Identifier } from '../domain/patient.ts'
import type { TriggerEvent } from '../domain/trigger-event.ts'
import type { Input, Quarantined } from './input.ts'
import { isTriggerKind } from './targets.ts'

/** What a row gave. */
export type Value = string | boolean | Date | readonly Identifier[]

/** The event that the rows filled together, or what it lacks. */
export function assembled(given: ReadonlyMap<string, Value>, input: Input): TriggerEvent | Quarantined {
  const kind = given.get('kind')
  const occurredAt = given.get('occurredAt')
  if (typeof kind !== 'string' || !isTriggerKind(kind))
    return { code: 'required-missing', because: 'kind is required and no source gave a value', where: 'kind' }
  if (!(occurredAt instanceof Date))
    return {
      code: 'required-missing',
      because: 'occurredAt is required and no source gave a value',
      where: 'occurredAt',
    }
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
      where: 'patient',
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
  // `#p1` names a Patient that the resource holds within itself (FHIR R4 §2.28.5).
  const isNamed = reference === `#${input.patient.id}` || patientIdOf({ reference }) === input.patient.id
  return isNamed ? input.patient : undefined
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
