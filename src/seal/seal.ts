import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { Failed } from '../domain/failure.ts'
import { UnsafeText } from '../lib/mime-writer.ts'
import type { PlainOrder, SealDocument, SealOrder } from './seal-order.ts'
import { makeSignature, type Signer } from './signature.ts'
import { pieceBytes, piecesMax, type FromThread, type ThreadStart, type ToThread } from './thread-messages.ts'

export type { Addressing, SealDocument, SealOrder } from './seal-order.ts'
export type { Signer } from './signature.ts'

/** Seals messages in worker threads, several at a time on each. */
export interface Sealer {
  /**
   * Begins to seal. The documents are read as fast as the sealed bytes are taken and no faster; about 1 MB is on its
   * way per order, whatever its size.
   *
   * @throws Failed signing-key-missing when no signer is configured
   */
  seal(order: SealOrder, options?: { signal?: AbortSignal }): SealedStream
  /** Stops the threads; orders still running fail. */
  close(): Promise<void>
}

/** One message being sealed. Everything fails with the same error; leaving the loop over `chunks` early cancels. */
export interface SealedStream {
  /** The sealed message, once. */
  readonly chunks: AsyncIterable<Buffer>
  /** Its octets, known before the first chunk. */
  readonly bytes: Promise<number>
  /** Resolves with its octets when the last chunk has been made. */
  readonly done: Promise<number>
  cancel(): void
}

/** V8 grows its nursery to 16 MB per thread and keeps it; base64 text needs only a few pieces' worth. */
const nurseryMb = 4
/** Memory of document pieces kept for the next ones, per thread. */
const spareMax = 8

