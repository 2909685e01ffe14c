import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { MllpDecoder, frameFor } from '../lib/mllp.ts'
import type { FragmentReason } from '../lib/mllp.ts'
import { errorTrace } from '../lib/log.ts'
import type { Log } from '../lib/log.ts'

/** One connection of one sender. The same object for all that comes over it: what must keep its order, keeps it by this. */
export interface Peer {
  /** Address and port, for logs and for the stored message. */
  readonly address: string
}

export interface MllpFrame {
  readonly bytes: Buffer
  /** False where 0x1C was not followed by 0x0D. */
  readonly endBlockComplete: boolean
}

/** Bytes that never became a frame. */
export interface Fragment {
  readonly bytes: Buffer
  readonly because: FragmentReason | 'bytes-outside-frames'
}

export interface Receipt {
  /** What goes back, without the frame around it; nothing where the sender wants nothing or nobody could read it. */
  readonly reply?: Buffer
  /** Set where nothing is stored and the sender asked for no answer to that: losing the connection tells it. */
  readonly isLost?: true
  /** Set where the content was no HL7 at all. */
  readonly isUnreadable?: true
}

export interface MllpLimits {
  /** Content of one frame. */
  readonly frameBytesMax: number
  /** Nothing completed, nothing owed, for so long: the connection is cut. Cloverleaf’s is 30 s; quiet feeds need more. */
  readonly idleMsMax: number
  /** From 0x0B to 0x1C. */
  readonly frameMsMax: number
  /** How long a 0x1C waits for its 0x0D before the frame counts as whole. */
  readonly endBlockWaitMsMax: number
  /** TLS handshake. */
  readonly handshakeMsMax: number
  readonly connectionsMax: number
  /** Frames of one connection without an answer yet; reading pauses here. */
  readonly framesInFlightMax: number
  /** Their bytes. */
  readonly bytesInFlightMax: number
  /** Replies of one connection that its peer has not read yet. */
  readonly unreadReplyBytesMax: number
  /** Unfinished frames and frames in flight of all connections together. */
  readonly heldBytesMax: number
  /** Frames and fragments of one connection in a row that nobody could read, before it is cut. */
  readonly unreadableInARowMax: number
  /** Bytes outside frames of one connection in a row, before it is cut: this is no MLLP. */
  readonly junkBytesMax: number
  /** How long a connection that is being ended may take for its owed replies, and again for the peer’s goodbye. */
  readonly lingerMsMax: number
}

export const mllpLimits: MllpLimits = {
  frameBytesMax: 16 * 1024 * 1024,
  idleMsMax: 10 * 60 * 1000,
  frameMsMax: 60 * 1000,
  endBlockWaitMsMax: 100,
  handshakeMsMax: 10 * 1000,
  connectionsMax: 512,
  framesInFlightMax: 64,
  bytesInFlightMax: 16 * 1024 * 1024,
  unreadReplyBytesMax: 64 * 1024,
  heldBytesMax: 512 * 1024 * 1024,
  unreadableInARowMax: 20,
  junkBytesMax: 1024 * 1024,
  lingerMsMax: 5 * 1000,
}

/** PEM texts. With `clientAuthorities` only senders with a certificate of one of them are heard (IHE ATNA). */
export interface MllpTls {
  readonly certificate: string | Buffer
  readonly privateKey: string | Buffer
  readonly clientAuthorities?: string | Buffer | readonly (string | Buffer)[]
}

export interface MllpListenerOptions {
  /** An address; the listener binds this one and no other. */
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
  readonly tls?: MllpTls
  readonly limits?: Partial<MllpLimits>
  /** Called in the order of the frames, without waiting for the one before. Replies go out in the same order. */
  receive(frame: MllpFrame, peer: Peer): Promise<Receipt>
  /** Keeps bytes that never became a frame, with the reason; may answer, too. */
  onFragment(fragment: Fragment, peer: Peer): Promise<Receipt>
  readonly log: Log
}

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

export type CutReason =
  | 'idle'
  | 'frame-too-slow'
  | 'frame-too-large'
  | 'not-mllp'
  | 'unreadable'
  | 'memory'
  | 'lost'
  | 'replies-unread'

