import { isIP } from 'node:net'
import { Readable } from 'node:stream'
import SMTPConnection, { type SMTPError } from 'nodemailer/lib/smtp-connection'
import { exactContent } from './content.ts'
import type { Handover, SubmissionOutcome } from './edge.ts'
import type { NextHop } from './next-hops.ts'
import type { Route } from './route.ts'

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

export interface Mail extends Pick<Handover, 'bytes' | 'open' | 'beforeData'> {
  readonly from: string
  readonly to: readonly string[]
}

export interface Transaction {
  readonly outcomes: ReadonlyMap<string, SubmissionOutcome>
  /** Set where the connection went away, or 421 came, before `beforeData` was asked: another connection may be tried. */
  readonly lost?: SubmissionOutcome
}

export type Opening =
  | { readonly opened: true; readonly session: SmtpSession }
  | { readonly opened: false; readonly outcome: SubmissionOutcome }

/** How long to wait, in milliseconds; the defaults follow RFC 5321 §4.5.3.2. */
export interface SmtpPatience {
  /** TCP, greeting, EHLO, TLS and AUTH together. */
  readonly setupMsMax: number
  /** From MAIL until the next hop asks for the content. */
  readonly envelopeMsMax: number
  /** Between two blocks of content. */
  readonly blockMsMax: number
  /** From the final dot to its reply. Giving up earlier makes duplicates (RFC 1047). */
  readonly finalReplyMsMax: number
}

export const patienceByDefault: SmtpPatience = {
  setupMsMax: 60_000,
  envelopeMsMax: 5 * 60_000,
  blockMsMax: 3 * 60_000,
  finalReplyMsMax: 10 * 60_000,
}

/** A reply line is at most 512 octets (RFC 5321 §4.5.3.1.5); EHLO has a few dozen. */
const replyBytesMax = 64 * 1024
const connectionEnded = 'the connection ended'
/** What is kept of a reply, for people. */
const replyCharactersMax = 500

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

async function transact(
  connection: SMTPConnection,
  nextHop: string,
  mail: Mail,
  patience: SmtpPatience,
): Promise<Transaction & { readonly clean: boolean }> {
  // How far the content got. `complete` turns true before the final dot can be written, never after.
  let begun = false
  let complete = false
  let stopped: string | undefined
  let asking: Promise<unknown> | undefined
  let fault: { readonly error: unknown } | undefined

  let settle: (ending: Ending) => void
  const ending = new Promise<Ending>((resolve) => (settle = resolve))
  let timer: NodeJS.Timeout | undefined
  let over = false
  const waitAtMost = (ms: number, what: string): void => {
    clearTimeout(timer)
    if (!over) timer = setTimeout(() => settle({ lost: `${what} (${ms} ms)` }), ms)
  }
  const onError = (error: SMTPError): void => settle({ error })
  // nodemailer says “end” before it hands over the error that led there.
  const onEnd = (): void => queueMicrotask(() => settle({ lost: connectionEnded }))
  connection.on('error', onError)
  connection.once('end', onEnd)

  async function* content(): AsyncGenerator<Buffer> {
    begun = true
    clearTimeout(timer) // the next hop waits for us now
    try {
      const question = mail.beforeData()
      asking = question
      const permission = await question
      if (!permission.permitted) {
        stopped = permission.because
        throw new Error('stopped')
      }
      for await (const chunk of exactContent(mail.open(), mail.bytes)) {
        waitAtMost(patience.blockMsMax, 'the next hop stopped reading the content')
        yield chunk
        clearTimeout(timer)
      }
    } catch (error) {
      fault = { error }
      throw error
    }
    complete = true
    waitAtMost(patience.finalReplyMsMax, 'no answer to the final dot')
  }

  // nodemailer keeps its books on the envelope object itself: who was accepted, who was refused with which reply.
  const envelope: Envelope = { from: mail.from, to: [...mail.to], size: mail.bytes }
  waitAtMost(patience.envelopeMsMax, 'no answer to MAIL, RCPT or DATA')
  const message = Readable.from(content(), { objectMode: false, highWaterMark: blockBytes })
  message.on('error', () => {}) // reported through `fault`; the stream may fail after the connection did
  connection.send(envelope, message, (error, info) => settle(error ? { error } : { reply: info!.response }))

  const end = await ending
  over = true
  clearTimeout(timer)
  connection.off('error', onError)
  connection.off('end', onEnd)
  // Taken now: what the source does after the end no longer reaches this connection.
  const reached = { begun, complete }
  const clean = end.reply !== undefined && reached.complete && !connection.destroyed
  if (!clean) {
    connection.close()
    message.destroy()
  }
  // The caller’s own transaction behind the question must be over before the caller hears the outcome.
  await asking?.catch(() => {})

  const individually = new Map<string, SubmissionOutcome>()
  if (envelope.mailError === undefined)
    for (const refusal of envelope.rejectedErrors ?? [])
      if (refusal.recipient !== undefined) individually.set(refusal.recipient, refused(refusal, nextHop))
  const others = outcomeOfOthers(end, { ...reached, stopped, fault }, mail.bytes, nextHop)
  const code = end.error?.responseCode
  const isLost =
    !reached.begun &&
    (end.lost === connectionEnded ||
      code === 421 ||
      (code === undefined && (end.error?.code === 'ECONNECTION' || end.error?.code === 'ESOCKET')))
  return {
    outcomes: new Map(mail.to.map((recipient) => [recipient, individually.get(recipient) ?? others])),
    ...(isLost ? { lost: others } : {}),
    clean,
  }
}