// Next to this file, compiled or not.
const usualProgram = new URL(`./worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)

/**
 * @param threads worker threads; one per core that sealing may use
 * @param signers every one of them signs each message
 * @param program what the threads run; tests put one in that breaks
 * @throws Error for keys that cannot sign or do not belong to their certificate
 */
export function makeSealer({
  threads,
  signers,
  program = usualProgram,
}: {
  threads: number
  signers: readonly Signer[]
  program?: URL
}): Sealer {
  makeSignature(signers)
  const start: ThreadStart = {
    signers: signers.map(({ certificate, privateKey, intermediates = [] }) => ({
      certificate: unpooled(certificate),
      privateKey,
      intermediates: intermediates.map(unpooled),
    })),
  }
  const pool: (Thread | undefined)[] = Array.from({ length: threads }, () => undefined)
  let isClosed = false
  let lastId = 0
  if (signers.length > 0) for (const index of pool.keys()) pool[index] = startThread(program, start)

  /** The thread with the fewest orders; one that broke is replaced here, when it is needed again. */
  const thread = () => {
    for (const [index, one] of pool.entries())
      if (!one || one.hasEnded()) pool[index] = startThread(program, start)
    return pool.reduce((least, one) => (one!.load() < least!.load() ? one : least))!
  }

  return {
    seal(order, { signal } = {}) {
      if (isClosed) throw new Error('the sealer is closed')
      if (signers.length === 0)
        throw new Failed('signing-key-missing', 'no signing certificate is configured')
      signal?.throwIfAborted()
      const stream = runOrder(++lastId, order, thread())
      if (signal) {
        signal.addEventListener('abort', stream.cancel, { once: true })
        void stream.done.catch(() => {}).finally(() => signal.removeEventListener('abort', stream.cancel))
      }
      return stream
    },
    async close() {
      isClosed = true
      await Promise.all(pool.map((one) => one?.stop()))
    },
  }
}

interface Thread {
  load(): number
  hasEnded(): boolean
  /** Memory for one document piece. */
  memory(): ArrayBuffer
  giveBack(memory: ArrayBuffer): void
  begin(id: number, order: OrderEnds): void
  end(id: number): void
  say(message: ToThread, transfer?: ArrayBuffer[]): void
  stop(): Promise<void>
}

interface OrderEnds {
  heard(message: FromThread): void
  failed(error: Error): void
}

function startThread(program: URL, start: ThreadStart): Thread {
  const worker = new Worker(fileURLToPath(program), {
    workerData: start,
    execArgv: process.execArgv.filter((argument) => argument.includes('strip-types')),
    resourceLimits: { maxYoungGenerationSizeMb: nurseryMb },
  })
  const orders = new Map<number, OrderEnds>()
  const spare: ArrayBuffer[] = []
  let hasEnded = false
  const end = (error: Error) => {
    hasEnded = true
    const failed = [...orders.values()]
    orders.clear()
    for (const one of failed) one.failed(error)
  }
  // An idle thread keeps no process alive.
  worker.unref()
  worker.on('message', (message: FromThread) => {
    if (message.what === 'returned' && !orders.has(message.id)) spare.push(message.memory)
    orders.get(message.id)?.heard(message)
  })
  worker.on('error', (cause) =>
    end(new Error('the sealing thread broke; the message can be sealed again', { cause })),
  )
  worker.on('exit', () => end(new Error('the sealing thread ended; the message can be sealed again')))
  return {
    load: () => orders.size,
    hasEnded: () => hasEnded,
    memory: () => spare.pop() ?? new ArrayBuffer(pieceBytes),
    giveBack(memory) {
      if (spare.length < spareMax) spare.push(memory)
    },
    begin(id, order) {
      orders.set(id, order)
      worker.ref()
    },
    end(id) {
      orders.delete(id)
      if (orders.size === 0) worker.unref()
    },
    say(message, transfer = []) {
      if (!hasEnded) worker.postMessage(message, transfer)
    },
    async stop() {
      end(new Error('the sealer was closed'))
      await worker.terminate()
    },
  }
}

function runOrder(id: number, order: SealOrder, thread: Thread): SealedStream {
  const announced = Promise.withResolvers<number>()
  const done = Promise.withResolvers<number>()
  // A caller who only reads the chunks learns of a failure there.
  announced.promise.catch(() => {})
  done.promise.catch(() => {})

  const sealed: Buffer[] = []
  let state: { is: 'running' } | { is: 'done' } | { is: 'failed'; error: Error } = { is: 'running' }
  let untilChange = Promise.withResolvers<void>()
  let piecesOut = 0
  const change = () => {
    untilChange.resolve()
    untilChange = Promise.withResolvers<void>()
  }
  const fail = (error: Error) => {
    if (state.is !== 'running') return
    state = { is: 'failed', error }
    sealed.length = 0
    thread.end(id)
    announced.reject(error)
    done.reject(error)
    change()
  }
  const stop = (error: Error) => {
    if (state.is !== 'running') return
    thread.say({ id, what: 'cancel' })
    fail(error)
  }
  const cancel = () => stop(new Error('sealing was cancelled'))

  thread.begin(id, {
    heard(message) {
      if (message.what === 'announced') announced.resolve(message.bytes)
      else if (message.what === 'sealed') sealed.push(Buffer.from(message.memory))
      else if (message.what === 'returned') {
        piecesOut--
        thread.giveBack(message.memory)
      } else if (message.what === 'failed')
        fail(
          message.unsafe
            ? new UnsafeText(message.unsafe.where, message.unsafe.because)
            : new Error(message.message),
        )
      else {
        state = { is: 'done' }
        thread.end(id)
        done.resolve(message.bytes)
      }
      change()
    },
    failed: fail,
  })
  const { documents } = order
  try {
    thread.say({ id, what: 'order', order: plainOf(order) })
  } catch (cause) {
    fail(new Error('the order holds something that cannot be handed to a thread', { cause }))
  }

  const room = async () => {
    while (state.is === 'running' && piecesOut >= piecesMax) await untilChange.promise
    return state.is === 'running'
  }
  const send = (memory: ArrayBuffer, bytes: number) => {
    piecesOut++
    thread.say({ id, what: 'piece', memory, bytes }, [memory])
  }
  void (async () => {
    for (const document of documents) {
      for await (const piece of pieces(document, thread)) {
        if (!(await room())) return
        send(piece.memory, piece.bytes)
      }
      thread.say({ id, what: 'ended' })
    }
  })().catch((error: unknown) => stop(error instanceof Error ? error : new Error(String(error))))

  async function* chunks(): AsyncGenerator<Buffer, void, undefined> {
    try {
      for (;;) {
        const chunk = sealed.shift()
        if (chunk) {
          thread.say({ id, what: 'taken' })
          yield chunk
        } else if (state.is === 'failed') throw state.error
        else if (state.is === 'done') return
        else await untilChange.promise
      }
    } finally {
      cancel()
    }
  }
  return { chunks: chunks(), bytes: announced.promise, done: done.promise, cancel }
}

/** Only what a thread needs; certificates as copies, since cloning a pooled buffer clones the whole pool. */
function plainOf(order: SealOrder): PlainOrder {
  return {
    from: order.from,
    to: order.to,
    messageId: order.messageId,
    date: order.date,
    subject: order.subject,
    dataHolder: order.dataHolder,
    patientName: order.patientName,
    recurring: order.recurring,
    ...(order.contextText === undefined ? {} : { contextText: order.contextText }),
    ...(order.algorithms === undefined ? {} : { algorithms: order.algorithms }),
    documents: order.documents.map(({ fileName, mediaType, bytes }) => ({ fileName, mediaType, bytes })),
    recipients: order.recipients.map(unpooled),
  }
}

function unpooled(bytes: Buffer): Buffer {
  const own = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(own)
  return own
}

/** Copies a document into pieces of the size the thread likes best: memory of the source cannot be given away. */
async function* pieces(
  document: SealDocument,
  thread: Thread,
): AsyncGenerator<{ memory: ArrayBuffer; bytes: number }> {
  let memory: ArrayBuffer | undefined
  let bytes = 0
  for await (const chunk of document.chunks())
    for (let from = 0; from < chunk.length;) {
      memory ??= thread.memory()
      const part = chunk.subarray(from, from + pieceBytes - bytes)
      new Uint8Array(memory).set(part, bytes)
      bytes += part.length
      from += part.length
      if (bytes === pieceBytes) {
        yield { memory, bytes }
        memory = undefined
        bytes = 0
      }
    }
  if (memory && bytes > 0) yield { memory, bytes }
}
