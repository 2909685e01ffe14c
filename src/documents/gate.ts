import type { FailureCode } from '../domain/failure.ts'
import { compareIdentity, type NamedPerson } from '../domain/identity.ts'
import type { Patient } from '../domain/patient.ts'
import type { CdaHeader, InstanceIdentifier } from './cda-header.ts'
import { judgeConfidentiality, usualConfidentiality, type ConfidentialityPolicy } from './confidentiality.ts'
import { documentTypeOfTemplate } from './document-codes.ts'
import { readEffectiveTime, type EffectiveTime } from './effective-time.ts'
import { judgeBody, judgeLinks } from './outside-content.ts'
import { readCda, type DocumentBytes } from './read-cda.ts'

/** What the document has to be, before it may leave. */
export interface Expectations {
  /** Of the authorization; the document must be about her. */
  readonly patient: Patient
  /** Authority spellings from the settings → canonical authority. */
  readonly aliases: ReadonlyMap<string, string>
  /** LOINC codes of the documents that may be sent. */
  readonly documentCodes: readonly string[]
  /** When the event happened; absent for a push that answers a request, where the newest document will do. */
  readonly occurredAt?: Date
  /** How much older than the event the document may be. */
  readonly freshnessToleranceMs: number
  readonly bytesMax: number
  readonly sensitiveData: 'excluded' | 'included'
  /** Of the source; {@link usualConfidentiality} where absent. */
  readonly confidentiality?: ConfidentialityPolicy
  /** IANA name; for times without a zone. */
  readonly timezone: string
  readonly at: Date
}

/** Something unusual that stops nothing; kept with the document. */
export interface Finding {
  readonly code: string
  readonly because: string
}

/** What is kept about a document that passed. */
export interface PassedHeader {
  /** LOINC. */
  readonly code: string
  /** The first and the last moment that effectiveTime may mean. */
  readonly effectiveTime: Date
  readonly effectiveUntil: Date
  readonly setId?: string
  readonly versionNumber?: string
}

export type GateStep = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12

export type GateResult =
  | { readonly passed: true; readonly header: PassedHeader; readonly findings: readonly Finding[] }
  | {
      readonly passed: false
      readonly code: Extract<FailureCode, 'document-refused' | 'document-identity' | 'document-stale'>
      readonly step: GateStep
      /** For the analyst; quotes nothing of the document. */
      readonly because: string
    }

/** Clocks differ, and zones are forgotten; beyond that a document from the future is wrong. */
const futureMsMax = 24 * 60 * 60 * 1000

/**
 * May this document leave? In the order of domain.md 3: size, encoding, DOCTYPE and limits, well-formedness, root,
 * header, identity, type, time, confidentiality, body, links. The first step that fails says why. The bytes are read once and never
 * altered.
 */
export async function passGate(document: DocumentBytes, expected: Expectations): Promise<GateResult> {
  const reading = await readCda(document, expected.bytesMax)
  if (!reading.readable)
    return refused('document-refused', reading.step, `the document cannot be sent: ${reading.because}`)
  return judgeHeader(reading.header, expected)
}

/** Steps 6 to 12: pure. */
export function judgeHeader(header: CdaHeader, expected: Expectations): GateResult {
  const findings: Finding[] = headerFindings(header)

  // 6
  const missing = [
    ...(header.code === undefined ? ['code'] : []),
    ...(header.effectiveTime === undefined ? ['effectiveTime'] : []),
    ...(header.recordTargets === 0 ? ['recordTarget'] : []),
  ]
  if (missing.length > 0)
    return refused('document-refused', 6, `the header of the document lacks ${missing.join(', ')}`)

  // 7
  if (header.recordTargets > 1)
    return refused(
      'document-identity',
      7,
      `the document is about ${header.recordTargets} patients (recordTarget), not about one`,
    )
  // Identifiers of one and the name of another would make up somebody who agrees with the authorization.
  if (header.patients > 1)
    return refused(
      'document-identity',
      7,
      `the recordTarget of the document describes ${header.patients} patients, not one`,
    )
  const identity = compareIdentity(expected.patient, personOf(header), expected.aliases)
  if (!identity.same)
    return refused(
      'document-identity',
      7,
      `the document is not provably about the patient of the authorization: ${identity.because}`,
    )

  // 8
  const type = documentType(header, expected.documentCodes)
  if (type === undefined)
    return refused(
      'document-refused',
      8,
      `the document is of a type that is not among the allowed ones (${shownCode(header)}); see documents.codes in the settings`,
    )
  if (type.finding !== undefined) findings.push(type.finding)

  // 9
  const time = readEffectiveTime(header.effectiveTime!, expected.timezone)
  if (time === undefined)
    return refused('document-refused', 9, 'the effectiveTime of the document is no date and time')
  const untimely = judgeTime(time, expected)
  if (untimely !== undefined) return untimely

  // 10
  const labels = judgeConfidentiality(
    { whole: header.confidentiality, parts: header.innerConfidentiality },
    expected.confidentiality ?? usualConfidentiality,
    expected.sensitiveData,
  )
  if (labels.held) return refused('document-refused', 10, labels.because)
  if (labels.finding !== undefined) findings.push(labels.finding)

  // 11, 12
  const body = judgeBody(header)
  if (body !== undefined) return refused('document-refused', 11, body)
  const links = judgeLinks(header, findings)
  if (links !== undefined) return refused('document-refused', 12, links)

  const setId = header.setId === undefined ? undefined : spelled(header.setId)
  return {
    passed: true,
    header: {
      code: type.code,
      effectiveTime: time.earliest,
      effectiveUntil: time.latest,
      ...(setId === undefined ? {} : { setId }),
      ...(header.versionNumber === undefined ? {} : { versionNumber: header.versionNumber }),
    },
    findings,
  }
}

