import { createHash, randomUUID } from 'node:crypto'
import type { DataSource } from 'typeorm'
import type { ConfidentialityPolicy } from '../documents/confidentiality.ts'
import type { FoundDocuments, WantedDocument } from '../documents/find-document.ts'
import { passGate, type Finding, type PassedHeader } from '../documents/gate.ts'
import type { Authorization } from '../domain/authorization.ts'
import { Failed, type FailureCode, type RetryPlan } from '../domain/failure.ts'
import type { TriggerKind } from '../domain/trigger-event.ts'
import { writeBlob } from '../store/blobs.ts'
import { documentsOf, insertDocument, type StoredDocument } from '../store/documents.ts'
import { inTransaction, queryOf } from '../store/query.ts'
import type { Transmission } from '../store/transmissions.ts'
import {
  broughtDocuments,
  type Brought,
  type BroughtPorts,
  type Candidate,
  type CdaCandidate,
} from './brought-documents.ts'

/** A place documents come from: a FHIR server, a folder. */
export interface DocumentPlace {
  readonly name: string
  /** What it means by the labels on its documents. */
  readonly confidentiality: ConfidentialityPolicy
  find(wanted: WantedDocument, at: Date): Promise<FoundDocuments>
}

export interface DocumentPorts extends GatherPorts {
  readonly dataSource: DataSource
  readonly now: () => Date
}

/** What documents are found and judged with. */
export interface GatherPorts extends BroughtPorts {
  /** Asked in this order. */
  readonly places: readonly DocumentPlace[]
  readonly documents: {
    readonly codes: readonly string[]
    /** By trigger: what goes along with the summary. */
    readonly additional: ReadonlyMap<TriggerKind, readonly string[]>
    readonly bytesMax: number
    readonly freshnessToleranceMs: number
    readonly retry: RetryPlan
  }
  readonly timezone: string
}

/**
 * What a transmission sends, the clinical summary first: what its messages brought along, else what the places have.
 * Fetched once: what passed the gate is what is sent, however often the rest has to be tried again, unless something
 * happened since that it is too old for.
 *
 * @throws Failed for documents that cannot be had or may not be sent
 */
export async function obtainDocuments(
  ports: DocumentPorts,
  transmission: Transmission,
  authorization: Authorization,
): Promise<readonly StoredDocument[]> {
  const query = queryOf(ports.dataSource)
  const stored = await documentsOf(query, transmission.id)
  if (stored.length > 0 && isFreshFor(ports, transmission, stored[0]!)) return stored
  const at = ports.now()
  const brought = await broughtDocuments(ports, query, transmission.id, authorization)
  const passed = await gatherDocuments(ports, transmission, authorization, brought, at)
  return keepDocuments(ports, transmission, passed, at)
}

/** What happened, and when. */
type Occasion = Pick<Transmission, 'cause' | 'occurredAt'>

/**
 * The documents that would be sent: found, and let through by the gate; nothing is kept.
 *
 * @throws Failed as {@link obtainDocuments}
 */
export async function gatherDocuments(
  ports: GatherPorts,
  occasion: Occasion,
  authorization: Authorization,
  brought: Brought,
  at: Date,
): Promise<Passed[]> {
  const candidates = brought.candidates.some(({ role }) => role === 'clinical-summary')
    ? brought.candidates
    : [...(await findAtPlaces(ports, occasion, authorization, brought, at)), ...brought.candidates]
  const passed: Passed[] = []
  for (const candidate of withoutRepeats(candidates)) {
    const one = await pass(ports, occasion, authorization, candidate, at)
    if (one !== undefined) passed.push(one)
  }
  return passed
}

function isFreshFor(
  { documents }: DocumentPorts,
  { cause, occurredAt }: Transmission,
  { effectiveUntil }: StoredDocument,
): boolean {
  if (!isOfEvent(cause) || effectiveUntil === null) return true
  return effectiveUntil.getTime() >= occurredAt.getTime() - documents.freshnessToleranceMs
}

/** Where nothing happened that a document could be too old for: the one push of a request, or a time of the calendar. */
function isOfEvent(cause: Transmission['cause']): boolean {
  return cause !== 'request' && cause !== 'interval'
}

/** What one place lacks, the next may have; where none has it, the most hopeful answer counts. */
const isLacking: Partial<Record<FailureCode, number>> = {
  'document-stale': 3,
  'document-missing': 2,
  'patient-unknown': 1,
}

async function findAtPlaces(
  ports: GatherPorts,
  { cause, occurredAt }: Occasion,
  authorization: Authorization,
  { encounter }: Brought,
  at: Date,
): Promise<CdaCandidate[]> {
  const { documents, places } = ports
  const additionalCodes = cause === 'request' ? undefined : documents.additional.get(cause)
  let lack: Failed | undefined
  for (const { name, confidentiality, find } of places) {
    try {
      const found = await find(
        {
          patient: authorization.patient,
          aliases: ports.aliases,
          documentCodes: documents.codes,
          ...(isOfEvent(cause)
            ? { freshAfter: new Date(occurredAt.getTime() - documents.freshnessToleranceMs) }
            : {}),
          bytesMax: documents.bytesMax,
          ...(encounter?.server === name ? { encounter: encounter.id } : {}),
          ...(additionalCodes === undefined ? {} : { additionalCodes }),
        },
        at,
      )
      const common = { kind: 'cda', confidentiality } as const
      return [
        { ...common, role: 'clinical-summary', bytes: found.summary.bytes, source: found.summary.source },
        ...found.additional.map(({ bytes, source }) => ({
          ...common,
          role: 'additional' as const,
          bytes,
          source,
        })),
      ]
    } catch (error) {
      if (!(error instanceof Failed)) throw error
      const hope = isLacking[error.code]
      if (hope === undefined) throw error
      if (lack === undefined || hope > isLacking[lack.code]!) lack = error
    }
  }
  throw (
    lack ??
    new Failed(
      'fhir-refused',
      'there is nowhere to get documents from: add a server under fhirServers, or a source under documents.sources',
    )
  )
}

