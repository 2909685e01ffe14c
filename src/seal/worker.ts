import { parentPort, workerData } from 'node:worker_threads'
import { UnsafeText } from '../lib/mime-writer.ts'
import type { PlainOrder } from './seal-order.ts'
import { sealing } from './sealing.ts'
import { makeSignature } from './signature.ts'
import { chunksMax, type FromThread, type ThreadStart, type ToThread } from './thread-messages.ts'

/**
 * A sealing thread: many orders at once, each at the pace of its source and its taker, so that a slow mail server holds
 * up nobody else's message.
 */
const port = parentPort!
const bufferOf = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const signature = makeSignature(
  (workerData as ThreadStart).signers.map((signer) => ({
    certificate: bufferOf(signer.certificate),
    privateKey: signer.privateKey,
    intermediates: (signer.intermediates ?? []).map(bufferOf),
  })),
)

/** Sealed bytes smaller than this wait for company: a hop between threads costs more than copying them. */
const chunkBytesWanted = 48 * 1024

interface Running {
  arrived: Extract<ToThread, { what: 'piece' | 'ended' }>[]
  untaken: number
  cancelled: boolean
  wake: () => void
}
const running = new Map<number, Running>()

port.on('message', (message: ToThread) => {
  if (message.what === 'order') {
    void run(message.id, message.order)
    return
  }
  const one = running.get(message.id)
  if (!one) return
  if (message.what === 'taken') one.untaken--
  else if (message.what === 'cancel') one.cancelled = true
  else one.arrived.push(message)
  one.wake()
})

class Cancelled extends Error {}

async function run(id: number, order: PlainOrder): Promise<void> {
  const one: Running = { arrived: [], untaken: 0, cancelled: false, wake: () => {} }
  running.set(id, one)
  const say = (message: FromThread, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer)
  const change = () =>
    new Promise<void>((resolve) => {
      one.wake = resolve
    })

  async function* document(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (one.cancelled) throw new Cancelled()
      const next = one.arrived.shift()
      if (!next) await change()
      else if (next.what === 'ended') return
      else {
        yield new Uint8Array(next.memory, 0, next.bytes)
        say({ id, what: 'returned', memory: next.memory }, [next.memory])
      }
    }
  }

  let waiting: Buffer[] = []
  let waitingBytes = 0
  const flush = () => {
    const chunk = waiting.length === 1 ? waiting[0]! : Buffer.concat(waiting, waitingBytes)
    waiting = []
    waitingBytes = 0
    one.untaken++
    // Small buffers share a pool, which must not be given away.
    const own = chunk.byteLength === chunk.buffer.byteLength ? chunk : Buffer.allocUnsafeSlow(chunk.length)
    if (own !== chunk) chunk.copy(own)
    const memory = own.buffer as ArrayBuffer
    say({ id, what: 'sealed', memory }, [memory])
  }
  const emit = async (sealed: Buffer) => {
    waiting.push(sealed)
    waitingBytes += sealed.length
    if (waitingBytes < chunkBytesWanted) return
    while (one.untaken >= chunksMax && !one.cancelled) await change()
    if (one.cancelled) throw new Cancelled()
    flush()
  }

  try {
    const plain = { ...order, recipients: order.recipients.map(bufferOf) }
    const bytes = await sealing(plain, signature, document, emit, {
      announce: (announced) => say({ id, what: 'announced', bytes: announced }),
    })
    if (waitingBytes > 0) flush()
    say({ id, what: 'done', bytes })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    if (error instanceof UnsafeText)
      say({ id, what: 'failed', message, unsafe: { where: error.where, because: error.because } })
    else if (!(error instanceof Cancelled)) say({ id, what: 'failed', message })
  } finally {
    running.delete(id)
  }
}
