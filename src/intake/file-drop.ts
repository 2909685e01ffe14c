import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { frameBytesMax } from '../domain/limits.ts'
import { Hl7File } from './hl7-file.ts'
import { NdjsonFile, type PatientLines } from './ndjson-file.ts'
import { Unsplittable, type Piece, type Splitter } from './split.ts'
import { X12Claims } from './x12-claims.ts'

export type FileFormat = 'hl7v2' | 'x12-835' | 'ndjson'

/** How a file stood when it was opened: what changes while it is read is still being written. */
export interface FileStand {
  readonly size: number
  readonly mtimeMs: number
}

export interface OpenedFile {
  /** The messages of the file, from its beginning; can be asked for again. @throws Unsplittable */
  pieces(): AsyncGenerator<Piece>
  /** Whether it still stands as it did. */
  isUnchanged(): Promise<boolean>
  /** The first bytes, for people who look at what could not be read. */
  head(bytesMax: number): Promise<Buffer>
  close(): Promise<void>
}

/** Unpacked; a day’s remittances of a large payer are some hundred MB. */
const fileBytesMax = 64 * 1024 * 1024 * 1024
const chunkBytes = 256 * 1024

/**
 * Opens a file that was dropped, and cuts it into messages as its bytes come: whatever its size, one message and one chunk
 * are in memory. Packed files (gzip) are known by their first bytes. Links are not followed.
 */
export async function openFile(path: string, format: FileFormat): Promise<OpenedFile> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  const patients: PatientLines = new Map()
  const before = await handle.stat()
  return {
    pieces: async function* () {
      const splitter = splitterFor(format, patients)
      const magic = await readHead(2)
      const isPacked = magic[0] === 0x1f && magic[1] === 0x8b
      const stream = isPacked
        ? pipeline(Readable.from(chunks()), createGunzip({ chunkSize: chunkBytes }), () => {})
        : chunks()
      let bytes = 0
      try {
        for await (const chunk of stream as AsyncIterable<Buffer>) {
          bytes += chunk.length
          if (bytes > fileBytesMax)
            throw new Unsplittable(
              `the file holds more than ${fileBytesMax} bytes: the sender has to split it`,
            )
          yield* splitter.push(chunk)
        }
        yield* splitter.end()
      } catch (error) {
        if (isPacked && /^(Z_|ERR_STREAM_PREMATURE_CLOSE)/.test(String((error as { code?: unknown }).code)))
          throw new Unsplittable(
            'the file cannot be unpacked (gzip): it was cut off or damaged, ask the sender for it again',
          )
        throw error
      }
    },
    async isUnchanged() {
      const after = await handle.stat()
      return after.size === before.size && after.mtimeMs === before.mtimeMs
    },
    head: (bytesMax) => readHead(bytesMax),
    close: () => handle.close(),
  }

  /** Each chunk in memory of its own: what is cut out of it may be kept for longer. */
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let at = 0; ;) {
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafeSlow(chunkBytes), 0, chunkBytes, at)
      if (bytesRead === 0) return
      at += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  }

  async function readHead(bytesMax: number): Promise<Buffer> {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(bytesMax), 0, bytesMax, 0)
    return buffer.subarray(0, bytesRead)
  }
}

function splitterFor(format: FileFormat, patients: PatientLines): Splitter {
  switch (format) {
    case 'hl7v2':
      return new Hl7File(frameBytesMax)
    case 'x12-835':
      return new X12Claims()
    case 'ndjson':
      return new NdjsonFile(frameBytesMax, patients)
  }
}
