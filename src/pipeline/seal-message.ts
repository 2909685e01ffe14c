import { randomUUID } from 'node:crypto'
import type { Authorization } from '../domain/authorization.ts'
import type { DirectAddress } from '../domain/direct-address.ts'
import { Failed } from '../domain/failure.ts'
import { fullName } from '../domain/patient.ts'
import { schedule } from '../jobs/schedule.ts'
import type { Algorithms } from '../seal/algorithms.ts'
import type { Sealer } from '../seal/seal.ts'
import { deleteBlob, readBlob, writeBlob, type StoredBlob } from '../store/blobs.ts'
import { insertSealed } from '../store/deliveries.ts'
import { documentsFor, type StoredDocument } from '../store/documents.ts'
import { inTransaction, queryOf, type Query } from '../store/query.ts'
import { recordOccurrence, type Transmission } from '../store/transmissions.ts'
import { judgeAgain, lockJudged } from './judge-again.ts'
import type { DocumentPorts } from './obtain-document.ts'
import type { Recipients } from './recipients.ts'

export type AlgorithmsFor = (address: string) => Pick<Algorithms, 'content' | 'keyTransport'>

export interface SealPorts extends Pick<DocumentPorts, 'dataSource' | 'documents' | 'now'> {
  readonly dataHolder: { readonly name: string; readonly address: DirectAddress } | undefined
  readonly sealer: Sealer | undefined
  /** SHA-256 of the certificates that sign at that moment, for the record of what left. */
  readonly signerFingerprints: (at: Date) => readonly string[]
  /** What was agreed with the HISP of an address. */
  readonly algorithmsFor: AlgorithmsFor
}

export interface Ready {
  readonly transmission: Transmission
  readonly recipients: Recipients
}

/**
 * Seals one message for all who are ready, stores its bytes, and writes down for each transmission that it is sealed.
 * Nobody is named who was refused meanwhile: each is judged again before the bytes are theirs.
 *
 * @param ready their addresses must agree in the content cipher: there is one for the whole message
 * @param documents the clinical summary first
 * @param destinations everybody the message was meant for, also those it is not encrypted to
 * @throws Failed signing-key-missing, and what sealing fails with
 */
export async function sealMessage(
  ports: SealPorts,
  ready: readonly Ready[],
  authorization: Authorization,
  documents: readonly StoredDocument[],
  destinations: readonly string[],
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
      to: destinations,
      outerTo: ready.map(({ transmission }) => transmission.destination),
      messageId,
      date,
      subject: `Health record of ${patientName}`,
      dataHolder: dataHolder.name,
      patientName,
      recurring: authorization.frequency.type !== 'once',
      asksForDelivery: ready.some(({ transmission }) => transmission.deliveryRequested),
      documents: documents.map(({ fileName, mediaType, bytes, blobId }) => ({
        fileName,
        mediaType,
        bytes,
        chunks: () => readBlob(queryOf(ports.dataSource), blobId),
      })),
      recipients: ready.flatMap(({ transmission: { destination }, recipients }) => {
        const { keyTransport } = ports.algorithmsFor(destination)
        return recipients.certificates.map(({ der }) => ({ certificate: der, keyTransport }))
      }),
      algorithms: { content: ports.algorithmsFor(ready[0]!.transmission.destination).content },
    },
    // What is stored is copied first, so the memory of each piece can go back at once.
    { freesTaken: true },
  )
  // Asked for in the same turn as sealing was begun: keys may be exchanged in the next.
  const signerFingerprints = ports.signerFingerprints(date)
  await inTransaction(ports.dataSource, async (query) => {
    const bytesMax = sealedBytesMax(ports.documents.bytesMax)
    const blob = await writeBlob(query, 'sealed', sealed.chunks, bytesMax, date)
    let isSomebodys = false
    // Always in the same order: two that lock the same ones wait for each other, and not in a circle.
    for (const one of ready.toSorted((a, b) => (a.transmission.id < b.transmission.id ? -1 : 1)))
      isSomebodys =
        (await assign(ports, query, one, { blob, messageId, signerFingerprints, documents })) || isSomebodys
    if (!isSomebodys) await deleteBlob(query, blob.id)
  })
}

/** @returns false where it is not permitted any more: these bytes are not this transmission’s */
async function assign(
  ports: SealPorts,
  query: Query,
  { transmission: { id: transmissionId, occurredAt }, recipients }: Ready,
  {
    blob,
    messageId,
    signerFingerprints,
    documents,
  }: {
    readonly blob: StoredBlob
    readonly messageId: string
    readonly signerFingerprints: readonly string[]
    readonly documents: readonly StoredDocument[]
  },
): Promise<boolean> {
  const at = ports.now()
  const locked = await lockJudged(query, transmissionId)
  if (locked === undefined || !(await judgeAgain(query, locked, at))) return false
  // Another event of the visit became part of it meanwhile: the document may be older than that.
  if (locked.transmission.occurredAt.getTime() !== occurredAt.getTime())
    throw new Failed('document-stale', 'something more happened while the document was fetched')
  await insertSealed(
    query,
    {
      transmissionId,
      blobId: blob.id,
      messageId,
      recipientFingerprints: recipients.certificates.map((certificate) => certificate.fingerprint),
      signerFingerprints,
    },
    at,
  )
  const { advance } = await recordOccurrence(query, locked.transmission, { what: 'sealed' }, at, {
    dueAt: at,
    attempts: 0,
    firstAttemptAt: null,
    messageId,
    documentId: await documentsFor(query, documents, transmissionId),
    trace: recipients.trace,
    authorizationVersion: locked.authorization.version,
    detail: {
      bytes: blob.bytes,
      sha256: blob.sha256.toString('hex'),
      certificates: recipients.certificates.length,
    },
  })
  if (advance.outcome === 'moved') await schedule(query, [{ task: 'step', transmissionId, dueAt: at }])
  return true
}

/** Base64 twice is 1.88 times the document, and the rest is small. */
function sealedBytesMax(documentBytesMax: number): number {
  return documentBytesMax * 2 + 1024 * 1024
}
