import { randomUUID } from 'node:crypto'
import type { DataSource } from 'typeorm'
import { findDocument, type FoundDocument } from '../documents/find-document.ts'
import type { FhirServer } from '../documents/fhir-server.ts'
import { passGate } from '../documents/gate.ts'
import type { Authorization } from '../domain/authorization.ts'
import type { DirectAddress } from '../domain/direct-address.ts'
import { Failed, type RetryPlan } from '../domain/failure.ts'
import { fullName } from '../domain/patient.ts'
import { schedule } from '../jobs/schedule.ts'
import type { Sealer } from '../seal/seal.ts'
import { deleteBlob, readBlob, writeBlob } from '../store/blobs.ts'
import { documentOf, insertDocument, insertSealed, type StoredDocument } from '../store/deliveries.ts'
import { inTransaction, queryOf } from '../store/query.ts'
import { recordOccurrence, type Transmission } from '../store/transmissions.ts'
import { judgeAgain, lockJudged } from './judge-again.ts'
import { attemptFailed } from './attempt-failed.ts'
import { trustedRecipients, type RecipientPorts, type Recipients } from './recipients.ts'

export interface PreparePorts extends RecipientPorts {
  readonly dataSource: DataSource
  readonly dataHolder: { readonly name: string; readonly address: DirectAddress } | undefined
  readonly fhirServer: FhirServer | undefined
  readonly documents: {
    readonly codes: readonly string[]
    readonly bytesMax: number
    readonly freshnessToleranceMs: number
    readonly retry: RetryPlan
    readonly treatRestrictedAs: 'restricted' | 'normal'
  }
  readonly timezone: string
  readonly aliases: ReadonlyMap<string, string>
  readonly sealer: Sealer | undefined
  /** SHA-256 of the certificates that sign, for the record of what left. */
  readonly signerFingerprints: readonly string[]
  readonly keyTransport: 'pkcs1' | 'oaep-sha256' | 'oaep-sha1'
  readonly now: () => Date
  readonly jitter: () => number
}

/**
 * waiting → sealed: the document is fetched and passes the gate, the recipient’s certificates are found and trusted, the
 * message is built, signed and encrypted, and its bytes are stored. Whatever goes wrong is written down with its reason.
 */
export async function prepare(ports: PreparePorts, transmissionId: string): Promise<void> {
  const started = await start(ports, transmissionId)
  if (started === undefined) return
  const { transmission, authorization } = started
  try {
    const document = await storedDocument(ports, transmission, authorization)
    const recipients = await trustedRecipients(ports, transmission.destination, ports.now())
    await seal(ports, transmission, authorization, document, recipients)
  } catch (error) {
    if (!(error instanceof Failed)) throw error
    await attemptFailed(ports, transmissionId, error, ports.documents.retry)
  }
}

interface Started {
  readonly transmission: Transmission
  readonly authorization: Authorization
}

/** The authorization is judged before anything is asked of anybody: a revoked one fetches no document. */
function start(ports: PreparePorts, transmissionId: string): Promise<Started | undefined> {
  return inTransaction(ports.dataSource, async (query) => {
    const at = ports.now()
    const locked = await lockJudged(query, transmissionId)
    if (locked === undefined) return undefined
    if (!(await judgeAgain(query, locked, at))) return undefined
    const { transmission, authorization } = locked
    const { advance, after } = await recordOccurrence(query, transmission, { what: 'preparing' }, at, {
      dueAt: at,
      attempts: transmission.attempts + 1,
      firstAttemptAt: transmission.firstAttemptAt ?? at,
    })
    return advance.outcome === 'moved' ? { transmission: after, authorization } : undefined
  })
}

/** Fetched once: what passed the gate is what is sent, however often the rest has to be tried again. */
async function storedDocument(
  ports: PreparePorts,
  transmission: Transmission,
  authorization: Authorization,
): Promise<StoredDocument> {
  const stored = await documentOf(queryOf(ports.dataSource), transmission.id)
  if (stored !== undefined) return stored
  if (ports.fhirServer === undefined)
    throw new Failed(
      'fhir-refused',
      'no FHIR server is configured: add one under fhirServers, and name it under documents.server',
    )
  const at = ports.now()
  const { documents } = ports
  const freshAfter =
    transmission.cause === 'request'
      ? undefined
      : new Date(transmission.occurredAt.getTime() - documents.freshnessToleranceMs)
  const found = await findDocument(
    ports.fhirServer,
    {
      patient: authorization.patient,
      aliases: ports.aliases,
      documentCodes: documents.codes,
      ...(freshAfter === undefined ? {} : { freshAfter }),
      bytesMax: documents.bytesMax,
    },
    at,
  )
  return keepDocument(ports, transmission, authorization, found, at)
}

