import { Failed } from '../domain/failure.ts'
import { freeMemory } from '../lib/free-memory.ts'
import { wrongLength, type PlainOrder, type SealDocument, type SealOrder } from './seal-order.ts'
import { unpooled, type SealingThread } from './sealing-thread.ts'
import { pieceBytes, piecesMax, type FromThread } from './thread-messages.ts'

/** One message being sealed. Everything fails with the same error; leaving the loop over `chunks` early cancels. */
export interface SealedStream {
  /** The sealed message, once. */
  readonly chunks: AsyncIterable<Buffer>
  /** Its octets, known when the first chunk is. */
  readonly bytes: Promise<number>
  /** Resolves with its octets when the last chunk has been made. */
  readonly done: Promise<number>
  cancel(): void
}

export interface RunningOrder {
  readonly stream: SealedStream
  fail(error: Error): void
}

/** The threads, lent out one order at a time. */
export interface Pool {
  /** The thread with the fewest orders, as soon as one has room. */
  acquire(): Promise<SealingThread>
  release(thread: SealingThread): void
}

type State =
  | { readonly is: 'waiting' | 'done' }
  | { readonly is: 'running'; readonly thread: SealingThread }
  | { readonly is: 'failed'; readonly error: Error }

/** This side of an order: brings the document's pieces to the thread and hands out what comes back. */
export function runOrder(id: number, order: SealOrder, pool: Pool, freesTaken: boolean): RunningOrder {
  const announced = Promise.withResolvers<number>()
  const done = Promise.withResolvers<number>()
  // A caller who only reads the chunks learns of a failure there.
  announced.promise.catch(() => {})
  done.promise.catch(() => {})

  const sealed: (readonly ArrayBuffer[])[] = []
  let state: State = { is: 'waiting' }
  let piecesOut = 0
  let untilChange = Promise.withResolvers<void>()
  const become = (next: State) => {
    if (state.is === 'running' && next.is !== 'running') state.thread.end(id)
    state = next
    change()
  }
  const change = () => {
    untilChange.resolve()
    untilChange = Promise.withResolvers<void>()
  }
  const isOpen = () => state.is === 'waiting' || state.is === 'running'

  const fail = (error: Error) => {
    if (!isOpen()) return
    if (state.is === 'running') state.thread.say({ id, what: 'cancel' })
    sealed.length = 0
    announced.reject(error)
    done.reject(error)
    become({ is: 'failed', error })
  }
  const cancel = () => fail(new Error('sealing was cancelled'))

  const heard = (message: FromThread) => {
    if (!isOpen()) return
    if (message.what === 'failed') {
      const { code, because } = message
      fail(code === undefined ? new Error(because) : new Failed(code, because))
      return
    }
    piecesOut -= message.returned.length
    sealed.push(message.chunks)
    announced.resolve(message.bytesInAll)
    if (message.isLast) {
      done.resolve(message.bytesInAll)
      become({ is: 'done' })
    } else change()
  }

  const run = async () => {
    const thread = await pool.acquire()
    try {
      if (!isOpen()) return
      become({ is: 'running', thread })
      thread.begin(id, { heard, fail })
      thread.say({ id, what: 'order', order: plainOf(order) })
      for (const [index, document] of order.documents.entries())
        for await (const { memory, bytes } of pieces(document, index, () => thread.memory())) {
          while (isOpen() && piecesOut >= piecesMax) await untilChange.promise
          if (!isOpen()) return
          piecesOut++
          thread.say({ id, what: 'piece', memory, bytes }, [memory])
        }
      while (isOpen()) await untilChange.promise
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)))
    } finally {
      pool.release(thread)
    }
  }
  void run()

  async function* chunks(): AsyncGenerator<Buffer, void, undefined> {
    try {
      for (;;) {
        const batch = sealed.shift()
        if (batch) {
          if (state.is === 'running') state.thread.say({ id, what: 'taken' })
          for (const memory of batch) {
            const chunk = Buffer.from(memory)
            yield chunk
            if (freesTaken) freeMemory(chunk)
          }
        } else if (state.is === 'failed') throw state.error
        else if (state.is === 'done') return
        else await untilChange.promise
      }
    } finally {
      cancel()
    }
  }
  return { stream: { chunks: chunks(), bytes: announced.promise, done: done.promise, cancel }, fail }
}

/** The order without what a thread cannot be given. */
function plainOf(order: SealOrder): PlainOrder {
  return {
    ...order,
    documents: order.documents.map(({ fileName, mediaType, bytes }) => ({ fileName, mediaType, bytes })),
    recipients: order.recipients.map((one) =>
      'certificate' in one ? { ...one, certificate: unpooled(one.certificate) } : unpooled(one),
    ),
  }
}

/**
 * Copies a document into pieces of the size the thread likes best: memory of the source cannot be given away. The last
 * piece leaves when the source has ended, so that a document that is longer than announced is never sealed in part.
 */
async function* pieces(
  document: SealDocument,
  index: number,
  memoryForPiece: () => ArrayBuffer,
): AsyncGenerator<{ memory: ArrayBuffer; bytes: number }> {
  let memory: ArrayBuffer | undefined
  let bytes = 0
  let came = 0
  for await (const chunk of document.chunks()) {
    came += chunk.length
    if (came > document.bytes) throw wrongLength(index, document.bytes)
    for (let from = 0; from < chunk.length;) {
      if (memory && bytes === pieceBytes) {
        yield { memory, bytes }
        memory = undefined
        bytes = 0
      }
      memory ??= memoryForPiece()
      const part = chunk.subarray(from, from + pieceBytes - bytes)
      new Uint8Array(memory).set(part, bytes)
      bytes += part.length
      from += part.length
    }
  }
  if (came !== document.bytes) throw wrongLength(index, document.bytes)
  if (memory) yield { memory, bytes }
}
