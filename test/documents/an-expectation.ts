import { passGate, type Expectations, type GateResult } from '../../src/documents/gate.ts'
import { ccdOf, type Person } from '../neighbours/ccd.ts'

const atAshby = 'urn:oid:2.16.840.1.113883.19.5'
export const madeAt = new Date('2026-06-01T12:00:00Z')

export const ellen: Person = {
  id: 'ellen',
  identifiers: [{ system: atAshby, value: 'E1001' }],
  family: 'Ross',
  given: 'Ellen',
  birthDate: '1956-08-14',
}

/** What a document of Ellen’s has to be, made at {@link madeAt} and judged an hour later. */
export function anExpectation(changes: Partial<Expectations> = {}): Expectations {
  return {
    patient: { identifiers: [{ system: atAshby, value: 'E1001' }], family: 'Ross', birthDate: '1956-08-14' },
    aliases: new Map(),
    documentCodes: ['34133-9', '18842-5'],
    freshnessToleranceMs: 0,
    bytesMax: 25 * 1024 * 1024,
    sensitiveData: 'excluded',
    timezone: 'UTC',
    at: new Date(madeAt.getTime() + 3_600_000),
    ...changes,
  }
}

export const ccd = ccdOf(ellen, { effectiveTime: madeAt, bytes: 20_000 })
export const ccdText = ccd.toString('utf8')

export function gate(document: Buffer | string, changes: Partial<Expectations> = {}): Promise<GateResult> {
  const bytes = typeof document === 'string' ? Buffer.from(document) : document
  return passGate(bytes, anExpectation(changes))
}

/** The document with one passage exchanged; which has to be there. */
export function changed(passage: string | RegExp, by: string): string {
  const result = ccdText.replace(passage, by)
  if (result === ccdText) throw new Error(`the document has no ${String(passage)}`)
  return result
}