async function keepDocument(
  ports: PreparePorts,
  transmission: Transmission,
  authorization: Authorization,
  found: FoundDocument,
  at: Date,
): Promise<StoredDocument> {
  const { documents } = ports
  const gate = await passGate(found.bytes, {
    patient: authorization.patient,
    aliases: ports.aliases,
    documentCodes: documents.codes,
    ...(transmission.cause === 'request' ? {} : { occurredAt: transmission.occurredAt }),
    freshnessToleranceMs: documents.freshnessToleranceMs,
    bytesMax: documents.bytesMax,
    sensitiveData: authorization.sensitiveData,
    treatRestrictedAs: documents.treatRestrictedAs,
    timezone: ports.timezone,
    at,
  })
  if (!gate.passed)
    throw new Failed(gate.code, gate.because, { detail: { step: gate.step, source: found.source } })
  return inTransaction(ports.dataSource, async (query) => {
    const blob = await writeBlob(query, 'document', [found.bytes], documents.bytesMax, at)
    const document: StoredDocument = {
      id: randomUUID(),
      transmissionId: transmission.id,
      blobId: blob.id,
      bytes: blob.bytes,
      mediaType: 'application/xml',
      fileName: 'clinical-summary.xml',
    }
    await insertDocument(
      query,
      {
        ...document,
        source: found.source,
        documentCode: gate.header.code,
        effectiveTime: gate.header.effectiveTime,
        setId: gate.header.setId ?? null,
        versionNumber: gate.header.versionNumber ?? null,
        findings: gate.findings,
      },
      at,
    )
    return document
  })
}

async function seal(
  ports: PreparePorts,
  transmission: Transmission,
  authorization: Authorization,
  document: StoredDocument,
  recipients: Recipients,
): Promise<void> {
  const { dataHolder, sealer } = ports
  if (dataHolder === undefined || sealer === undefined)
    throw new Failed(
      'signing-key-missing',
      'no signing certificate and key are configured for the data holder’s address',
    )
  const date = ports.now()
  // Opaque and unique: neither the patient nor the event can be read from it.
  const messageId = `<${randomUUID()}@${dataHolder.address.domain}>`
  const patientName = fullName(authorization.patient)
  const sealed = sealer.seal(
    {
      from: dataHolder.address.text,
      to: [transmission.destination],
      messageId,
      date,
      subject: `Health record of ${patientName}`,
      dataHolder: dataHolder.name,
      patientName,
      recurring: authorization.frequency.type !== 'once',
      documents: [
        {
          fileName: document.fileName,
          mediaType: document.mediaType,
          bytes: document.bytes,
          chunks: () => readBlob(queryOf(ports.dataSource), document.blobId),
        },
      ],
      recipients: recipients.certificates.map((certificate) => certificate.der),
      algorithms: { keyTransport: ports.keyTransport },
    },
    // What is stored is copied first, so the memory of each piece can go back at once.
    { freesTaken: true },
  )
  await inTransaction(ports.dataSource, async (query) => {
    const blob = await writeBlob(
      query,
      'sealed',
      sealed.chunks,
      sealedBytesMax(ports.documents.bytesMax),
      date,
    )
    const at = ports.now()
    const locked = await lockJudged(query, transmission.id)
    if (locked === undefined || !(await judgeAgain(query, locked, at))) return deleteBlob(query, blob.id)
    await insertSealed(
      query,
      {
        transmissionId: transmission.id,
        blobId: blob.id,
        messageId,
        recipientFingerprints: recipients.certificates.map((certificate) => certificate.fingerprint),
        signerFingerprints: ports.signerFingerprints,
      },
      at,
    )
    const { advance } = await recordOccurrence(query, locked.transmission, { what: 'sealed' }, at, {
      dueAt: at,
      attempts: 0,
      firstAttemptAt: null,
      messageId,
      documentId: document.id,
      trace: recipients.trace,
      authorizationVersion: locked.authorization.version,
      detail: {
        bytes: blob.bytes,
        sha256: blob.sha256.toString('hex'),
        certificates: recipients.certificates.length,
      },
    })
    if (advance.outcome === 'moved')
      await schedule(query, [{ task: 'step', transmissionId: transmission.id, dueAt: at }])
  })
}

/** Base64 twice is 1.88 times the document, and the rest is small. */
function sealedBytesMax(documentBytesMax: number): number {
  return documentBytesMax * 2 + 1024 * 1024
}
