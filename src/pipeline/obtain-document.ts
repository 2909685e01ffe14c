import { randomUUID } from 'node:crypto'
import type { DataSource } from 'typeorm'
import { findDocument, type FoundDocument } from '../documents/find-document.ts'
import type { FhirServer } from '../documents/fhir-server.ts'
import type { ConfidentialityPolicy } from '../documents/confidentiality.ts'
import { passGate } from '../documents/gate.ts'
import type { Authorization } from '../domain/authorization.ts'
import { Failed, type RetryPlan } from '../domain/failure.ts'
import { writeBlob } from '../store/blobs.ts'
import { documentOf, insertDocument, type StoredDocument } from '../store/deliveries.ts'
import { inTransaction, queryOf } from '../store/query.ts'
import type { Transmission } from '../store/transmissions.ts'

export interface DocumentPorts {
  readonly dataSource: DataSource
  readonly fhirServer: FhirServer | undefined
  readonly documents: {
    readonly codes: readonly string[]
    readonly bytesMax: number
    readonly freshnessToleranceMs: number
    readonly retry: RetryPlan
    readonly confidentiality: ConfidentialityPolicy
  }
  readonly timezone: string
  readonly aliases: ReadonlyMap<string, string>
  readonly now: () => Date
}

/**
 * The document that a transmission sends. Fetched once: what passed the gate is what is sent, however often the rest has
 * to be tried again.
 *
 * @throws Failed for a document that cannot be had or may not be sent
 */
export async function obtainDocument(
  ports: DocumentPorts,
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
  ports: DocumentPorts,
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
    confidentiality: documents.confidentiality,
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
