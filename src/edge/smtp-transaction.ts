import { Readable } from 'node:stream'
import type SMTPConnection from 'nodemailer/lib/smtp-connection'
import type { SMTPError } from 'nodemailer/lib/smtp-connection'
import { exactContent } from './content.ts'
import type { Handover, SubmissionOutcome } from './edge.ts'
import type { SmtpPatience } from './smtp-patience.ts'
import { isFailureCode, plain } from './smtp-reply.ts'

export interface Mail extends Pick<Handover, 'bytes' | 'open' | 'beforeData'> {
  readonly from: string
  readonly to: readonly string[]
}

export interface Transaction {
  readonly outcomes: ReadonlyMap<string, SubmissionOutcome>
  /** Set where the connection went away, or 421 came, before `beforeData` was asked: another connection may be tried. */
  readonly lost?: SubmissionOutcome
}

export const connectionEnded = 'the connection ended'

/**
 * One mail transaction on an open connection, and what its answers, errors and silences mean for each recipient: the line
 * between “lost before the final dot” and “lost after it” is drawn here. Never throws.
 */
export async function transact(
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
  connection.send(envelope, message, (error, info) => settle(error ? { error } : { reply: info.response }))

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
