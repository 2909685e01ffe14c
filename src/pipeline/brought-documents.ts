import { judgeClaim } from '../documents/claim-document.ts'
import type { ConfidentialityPolicy } from '../documents/confidentiality.ts'
import type { Finding } from '../documents/gate.ts'
import type { Authorization } from '../domain/authorization.ts'
import type { ChannelPlan } from '../domain/channel.ts'
import { Failed } from '../domain/failure.ts'
import { objects } from '../domain/fhir-patient.ts'
import { compareIdentity } from '../domain/identity.ts'
import { embeddedDocuments } from '../lib/hl7v2-documents.ts'
import { evaluate } from '../mapping/evaluate.ts'
import { isQuarantined, openInput } from '../mapping/input.ts'
import { messagesBehind, type DocumentRole, type SpeakingMessage } from '../store/documents.ts'
import type { Query } from '../store/query.ts'

/** A document that may be sent if it passes. */
export type Candidate = CdaCandidate | CheckedCandidate

interface CandidatePart {
  readonly role: DocumentRole
  readonly bytes: Buffer
  /** Where it came from, for people. No PHI. */
  readonly source: string
}

/** It says itself whose it is: the gate reads it. */
export interface CdaCandidate extends CandidatePart {
  readonly kind: 'cda'
  readonly confidentiality: ConfidentialityPolicy
}

/** It cannot say whose it is, or was asked already: identity was checked by what it came with. */
export interface CheckedCandidate extends CandidatePart {
  readonly kind: 'checked'
  readonly mediaType: string
  readonly fileName: string
  readonly findings: readonly Finding[]
}

export interface BroughtPorts {
  readonly plan: (channel: string) => ChannelPlan | undefined
  readonly confidentialityOf: (channel: string) => ConfidentialityPolicy
  readonly aliases: ReadonlyMap<string, string>
}

export interface Brought {
  readonly candidates: readonly Candidate[]
  /** The visit as a FHIR server names it, where the message came from one. */
  readonly encounter?: { readonly server: string; readonly id: string }
}

/**
 * What the messages behind a transmission bring along, on channels that say `attach`: the C-CDA and PDF in OBX-5, or the
 * claim. Nothing that a channel attaches is left out in silence: what cannot be read is held.
 *
 * @throws Failed `document-forgotten` | `document-refused` | `document-identity`
 */
export async function broughtDocuments(
  ports: BroughtPorts,
  query: Query,
  transmissionId: string,
  authorization: Authorization,
): Promise<Brought> {
  return broughtBy(ports, await messagesBehind(query, transmissionId), authorization)
}

/** {@link broughtDocuments} of messages that are at hand. */
export function broughtBy(
  ports: BroughtPorts,
  messages: readonly SpeakingMessage[],
  authorization: Authorization,
): Brought {
  const candidates: Candidate[] = []
  let encounter: Brought['encounter']
  for (const message of messages) {
    const plan = ports.plan(message.channel)
    if (plan === undefined) continue
    if (plan.mapping.input === 'fhir' && message.content !== null)
      encounter = encounterIn(message) ?? encounter
    if (plan.attach !== undefined) candidates.push(...takeOut(ports, plan, message, authorization))
  }
  return { candidates: oneSummary(candidates), ...(encounter === undefined ? {} : { encounter }) }
}