interface Ending {
  readonly reply?: string
  readonly error?: SMTPError
  readonly lost?: string
}

interface Envelope {
  from: string
  to: string[]
  size: number
  rejectedErrors?: (SMTPError & { recipient?: string })[]
  mailError?: SMTPError
}

/** What is read ahead from the caller’s source, and the step of the block timer. */
const blockBytes = 64 * 1024

interface Progress {
  readonly begun: boolean
  readonly complete: boolean
  readonly stopped: string | undefined
  readonly fault: { readonly error: unknown } | undefined
}

/** The outcome of every recipient that was not refused by itself at RCPT. */
function outcomeOfOthers(end: Ending, far: Progress, bytes: number, nextHop: string): SubmissionOutcome {
  if (far.stopped !== undefined) return { outcome: 'stopped', because: far.stopped }
  if (end.reply !== undefined) {
    if (far.complete) return { outcome: 'accepted', reply: plain(end.reply), nextHop }
    // A 2xx before the final dot is nobody’s protocol: neither accepted nor surely not.
    return {
      outcome: 'ambiguous',
      because: `${nextHop} answered before the content was complete: ${plain(end.reply)}`,
      nextHop,
    }
  }
  // A 4xx or 5xx decides at any time, also before the final dot.
  const code = end.error?.responseCode
  if (isFailureCode(code)) return answered(code, end.error?.response, nextHop)
  if (end.error?.code === 'EMESSAGE' && !far.begun)
    return {
      outcome: 'refused',
      code: 552,
      reply: `552 5.3.4 not sent: its ${bytes} octets exceed the SIZE that ${nextHop} announces (RFC 1870)`,
      nextHop,
    }
  const because = end.lost ?? endWords(end.error)
  if (far.complete) return { outcome: 'ambiguous', because: `${nextHop}: ${because}`, nextHop }
  if (far.fault !== undefined)
    return {
      outcome: 'unreachable',
      because: `the message could not be handed to ${nextHop}: our own side failed before its end`,
      cause: far.fault.error,
    }
  return { outcome: 'unreachable', because: `${nextHop}: ${because}` }
}

function endWords(error: SMTPError | undefined): string {
  if (error?.response !== undefined) return `an answer that is none in SMTP: ${plain(error.response)}`
  return `the connection was lost (${error?.originalCode ?? error?.code ?? 'error'})`
}

function refused(error: SMTPError, nextHop: string): SubmissionOutcome {
  return isFailureCode(error.responseCode)
    ? answered(error.responseCode, error.response, nextHop)
    : { outcome: 'unreachable', because: `${nextHop}: ${endWords(error)}` }
}

function answered(code: number, response: string | undefined, nextHop: string): SubmissionOutcome {
  return { outcome: code < 500 ? 'deferred' : 'refused', code, reply: plain(response), nextHop }
}

function isFailureCode(code: number | undefined): code is number {
  return code !== undefined && code >= 400 && code <= 599
}

/** One line, no control characters, shortened. */
function plain(text: string | undefined): string {
  return (text ?? '')
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, replyCharactersMax)
}
