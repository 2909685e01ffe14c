import { Failed } from '../domain/failure.ts'
import { runOrder, type Pool, type RunningOrder, type SealedStream } from './running-order.ts'
import type { SealOrder } from './seal-order.ts'
import { startThread, type SealingThread } from './sealing-thread.ts'
import { makeSignature, type Signer } from './signature.ts'

export type { Signer } from './signature.ts'

/** Seals messages in worker threads, several at a time on each. */
export interface Sealer {
  /**
   * Begins to seal. The documents are read as fast as the sealed bytes are taken and no faster; about 2 MB are on their
   * way per order, whatever its size. Where every thread has its {@link ordersMax} orders, the order waits for its turn.
   *
   * @throws Failed signing-key-missing when no signer is configured. The stream fails with `sealing-interrupted`,
   * `message-refused` or `recipient-untrusted`; with another Error for a source that breaks or lies about its length
   */
  seal(order: SealOrder, options?: SealOptions): SealedStream
  /**
   * Takes no more orders, waits for those under way, stops the threads.
   *
   * @param drainMsMax what is not finished after so many milliseconds fails with `sealing-interrupted`
   */
  close(drainMsMax?: number): Promise<void>
}

export interface SealOptions {
  readonly signal?: AbortSignal
  /**
   * A chunk is the caller’s only until the next one is asked for; then its memory is given back and it is empty. For
   * takers that have written or copied it by then: the process stays small however large the document.
   */
  readonly freesTaken?: boolean
}

/** Orders under way on one thread; each holds some 2 MB. */
export const ordersMax = 24
const drainMsUsual = 10_000

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
  const pool = makePool(signers.length === 0 ? 0 : threads, () => startThread(program, signers))
  const running = new Set<RunningOrder>()
  let isClosed = false
  let lastId = 0

  return {
    seal(order, { signal, freesTaken = false } = {}) {
      if (isClosed) throw new Error('the sealer is closed')
      if (signers.length === 0)
        throw new Failed('signing-key-missing', 'no signing certificate is configured')
      signal?.throwIfAborted()
      const one = runOrder(++lastId, order, pool, freesTaken)
      running.add(one)
      const { stream } = one
      signal?.addEventListener('abort', stream.cancel, { once: true })
      const ended = () => {
        running.delete(one)
        signal?.removeEventListener('abort', stream.cancel)
      }
      stream.done.then(ended, ended)
      return stream
    },
    async close(drainMsMax = drainMsUsual) {
      isClosed = true
      const timer = Promise.withResolvers<void>()
      const timeout = setTimeout(timer.resolve, drainMsMax)
      await Promise.race([Promise.allSettled([...running].map((one) => one.stream.done)), timer.promise])
      clearTimeout(timeout)
      for (const one of running)
        one.fail(new Failed('sealing-interrupted', 'the sealer was closed before the message was sealed'))
      await pool.stop()
    },
  }
}

function makePool(size: number, start: () => SealingThread): Pool & { stop(): Promise<void> } {
  const threads = Array.from({ length: size }, start)
  const load = new Map<SealingThread, number>()
  const waiting: ((thread: SealingThread) => void)[] = []
  const loadOf = (thread: SealingThread) => load.get(thread) ?? 0

  /** One that broke is replaced here, when it is needed again. */
  const free = () => {
    for (const [index, one] of threads.entries())
      if (one.hasEnded()) {
        load.delete(one)
        threads[index] = start()
      }
    const least = threads.reduce((first, second) => (loadOf(second) < loadOf(first) ? second : first))
    return loadOf(least) < ordersMax ? least : undefined
  }
  const lend = (thread: SealingThread) => {
    load.set(thread, loadOf(thread) + 1)
    return thread
  }
  return {
    async acquire() {
      const thread = free()
      return thread ? lend(thread) : new Promise((resolve) => waiting.push(resolve))
    },
    release(thread) {
      if (load.has(thread)) load.set(thread, loadOf(thread) - 1)
      if (waiting.length === 0) return
      const next = free()
      if (next) waiting.shift()!(lend(next))
    },
    async stop() {
      await Promise.all(threads.map((one) => one.stop()))
    },
  }
}