function takeOut(
  ports: BroughtPorts,
  plan: ChannelPlan,
  message: SpeakingMessage,
  authorization: Authorization,
): Candidate[] {
  if (message.content === null)
    throw new Failed(
      'document-forgotten',
      `message ${message.id}, which may have brought a document, is past the retention of channel ${plan.name}`,
    )
  const input = openInput(plan, message.content)
  if (isQuarantined(input))
    throw new Failed('document-refused', `message ${message.id} cannot be read again: ${input.because}`)
  const role = plan.attach === 'summary' ? 'clinical-summary' : 'additional'
  if (input.type === 'x12') return []
  if (input.type === 'fhir') return claimIn(ports, plan, message, authorization, role)
  return embeddedDocuments(input.message).map((found): Candidate => {
    const source = `message ${message.id} ${found.place}`
    if (found.kind === 'unreadable')
      throw new Failed('document-refused', `the document in ${source} cannot be read: ${found.because}`)
    if (found.kind === 'cda')
      return {
        kind: 'cda',
        role,
        bytes: found.bytes,
        source,
        confidentiality: ports.confidentialityOf(plan.name),
      }
    checkMessage(ports, plan, message, authorization)
    // A PDF alone is no clinical summary.
    return {
      kind: 'checked',
      role: 'additional',
      bytes: found.bytes,
      source,
      mediaType: 'application/pdf',
      fileName: 'document.pdf',
      findings: [],
    }
  })
}

/** A PDF says nothing of whom it is about: the message it came in does, and is asked once more. */
function checkMessage(
  { aliases }: BroughtPorts,
  plan: ChannelPlan,
  message: SpeakingMessage,
  { patient }: Authorization,
): void {
  const told = evaluate(plan, message.content!, message.receivedAt)
  if (told.decision !== 'trigger')
    throw new Failed(
      'document-refused',
      `message ${message.id} would not be sent by the channel as it is now: ${told.because}`,
    )
  const { identifiers = [], family, birthDate } = told.event.patient
  const identity = compareIdentity(
    patient,
    {
      identifiers,
      families: family === undefined ? [] : [family],
      ...(birthDate === undefined ? {} : { birthDate }),
    },
    aliases,
  )
  if (!identity.same)
    throw new Failed(
      'document-identity',
      `the document in message ${message.id} is not provably about the patient of the authorization: ${identity.because}`,
    )
}

function claimIn(
  ports: BroughtPorts,
  plan: ChannelPlan,
  message: SpeakingMessage,
  authorization: Authorization,
  role: DocumentRole,
): Candidate[] {
  const collection = JSON.parse(message.content!.toString('utf8')) as Readonly<Record<string, unknown>>
  const claim = judgeClaim(collection, {
    patient: authorization.patient,
    aliases: ports.aliases,
    sensitiveData: authorization.sensitiveData,
    confidentiality: ports.confidentialityOf(plan.name),
  })
  if (claim === undefined) return []
  if (!claim.passed) throw new Failed(claim.code, `message ${message.id}: ${claim.because}`)
  return [
    {
      kind: 'checked',
      role,
      bytes: claim.bytes,
      source: `message ${message.id} ${claim.type}`,
      mediaType: 'application/fhir+json',
      fileName: claim.type === 'ExplanationOfBenefit' ? 'explanation-of-benefit.json' : 'claim-response.json',
      findings: claim.findings,
    },
  ]
}

/** There is one clinical summary, the C-CDA or claim that came last; the others go along. */
function oneSummary(candidates: readonly Candidate[]): Candidate[] {
  const last = candidates.findLastIndex(({ role }) => role === 'clinical-summary')
  return candidates.map((candidate, index) =>
    index === last ? candidate : { ...candidate, role: 'additional' },
  )
}

/** An Encounter itself, or the one that a report or document names. */
function encounterIn({ content, sender }: SpeakingMessage): Brought['encounter'] {
  const collection = JSON.parse(content!.toString('utf8')) as Record<string, unknown>
  const [first] = objects(collection['entry'])
  const focus = (first?.['resource'] ?? collection) as Record<string, unknown>
  if (focus['resourceType'] === 'Encounter')
    return typeof focus['id'] === 'string' ? { server: sender, id: focus['id'] } : undefined
  const context = (focus['context'] ?? {}) as Record<string, unknown>
  const reference = [focus['encounter'], ...objects(context['encounter'])]
    .map((one) => (one as { reference?: unknown } | null | undefined)?.reference)
    .find((one) => typeof one === 'string')
  const id = /(?:^|\/)Encounter\/([A-Za-z0-9\-.]{1,64})(?:\/_history\/.*)?$/.exec(String(reference))?.[1]
  return id === undefined ? undefined : { server: sender, id }
}
