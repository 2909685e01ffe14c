import { createHash, randomUUID } from 'node:crypto'
import type { Query } from './query.ts'

/** Documents, sealed messages and inbound mail are kept in pieces of this size, so that none is ever held whole. */
export const chunkBytesMax = 512 * 1024

export interface StoredBlob {
  readonly id: string
  readonly bytes: number
  readonly sha256: Buffer
}

export type BlobKind = 'document' | 'sealed' | 'mail' | 'inbox'

/**
 * Stores a stream as it comes. Belongs into a transaction: chunks of a stream that breaks must not stay.
 *
 * @throws what the source throws; {@link BlobTooLarge} past `bytesMax`
 */
export async function writeBlob(
  query: Query,
  kind: BlobKind,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  bytesMax: number,
  at: Date,
): Promise<StoredBlob> {
  const id = randomUUID()
  const hash = createHash('sha256')
  let bytes = 0
  let ordinal = 0
  await query('INSERT INTO blob (id, kind, bytes, sha256, created_at) VALUES ($1, $2, 0, $3, $4)', [
    id,
    kind,
    Buffer.alloc(32),
    at,
  ])
  for await (const chunk of inChunks(source, chunkBytesMax)) {
    bytes += chunk.length
    if (bytes > bytesMax) throw new BlobTooLarge(bytesMax)
    hash.update(chunk)
    await query('INSERT INTO blob_chunk (blob_id, ordinal, content) VALUES ($1, $2, $3)', [
      id,
      ordinal++,
      chunk,
    ])
  }
  const sha256 = hash.digest()
  await query('UPDATE blob SET bytes = $2, sha256 = $3 WHERE id = $1', [id, bytes, sha256])
  return { id, bytes, sha256 }
}

/**
 * The bytes of a blob, one stored chunk at a time; each chunk is one short query, so no transaction is held open. The
 * last chunk is given out only when the hash over all of them is right: nobody takes a damaged blob for a whole one.
 *
 * @throws an Error where the blob is gone, forgotten at retention, or not what was stored
 */
export async function* readBlob(query: Query, id: string): AsyncGenerator<Buffer> {
  const [stored] = await query<{ sha256: Buffer; isForgotten: boolean }>(
    'SELECT sha256, forgotten_at IS NOT NULL AS "isForgotten" FROM blob WHERE id = $1',
    [id],
  )
  if (stored === undefined) throw new Error(`blob ${id} does not exist`)
  if (stored.isForgotten) throw new Error(`the bytes of blob ${id} are past their retention and were dropped`)
  const hash = createHash('sha256')
  let last: Buffer | undefined
  for (let ordinal = 0; ; ordinal++) {
    const [row] = await query<{ content: Buffer }>(
      'SELECT content FROM blob_chunk WHERE blob_id = $1 AND ordinal = $2',
      [id, ordinal],
    )
    if (row === undefined) break
    hash.update(row.content)
    if (last !== undefined) yield last
    last = row.content
  }
  if (!hash.digest().equals(stored.sha256))
    throw new Error(`blob ${id} is not what was stored: restore the database from a backup`)
  if (last !== undefined) yield last
}

/** Takes a blob away whole: for bytes whose reason to exist ended before anything came to refer to them. */
export async function deleteBlob(query: Query, id: string): Promise<void> {
  await query('DELETE FROM blob WHERE id = $1', [id])
}

export class BlobTooLarge extends Error {
  constructor(bytesMax: number) {
    super(`larger than ${bytesMax} bytes`)
    this.name = 'BlobTooLarge'
  }
}

/**
 * Regroups a stream into pieces of exactly `size` bytes, the last one shorter. Each is good until the next is asked for;
 * nothing of the source is kept, so that it may use its memory again.
 */
async function* inChunks(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  size: number,
): AsyncGenerator<Buffer> {
  const chunk = Buffer.allocUnsafe(size)
  let filled = 0
  for await (const piece of source) {
    for (let taken = 0; taken < piece.length;) {
      const part = piece.subarray(taken, taken + size - filled)
      chunk.set(part, filled)
      filled += part.length
      taken += part.length
      if (filled === size) {
        yield chunk
        filled = 0
      }
    }
  }
  if (filled > 0) yield chunk.subarray(0, filled)
}
