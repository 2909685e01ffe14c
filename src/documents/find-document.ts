import { createHash } from 'node:crypto'
import type { FhirResource } from 'fhir-kit-client'
import { Failed } from '../domain/failure.ts'
import { compareIdentity, strongIdentifiers } from '../domain/identity.ts'
import { canonicalAuthority, type Identifier, type Patient } from '../domain/patient.ts'
import { decodeBase64, unwrapBinary } from './binary.ts'
import { readDocumentReference, type ListedDocument } from './document-reference.ts'
import { readFhirPatient, type FhirPatient } from '../domain/fhir-patient.ts'
import { isId, type FhirServer } from './fhir-server.ts'

export interface WantedDocument {
  /** Of the authorization. */
  readonly patient: Patient
  /** Authority spellings from the settings → canonical authority; a FHIR server may use any of them as `system`. */
  readonly aliases: ReadonlyMap<string, string>
  /** LOINC codes of the documents that may be sent. */
  readonly documentCodes: readonly string[]
  /** Older ones are not fetched where the server says how old they are. Absent: the newest, however old. */
  readonly freshAfter?: Date
  readonly bytesMax: number
  /** Logical id of the FHIR Encounter, where the event came from this FHIR server. */
  readonly encounter?: string
  /** LOINC codes of one further document, which goes along where the server has a current one. */
  readonly additionalCodes?: readonly string[]
  /** LOINC code to ask `$docref` for by POST, where asking without a type gives nothing. */
  readonly docrefType?: string
}

export interface FoundDocument {
  /** The document as the server holds it, not altered; the gate has not seen it yet. */
  readonly bytes: Buffer
  /** Where it came from: server, resource and how it was found. No PHI. */
  readonly source: string
  readonly fetchedAt: Date
}

export interface FoundDocuments {
  readonly summary: FoundDocument
  readonly additional: readonly FoundDocument[]
}

/** R4 search: one page of this many; newest first. */
const pageEntries = 50
/** A merged record points to its survivor, which may have been merged again. */
const mergesMax = 3

/**
 * The newest clinical summary the server has for this patient: she is found by identifier and checked, then `$docref` is
 * asked (US Core), else DocumentReferences are searched. With it, the newest of the additional types, if there is one.
 *
 * @throws Failed `patient-unknown` | `document-identity` | `document-missing` | `document-stale` | `document-refused` |
 *   `fhir-unavailable` | `fhir-refused`
 */
export async function findDocuments(
  server: FhirServer,
  wanted: WantedDocument,
  at: Date,
): Promise<FoundDocuments> {
  const patient = await findPatient(server, wanted)
  const summary = await newestDocument(server, patient, wanted)
  const additional = await additionalDocument(server, patient, wanted)
  return {
    summary: await fetched(server, summary, wanted, at),
    additional:
      additional === undefined || (additional.document.id ?? '') === summary.document.id
        ? []
        : [await fetched(server, additional, wanted, at)],
  }
}

async function fetched(
  server: FhirServer,
  { document, how }: Choice,
  wanted: WantedDocument,
  at: Date,
): Promise<FoundDocument> {
  const bytes = await fetchContent(server, document, wanted.bytesMax)
  const id = document.id === undefined ? '' : `/${document.id}`
  return { bytes, source: `${server.name} DocumentReference${id} (${how})`, fetchedAt: at }
}

/** By search alone: `$docref` without a type gives the summary. One that is not there, or too old, is not waited for. */
async function additionalDocument(
  server: FhirServer,
  patient: ResolvedPatient,
  { additionalCodes = [], ...wanted }: WantedDocument,
): Promise<Choice | undefined> {
  if (additionalCodes.length === 0) return undefined
  try {
    return await searchedDocument(server, patient, { ...wanted, documentCodes: additionalCodes })
  } catch (error) {
    if (error instanceof Failed && (error.code === 'document-missing' || error.code === 'document-stale'))
      return undefined
    throw error
  }
}

interface ResolvedPatient {
  readonly id: string
  /** The ids that were merged into this one: documents may still name them. */
  readonly ids: ReadonlySet<string>
}

