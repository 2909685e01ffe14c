import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { numberOf, system } from './authorizations.ts'

/** Bytes of the n-th message of a source, about one patient. */
export type Sample = (patient: number, n: number) => Buffer

/** A shipped sample, about somebody else and another visit, order and document each time. */
export function hl7v2Sample(file: string, time: string): Sample {
  const text = readFileSync(join(import.meta.dirname, '..', 'channels/samples', file), 'latin1').replaceAll(
    /\r?\n/g,
    '\r',
  )
  return (patient, n) =>
    Buffer.from(
      text
        .replace(/PID\|1\|\|[^|]*/, `PID|1||${numberOf(patient)}^^^ASHBY&${system.slice(8)}&ISO^MR`)
        .replaceAll(/V7788|ORD448811|LAB99231|DOC55012/g, (name) => `${name}-${n}`)
        .replace(/MSG\d+/, `MSG${n}`)
        .replaceAll(/\d{14}-0500/g, `${time}-0500`),
      'latin1',
    )
}

function withPatient(resource: object, patient: number): Buffer {
  return Buffer.from(
    JSON.stringify({
      resourceType: 'Bundle',
      type: 'collection',
      entry: [
        { resource },
        {
          resource: {
            resourceType: 'Patient',
            id: `p${patient}`,
            identifier: [{ system, value: numberOf(patient), type: { coding: [{ code: 'MR' }] } }],
            name: [{ family: 'Ross', given: ['Ellen'] }],
            birthDate: '1956-08-14',
          },
        },
      ],
    }),
  )
}

export function encounterSample(time: string): Sample {
  return (patient, n) =>
    withPatient(
      {
        resourceType: 'Encounter',
        id: `e${n}`,
        meta: { versionId: '2', lastUpdated: time },
        identifier: [{ type: { coding: [{ code: 'VN' }] }, value: `V-${n}` }],
        status: 'finished',
        class: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'IMP' },
        subject: { reference: `Patient/p${patient}` },
        period: { start: time, end: time },
      },
      patient,
    )
}

export function eobSample(time: string): Sample {
  return (patient, n) =>
    withPatient(
      {
        resourceType: 'ExplanationOfBenefit',
        id: `c${n}`,
        meta: { versionId: '1', lastUpdated: time },
        status: 'active',
        use: 'claim',
        outcome: 'complete',
        created: time.slice(0, 10),
        patient: { reference: `Patient/p${patient}` },
        type: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/claim-type', code: 'pharmacy' }] },
        identifier: [{ type: { coding: [{ code: 'uc' }] }, value: `CLM-${n}` }],
        item: Array.from({ length: 20 }, (_, at) => ({
          sequence: at + 1,
          productOrService: {
            coding: [{ system: 'http://www.ama-assn.org/go/cpt', code: `9921${at % 10}` }],
          },
          net: { value: 12.5 * (at + 1), currency: 'USD' },
        })),
      },
      patient,
    )
}
