import type { Replacements } from './replacements.ts'
import { tokensOf, type Synthetic } from './synthetic-hl7v2.ts'

/** Elements whose values are codes of a standard or say what a resource is; never who. */
const keptElements = new Set(
  `resourceType status system code use kind intent outcome mode language contentType currency unit gender type versionId url profile
   linkId relationship comparator`.split(/\s+/),
)

/** Where people are named. */
const identityPlaces =
  /(?:^|\.)(?:name\.(?:family|given|text)|telecom\.value|address\.(?:line|city|text|postalCode)|birthDate|identifier\.value|id|patient\.reference|subject\.reference|beneficiary\.reference)$/

/** One FHIR resource (JSON): every text, number and moment that could be somebody’s is replaced; structure, codes and systems stay. */
export function syntheticFhir(resource: unknown, replacements: Replacements): Synthetic {
  const kept = new Map<string, string>()
  const known = new Set<string>()
  const text = JSON.stringify(walk(resource, '', ''), null, 2)
  return { text: `${text}\n`, kept, known }

  function walk(value: unknown, key: string, place: string): unknown {
    if (Array.isArray(value)) return value.map((one) => walk(one, key, place))
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(
        Object.entries(value).map(([name, one]) => [
          name,
          walk(one, name, place === '' ? name : `${place}.${name}`),
        ]),
      )
    if (typeof value === 'number') return numberLike(value)
    if (typeof value !== 'string') return value
    if (identityPlaces.test(place)) for (const token of tokensOf(value)) known.add(token)
    if (keptElements.has(key) && !place.endsWith('attachment.url')) {
      kept.set(place, `${kept.get(place) ?? ''} ${value}`)
      return value
    }
    if (key === 'data') return Buffer.from('A document that was made up.').toString('base64')
    if (key === 'reference' || key === 'fullUrl' || key === 'url') return referenceLike(value)
    return replacements.moment(value) ?? replacements.text(value)
  }

  function numberLike(value: number): number {
    const made = Number(replacements.text(String(Math.abs(value))))
    return Number.isFinite(made) ? Math.sign(value) * made : value
  }

  /** `Patient/123`, `https://server/fhir/Patient/123`, `urn:uuid:…`: the kind stays, what it names does not. */
  function referenceLike(text: string): string {
    const parts = /^(.*?)([A-Z][A-Za-z]+)\/([^/]+)(\/_history\/[^/]+)?$/.exec(text)
    if (parts === null) return replacements.text(text)
    const [, base = '', type = '', id = '', version = ''] = parts
    return `${base === '' ? '' : 'https://fhir.example.org/'}${type}/${replacements.text(id)}${version}`
  }
}
