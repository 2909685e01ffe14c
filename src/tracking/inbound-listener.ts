import { chmod, unlink } from 'node:fs/promises'
import { connect, type AddressInfo } from 'node:net'
import type { SMTPServerDataStream, SMTPServerSession } from 'smtp-server'
import { SMTPServer } from 'smtp-server'
import { isSameAddress } from '../domain/direct-address.ts'
import { inboundMailBytesMax } from '../domain/limits.ts'
import { errorTrace, type Log } from '../lib/log.ts'

/** One mail as it comes in. `chunks` throws where the mail is not complete, so that no truncated mail is ever stored. */
export interface IncomingMail {
  /** MAIL FROM; empty for the null sender. */
  readonly envelopeFrom: string
  readonly envelopeTo: readonly string[]
  /** Address of the peer, `unix` for a local socket. */
  readonly peer: string
  readonly chunks: AsyncIterable<Buffer>
}

export interface InboundSettings {
  /** `lmtp` behind a mail server of one’s own, `smtp` where peers or relays connect directly. */
  readonly protocol: 'smtp' | 'lmtp'
  readonly at: { readonly host: string; readonly port: number } | { readonly path: string }
  /** Who is here: our Direct addresses, and whole domains of ours. Everything else is 550. */
  readonly recipients: { readonly addresses: readonly string[]; readonly domains?: readonly string[] }
  /** What the greeting calls us. */
  readonly name: string
  /** PEM. Offers STARTTLS; without it there is none. */
  readonly tls?: { readonly certificate: string; readonly privateKey: string }
  readonly messageBytesMax?: number
  readonly connectionsMax?: number
  /** Without a single octet for this long, a connection is closed (RFC 5321 §4.5.3.2.7 allows 5 minutes). */
  readonly idleMsMax?: number
  /** One mail must be in by then, however slowly it drips. */
  readonly mailMsMax?: number
  /** How long `close` lets mails under way finish. */
  readonly drainMsMax?: number
}

export interface MailListener {
  readonly at: { readonly host: string; readonly port: number } | { readonly path: string }
  /** Takes no new mail, answers every mail under way, then closes all connections. */
  close(): Promise<void>
}

const connectionsMaxByDefault = 100
const idleMsMaxByDefault = 5 * 60_000
const mailMsMaxByDefault = 30 * 60_000
const drainMsMaxByDefault = 30_000
/** RFC 5321 §4.5.3.1.8 lets a client count on 100; we have a handful of addresses. */
const recipientsMax = 100
/** A peer that goes on beyond the limit is answered in mid-mail after this many times the limit. */
const overrunFactorMax = 2

/**
 * Inbound Direct mail over SMTP or LMTP: MDNs, DSNs, replies. 250 is said only after `store` resolved, so `store` must have
 * committed by then; where it fails, 451 makes the peer come again.
 *
 * @param store port; gets each mail as a stream, in parallel with others
 */
