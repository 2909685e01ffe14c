import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import { readBlob, writeBlob } from '../../src/store/blobs.ts'
import {
  closeAttempt,
  forgetSealed,
  insertSealed,
  openAttempt,
  readAttempts,
  sealedOf,
} from '../../src/store/deliveries.ts'
import { documentsOf, insertDocument } from '../../src/store/documents.ts'
import { inTransaction, queryOf, type Query } from '../../src/store/query.ts'
import { dropPast } from '../../src/store/retention.ts'
import { readDocuments } from '../../src/store/views.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { anAuthorization, aTransmission, minutesAfter, noon } from './ellen.ts'

let database: TestDatabase
let query: Query
let authorizationId: string
beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
  authorizationId = (await anAuthorization(database.dataSource)).id
})
afterAll(() => database.close())

const aBlob = (kind: 'document' | 'sealed' | 'mail', text: string, at = noon) =>
  inTransaction(database.dataSource, (tx) => writeBlob(tx, kind, [Buffer.from(text)], 1000, at))

/** A transmission with a document and sealed bytes. */
async function aSealed() {
  const id = await aTransmission(database.dataSource, authorizationId)
  const [document, sealed] = [
    await aBlob('document', '<ClinicalDocument/>'),
    await aBlob('sealed', 'ciphertext'),
  ]
  const row = {
    id: randomUUID(),
    transmissionId: id,
    blobId: document.id,
    mediaType: 'application/xml',
    fileName: 'clinical-summary.xml',
    source: 'fhir Binary/1',
    role: 'clinical-summary' as const,
    code: '34133-9',
    effectiveTime: noon,
    effectiveUntil: noon,
    setId: null,
    versionNumber: null,
    findings: [{ step: 'freshness' }],
  }
  await insertDocument(query, row, noon)
  const message = {
    transmissionId: id,
    blobId: sealed.id,
    messageId: `<${randomUUID()}@ashby.example>`,
    recipientFingerprints: ['ab'],
    signerFingerprints: ['cd'],
  }
  await insertSealed(query, message, noon)
  return { id, document, sealed, message }
}

const ended = (id: string, at: Date) => query('UPDATE transmission SET ended_at = $2 WHERE id = $1', [id, at])

async function read(blobId: string): Promise<string> {
  let text = ''
  for await (const piece of readBlob(query, blobId)) text += piece.toString()
  return text
}

test('what is sent is found again: the document that passed, the bytes that were sealed, once', async () => {
  const { id, document, sealed, message } = await aSealed()
  expect((await documentsOf(query, id))[0]).toMatchObject({
    blobId: document.id,
    bytes: 19,
    fileName: 'clinical-summary.xml',
  })
  expect(await sealedOf(query, id)).toEqual({ ...message, bytes: 10 })
  expect(await read(sealed.id)).toBe('ciphertext')
  await expect(insertSealed(query, message, noon)).rejects.toThrow(/duplicate key/)
  expect(await readDocuments(query, id)).toMatchObject([
    {
      bytes: 19,
      sha256: document.sha256.toString('hex'),
      source: 'fhir Binary/1',
      findings: [{ step: 'freshness' }],
    },
  ])
})

test('the ciphertext of a stopped disclosure is gone whole', async () => {
  const { id, sealed } = await aSealed()
  await forgetSealed(query, id)
  expect(await sealedOf(query, id)).toBeUndefined()
  await expect(read(sealed.id)).rejects.toThrow(/does not exist/)
})

test('ciphertext that two transmissions share stays until the last of them is stopped', async () => {
  const { id, sealed, message } = await aSealed()
  const other = await aTransmission(database.dataSource, authorizationId, {
    destination: 'second@direct.somephr.example',
  })
  await insertSealed(query, { ...message, transmissionId: other }, noon)
  await forgetSealed(query, id)
  expect(await sealedOf(query, id)).toBeUndefined()
  expect(await read(sealed.id)).toBe('ciphertext')
  await forgetSealed(query, other)
  await expect(read(sealed.id)).rejects.toThrow(/does not exist/)
})

test('attempts are opened before the first byte, counted up, and closed with what came of them', async () => {
  const { id } = await aSealed()
  expect(await openAttempt(query, id, false, noon)).toBe(1)
  expect(await readAttempts(query, id)).toMatchObject([{ startedAt: noon, endedAt: null, outcome: null }])
  await closeAttempt(query, id, 'ambiguous', 'mx.example', 'x'.repeat(600), minutesAfter(1))
  expect(await openAttempt(query, id, true, minutesAfter(2))).toBe(2)
  await closeAttempt(query, id, 'submitted', 'mx.example', '250 ok', minutesAfter(3))
  expect(await readAttempts(query, id)).toEqual([
    {
      startedAt: noon,
      endedAt: minutesAfter(1),
      nextHop: 'mx.example',
      outcome: 'ambiguous',
      resend: false,
      reply: 'x'.repeat(500),
    },
    {
      startedAt: minutesAfter(2),
      endedAt: minutesAfter(3),
      nextHop: 'mx.example',
      outcome: 'submitted',
      resend: true,
      reply: '250 ok',
    },
  ])
})

test('past its retention what ended loses its bytes and keeps its facts; what has not ended keeps everything', async () => {
  const dayMs = 86_400_000
  const at = new Date(noon.getTime() + 400 * dayMs)
  const [past, recent, open] = [await aSealed(), await aSealed(), await aSealed()]
  await ended(past.id, minutesAfter(5))
  await ended(recent.id, new Date(at.getTime() - 2 * dayMs))
  const orphan = await aBlob('sealed', 'nobody’s')
  await query(
    `INSERT INTO fragment (channel, received_at, peer, because, bytes, content)
     VALUES ('adt', $1, '::1', 'old', 1, '\\x00'), ('adt', $2, '::1', 'new', 1, '\\x00')`,
    [noon, at],
  )
  await dropPast(database.dataSource, 30 * dayMs, 365 * dayMs, at)

  for (const blob of [past.document, past.sealed, orphan])
    await expect(read(blob.id)).rejects.toThrow(/past their retention/)
  expect(await readDocuments(query, past.id)).toMatchObject([
    { sha256: past.document.sha256.toString('hex') },
  ])
  expect([(await documentsOf(query, past.id))[0], await sealedOf(query, past.id)]).toEqual([
    undefined,
    undefined,
  ])
  for (const kept of [recent, open]) {
    expect(await read(kept.sealed.id)).toBe('ciphertext')
    expect(await documentsOf(query, kept.id)).toHaveLength(1)
  }
  expect(await query('SELECT because FROM fragment')).toEqual([{ because: 'new' }])
  const [left] = await query(
    `SELECT count(*)::int AS chunks FROM blob_chunk JOIN blob ON blob.id = blob_id WHERE forgotten_at IS NOT NULL`,
  )
  expect(left).toEqual({ chunks: 0 })
})
