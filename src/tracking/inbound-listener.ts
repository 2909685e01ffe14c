import type { SMTPServerDataStream, SMTPServerSession } from 'smtp-server'
import { SMTPServer } from 'smtp-server'
import { isSameAddress } from '../domain/direct-address.ts'
import { inboundMailBytesMax } from '../domain/limits.ts'
import { errorTrace, type Log } from '../lib/log.ts'
import { loans, type Loan } from './loans.ts'
import { drained, headFirst, isComplete, wholeMail } from './mail-content.ts'
import { listenAt, type MailPlace } from './mail-socket.ts'

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
  readonly at: MailPlace
  /** Who is here: our Direct addresses. Everything else is 550. */
  readonly recipients: { readonly addresses: readonly string[] }
  /** What the greeting calls us. */
  readonly name: string
  /** PEM. Offers STARTTLS; without it there is none. */
  readonly tls?: { readonly certificate: string; readonly privateKey: string }
  readonly messageBytesMax?: number
  readonly connectionsMax?: number
  /** Connections at once from one address. Not counted for LMTP, where everything comes from the mail server in front. */
  readonly connectionsPerPeerMax?: number
  /** Without a single octet for this long, a connection is closed (RFC 5321 §4.5.3.2.7 allows 5 minutes). */
  readonly idleMsMax?: number
  /** From connection, or from the mail before, to the end of a mail, however slowly its commands and its content drip. */
  readonly mailMsMax?: number
  /** How long `close` lets mails under way finish. */
  readonly drainMsMax?: number
}

export interface MailListener {
  readonly at: MailPlace
  /** Takes no new mail, answers every mail under way, then closes all connections. */
  close(): Promise<void>
}

/** Postfix: default_process_limit. */
const connectionsMaxByDefault = 100
/** Postfix: smtpd_client_connection_count_limit. */
const connectionsPerPeerMaxByDefault = 50
const idleMsMaxByDefault = 5 * 60_000
const mailMsMaxByDefault = 10 * 60_000
const drainMsMaxByDefault = 30_000
/** RFC 5321 §4.5.3.1.8 lets a client count on 100; we have a handful of addresses. */
const recipientsMax = 100
/**
 * What is read before `store` begins, which holds a database connection: every MDN and DSN fits. A peer that dripped would
 * otherwise hold one for as long as it likes, and a few dozen such peers all of them.
 */
const headBytesMax = 256 * 1024
/** Larger mails are stored while they come in, this many at a time; the others wait for their turn. */
const largeMailsAtOnceMax = 4
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
  const sessions = new Map<string, { readonly peer: string; clock: NodeJS.Timeout }>()
  const largeOnes = loans(largeMailsAtOnceMax)
  let closing = false

  const server = new SMTPServer({
    name: settings.name,
    lmtp: settings.protocol === 'lmtp',
    size: bytesMax,
    authOptional: true,
    disabledCommands: [...uselessCommands, ...(settings.tls === undefined ? ['STARTTLS'] : [])],
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
    onConnect(session, done) {
      const peer = peerOf(session)
      const peersMax = settings.connectionsPerPeerMax ?? connectionsPerPeerMaxByDefault
      const standing = [...sessions.values()].filter((other) => other.peer === peer).length
      if (settings.protocol === 'smtp' && standing >= peersMax) {
        log.warn('inbound mail: too many connections of one peer', {
          room: 'tracking',
          peer,
          count: standing,
        })
        return done(reply(421, 'too many connections from your address, please try again'))
      }
      sessions.set(session.id, { peer, clock: startClock(session.id) })
      done()
    },
    onClose({ id }) {
      clearTimeout(sessions.get(id)?.clock)
      sessions.delete(id)
    },
    onRcptTo({ address }, _session, done) {
      if (settings.recipients.addresses.some((own) => isSameAddress(own, address))) done()
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
        const standing = sessions.get(session.id)
        clearTimeout(standing?.clock)
        if (standing !== undefined) standing.clock = startClock(session.id)
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
    let loan: Loan | undefined
    try {
      const { chunks, isLarge } = await headFirst(wholeMail(stream), headBytesMax)
      if (isLarge) loan = await largeOnes.borrow()
      await store({
        envelopeFrom: session.envelope.mailFrom === false ? '' : session.envelope.mailFrom.address,
        envelopeTo: session.envelope.rcptTo.map(({ address }) => address),
        peer: peerOf(session),
        chunks,
      })
      if (!isComplete(stream)) throw new Error('store resolved before it had read the mail')
      return null
    } catch (error) {
      if (stream.sizeExceeded) {
        log.warn('inbound mail refused: too large', { room: 'tracking', bytes: stream.byteLength })
        await drained(stream, overrunFactorMax * bytesMax)
        return reply(552, `larger than ${bytesMax} octets`)
      }
      // A peer that went away tries again by itself and hears no answer.
      if (stream.errored !== null || (stream.destroyed && !stream.readableEnded))
        log.info('inbound mail broken off', { room: 'tracking', peer: peerOf(session) })
      else log.error('inbound mail not stored', { room: 'tracking', error: errorTrace(error) })
      // The peer is still talking: the answer comes when it has finished.
      await drained(stream, overrunFactorMax * bytesMax)
      return reply(451, 'not stored, please try again')
    } finally {
      loan?.giveBack()
    }
  }

  function startClock(sessionId: string): NodeJS.Timeout {
    return setTimeout(() => end(sessionId), settings.mailMsMax ?? mailMsMaxByDefault).unref()
  }

  function end(sessionId: string): void {
    for (const connection of server.connections) if (connection.session.id === sessionId) connection.close()
  }

  const at = await listenAt(server, settings.at)
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

/** AUTH: nobody logs in here. The rest are jokes of sendmail’s youth that smtp-server keeps alive. */
const uselessCommands = ['AUTH', 'WIZ', 'SHELL', 'KILL']

function peerOf({ remoteAddress }: SMTPServerSession): string {
  return remoteAddress === '' ? 'unix' : remoteAddress
}

function reply(responseCode: number, text: string): Error & { responseCode: number } {
  return Object.assign(new Error(text), { responseCode })
}