export interface MllpListener {
  readonly address: { readonly host: string; readonly port: number }
  readonly connections: number
  counts(): Readonly<MllpCounts>
  /** New certificates for connections from now on. */
  setTls(tls: MllpTls): void
  /**
   * Stops accepting and reading, lets every frame already received end, delivers every owed reply, says goodbye.
   * Connections that take longer than `deadlineMs` are destroyed; resolves to their number.
   */
  close(deadlineMs: number): Promise<number>
}

/** Listens for MLLP on one address. Rejects where the address cannot be bound. */
export async function listenMllp(options: MllpListenerOptions): Promise<MllpListener> {
  const limits: MllpLimits = { ...mllpLimits, ...options.limits }
  const counts: MllpCounts = {
    connections: 0,
    frames: 0,
    bytes: 0,
    junkBytes: 0,
    fragments: 0,
    cut: {
      idle: 0,
      'frame-too-slow': 0,
      'frame-too-large': 0,
      'not-mllp': 0,
      unreadable: 0,
      memory: 0,
      lost: 0,
      'replies-unread': 0,
    },
    pauses: 0,
  }
  const connections = new Set<Connection>()
  const shared: Shared = { options, limits, counts, heldBytes: 0 }

  const welcome = (socket: net.Socket): void => {
    counts.connections++
    const connection = new Connection(socket, shared)
    connections.add(connection)
    socket.once('close', () => connections.delete(connection))
  }
  const socketOptions = { allowHalfOpen: true, noDelay: true, keepAlive: true }
  const tlsServer =
    options.tls === undefined
      ? undefined
      : tls.createServer(
          { ...socketOptions, ...secureContext(options.tls), handshakeTimeout: limits.handshakeMsMax },
          welcome,
        )
  tlsServer?.on('tlsClientError', (error, socket) => {
    options.log.warn('a sender did not complete the TLS handshake', {
      peer: addressOf(socket),
      error: errorTrace(error),
    })
    socket.destroy()
  })
  const server: net.Server = tlsServer ?? net.createServer(socketOptions, welcome)
  // Nothing is owed to a sender that has not completed its handshake, and it must not hold up the close.
  const handshaking = new Map<string, net.Socket>()
  tlsServer?.on('connection', (socket: net.Socket) => {
    const address = addressOf(socket)
    handshaking.set(address, socket)
    socket.once('close', () => handshaking.delete(address))
  })
  tlsServer?.on('secureConnection', (socket) => handshaking.delete(addressOf(socket)))
  server.maxConnections = limits.connectionsMax
  server.on('drop', () => options.log.warn('a connection was refused: too many are open'))

  server.listen({ host: options.host, port: options.port, exclusive: true })
  try {
    await once(server, 'listening')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Error(
      `cannot listen on ${options.host}:${options.port} (${code}): ` +
        (code === 'EADDRINUSE'
          ? 'another program has the port; stop it or choose another'
          : 'check the address and that the port may be used'),
      { cause: error },
    )
  }
  server.on('error', (error) => options.log.error('the MLLP listener failed', { error: errorTrace(error) }))
  const bound = server.address() as net.AddressInfo

  const watch = setInterval(
    () => {
      const at = performance.now()
      for (const connection of connections) connection.checkTimes(at)
    },
    Math.max(5, Math.min(1000, limits.idleMsMax / 4, limits.frameMsMax / 4)),
  )
  watch.unref()

  return {
    address: { host: bound.address, port: bound.port },
    get connections() {
      return connections.size
    },
    counts: () => counts,
    setTls(fresh) {
      if (tlsServer === undefined)
        throw new Error('this listener speaks plain TCP; TLS needs a listener of its own')
      tlsServer.setSecureContext(secureContext(fresh))
    },
    async close(deadlineMs) {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of handshaking.values()) socket.destroy()
      for (const connection of connections) connection.finish(deadlineMs)
      let destroyed = 0
      const deadline = setTimeout(() => {
        destroyed = connections.size
        for (const connection of connections) connection.destroy()
      }, deadlineMs)
      await closed
      clearTimeout(deadline)
      clearInterval(watch)
      return destroyed
    },
  }
}

function secureContext({ certificate, privateKey, clientAuthorities }: MllpTls): tls.TlsOptions {
  return {
    cert: certificate,
    key: privateKey,
    minVersion: 'TLSv1.2',
    ...(clientAuthorities === undefined
      ? {}
      : {
          ca: clientAuthorities as string | Buffer | (string | Buffer)[],
          requestCert: true,
          rejectUnauthorized: true,
        }),
  }
}

