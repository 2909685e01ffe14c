import { KeyObject } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { Failed } from '../domain/failure.ts'
import type { KeyHolder } from './own-key.ts'
import type { Signer } from './signature.ts'
import {
  pieceBytes,
  type DeviceAnswer,
  type FromThread,
  type SignatureWanted,
  type ThreadStart,
  type ToThread,
} from './thread-messages.ts'

/** One worker thread and the orders it is sealing. */
export interface SealingThread {
  hasEnded(): boolean
  /** Memory for one document piece. */
  memory(): ArrayBuffer
  begin(id: number, order: OrderEnds): void
  end(id: number): void
  say(message: ToThread, transfer?: ArrayBuffer[]): void
  stop(): Promise<void>
}

/** Where what a thread says about an order goes. */
export interface OrderEnds {
  heard(message: FromThread): void
  fail(error: Error): void
}

/** V8 grows its nursery to 16 MB per thread and keeps it; base64 text needs only a few pieces' worth. */
const nurseryMb = 4
/** Memory of document pieces kept for the next ones, per thread. */
const spareMax = 8

export function startThread(program: URL, signers: readonly Signer[]): SealingThread {
  const worker = new Worker(fileURLToPath(program), {
    workerData: {
      signers: signers.map(({ certificate, privateKey, intermediates = [] }) => ({
        certificate: unpooled(certificate),
        key: privateKey instanceof KeyObject ? privateKey : privateKey.type,
        intermediates: intermediates.map(unpooled),
      })),
    } satisfies ThreadStart,
    execArgv: process.execArgv.filter((argument) => argument.includes('strip-types')),
    resourceLimits: { maxYoungGenerationSizeMb: nurseryMb },
  })
  const orders = new Map<number, OrderEnds>()
  const spare: ArrayBuffer[] = []
  let hasEnded = false
  const end = (because: string, cause?: unknown) => {
    if (hasEnded) return
    hasEnded = true
    const failed = [...orders.values()]
    orders.clear()
    for (const one of failed) one.fail(new Failed('sealing-interrupted', because, { cause }))
  }
  // An idle thread keeps no process alive.
  worker.unref()
  worker.on('message', (message: FromThread | SignatureWanted) => {
    if (message.what === 'sign') {
      void signedOutside(signers, message).then((answer) => {
        if (!hasEnded) worker.postMessage(answer)
      })
      return
    }
    if (message.what === 'sealed')
      for (const memory of message.returned) if (spare.length < spareMax) spare.push(memory)
    orders.get(message.id)?.heard(message)
  })
  worker.on('error', (cause) => end('the sealing thread broke; the message is sealed again', cause))
  worker.on('exit', () => end('the sealing thread ended; the message is sealed again'))
  return {
    hasEnded: () => hasEnded,
    memory: () => spare.pop() ?? new ArrayBuffer(pieceBytes),
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
      end('the sealing thread was stopped')
      await worker.terminate()
    },
  }
}

/** Asks the device. Whatever goes wrong with it is an answer, too. */
async function signedOutside(
  signers: readonly Signer[],
  { question, signer, digest, bytes }: SignatureWanted,
): Promise<DeviceAnswer> {
  try {
    const key = signers[signer]!.privateKey as KeyHolder
    const signature = await key.sign(digest, bytes)
    return { what: 'signed', question, signature: unpooled(signature) }
  } catch (error) {
    const because =
      error instanceof Failed ? error.because : error instanceof Error ? error.message : String(error)
    return { what: 'unsigned', question, because, code: error instanceof Failed ? error.code : undefined }
  }
}

/** A copy in memory of its own: cloning a pooled buffer clones the whole pool. */
export function unpooled(bytes: Buffer): Buffer {
  const own = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(own)
  return own
}