export async function listenForMail(
  settings: InboundSettings,
  store: (mail: IncomingMail) => Promise<void>,
  log: Log,
): Promise<MailListener> {
  const bytesMax = settings.messageBytesMax ?? inboundMailBytesMax
  const underWay = new Map<string, Promise<void>>()
  let closing = false

  const server = new SMTPServer({
    name: settings.name,
    lmtp: settings.protocol === 'lmtp',
    size: bytesMax,
    authOptional: true,
    disabledCommands: settings.tls === undefined ? ['AUTH', 'STARTTLS'] : ['AUTH'],
    ...(settings.tls === undefined
      ? { hideSTARTTLS: true }
      : { key: settings.tls.privateKey, cert: settings.tls.certificate, minVersion: 'TLSv1.2' as const }),
    hideENHANCEDSTATUSCODES: false,
    hideSMTPUTF8: true,
    // PTR names of strangers decide nothing here.
    disableReverseLookup: true,
    maxClients: settings.connectionsMax ?? connectionsMaxByDefault,
    maxRecipients: recipientsMax,
    socketTimeout: settings.idleMsMax ?? idleMsMaxByDefault,
    closeTimeout: settings.drainMsMax ?? drainMsMaxByDefault,
    logger: false,
    onRcptTo({ address }, _session, done) {
      if (isOurs(settings.recipients, address)) done()
      else done(reply(550, 'no such mailbox here'))
    },
    onData(stream, session, done) {
      const taken = take(stream, session).then(
        (answer) => done(answer),
        (error: unknown) => {
          log.error('inbound mail: unexpected error', { room: 'tracking', error: errorTrace(error) })
          done(reply(451, 'not stored, please try again'))
        },
      )
      underWay.set(session.id, taken)
      void taken.then(() => {
        underWay.delete(session.id)
        // The reply is written; nothing else will be answered on this connection.
        if (closing) end(session.id)
      })
    },
  })
  server.on('error', (error) => {
    // Peers that vanish or stumble over TLS; the mail concerned ends by itself.
    log.debug('inbound mail: connection error', { room: 'tracking', error: errorTrace(error) })
  })

  /** Undefined: stored. */
  async function take(stream: SMTPServerDataStream, session: SMTPServerSession): Promise<Error | null> {
    const tooSlow = setTimeout(() => end(session.id), settings.mailMsMax ?? mailMsMaxByDefault)
    try {
      await store({
        envelopeFrom: session.envelope.mailFrom === false ? '' : session.envelope.mailFrom.address,
        envelopeTo: session.envelope.rcptTo.map(({ address }) => address),
        peer: session.remoteAddress === '' ? 'unix' : session.remoteAddress,
        chunks: wholeMail(stream),
      })
      if (!isComplete(stream)) throw new Error('store resolved before it had read the mail')
      return null
    } catch (error) {
      if (stream.sizeExceeded) {
        log.warn('inbound mail refused: too large', { room: 'tracking', bytes: stream.byteLength })
        await drained(stream, overrunFactorMax * bytesMax)
        return reply(552, `larger than ${bytesMax} octets`)
      }
      log.error('inbound mail not stored', { room: 'tracking', error: errorTrace(error) })
      // The peer is still talking: the answer comes when it has finished.
      await drained(stream, overrunFactorMax * bytesMax)
      return reply(451, 'not stored, please try again')
    } finally {
      clearTimeout(tooSlow)
    }
  }

  function end(sessionId: string): void {
    for (const connection of server.connections) if (connection.session.id === sessionId) connection.close()
  }

  const at = await listen(server, settings.at)
  log.info(`inbound mail: ${settings.protocol} listening`, {
    room: 'tracking',
    listen: 'path' in at ? at.path : `${at.host}:${at.port}`,
  })
  return {
    at,
    async close() {
      closing = true
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      // Those that owe us nothing and are owed nothing go at once; the others after their answer (see onData).
      for (const connection of server.connections)
        if (!underWay.has(connection.session.id))
          connection.send(421, 'bluepost is stopping, please try again')
      await closed
      await Promise.allSettled(underWay.values())
    },
  }
}

function isOurs({ addresses, domains = [] }: InboundSettings['recipients'], address: string): boolean {
  const domain = address.slice(address.lastIndexOf('@') + 1).toLowerCase()
  return (
    addresses.some((own) => isSameAddress(own, address)) ||
    (address.includes('@') && domains.some((own) => own.toLowerCase() === domain))
  )
}

function reply(responseCode: number, text: string): Error & { responseCode: number } {
  return Object.assign(new Error(text), { responseCode })
}

function isComplete(stream: SMTPServerDataStream): boolean {
  return stream.readableEnded && stream.errored === null
}

/** The content, throwing where the connection ends before it or where it passes the limit. */
async function* wholeMail(stream: SMTPServerDataStream): AsyncGenerator<Buffer> {
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    if (stream.sizeExceeded) break
    yield chunk as Buffer
  }
  if (stream.sizeExceeded) throw new Error('the mail is too large')
  if (!isComplete(stream)) throw new Error('the connection ended before the mail did')
}

/** Lets the peer finish talking, so that it hears the answer; `octetsMax` bounds its patience and ours. */
function drained(stream: SMTPServerDataStream, octetsMax: number): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    stream.on('error', () => resolve())
    stream.once('end', resolve)
    stream.once('close', resolve)
    stream.on('data', () => {
      if (stream.byteLength > octetsMax) stream.destroy()
    })
    stream.resume()
  })
}

async function listen(server: SMTPServer, at: InboundSettings['at']): Promise<MailListener['at']> {
  if ('path' in at) await removeStaleSocket(at.path)
  await new Promise<void>((resolve, reject) => {
    server.server.once('error', reject)
    const listening = (): void => {
      server.server.off('error', reject)
      resolve()
    }
    if ('path' in at) server.listen(at.path, listening)
    else server.listen(at.port, at.host, listening)
  })
  if ('path' in at) {
    // The mail server in front is another user of the same group.
    await chmod(at.path, 0o660)
    return at
  }
  const { address, port } = server.server.address() as AddressInfo
  return { host: address, port }
}

/** A socket file that nobody listens on is what a killed process leaves behind. */
async function removeStaleSocket(path: string): Promise<void> {
  const isStale = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(false)
    })
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
  if (isStale) await unlink(path)
}