function addressOf(socket: net.Socket): string {
  return socket.remoteAddress === undefined ? 'gone' : `${socket.remoteAddress}:${socket.remotePort}`
}

interface Shared {
  readonly options: MllpListenerOptions
  readonly limits: MllpLimits
  readonly counts: MllpCounts
  heldBytes: number
}

/** A frame or fragment whose reply is owed, in the order they came. */
interface Owed {
  readonly bytes: number
  receipt?: Receipt
}

/** The first bytes of a run of junk are kept as evidence; the rest is counted. */
const junkBytesKeptMax = 4096

class Connection {
  readonly #socket: net.Socket
  readonly #shared: Shared
  readonly #peer: Peer
  readonly #decoder: MllpDecoder
  readonly #owed: Owed[] = []
  #bytesInFlight = 0
  #bytesHeldBefore = 0
  #isFinishing = false
  #lingerMs: number
  #lastProgressAt = performance.now()
  #frameBeganAt: number | undefined
  #settleTimer: NodeJS.Timeout | undefined
  #lingerTimer: NodeJS.Timeout | undefined
  #junk = Buffer.alloc(0)
  #junkBytes = 0
  #unreadableInARow = 0

  constructor(socket: net.Socket, shared: Shared) {
    this.#socket = socket
    this.#shared = shared
    this.#peer = { address: addressOf(socket) }
    this.#decoder = new MllpDecoder(shared.limits.frameBytesMax)
    this.#lingerMs = shared.limits.lingerMsMax
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('drain', () => this.#adjustFlow())
    socket.on('end', () => this.#endOfStream())
    // A reset tells nothing that 'close' does not; what is in flight is committed, and asked for again by the sender.
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#gone())
  }

  /** Takes nothing more, waits for what is owed, ends; destroys itself where that takes longer than `lingerMs`. */
  finish(lingerMs = this.#shared.limits.lingerMsMax): void {
    if (this.#isFinishing) return
    this.#isFinishing = true
    this.#lingerMs = lingerMs
    clearTimeout(this.#settleTimer)
    // Unread bytes would turn our goodbye into a reset, and a reset may overtake the last replies: read on, drop.
    this.#socket.resume()
    this.#linger()
    this.#endWhenNothingIsOwed()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  checkTimes(at: number): void {
    if (this.#isFinishing) return
    const { idleMsMax, frameMsMax } = this.#shared.limits
    const frameMs = this.#frameBeganAt === undefined ? 0 : at - this.#frameBeganAt
    // While reading is paused by us, the sender is not the slow one.
    if (frameMs > frameMsMax && !this.#socket.isPaused()) {
      this.#takeEvents(this.#decoder.end('frame-too-slow'))
      this.#cut('frame-too-slow')
    } else if (at - this.#lastProgressAt > idleMsMax) {
      if (this.#socket.writableLength > 0) this.#cut('replies-unread')
      else if (this.#owed.length === 0 && this.#frameBeganAt === undefined) this.#cut('idle')
    }
  }

  #read(chunk: Buffer): void {
    if (this.#isFinishing) return
    clearTimeout(this.#settleTimer)
    this.#takeEvents(this.#decoder.push(chunk))
    if (this.#isFinishing) return
    if (this.#decoder.awaitsEndOfFrame)
      this.#settleTimer = setTimeout(() => {
        this.#takeEvents(this.#decoder.settle())
        this.#adjustFlow()
      }, this.#shared.limits.endBlockWaitMsMax)
    this.#frameBeganAt = this.#decoder.isInsideFrame ? (this.#frameBeganAt ?? performance.now()) : undefined
    this.#adjustFlow()
  }

  #takeEvents(events: ReturnType<MllpDecoder['push']>): void {
    const { limits, counts } = this.#shared
    for (const event of events) {
      if (this.#isFinishing) return
      if (event.what === 'junk') {
        this.#takeJunk(event.bytes)
        continue
      }
      this.#reportJunk()
      this.#frameBeganAt = undefined
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
      if (this.#unreadableInARow >= limits.unreadableInARowMax) this.#cut('unreadable')
    }
  }

  #takeJunk(bytes: Buffer): void {
    const { limits, counts } = this.#shared
    counts.junkBytes += bytes.length
    this.#junkBytes += bytes.length
    const room = junkBytesKeptMax - this.#junk.length
    if (room > 0) this.#junk = Buffer.concat([this.#junk, bytes.subarray(0, room)])
    if (this.#junkBytes > limits.junkBytesMax) {
      this.#reportJunk()
      this.#cut('not-mllp')
    }
  }

  /** Line ends between frames are a habit of many senders and no loss; anything else is kept. */
  #reportJunk(): void {
    if (this.#junkBytes === 0) return
    const junk = this.#junk
    this.#junk = Buffer.alloc(0)
    this.#junkBytes = 0
    if (junk.every((byte) => byte === 0x0d || byte === 0x0a || byte === 0x20 || byte === 0)) return
    this.#unreadableInARow++
    this.#owe(junk, this.#report({ bytes: junk, because: 'bytes-outside-frames' }))
  }

  // Both are async so that whatever is thrown becomes a rejection.
  async #receive(frame: MllpFrame): Promise<Receipt> {
    return this.#shared.options.receive(frame, this.#peer)
  }

  async #report(fragment: Fragment): Promise<Receipt> {
    const { options, counts } = this.#shared
    counts.fragments++
    options.log.warn('bytes arrived that are no whole frame', {
      peer: this.#peer.address,
      bytes: fragment.bytes.length,
      code: fragment.because,
    })
    return options.onFragment(fragment, this.#peer)
  }

  #owe(bytes: Buffer, receiving: Promise<Receipt>): void {
    const owed: Owed = { bytes: bytes.length }
    this.#owed.push(owed)
    this.#bytesInFlight += owed.bytes
    receiving.then(
      (receipt) => this.#settleOwed(owed, receipt),
      (error: unknown) => {
        // A bug: nothing is promised, and the sender learns by the lost connection that it has to send again.
        this.#shared.options.log.error('a received frame could not be taken', {
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
    if (this.#unreadableInARow >= this.#shared.limits.unreadableInARowMax) this.#cut('unreadable')
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
      this.#cut('lost')
    }
    this.#adjustFlow()
    this.#endWhenNothingIsOwed()
  }

  #adjustFlow(): void {
    const { limits, counts } = this.#shared
    this.#countHeld(this.#decoder.heldBytes + this.#bytesInFlight)
    if (this.#isFinishing || this.#socket.destroyed) return
    const isFull =
      this.#owed.length >= limits.framesInFlightMax ||
      this.#bytesInFlight >= limits.bytesInFlightMax ||
      this.#socket.writableLength >= limits.unreadReplyBytesMax
    const isMemoryFull = this.#shared.heldBytes > limits.heldBytesMax
    if (isFull || (isMemoryFull && this.#owed.length > 0)) {
      if (!this.#socket.isPaused()) {
        this.#socket.pause()
        counts.pauses++
      }
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
    this.#shared.heldBytes += bytes - this.#bytesHeldBefore
    this.#bytesHeldBefore = bytes
  }

  #cut(reason: CutReason): void {
    if (this.#isFinishing || this.#socket.destroyed) return
    this.#shared.counts.cut[reason]++
    this.#shared.options.log.warn('a sender’s connection is cut', { peer: this.#peer.address, code: reason })
    this.finish()
  }

  /** The sender has said all it wants to say; it may still listen. */
  #endOfStream(): void {
    if (!this.#isFinishing) {
      clearTimeout(this.#settleTimer)
      this.#takeEvents(this.#decoder.end('connection-ended'))
      this.#reportJunk()
    }
    this.finish()
  }

  #linger(): void {
    clearTimeout(this.#lingerTimer)
    this.#lingerTimer = setTimeout(() => this.#socket.destroy(), this.#lingerMs)
  }

  #endWhenNothingIsOwed(): void {
    if (!this.#isFinishing || this.#owed.length > 0 || this.#socket.writableEnded) return
    this.#socket.end()
    this.#lingerMs = Math.min(this.#lingerMs, this.#shared.limits.lingerMsMax)
    if (!this.#socket.destroyed) this.#linger()
  }

  #gone(): void {
    clearTimeout(this.#settleTimer)
    clearTimeout(this.#lingerTimer)
    if (!this.#isFinishing) {
      // Without a goodbye: what was begun is kept all the same.
      this.#takeEvents(this.#decoder.end('connection-ended'))
      this.#reportJunk()
      this.#isFinishing = true
    }
    this.#owed.length = 0
    this.#bytesInFlight = 0
    this.#countHeld(0)
  }
}
