import type { FhirResource } from 'fhir-kit-client'
import { objects, patientIdOf, text } from '../domain/fhir-patient.ts'

/** One content of a DocumentReference that may be a C-CDA. */
export interface ListedDocument {
  readonly id?: string
  /** Of `subject`; undefined where it names none. */
  readonly patientId?: string
  /** LOINC codes of `type`. */
  readonly codes: readonly string[]
  /** When the content was made, else when it was listed. */
  readonly date?: Date
  /** How well the content fits; 0 best. */
  readonly rank: number
  readonly attachment: {
    readonly url?: string
    /** Base64. */
    readonly data?: string
    readonly size?: number
    readonly hash?: string
  }
}

/** `content.format` before `contentType`: US Core’s own example labels its CCD text/plain. Best first. */
const formats = [
  'urn:hl7-org:sdwg:ccda-structuredBody:2.1',
  'urn:hl7-org:sdwg:ccda-structuredBody:1.1',
  'urn:hl7-org:sdwg:ccda-nonXMLBody:2.1',
  'urn:hl7-org:sdwg:ccda-nonXMLBody:1.1',
  'urn:ihe:pcc:xphr:2007',
  'urn:ihe:pcc:xds-ms:2007',
]
const mediaTypes = ['application/cda+xml', 'application/hl7-cda+xml', 'text/xml', 'application/xml']

/**
 * The contents of a DocumentReference that may be sent as a clinical summary: of a current, not preliminary document, in
 * a C-CDA format or at least XML. Undefined where there is none.
 */
export function readDocumentReference(resource: FhirResource): ListedDocument[] | undefined {
  if (resource.resourceType !== 'DocumentReference' || resource['status'] !== 'current') return undefined
  const docStatus = text(resource['docStatus'])
  if (docStatus !== undefined && docStatus !== 'final' && docStatus !== 'amended') return undefined
  const id = text(resource['id'])
  const patientId = patientIdOf(resource['subject'])
  const codes = objects((resource['type'] as { coding?: unknown } | undefined)?.coding).flatMap((coding) =>
    coding['system'] === 'http://loinc.org' ? (text(coding['code']) ?? []) : [],
  )
  const contents = objects(resource['content']).flatMap((content): ListedDocument[] => {
    const attachment = (content['attachment'] ?? {}) as Record<string, unknown>
    const rank = rankOf(content, attachment)
    const url = text(attachment['url'])
    const data = text(attachment['data'])
    if (rank === undefined || (url === undefined && data === undefined)) return []
    const date = readDate(attachment['creation']) ?? readDate(resource['date'])
    const hash = text(attachment['hash'])
    const size = attachment['size']
    return [
      {
        ...(id === undefined ? {} : { id }),
        ...(patientId === undefined ? {} : { patientId }),
        codes,
        ...(date === undefined ? {} : { date }),
        rank,
        attachment: {
          ...(url === undefined ? {} : { url }),
          ...(data === undefined ? {} : { data }),
          ...(typeof size === 'number' && Number.isInteger(size) && size >= 0 ? { size } : {}),
          ...(hash === undefined ? {} : { hash }),
        },
      },
    ]
  })
  return contents.length === 0 ? undefined : contents
}

function rankOf(content: Record<string, unknown>, attachment: Record<string, unknown>): number | undefined {
  // R4: a Coding; R5: profile[].valueCoding.
  const codings = [content['format'], ...objects(content['profile']).map((profile) => profile['valueCoding'])]
  for (const coding of codings) {
    const code = text((coding as { code?: unknown } | null | undefined)?.code)
    const rank = code === undefined ? -1 : formats.indexOf(code)
    if (rank >= 0) return rank
  }
  const mediaType = text(attachment['contentType'])?.split(';')[0]!.trim().toLowerCase()
  const rank = mediaType === undefined ? -1 : mediaTypes.indexOf(mediaType)
  return rank < 0 ? undefined : formats.length + rank
}

/** With only a day, month or year known: its last moment, so that nothing is called older than it is. */
function readDate(value: unknown): Date | undefined {
  const found = /^(\d{4})(?:-(\d{2})(?:-(\d{2})(T.*)?)?)?$/.exec(text(value) ?? '')
  if (found === null) return undefined
  const [whole, year, month, day, time] = found
  const at =
    time !== undefined
      ? Date.parse(whole)
      : Date.UTC(
          Number(year) + (month === undefined ? 1 : 0),
          month === undefined ? 0 : Number(month) - (day === undefined ? 0 : 1),
          day === undefined ? 1 : Number(day) + 1,
        ) - 1
  return Number.isNaN(at) ? undefined : new Date(at)
}
