import type net from 'node:net'
import { errorTrace } from '../lib/log.ts'
import type { Log } from '../lib/log.ts'
import { MllpDecoder, frameFor } from '../lib/mllp.ts'
import type { MllpEvent } from '../lib/mllp.ts'
import { JunkRun } from './junk-run.ts'
import type { MllpLimits } from './mllp-limits.ts'
import type { Fragment, MllpFrame, MllpReceiver, Peer, Receipt } from './mllp-receiver.ts'

/** Why a connection was ended by us. */
export type CutReason =
  | 'idle'
  | 'frame-too-slow'
  | 'frame-too-large'
  | 'not-mllp'
  | 'unreadable'
  | 'memory'
  | 'lost'
  | 'replies-unread'

/** Since the listener began. */
export interface MllpCounts {
  connections: number
  frames: number
  bytes: number
  junkBytes: number
  fragments: number
  /** Connections ended by us, by reason. */
  cut: Record<CutReason, number>
  pauses: number
}

/** What the connections of one listener have in common. */
export interface Common {
  readonly receiver: MllpReceiver
  readonly limits: MllpLimits
  readonly log: Log
  readonly counts: MllpCounts
  /** Of all connections together; see {@link MllpLimits.heldBytesMax}. */
  heldBytes: number
}

export function addressOf(socket: net.Socket): string {
  return socket.remoteAddress === undefined ? 'gone' : `${socket.remoteAddress}:${socket.remotePort}`
}

/** A frame or fragment whose reply is owed, in the order they came. */
interface Owed {
  readonly bytes: number
  receipt?: Receipt
}

/**
 * One sender’s connection: bytes in, frames to the receiver, replies out in the order of the frames. It takes no more
 * frames than it may have in flight, reads nothing while others wait, and ends only when nothing is owed.
 */
export class MllpConnection {
  readonly #socket: net.Socket
  readonly #common: Common
  readonly #peer: Peer
  readonly #decoder: MllpDecoder
  /** Decoded and not yet taken: never more than one read of the socket and one frame. */
  readonly #arrived: MllpEvent[] = []
  #bytesArrived = 0
  readonly #owed: Owed[] = []
  #bytesInFlight = 0
  #bytesHeldBefore = 0
  readonly #junk = new JunkRun()
  #unreadableInARow = 0
  /** Nothing more is read; what is owed is still delivered. */
  #isFinishing = false
  #isEndOfStream = false
  #lastProgressAt = performance.now()
  #frameBeganAt: number | undefined
  #settleTimer: NodeJS.Timeout | undefined
  #lingerTimer: NodeJS.Timeout | undefined