async function findPatient(server: FhirServer, wanted: WantedDocument): Promise<ResolvedPatient> {
  const identifiers = strongIdentifiers(wanted.patient.identifiers, wanted.aliases)
  if (identifiers.length === 0)
    throw new Failed(
      'patient-unknown',
      'the authorization has no identifier that a FHIR server could be asked for',
    )
  const found = new Map<string, FhirPatient>()
  for (const identifier of identifiers)
    for (const resource of await server.search('Patient', {
      identifier: searchTokens(identifier, wanted.aliases),
    })) {
      const patient = readFhirPatient(resource)
      if (patient !== undefined) found.set(patient.id, patient)
    }
  if (found.size === 0)
    throw new Failed(
      'patient-unknown',
      `${server.name} knows no patient by any of the ${identifiers.length} identifiers of the authorization`,
    )

  const survivors = new Map<string, FhirPatient>()
  for (const patient of found.values()) {
    const survivor = await followMerges(server, patient)
    survivors.set(survivor.id, survivor)
  }
  if (survivors.size > 1)
    throw new Failed(
      'document-identity',
      `${server.name} has ${survivors.size} patients with identifiers of this authorization; merge them, or correct the authorization`,
    )
  const [survivor] = survivors.values()
  // The server’s word that it searched is not enough: the resource must carry the identifier, and nothing may veto.
  const identity = compareIdentity(wanted.patient, survivor!, wanted.aliases)
  if (!identity.same)
    throw new Failed(
      'document-identity',
      `the patient on ${server.name} is not provably that of the authorization: ${identity.because}`,
    )
  return { id: survivor!.id, ids: new Set([survivor!.id, ...found.keys()]) }
}

/** R4 Patient.link `replaced-by`: the record that took this one’s place, on the same server only. */
async function followMerges(server: FhirServer, from: FhirPatient): Promise<FhirPatient> {
  let patient = from
  for (let merges = 0; patient.replacedBy.length > 0; merges++) {
    const [next] = patient.replacedBy
    if (patient.replacedBy.length > 1 || merges >= mergesMax || !isId(next!))
      throw new Failed(
        'document-identity',
        `${server.name} says that the patient’s record was replaced, but not clearly by which`,
      )
    const resource = await server.read('Patient', next!)
    const successor = resource === undefined ? undefined : readFhirPatient(resource)
    if (successor === undefined)
      throw new Failed(
        'document-identity',
        `${server.name} says that the patient’s record was replaced, but does not have the other one`,
      )
    patient = successor
  }
  return patient
}

/** `system|value`, once for every spelling of the authority that is a URI; R4 §3.1.1.5: a comma means “or”. */
function searchTokens(identifier: Identifier, aliases: ReadonlyMap<string, string>): string {
  const spellings = [identifier.system]
  for (const [alias, authority] of aliases)
    if (
      canonicalAuthority(authority, aliases) === identifier.system &&
      /^[A-Za-z][A-Za-z0-9+.-]*:/.test(alias)
    )
      spellings.push(alias)
  return [...new Set(spellings)].map((system) => `${escaped(system)}|${escaped(identifier.value)}`).join(',')
}

/** R4 §3.1.1.4.0.1: `\`, `,`, `|` and `$` mean something in a search value. */
function escaped(text: string): string {
  return text.replace(/[\\,|$]/g, '\\$&')
}

interface Choice {
  readonly document: ListedDocument
  readonly how: string
}

async function newestDocument(
  server: FhirServer,
  patient: ResolvedPatient,
  wanted: WantedDocument,
): Promise<Choice> {
  // What $docref lists may be made anew when it is fetched: its dates are not held against it.
  const current = await server.operation('DocumentReference', '$docref', { patient: patient.id })
  const first = chosen(server, current ?? [], patient, wanted, '$docref')
  if (first !== undefined) return first
  if (wanted.docrefType !== undefined) {
    const typed = await server.operation(
      'DocumentReference',
      '$docref',
      docrefParameters(patient.id, wanted.docrefType),
    )
    const second = chosen(server, typed ?? [], patient, wanted, '$docref by type')
    if (second !== undefined) return second
  }
  return searchedDocument(server, patient, wanted)
}

/** Of the visit where it is known, else of the patient. */
async function searchedDocument(
  server: FhirServer,
  patient: ResolvedPatient,
  wanted: WantedDocument,
): Promise<Choice> {
  let stale: Failed | undefined
  const encounters = wanted.encounter !== undefined && isId(wanted.encounter) ? [wanted.encounter] : []
  for (const encounter of [...encounters, undefined]) {
    const listed = await searchDocuments(server, patient, wanted, encounter)
    const choice = chosen(
      server,
      listed,
      patient,
      wanted,
      encounter === undefined ? 'search' : 'search by encounter',
    )
    if (choice === undefined) continue
    const { date } = choice.document
    if (date === undefined || wanted.freshAfter === undefined || date >= wanted.freshAfter) return choice
    stale = new Failed(
      'document-stale',
      `the newest document on ${server.name} is of ${date.toISOString()}, wanted is one after ${wanted.freshAfter.toISOString()}`,
    )
  }
  if (stale !== undefined) throw stale
  throw new Failed('document-missing', `${server.name} lists no current clinical summary for the patient`)
}

