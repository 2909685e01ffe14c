import { describe, expect, test } from '@jest/globals'
import { outcomeOf, type PlanParts } from './a-plan.ts'

describe('FHIR resources', () => {
  const eob = {
    resourceType: 'ExplanationOfBenefit',
    id: 'e1',
    status: 'active',
    created: '2026-03-02',
    patient: { reference: 'Patient/m-5' },
    type: {
      coding: [
        { system: 'x', code: 'a' },
        { system: 'y', code: 'pharmacy' },
      ],
    },
  }
  const fhir = (parts: PlanParts, resource: Readonly<Record<string, unknown>> = eob) =>
    outcomeOf({ input: 'fhir', ...parts }, resource)

  test('are mapped by FHIRPath', () => {
    const rows = [`- { to: claim.type, from: "ExplanationOfBenefit.type.coding.where(system = 'y').code" }`]
    expect(fhir({ rows })).toEqual({
      kind: 'eob-available',
      occurredAt: new Date('2026-03-02T00:00:00Z'),
      patient: { reference: 'Patient/m-5' },
      claim: { type: 'pharmacy' },
    })
  })

  test('come as bytes, too', () => {
    expect(outcomeOf({ input: 'fhir' }, Buffer.from(JSON.stringify(eob)))).toMatchObject({
      kind: 'eob-available',
    })
  })

  test('are filtered by questions that answer yes or no', () => {
    const filter = [`- { fhirpath: "ExplanationOfBenefit.status = 'draft'", else: 'not a draft' }`]
    expect(fhir({ filter })).toBe('filtered: not a draft')
    expect(fhir({ filter: ['- { fhirpath: "ExplanationOfBenefit.status" }'] })).toContain('fhirpath-failed')
  })

  test.each([
    ['2026-03-02T20:00:00Z', '2026-03-02T20:00:00.000Z'],
    ['2026-03-02T20:00:00.5+01:00', '2026-03-02T19:00:00.500Z'],
    ['2026-03', '2026-03-01T00:00:00.000Z'],
  ])('have times of their own form: %s', (created, instant) => {
    expect(fhir({}, { ...eob, created })).toMatchObject({ occurredAt: new Date(instant) })
  })

  test('with a time in no form stop', () => {
    expect(fhir({}, { ...eob, created: '20260302' })).toBe(
      'datetime-unreadable: ExplanationOfBenefit.created is not a time: it is not a FHIR dateTime',
    )
  })

  test.each([['not json'], ['[]'], ['"text"'], ['{}'], ['null']])('%s is none', (text) => {
    expect(outcomeOf({ input: 'fhir' }, Buffer.from(text))).toBe(
      'fhir-unreadable: it is not a FHIR resource in JSON',
    )
  })

  test('do not come over a channel for HL7v2', () => {
    expect(outcomeOf({}, eob)).toContain('hl7-no-msh')
  })
})
