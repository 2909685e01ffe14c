import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { BlobTooLarge, chunkBytesMax, deleteBlob, readBlob, writeBlob } from '../../src/store/blobs.ts'
import { inTransaction, queryOf, type Query } from '../../src/store/query.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { noon } from './ellen.ts'

let database: TestDatabase
let query: Query
beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
})
afterAll(() => database.close())

const bytesMax = 10 * 1024 * 1024

const write = (source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, most = bytesMax) =>
  inTransaction(database.dataSource, (tx) => writeBlob(tx, 'document', source, most, noon))

async function read(id: string): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of readBlob(query, id)) pieces.push(piece)
  return Buffer.concat(pieces)
}

function* cut(bytes: Buffer, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

test.each([
  ['nothing', 0, 1],
  ['one byte', 1, 1],
  ['one chunk exactly', chunkBytesMax, chunkBytesMax],
  ['one byte more than a chunk, in odd pieces', chunkBytesMax + 1, 8191],
  ['several chunks, in one piece', 3 * chunkBytesMax + 5, 4 * chunkBytesMax],
])('%s comes back as it was stored, with its size and hash', async (_, bytes, pieceBytes) => {
  const content = randomBytes(bytes)
  const blob = await write(cut(content, pieceBytes))
  expect(blob).toMatchObject({ bytes, sha256: createHash('sha256').update(content).digest() })
  expect((await read(blob.id)).equals(content)).toBe(true)
})

test('no stored chunk is larger than the limit, however the bytes come', async () => {
  const { id } = await write([randomBytes(2 * chunkBytesMax + 1)])
  expect(
    await query(
      'SELECT ordinal, length(content) AS bytes FROM blob_chunk WHERE blob_id = $1 ORDER BY ordinal',
      [id],
    ),
  ).toEqual([
    { ordinal: 0, bytes: chunkBytesMax },
    { ordinal: 1, bytes: chunkBytesMax },
    { ordinal: 2, bytes: 1 },
  ])
})

test('a source without end is cut off at the limit and leaves nothing', async () => {
  let given = 0
  async function* endless() {
    for (;;) {
      given += 64 * 1024
      yield Buffer.alloc(64 * 1024)
    }
  }
  const before = await query('SELECT count(*) FROM blob')
  await expect(write(endless(), 1024 * 1024)).rejects.toThrow(BlobTooLarge)
  expect(given).toBeLessThanOrEqual(1024 * 1024 + 2 * chunkBytesMax)
  expect(await query('SELECT count(*) FROM blob')).toEqual(before)
})

test('exactly as many bytes as are allowed are allowed', async () => {
  expect(await write([Buffer.alloc(1000)], 1000)).toMatchObject({ bytes: 1000 })
  await expect(write([Buffer.alloc(1001)], 1000)).rejects.toThrow('larger than 1000 bytes')
})

test('a source that breaks leaves nothing behind', async () => {
  async function* breaking() {
    yield randomBytes(chunkBytesMax)
    throw new Error('connection lost')
  }
  const before = await query('SELECT count(*) FROM blob_chunk')
  await expect(write(breaking())).rejects.toThrow('connection lost')
  expect(await query('SELECT count(*) FROM blob_chunk')).toEqual(before)
})

test.each([
  [
    'a changed byte',
    `UPDATE blob_chunk SET content = set_byte(content, 3, 7) WHERE blob_id = $1 AND ordinal = 1`,
  ],
  ['a missing chunk in the middle', 'DELETE FROM blob_chunk WHERE blob_id = $1 AND ordinal = 1'],
  ['a missing end', 'DELETE FROM blob_chunk WHERE blob_id = $1 AND ordinal = 2'],
])('%s is noticed before the last chunk is given out', async (_, damage) => {
  const content = Buffer.alloc(2 * chunkBytesMax + 100, 1)
  const { id } = await write([content])
  await query(damage, [id])
  let given = 0
  const reading = async () => {
    for await (const piece of readBlob(query, id)) given += piece.length
  }
  await expect(reading()).rejects.toThrow(/is not what was stored: restore/)
  expect(given).toBeLessThan(content.length)
})

test('what never was, was deleted, or was forgotten is not an empty document', async () => {
  await expect(read(randomUUID())).rejects.toThrow(/does not exist/)
  const deleted = await write([Buffer.from('one')])
  await deleteBlob(query, deleted.id)
  await expect(read(deleted.id)).rejects.toThrow(/does not exist/)
  expect(await query('SELECT FROM blob_chunk WHERE blob_id = $1', [deleted.id])).toEqual([])
  const forgotten = await write([Buffer.from('two')])
  await query('UPDATE blob SET forgotten_at = $2 WHERE id = $1', [forgotten.id, noon])
  await expect(read(forgotten.id)).rejects.toThrow(/past their retention/)
})
