import { KeyObject } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { Failed } from '../domain/failure.ts'
import { UnsafeText } from '../lib/mime-writer.ts'
import type { KeyHolder } from './own-key.ts'
import type { PlainOrder, RecipientCertificate } from './seal-order.ts'
import { sealing } from './sealing.ts'
import { makeSignature } from './signature.ts'
import {
  batchBytesWanted,
  batchesMax,
  piecesMax,
  type DeviceAnswer,
  type FromThread,
  type SignatureWanted,
  type ThreadStart,
  type ToThread,
} from './thread-messages.ts'

/**
 * A sealing thread: many orders at once, each at the pace of its source and its taker, so that a slow mail server holds
 * up nobody else's message.
 */
const port = parentPort!
let lastQuestion = 0
/** Signatures that devices were asked for. */
const questions = new Map<number, (answer: DeviceAnswer) => void>()
const bufferOf = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const signature = makeSignature(
  (workerData as ThreadStart).signers.map((signer, index) => ({
    certificate: bufferOf(signer.certificate),
    privateKey: signer.key instanceof KeyObject ? signer.key : keyOutside(signer.key, index),
    intermediates: signer.intermediates.map(bufferOf),
  })),
)

/** A key in a device, which only the main thread can reach. */
function keyOutside(type: 'rsa' | 'ec', signer: number): KeyHolder {
  const never = () => Promise.reject(new Error('a sealing thread only signs'))
  return {
    type,
    sign(digest, bytes) {
      const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
      const question = ++lastQuestion
      questions.set(question, (answer) => {
        questions.delete(question)
        if (answer.what === 'signed') resolve(bufferOf(answer.signature))
        else reject(answer.code ? new Failed(answer.code, answer.because) : new Error(answer.because))
      })
      port.postMessage({ what: 'sign', question, signer, digest, bytes } satisfies SignatureWanted)
      return promise
    },
    decrypt: never,
    agree: never,
  }
}

interface Running {
  readonly arrived: { readonly memory: ArrayBuffer; readonly bytes: number }[]
  untaken: number
  isCancelled: boolean
  wake: () => void
}
const running = new Map<number, Running>()

port.on('message', (message: ToThread) => {
  if (message.what === 'signed' || message.what === 'unsigned') {
    questions.get(message.question)?.(message)
    return
  }
  if (message.what === 'order') {
    void run(message.id, message.order)
    return
  }
  const one = running.get(message.id)
  if (!one) return
  if (message.what === 'taken') one.untaken--
  else if (message.what === 'cancel') one.isCancelled = true
  else one.arrived.push(message)
  one.wake()
})

class Cancelled extends Error {}

async function run(id: number, order: PlainOrder): Promise<void> {
  const one: Running = { arrived: [], untaken: 0, isCancelled: false, wake: () => {} }
  running.set(id, one)
  const say = (message: FromThread, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer)
  const until = async (isSo: () => boolean) => {
    while (!isSo()) {
      if (one.isCancelled) throw new Cancelled()
      await new Promise<void>((resolve) => {
        one.wake = resolve
      })
    }
  }

  let chunks: Buffer[] = []
  let chunkBytes = 0
  let returned: ArrayBuffer[] = []
  let bytesInAll = 0
  const flush = async (isLast: boolean) => {
    await until(() => one.untaken < batchesMax)
    one.untaken++
    const memories = chunks.map(memoryOf)
    say({ id, what: 'sealed', chunks: memories, bytesInAll, isLast, returned }, [...memories, ...returned])
    chunks = []
    chunkBytes = 0
    returned = []
  }
  async function* document(index: number): AsyncGenerator<Uint8Array> {
    for (let left = order.documents[index]!.bytes; left > 0;) {
      // Many small documents may fill no batch, and their memory is waited for.
      if (one.arrived.length === 0 && returned.length === piecesMax) await flush(false)
      await until(() => one.arrived.length > 0)
      const { memory, bytes } = one.arrived.shift()!
      left -= bytes
      yield new Uint8Array(memory, 0, bytes)
      returned.push(memory)
    }
  }

  try {
    const plain = { ...order, recipients: order.recipients.map(recipientOf) }
    await sealing(
      plain,
      signature,
      document,
      async (sealed) => {
        chunks.push(sealed)
        chunkBytes += sealed.length
        if (chunkBytes >= batchBytesWanted) await flush(false)
      },
      {
        announce: (announced) => {
          bytesInAll = announced
        },
      },
    )
    await flush(true)
  } catch (error) {
    if (!(error instanceof Cancelled)) say({ id, what: 'failed', ...failureIn(error) })
  } finally {
    running.delete(id)
  }
}

/** What travelled between threads is a Uint8Array now. */
function recipientOf(one: RecipientCertificate): RecipientCertificate {
  return 'certificate' in one ? { ...one, certificate: bufferOf(one.certificate) } : bufferOf(one)
}

/** Small buffers share a pool, which must not be given away. */
function memoryOf(chunk: Buffer): ArrayBuffer {
  if (chunk.byteLength === chunk.buffer.byteLength) return chunk.buffer as ArrayBuffer
  const own = Buffer.allocUnsafeSlow(chunk.length)
  chunk.copy(own)
  return own.buffer
}

function failureIn(error: unknown): Pick<FromThread & { what: 'failed' }, 'because' | 'code'> {
  if (error instanceof Failed) return { code: error.code, because: error.because }
  if (error instanceof UnsafeText) return { code: 'message-refused', because: error.message }
  return { because: error instanceof Error ? error.message : String(error) }
}