/** The same bytes go once: as the clinical summary, where they are that. */
function withoutRepeats(candidates: readonly Candidate[]): Candidate[] {
  const seen = new Set<string>()
  return candidates
    .toSorted((a, b) => Number(b.role === 'clinical-summary') - Number(a.role === 'clinical-summary'))
    .filter(({ bytes }) => {
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      return !seen.has(sha256) && seen.add(sha256)
    })
}

interface Passed {
  readonly candidate: Candidate
  readonly header?: PassedHeader
  readonly mediaType: string
  readonly fileName: string
  readonly findings: readonly Finding[]
}

/** Undefined for a further document that is of no kind that goes along, or older than the event. */
async function pass(
  ports: GatherPorts,
  { cause, occurredAt }: Occasion,
  authorization: Authorization,
  candidate: Candidate,
  at: Date,
): Promise<Passed | undefined> {
  const { documents } = ports
  if (candidate.kind === 'checked') {
    if (candidate.bytes.length > documents.bytesMax)
      throw new Failed('document-refused', `${candidate.source} is larger than ${documents.bytesMax} bytes`)
    return { candidate, ...candidate }
  }
  const isAdditional = candidate.role === 'additional'
  const gate = await passGate(candidate.bytes, {
    patient: authorization.patient,
    aliases: ports.aliases,
    documentCodes: isAdditional
      ? [...new Set([...documents.codes, ...[...documents.additional.values()].flat()])]
      : documents.codes,
    ...(isOfEvent(cause) ? { occurredAt } : {}),
    freshnessToleranceMs: documents.freshnessToleranceMs,
    bytesMax: documents.bytesMax,
    sensitiveData: authorization.sensitiveData,
    confidentiality: candidate.confidentiality,
    timezone: ports.timezone,
    at,
  })
  if (gate.passed)
    return {
      candidate,
      header: gate.header,
      mediaType: 'application/xml',
      fileName: isAdditional ? (fileNames.get(gate.header.code) ?? 'document.xml') : 'clinical-summary.xml',
      findings: gate.findings,
    }
  if (isAdditional && gate.code === 'document-stale') return undefined
  throw new Failed(
    gate.code,
    isAdditional ? `a document that would go along was refused: ${gate.because}` : gate.because,
    { detail: { step: gate.step, source: candidate.source } },
  )
}

const fileNames = new Map([
  ['18842-5', 'discharge-summary.xml'],
  ['57133-1', 'referral-note.xml'],
  ['18761-7', 'transfer-summary.xml'],
  ['11506-3', 'progress-note.xml'],
])

function keepDocuments(
  { dataSource, documents: { bytesMax } }: DocumentPorts,
  { id: transmissionId }: Transmission,
  passed: readonly Passed[],
  at: Date,
): Promise<StoredDocument[]> {
  const bytes = passed.reduce((sum, { candidate }) => sum + candidate.bytes.length, 0)
  if (bytes > bytesMax)
    throw new Failed(
      'message-too-large',
      `the ${passed.length} documents have ${bytes} bytes together, and documents.bytesMax is ${bytesMax}`,
    )
  const taken = new Set<string>()
  return inTransaction(dataSource, async (query) => {
    const kept: StoredDocument[] = []
    for (const { candidate, header, mediaType, fileName, findings } of passed) {
      const blob = await writeBlob(query, 'document', [candidate.bytes], bytesMax, at)
      const document: StoredDocument = {
        id: randomUUID(),
        transmissionId,
        role: candidate.role,
        blobId: blob.id,
        bytes: blob.bytes,
        sha256: blob.sha256.toString('hex'),
        mediaType,
        fileName: numbered(fileName, taken),
        code: header?.code ?? null,
        effectiveTime: header?.effectiveTime ?? null,
        effectiveUntil: header?.effectiveUntil ?? null,
        setId: header?.setId ?? null,
        versionNumber: header?.versionNumber ?? null,
        fetchedAt: at,
      }
      await insertDocument(query, { ...document, source: candidate.source, findings }, at)
      kept.push(document)
    }
    return kept
  })
}

/** `document.pdf`, `document-2.pdf`. */
function numbered(fileName: string, taken: Set<string>): string {
  const dot = fileName.lastIndexOf('.')
  let name = fileName
  for (let count = 2; taken.has(name); count++)
    name = `${fileName.slice(0, dot)}-${count}${fileName.slice(dot)}`
  taken.add(name)
  return name
}