async function searchDocuments(
  server: FhirServer,
  patient: ResolvedPatient,
  wanted: WantedDocument,
  encounter: string | undefined,
): Promise<FhirResource[]> {
  const parameters = {
    patient: patient.id,
    type: wanted.documentCodes.map((code) => `http://loinc.org|${escaped(code)}`).join(','),
    status: 'current',
    ...(encounter === undefined ? {} : { encounter }),
    _count: String(pageEntries),
  }
  try {
    return await server.search('DocumentReference', { ...parameters, _sort: '-date' })
  } catch (error) {
    // Some servers refuse what they cannot sort by; the order is made here anyway.
    const status =
      error instanceof Failed ? (error.detail as { status?: number } | undefined)?.status : undefined
    if (status !== 400 && status !== 422) throw error
    return server.search('DocumentReference', parameters)
  }
}

function docrefParameters(patient: string, code: string): FhirResource {
  return {
    resourceType: 'Parameters',
    parameter: [
      { name: 'patient', valueId: patient },
      { name: 'type', valueCodeableConcept: { coding: [{ system: 'http://loinc.org', code }] } },
    ],
  }
}

/** The newest fitting one; newest first, and of one DocumentReference the content that fits best. */
function chosen(
  server: FhirServer,
  listed: readonly FhirResource[],
  patient: ResolvedPatient,
  wanted: WantedDocument,
  how: string,
): Choice | undefined {
  const documents = listed.flatMap((resource) => readDocumentReference(resource) ?? [])
  const ours = documents.filter(({ patientId }) => patientId === undefined || patient.ids.has(patientId))
  if (documents.length > 0 && ours.length === 0)
    throw new Failed('document-identity', `${server.name} answered with documents of another patient`)
  const [document] = ours
    .filter(({ codes }) => codes.length === 0 || codes.some((code) => wanted.documentCodes.includes(code)))
    .sort((a, b) => (b.date?.getTime() ?? -Infinity) - (a.date?.getTime() ?? -Infinity) || a.rank - b.rank)
  return document === undefined ? undefined : { document, how }
}

async function fetchContent(
  server: FhirServer,
  { attachment }: ListedDocument,
  bytesMax: number,
): Promise<Buffer> {
  let bytes: Buffer
  if (attachment.data !== undefined) {
    const decoded = decodeBase64(attachment.data)
    if (decoded === undefined)
      throw new Failed('document-refused', `${server.name} gave a document in broken base64`)
    bytes = decoded
  } else {
    // A server that answers with the Binary resource after all wraps it in base64, which is a third longer.
    const fetched = await server.bytes(attachment.url!, Math.ceil(bytesMax * 1.4) + 65_536)
    bytes = unwrapBinary(fetched.bytes, server.name)
  }
  if (bytes.length > bytesMax)
    throw new Failed('document-refused', `the document on ${server.name} is larger than ${bytesMax} bytes`)
  if (attachment.size !== undefined && attachment.size !== bytes.length)
    throw new Failed(
      'document-refused',
      `${server.name} announced ${attachment.size} bytes, but the document has ${bytes.length}`,
    )
  if (attachment.hash !== undefined && !hasHash(bytes, attachment.hash))
    throw new Failed(
      'document-refused',
      `the document on ${server.name} does not have the hash announced for it`,
    )
  return bytes
}

/** R4 Attachment.hash: SHA-1, base64. Seen as well: hexadecimal, and SHA-256 by length. Other lengths say nothing. */
function hasHash(bytes: Buffer, announced: string): boolean {
  const isHex = /^([0-9a-f]{40}|[0-9a-f]{64})$/i.test(announced)
  const expected = Buffer.from(announced, isHex ? 'hex' : 'base64')
  const algorithm = expected.length === 20 ? 'sha1' : expected.length === 32 ? 'sha256' : undefined
  return algorithm === undefined || createHash(algorithm).update(bytes).digest().equals(expected)
}