  constructor(socket: net.Socket, common: Common) {
    this.#socket = socket
    this.#common = common
    this.#peer = { address: addressOf(socket) }
    this.#decoder = new MllpDecoder(common.limits.frameBytesMax)
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('drain', () => this.#proceed())
    socket.on('end', () => this.#endOfStream())
    // A reset tells nothing that 'close' does not; what is in flight is committed, and asked for again by the sender.
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#gone())
  }

  /**
   * Reads nothing more, delivers what is owed for all that has arrived, says goodbye. Where that takes longer than
   * `lingerMs` the connection is destroyed; without it, whoever asked for the end has an eye on the clock.
   */
  finish(lingerMs?: number): void {
    if (this.#isFinishing) return
    this.#arrive(this.#decoder.settle())
    this.#isFinishing = true
    clearTimeout(this.#settleTimer)
    // Unread bytes would turn our goodbye into a reset, and a reset may overtake the last replies: read on, drop.
    this.#socket.resume()
    if (lingerMs !== undefined) this.#linger(lingerMs)
    this.#proceed()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** @param at as performance.now() says */
  checkTimes(at: number): void {
    if (this.#isFinishing) return
    const { idleMsMax, frameMsMax } = this.#common.limits
    const frameMs = this.#frameBeganAt === undefined ? 0 : at - this.#frameBeganAt
    // While reading is paused by us, the sender is not the slow one.
    if (frameMs > frameMsMax && !this.#socket.isPaused()) {
      this.#arrive(this.#decoder.end('frame-too-slow'))
      this.#proceed()
      this.#cut('frame-too-slow')
    } else if (at - this.#lastProgressAt > idleMsMax) {
      if (this.#socket.writableLength > 0) this.#cut('replies-unread')
      else if (this.#owed.length === 0 && this.#frameBeganAt === undefined) {
        this.#reportJunk()
        this.#cut('idle')
      }
    }
  }

  #read(chunk: Buffer): void {
    if (this.#isFinishing) return
    clearTimeout(this.#settleTimer)
    const events = this.#decoder.push(chunk)
    if (events.some(({ what }) => what !== 'junk')) this.#frameBeganAt = undefined
    this.#frameBeganAt = this.#decoder.isInsideFrame ? (this.#frameBeganAt ?? performance.now()) : undefined
    if (this.#decoder.awaitsEndOfFrame)
      this.#settleTimer = setTimeout(() => {
        this.#arrive(this.#decoder.settle())
        this.#proceed()
      }, this.#common.limits.endBlockWaitMsMax)
    this.#arrive(events)
    this.#proceed()
  }

  #arrive(events: readonly MllpEvent[]): void {
    for (const event of events) {
      this.#arrived.push(event)
      this.#bytesArrived += event.bytes.length
    }
  }

  /** Takes what may be taken, lets the socket flow or wait, ends where all is done. */
  #proceed(): void {
    while (this.#arrived.length > 0 && (!this.#isBusy() || this.#socket.destroyed)) {
      const event = this.#arrived.shift()!
      this.#bytesArrived -= event.bytes.length
      this.#take(event)
    }
    if (this.#isEndOfStream && this.#arrived.length === 0) this.#reportJunk()
    this.#adjustFlow()
    if (this.#isEndOfStream && this.#arrived.length === 0) this.finish(this.#common.limits.lingerMsMax)
    this.#endWhenNothingIsOwed()
  }

  #isBusy(): boolean {
    const { framesInFlightMax, bytesInFlightMax } = this.#common.limits
    return this.#owed.length >= framesInFlightMax || this.#bytesInFlight >= bytesInFlightMax
  }

  #take(event: MllpEvent): void {
    const { limits, counts } = this.#common
    if (event.what === 'junk') {
      counts.junkBytes += event.bytes.length
      this.#junk.add(event.bytes)
      if (this.#junk.bytes <= limits.junkBytesMax) return
      this.#reportJunk()
      this.#cut('not-mllp')
      return
    }
    this.#reportJunk()
    if (event.what === 'fragment') {
      this.#unreadableInARow++
      this.#owe(event.bytes, this.#report({ bytes: event.bytes, because: event.because }))
      if (event.because === 'frame-too-large') this.#cut('frame-too-large')
    } else if (event.bytes.length > 0) {
      counts.frames++
      counts.bytes += event.bytes.length
      this.#owe(event.bytes, this.#receive(event))
    }
    this.#lastProgressAt = performance.now()
    this.#cutWhereNobodyCanRead()
  }

  #reportJunk(): void {
    const bytes = this.#junk.take()
    if (bytes === undefined) return
    this.#unreadableInARow++
    this.#owe(bytes, this.#report({ bytes, because: 'bytes-outside-frames' }))
  }

  // Both are async so that whatever is thrown becomes a rejection.
  async #receive(frame: MllpFrame): Promise<Receipt> {
    return this.#common.receiver.receive(frame, this.#peer)
  }

  async #report(fragment: Fragment): Promise<Receipt> {
    const { receiver, counts, log } = this.#common
    counts.fragments++
    log.warn('bytes arrived that are no whole frame', {
      peer: this.#peer.address,
      bytes: fragment.bytes.length,
      code: fragment.because,
    })
    return receiver.onFragment(fragment, this.#peer)
  }

  #owe(bytes: Buffer, receiving: Promise<Receipt>): void {
    const owed: Owed = { bytes: bytes.length }
    this.#owed.push(owed)
    this.#bytesInFlight += owed.bytes
    receiving.then(
      (receipt) => this.#settleOwed(owed, receipt),
      (error: unknown) => {
        // A bug: nothing is promised, and the sender learns by the lost connection that it has to send again.
        this.#common.log.error('a received frame could not be taken', {
          peer: this.#peer.address,
          error: errorTrace(error),
        })
        this.#settleOwed(owed, { isLost: true })
      },
    )
  }

  #settleOwed(owed: Owed, receipt: Receipt): void {
    owed.receipt = receipt
    if (receipt.isUnreadable) this.#unreadableInARow++
    else if (receipt.reply !== undefined) this.#unreadableInARow = 0
    if (this.#owed[0] === owed) this.#sendReplies()
    this.#cutWhereNobodyCanRead()
  }

  #cutWhereNobodyCanRead(): void {
    if (this.#unreadableInARow >= this.#common.limits.unreadableInARowMax) this.#cut('unreadable')
  }

  /** Sends what is ready, in the order the frames came. */
  #sendReplies(): void {
    const replies: Buffer[] = []
    let isLost = false
    while (this.#owed[0]?.receipt !== undefined && !isLost) {
      const { bytes, receipt } = this.#owed.shift()!
      this.#bytesInFlight -= bytes
      if (receipt!.reply !== undefined) replies.push(frameFor(receipt!.reply))
      isLost = receipt!.isLost === true
    }
    this.#lastProgressAt = performance.now()
    if (replies.length > 0 && this.#socket.writable)
      this.#socket.write(replies.length === 1 ? replies[0]! : Buffer.concat(replies))
    if (isLost) {
      // Frames behind the lost one may be stored; unanswered, they come again and are known.
      this.#owed.length = 0
      this.#bytesInFlight = 0
      this.#drop()
      this.#cut('lost')
    }
    this.#proceed()
  }

  #adjustFlow(): void {
    const { limits, counts } = this.#common
    this.#countHeld(this.#decoder.heldBytes + this.#bytesArrived + this.#bytesInFlight)
    if (this.#isFinishing || this.#socket.destroyed) return
    const isMemoryFull = this.#common.heldBytes > limits.heldBytesMax
    const mustWait =
      this.#isBusy() ||
      this.#arrived.length > 0 ||
      this.#socket.writableLength >= limits.unreadReplyBytesMax ||
      (isMemoryFull && this.#owed.length > 0)
    if (mustWait) {
      if (this.#socket.isPaused()) return
      this.#socket.pause()
      counts.pauses++
    } else if (isMemoryFull && this.#decoder.heldBytes > 0) this.#cut('memory')
    else if (
      this.#socket.isPaused() &&
      this.#owed.length <= limits.framesInFlightMax / 2 &&
      this.#bytesInFlight <= limits.bytesInFlightMax / 2 &&
      this.#socket.writableLength <= limits.unreadReplyBytesMax / 2
    ) {
      // The pause was ours; it does not count against the sender.
      if (this.#frameBeganAt !== undefined) this.#frameBeganAt = performance.now()
      this.#socket.resume()
    }
  }

  #countHeld(bytes: number): void {
    this.#common.heldBytes += bytes - this.#bytesHeldBefore
    this.#bytesHeldBefore = bytes
  }

  /** Ends the connection for a fault of its sender: nothing more is taken of it, and what is owed is delivered. */
  #cut(reason: CutReason): void {
    if (this.#isFinishing || this.#socket.destroyed) return
    this.#common.counts.cut[reason]++
    this.#common.log.warn('a sender’s connection is cut', { peer: this.#peer.address, code: reason })
    this.#drop()
    this.finish(this.#common.limits.lingerMsMax)
  }

  #drop(): void {
    this.#decoder.end('connection-ended')
    this.#arrived.length = 0
    this.#bytesArrived = 0
  }

  /** The sender has said all it wants to say; it may still listen. */
  #endOfStream(): void {
    if (this.#isFinishing) return
    clearTimeout(this.#settleTimer)
    this.#arrive(this.#decoder.end('connection-ended'))
    this.#isEndOfStream = true
    this.#proceed()
  }

  #linger(ms: number): void {
    clearTimeout(this.#lingerTimer)
    this.#lingerTimer = setTimeout(() => this.#socket.destroy(), ms)
  }

  #endWhenNothingIsOwed(): void {
    const isDone = this.#isFinishing && this.#owed.length === 0 && this.#arrived.length === 0
    if (!isDone || this.#socket.writableEnded || this.#socket.destroyed) return
    this.#socket.end()
    this.#linger(this.#common.limits.lingerMsMax)
  }

  /** The connection is no more; what has arrived is kept all the same, though nobody hears the answer. */
  #gone(): void {
    clearTimeout(this.#settleTimer)
    if (!this.#isFinishing) this.#endOfStream()
    this.#isFinishing = true
    clearTimeout(this.#lingerTimer)
    this.#owed.length = 0
    this.#bytesInFlight = 0
    this.#countHeld(0)
  }
}
