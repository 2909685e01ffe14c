import type { FailureCode } from '../domain/failure.ts'
import { objects, patientIdOf, readFhirPatient, text } from '../domain/fhir-patient.ts'
import { compareIdentity } from '../domain/identity.ts'
import type { Patient } from '../domain/patient.ts'
import { judgeConfidentiality, type ConfidentialityPolicy } from './confidentiality.ts'
import type { Finding } from './gate.ts'

export interface ClaimExpectations {
  /** Of the authorization; the claim must be hers. */
  readonly patient: Patient
  readonly aliases: ReadonlyMap<string, string>
  readonly sensitiveData: 'excluded' | 'included'
  readonly confidentiality: ConfidentialityPolicy
}

export type ClaimResult =
  | {
      readonly passed: true
      /** FHIR JSON, as the payer’s server gave the resource. */
      readonly bytes: Buffer
      readonly type: ClaimType
      readonly findings: readonly Finding[]
    }
  | {
      readonly passed: false
      readonly code: Extract<FailureCode, 'document-refused' | 'document-identity'>
      readonly because: string
    }

type ClaimType = 'ExplanationOfBenefit' | 'ClaimResponse'

type Resource = Readonly<Record<string, unknown>>

const confidentialitySystem = 'http://terminology.hl7.org/CodeSystem/v3-Confidentiality'

/** Kinds of sensitive information of HL7 v3 ActCode: each is restricted, whatever the confidentiality code says. */
const sensitivities = new Set(
  '42CFRPart2 ADOL BH COGN DVD EMOTDIS ETH ETHUD GDIS HIV MH MST OPIOIDUD PREGNANT PSY PSYTHPN SCA SDV SEX SICKLE SPI STD SUD SUICIDE TBOO VIO'.split(
    ' ',
  ),
)
/** ICD-10-CM F10–F19: what CMS withholds as substance use claims; F17 is tobacco. */
const substanceUse = /^F1[0-689](\D|\d|$)/i

/**
 * May this claim go along? The collection holds the resource and the Patient it is about, both as the configured server gave
 * them. `undefined` where it is no claim.
 */
export function judgeClaim(collection: Resource, expected: ClaimExpectations): ClaimResult | undefined {
  const [claim, about] = objects(collection['entry']).map(({ resource }) => resource as Resource | undefined)
  const type = claim?.['resourceType']
  if (claim === undefined || (type !== 'ExplanationOfBenefit' && type !== 'ClaimResponse')) return undefined
  if (claim['status'] !== 'active')
    return refused('document-refused', 'the claim is not active; a cancelled one is nothing to send')

  const patient = about === undefined ? undefined : readFhirPatient(about)
  if (patient === undefined || patientIdOf(claim['patient']) !== patient.id)
    return refused('document-identity', 'the claim came without the Patient it is about')
  const identity = compareIdentity(expected.patient, patient, expected.aliases)
  if (!identity.same)
    return refused(
      'document-identity',
      `the claim is not provably about the patient of the authorization: ${identity.because}`,
    )

  const labels = judgeConfidentiality(labelsOf(claim), expected.confidentiality, expected.sensitiveData)
  if (labels.held) return refused('document-refused', labels.because.replaceAll('the document', 'the claim'))
  return {
    passed: true,
    bytes: Buffer.from(JSON.stringify(claim)),
    type,
    findings: labels.finding === undefined ? [] : [labels.finding],
  }
}

function labelsOf(claim: Resource): {
  readonly whole: string | undefined
  readonly parts: readonly string[]
} {
  const security = objects((claim['meta'] as Resource | undefined)?.['security'])
  const codes = security.flatMap((label) => {
    const code = text(label['code'])
    return code === undefined ? [] : [{ code, system: text(label['system']) }]
  })
  const [whole, ...more] = codes
    .filter(({ system }) => system === confidentialitySystem)
    .map(({ code }) => code)
  const isSensitive =
    codes.some(({ code }) => sensitivities.has(code)) ||
    objects(claim['diagnosis']).some(({ diagnosisCodeableConcept }) =>
      objects((diagnosisCodeableConcept as Resource | undefined)?.['coding']).some(
        ({ system, code }) => /icd-?10/i.test(text(system) ?? '') && substanceUse.test(text(code) ?? ''),
      ),
    )
  // Where it says nothing, a claim is as confidential as claims are: the payer’s feed labels what is more.
  return { whole: whole ?? 'N', parts: [...more, ...(isSensitive ? ['R'] : [])] }
}

function refused(code: 'document-refused' | 'document-identity', because: string): ClaimResult {
  return { passed: false, code, because }
}
