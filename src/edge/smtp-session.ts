import { isIP } from 'node:net'
import SMTPConnection, { type SMTPError } from 'nodemailer/lib/smtp-connection'
import type { SubmissionOutcome } from './edge.ts'
import type { NextHop } from './next-hops.ts'
import type { Route } from './route.ts'
import type { SmtpPatience } from './smtp-patience.ts'
import { isFailureCode, plain } from './smtp-reply.ts'
import { connectionEnded, transact, type Mail, type Transaction } from './smtp-transaction.ts'

/**
 * One SMTP connection, greeted, secured and authenticated as its route demands. nodemailer’s SMTPConnection speaks the
 * protocol; what its answers and errors mean for each recipient is decided here, because its transports fold “lost before
 * the final dot” and “lost after it” into one error.
 */
export interface SmtpSession {
  /** host:port, for people. */
  readonly nextHop: string
  /** False once the connection ended or a transaction on it did not end cleanly. */
  isUsable(): boolean
  /** One mail transaction. At most one at a time. */
  send(mail: Mail): Promise<Transaction>
  /** QUIT, then gone. */
  quit(): void
}

export type Opening =
  | { readonly opened: true; readonly session: SmtpSession }
  | { readonly opened: false; readonly outcome: SubmissionOutcome }

/** A reply line is at most 512 octets (RFC 5321 §4.5.3.1.5); EHLO has a few dozen. */
const replyBytesMax = 64 * 1024

/** Connects, secures and authenticates. Never throws. */
export async function openSession(
  hop: NextHop,
  route: Route,
  ehloName: string,
  patience: SmtpPatience,
): Promise<Opening> {
  const opening = await open(hop, route, route.starttls, ehloName, patience)
  // RFC 7435: opportunistic means encrypt where the peer can, and go on where the handshake itself fails.
  return !opening.opened && opening.outcome.outcome === 'insecure' && route.starttls === 'opportunistic'
    ? open(hop, route, 'none', ehloName, patience)
    : opening
}

async function open(
  hop: NextHop,
  route: Route,
  starttls: Route['starttls'],
  ehloName: string,
  patience: SmtpPatience,
): Promise<Opening> {
  const nextHop = `${hop.host}:${hop.port}`
  const connection = new SMTPConnection({
    host: hop.address,
    port: hop.port,
    name: ehloName,
    servername: isIP(hop.host) === 0 ? hop.host : undefined,
    secure: route.implicitTls,
    requireTLS: starttls === 'required',
    ignoreTLS: starttls === 'none',
    opportunisticTLS: starttls === 'opportunistic',
    // Every wait is bounded here, phase by phase; nodemailer’s own timers only back them up.
    connectionTimeout: patience.setupMsMax,
    greetingTimeout: patience.setupMsMax,
    socketTimeout: 2 * Math.max(patience.envelopeMsMax, patience.blockMsMax, patience.finalReplyMsMax),
    // Closing is cutting: a half-closed connection could still flush a final dot.
    socketCloseTimeout: 0,
    maxResponseSize: replyBytesMax,
    logger: false,
    tls: {
      minVersion: 'TLSv1.2',
      rejectUnauthorized: route.verify,
      ...(route.ca === undefined ? {} : { ca: route.ca }),
    },
  })
  const failure = await new Promise<SMTPError | string | undefined>((resolve) => {
    const timer = setTimeout(
      () => resolve('no complete greeting, TLS and login in time'),
      patience.setupMsMax,
    )
    const settle = (value: SMTPError | string | undefined): void => {
      clearTimeout(timer)
      resolve(value)
    }
    connection.on('error', settle)
    connection.once('end', () => queueMicrotask(() => settle(connectionEnded)))
    connection.connect((error) => {
      if (error) settle(error)
      else if (route.login === undefined) settle(undefined)
      else connection.login(route.login, (failed) => settle(failed ?? undefined))
    })
  })
  if (failure === undefined && (connection.secure || (!route.implicitTls && starttls !== 'required')))
    return { opened: true, session: sessionOver(connection, nextHop, patience) }
  const outcome =
    failure === undefined
      ? { outcome: 'insecure' as const, because: `${nextHop} did not secure the connection` }
      : openingOutcome(failure, nextHop, route.implicitTls, connection.upgrading === true)
  connection.close()
  return { opened: false, outcome }
}

/** What a connection that never became a session means for the mail. */
function openingOutcome(
  failure: SMTPError | string,
  nextHop: string,
  implicitTls: boolean,
  upgrading: boolean,
): SubmissionOutcome {
  if (typeof failure === 'string') return { outcome: 'unreachable', because: `${nextHop}: ${failure}` }
  const code = failure.responseCode
  const reply = plain(failure.response)
  if (failure.code === 'EAUTH')
    // Refused credentials are our configuration’s fault, not this message’s: it waits (Postfix: smtp_sasl_auth_soft_bounce).
    return isFailureCode(code)
      ? { outcome: 'deferred', code, reply, nextHop }
      : { outcome: 'unreachable', because: `${nextHop}: login failed without an understandable answer` }
  const timedOut = failure.code === 'ETIMEDOUT'
  if (failure.code === 'ETLS' || (upgrading && !timedOut))
    return { outcome: 'insecure', because: `${nextHop} ${tlsTrouble(failure)}` }
  if (code !== undefined && failure.command === 'EHLO' && code >= 500 && code <= 504)
    // No EHLO, no STARTTLS (RFC 3207 §4): the host speaks RFC 821 only.
    return { outcome: 'insecure', because: `${nextHop} does not know EHLO, so it has no STARTTLS: ${reply}` }
  if (isFailureCode(code)) return { outcome: code < 500 ? 'deferred' : 'refused', code, reply, nextHop }
  const system = failure.originalCode ?? failure.code ?? 'error'
  if (implicitTls && !timedOut && !networkCodes.has(system) && failure.code === 'ESOCKET')
    return { outcome: 'insecure', because: `${nextHop} ${tlsTrouble(failure)}` }
  return { outcome: 'unreachable', because: `${nextHop} did not answer as a mail server (${system})` }
}

const networkCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'ETIMEDOUT',
  'EPIPE',
  'EACCES',
  'EPERM',
])

function tlsTrouble(failure: SMTPError): string {
  if (failure.command === 'STARTTLS' && failure.response !== undefined)
    return `refused STARTTLS: ${plain(failure.response)}`
  const code = failure.originalCode ?? ''
  if (/CERT|SIGN|ALTNAME|ISSUER|CHAIN/.test(code)) return `has a certificate that does not verify (${code})`
  return `failed the TLS handshake (${code === '' ? plain(failure.message) : code})`
}

function sessionOver(connection: SMTPConnection, nextHop: string, patience: SmtpPatience): SmtpSession {
  let clean = true
  return {
    nextHop,
    isUsable: () => clean && !connection.destroyed,
    async send(mail) {
      clean = false
      const transaction = await transact(connection, nextHop, mail, patience)
      clean = transaction.clean
      if (!clean) connection.close()
      return transaction
    },
    quit() {
      clean = false
      if (connection.destroyed) return
      const cut = setTimeout(() => connection.close(), quitMsMax)
      connection.once('end', () => clearTimeout(cut))
      connection.quit()
    },
  }
}

/** QUIT is a courtesy. */
const quitMsMax = 2_000
