import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { errorTrace } from '../lib/log.ts'
import type { Log } from '../lib/log.ts'
import { MllpConnection, addressOf } from './mllp-connection.ts'
import type { Common, MllpCounts } from './mllp-connection.ts'
import { mllpLimits } from './mllp-limits.ts'
import type { MllpLimits } from './mllp-limits.ts'
import type { MllpReceiver } from './mllp-receiver.ts'

/** PEM texts. With `clientAuthorities` only senders with a certificate of one of them are heard (IHE ATNA). */
export interface MllpTls {
  readonly certificate: string | Buffer
  readonly privateKey: string | Buffer
  readonly clientAuthorities?: string | Buffer | readonly (string | Buffer)[]
}

export interface MllpListenerOptions extends MllpReceiver {
  /** An address; the listener binds this one and no other. */
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
  readonly tls?: MllpTls
  readonly limits?: Partial<MllpLimits>
  readonly log: Log
}

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
  const connections = new Set<MllpConnection>()
  const common: Common = { receiver: options, limits, log: options.log, counts, heldBytes: 0 }

  const welcome = (socket: net.Socket): void => {
    counts.connections++
    const connection = new MllpConnection(socket, common)
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
      for (const connection of connections) connection.finish()
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
