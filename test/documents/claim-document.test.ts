import { expect, test } from '@jest/globals'
import { judgeClaim, type ClaimExpectations } from '../../src/documents/claim-document.ts'
import { usualConfidentiality } from '../../src/documents/confidentiality.ts'

const mbi = 'http://payer.example/member'
const member = {
  resourceType: 'Patient',
  id: 'm-5',
  identifier: [{ system: mbi, value: 'E77' }],
  name: [{ family: 'Ross' }],
  birthDate: '1956-08-14',
}
const eob = {
  resourceType: 'ExplanationOfBenefit',
  id: 'c-9',
  status: 'active',
  patient: { reference: 'Patient/m-5' },
  diagnosis: [
    {
      diagnosisCodeableConcept: { coding: [{ system: 'http://hl7.org/fhir/sid/icd-10-cm', code: 'E119' }] },
    },
  ],
}

function judged(
  claim: object = eob,
  patient: object | undefined = member,
  changes: Partial<ClaimExpectations> = {},
) {
  const entry = [{ resource: claim }, ...(patient === undefined ? [] : [{ resource: patient }])]
  return judgeClaim(
    { resourceType: 'Bundle', type: 'collection', entry },
    {
      patient: { identifiers: [{ system: mbi, value: 'E77' }], family: 'Ross', birthDate: '1956-08-14' },
      aliases: new Map([[mbi, mbi]]),
      sensitiveData: 'excluded',
      confidentiality: usualConfidentiality,
      ...changes,
    },
  )
}
const labelled = (code: string) => ({
  ...eob,
  meta: { security: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-Confidentiality', code }] },
})
const diagnosed = (code: string) => ({
  ...eob,
  diagnosis: [
    { diagnosisCodeableConcept: { coding: [{ system: 'http://hl7.org/fhir/sid/icd-10-cm', code }] } },
  ],
})

test('the claim of the patient goes along as the payer’s server gave it', () => {
  const result = judged()
  expect(result).toMatchObject({ passed: true, type: 'ExplanationOfBenefit', findings: [] })
  expect(result?.passed === true && JSON.parse(result.bytes.toString())).toEqual(eob)
})

test.each([
  ['came without its patient', eob, undefined],
  ['names another patient than came with it', { ...eob, patient: { reference: 'Patient/m-6' } }, member],
  ['is of another member', eob, { ...member, identifier: [{ system: mbi, value: 'E78' }] }],
  ['is of a member with another birth date', eob, { ...member, birthDate: '1956-08-15' }],
  ['is of a member with another name', eob, { ...member, name: [{ family: 'Bates' }] }],
  ['is of a member without a name', eob, { ...member, name: undefined }],
])('a claim is refused that %s', (_, claim, patient) => {
  // Tests of "came without": the default must not stand in.
  const result =
    patient === undefined
      ? judgeClaim(
          { entry: [{ resource: claim }] },
          {
            patient: {
              identifiers: [{ system: mbi, value: 'E77' }],
              family: 'Ross',
              birthDate: '1956-08-14',
            },
            aliases: new Map([[mbi, mbi]]),
            sensitiveData: 'included',
            confidentiality: usualConfidentiality,
          },
        )
      : judged(claim, patient)
  expect(result).toMatchObject({ passed: false, code: 'document-identity' })
  expect(JSON.stringify(result)).not.toMatch(/Ross|Bates|E77|E78|1956/)
})

test.each([
  ['R', labelled('R')],
  ['V', labelled('V')],
  ['42CFRPart2', { ...eob, meta: { security: [{ system: 'x', code: '42CFRPart2' }] } }],
  ['SUD', { ...eob, meta: { security: [{ code: 'SUD' }] } }],
  ['a diagnosis of alcohol dependence', diagnosed('F10.20')],
  ['a diagnosis of opioid abuse', diagnosed('F1110')],
])('a claim with %s waits for a person, unless the authorization covers it', (_, claim) => {
  expect(judged(claim)).toMatchObject({ passed: false, code: 'document-refused' })
  expect(judged(claim, member, { sensitiveData: 'included' })).toMatchObject({ passed: true })
})

test.each([
  ['N', labelled('N')],
  ['tobacco', diagnosed('F17.210')],
  ['a diagnosis of another chapter', diagnosed('F32.9')],
])('a claim with %s passes', (_, claim) => {
  expect(judged(claim)).toMatchObject({ passed: true })
})

test('a cancelled claim is nothing to send, and other resources are no claims', () => {
  expect(judged({ ...eob, status: 'cancelled' })).toMatchObject({ passed: false, code: 'document-refused' })
  expect(judged({ ...eob, resourceType: 'Encounter' })).toBeUndefined()
})
