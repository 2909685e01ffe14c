import type { NamedPerson } from './identity.ts'
import type { Identifier } from './patient.ts'

/** What identity needs of a FHIR R4 Patient. */
export interface FhirPatient extends NamedPerson {
  readonly id: string
  /** Ids of the records that took this one’s place (Patient.link `replaced-by`). */
  readonly replacedBy: readonly string[]
}

/** Undefined where the resource is no Patient with an id. Whatever else is missing or malformed in it is left out. */
export function readFhirPatient(resource: Readonly<Record<string, unknown>>): FhirPatient | undefined {
  const id = text(resource['id'])
  if (resource['resourceType'] !== 'Patient' || id === undefined) return undefined
  const birthDate = text(resource['birthDate'])
  return {
    id,
    identifiers: objects(resource['identifier']).flatMap(readIdentifier),
    families: objects(resource['name']).flatMap((name) => text(name['family']) ?? []),
    ...(birthDate === undefined ? {} : { birthDate }),
    replacedBy: objects(resource['link']).flatMap((link) =>
      text(link['type']) === 'replaced-by' ? (patientIdOf(link['other']) ?? '') : [],
    ),
  }
}

/** The id in `{ reference: "Patient/123" }`, absolute or with a version; undefined where it names no Patient. */
export function patientIdOf(reference: unknown): string | undefined {
  const value = text((reference as { reference?: unknown } | null | undefined)?.reference)
  return value === undefined
    ? undefined
    : /(?:^|\/)Patient\/([A-Za-z0-9\-.]{1,64})(?:\/_history\/[A-Za-z0-9\-.]{1,64})?$/.exec(value)?.[1]
}

function readIdentifier(identifier: Record<string, unknown>): Identifier[] {
  const system = text(identifier['system'])
  const value = text(identifier['value'])
  if (system === undefined || value === undefined) return []
  const type = objects((identifier['type'] as { coding?: unknown } | undefined)?.coding)
    .map((coding) => text(coding['code']))
    .find((code) => code !== undefined)
  return [{ system, value, ...(type === undefined ? {} : { type }) }]
}

/** FHIR JSON comes from outside: every list may be something else, and hold anything. */
export function objects(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value)
    ? value.filter((item): item is Record<string, unknown> => typeof item === 'object' && item !== null)
    : []
}

export function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