/** Deviations from the US Realm header that certified systems are known for, and what a receiver should know. */
function headerFindings(header: CdaHeader): Finding[] {
  const findings: Finding[] = []
  const note = (isSo: boolean, code: string, because: string) => isSo && findings.push({ code, because })
  note(header.realmCode !== 'US', 'realm', 'realmCode is not US')
  note(
    header.typeId?.root !== '2.16.840.1.113883.1.3' || header.typeId.extension !== 'POCD_HD000040',
    'type-id',
    'typeId is not that of CDA R2',
  )
  note(
    !header.templateIds.some(({ root }) => root === '2.16.840.1.113883.10.20.22.1.1'),
    'header-template',
    'the templateId of the US Realm header is missing',
  )
  note(header.id === undefined, 'id', 'the document has no id')
  note(!header.hasTitle, 'title', 'the document has no title')
  note(header.languageCode === undefined, 'language', 'the document has no languageCode')
  return findings
}

/** Never the identifier of the guardian or of a provider: only what stands in patientRole. */
function personOf({ patient }: CdaHeader): NamedPerson {
  return {
    identifiers: patient.ids.flatMap(({ root, extension }) =>
      root === undefined || extension === undefined ? [] : [{ system: root, value: extension }],
    ),
    families: patient.names.flatMap(({ parts }) =>
      parts.filter(({ kind }) => kind === 'family').map(({ text }) => text),
    ),
    ...(patient.birthTime === undefined ? {} : { birthDate: patient.birthTime }),
  }
}

/**
 * The code, one of its translations, or, where the code is a LOINC code nobody allows (HL7’s own Referral_Note.xml has
 * 57113-1 for 57133-1), what the templateId says. A code that is none at all is not made up for.
 */
function documentType(
  header: CdaHeader,
  allowed: readonly string[],
): { readonly code: string; readonly finding?: Finding } | undefined {
  const { code, translations = [] } = header.code ?? {}
  const byTemplate = header.templateIds
    .map(({ root }) => documentTypeOfTemplate(root))
    .filter((type) => type !== undefined)
  if (code !== undefined && allowed.includes(code)) {
    const isAgreed = byTemplate.length === 0 || byTemplate.some(({ codes }) => codes.includes(code))
    return isAgreed
      ? { code }
      : {
          code,
          finding: { code: 'code-template', because: 'document code and templateId name different types' },
        }
  }
  const translated = translations.find((translation) => allowed.includes(translation))
  if (translated !== undefined)
    return {
      code: translated,
      finding: { code: 'code-translation', because: 'the document type stands in a translation of the code' },
    }
  if (code === undefined || !/^\d{3,6}-\d$/.test(code)) return undefined
  const template = byTemplate.flatMap(({ codes }) => codes).find((known) => allowed.includes(known))
  return template === undefined
    ? undefined
    : {
        code: template,
        finding: {
          code: 'code-unknown',
          because: `the document code is not among the allowed ones, but the templateId says ${template}`,
        },
      }
}

function judgeTime(time: EffectiveTime, expected: Expectations): GateResult | undefined {
  if (time.earliest.getTime() > expected.at.getTime() + futureMsMax)
    return refused('document-refused', 9, 'the effectiveTime of the document lies in the future')
  if (
    expected.occurredAt !== undefined &&
    time.latest.getTime() < expected.occurredAt.getTime() - expected.freshnessToleranceMs
  )
    return refused(
      'document-stale',
      9,
      `the document is older than the event: made ${time.earliest.toISOString()}, event ${expected.occurredAt.toISOString()}, tolerance ${expected.freshnessToleranceMs / 60_000} minutes`,
    )
  return undefined
}

/** A LOINC code says nothing about a patient; anything else in its place might. */
function shownCode({ code }: CdaHeader): string {
  return code?.code !== undefined && /^\d{1,6}-\d$/.test(code.code)
    ? `LOINC ${code.code}`
    : 'its code is no LOINC code'
}

function spelled({ root, extension }: InstanceIdentifier): string | undefined {
  const parts = [root, extension].filter((part) => part !== undefined)
  return parts.length === 0 ? undefined : parts.join('^')
}

function refused(
  code: 'document-refused' | 'document-identity' | 'document-stale',
  step: GateStep,
  because: string,
): GateResult {
  return { passed: false, code, step, because }
}
