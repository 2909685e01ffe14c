import { createHash } from 'node:crypto'
import type { Person } from './ccd.ts'

/** A document as it stands on the server; `sha256` is over the very bytes a reader gets. */
export interface StoredDocument {
  id: string
  patient: string
  code: string
  contentType: string
  status: 'current' | 'superseded' | 'entered-in-error'
  date: string
  bytes: number
  sha256: string
}

export function patientOf(person: Person & { replacedBy?: string }) {
  return {
    resourceType: 'Patient',
    id: person.id,
    active: person.replacedBy === undefined,
    identifier: person.identifiers.map(({ system, value, type }) => ({
      system,
      value,
      type: {
        coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0203', code: type ?? 'MR' }],
      },
    })),
    name: [{ use: 'official', family: person.family, given: [person.given] }],
    gender: person.gender ?? 'unknown',
    birthDate: person.birthDate,
    ...(person.replacedBy === undefined
      ? {}
      : { link: [{ other: { reference: `Patient/${person.replacedBy}` }, type: 'replaced-by' }] }),
  }
}

/** With its content inside, or by relative or absolute URL. */
export function referenceTo(
  document: StoredDocument & { content: Buffer },
  placed: 'relative' | 'absolute' | 'inline',
  base: string,
) {
  const where =
    placed === 'inline'
      ? { data: document.content.toString('base64') }
      : { url: `${placed === 'absolute' ? `${base}/` : ''}Binary/${document.id}` }
  return {
    resourceType: 'DocumentReference',
    id: document.id,
    meta: { lastUpdated: document.date },
    status: document.status,
    type: { coding: [{ system: 'http://loinc.org', code: document.code }] },
    category: [
      {
        coding: [
          {
            system: 'http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category',
            code: 'clinical-note',
          },
        ],
      },
    ],
    subject: { reference: `Patient/${document.patient}` },
    date: document.date,
    content: [
      {
        attachment: {
          contentType: document.contentType,
          ...where,
          size: document.content.length,
          hash: createHash('sha1').update(document.content).digest('base64'), // R4 Attachment.hash is SHA-1
          creation: document.date,
        },
        format: {
          system: 'http://hl7.org/fhir/ValueSet/formatcodes',
          code: 'urn:hl7-org:sdwg:ccda-structuredBody:2.1',
        },
      },
    ],
  }
}

export function capabilities(hasDocref: boolean) {
  return {
    resourceType: 'CapabilityStatement',
    status: 'active',
    date: '2026-01-01',
    kind: 'instance',
    fhirVersion: '4.0.1',
    format: ['json'],
    rest: [
      {
        mode: 'server',
        resource: [
          { type: 'Patient', interaction: [{ code: 'read' }, { code: 'search-type' }] },
          { type: 'Binary', interaction: [{ code: 'read' }] },
          {
            type: 'DocumentReference',
            interaction: [{ code: 'read' }, { code: 'search-type' }],
            operation: hasDocref
              ? [
                  {
                    name: 'docref',
                    definition: 'http://hl7.org/fhir/us/core/OperationDefinition/docref',
                  },
                ]
              : [],
          },
        ],
      },
    ],
  }
}
