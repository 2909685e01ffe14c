import type { Person } from './ccd.ts'
import { patientOf } from './fhir-resources.ts'

/** What a Patient search finds. */
export function searchPatients(
  people: ReadonlyMap<string, Person & { replacedBy?: string }>,
  query: URLSearchParams,
): object[] {
  return [...people.values()]
    .filter((person) =>
      [...query].every(([name, wanted]) => {
        switch (name) {
          case 'identifier':
            return wanted.split(',').some((token) => {
              const [system, value] = token.includes('|') ? token.split('|') : [undefined, token]
              return person.identifiers.some(
                (identifier) =>
                  (value === '' || identifier.value === value) &&
                  (system === undefined || identifier.system === system),
              )
            })
          case '_id':
            return wanted.split(',').includes(person.id)
          case 'birthdate':
            return person.birthDate === wanted
          case 'family':
            return person.family.toLowerCase().startsWith(wanted.toLowerCase())
          default:
            return true
        }
      }),
    )
    .map(patientOf)
}
