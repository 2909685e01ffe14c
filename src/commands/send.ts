import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import { MLLPCodec } from 'node-hl7-client'
import { messagesIn } from '../intake/batch.ts'
import { readHeader } from '../intake/msh.ts'
import { MllpDecoder } from '../lib/mllp.ts'
import { Findings, print, printJson, Usage, type Call, type Command } from './command.ts'

const answerSecondsDefault = 30
const replyBytesMax = 1024 * 1024
/** How long a message that wants to hear of errors only waits for one. */
const complaintMsMax = 1000

export const send: Command = {
  usage: `bluepost send HOST:PORT FILE… [--tls] [--ca FILE] [--cert FILE --key FILE] [--server-name NAME] [--timeout SECONDS]

Sends the messages of each file over one MLLP connection, each in a frame of its own and each after the acknowledgement
of the one before, and prints the acknowledgements. A file with several messages, with or without FHS/BHS around them,
comes apart at its MSH segments. Line ends become CR; all other bytes go as they are. A message is answered as its
MSH-15 and MSH-16 ask: where they ask for nothing, nothing is waited for.

  --tls                 TLS with the system’s authorities; --ca, --cert and --server-name imply it
  --ca FILE             trust these authorities (PEM) instead of the system’s
  --cert FILE --key FILE  our own certificate and key (PEM), for listeners that ask for one
  --server-name NAME    the name the certificate must have, where it is not HOST
  --timeout SECONDS     for the connection and for each answer (${answerSecondsDefault})

  bluepost send 127.0.0.1:6661 channels/samples/a03.hl7

Exit 0 where every message was accepted (AA, CA) or asked for no answer, else 1.`,
  options: {
    tls: { type: 'boolean' },
    ca: { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
    'server-name': { type: 'string' },
    timeout: { type: 'string' },
  },
  async run(call) {
    const [target, ...files] = call.positionals
    const place = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(target ?? '')
    if (place === null || Number(place[3]) > 65_535 || files.length === 0)
      throw new Usage('give HOST:PORT and at least one file')
    const waitMs = waitMsOf(call)
    const messages = files.flatMap(messagesOf)
    const line = await openLine({ host: place[1] ?? place[2]!, port: Number(place[3]) }, call, waitMs)
    const results: Result[] = []
    try {
      for (const message of messages) {
        const result = await exchange(line, message, waitMs)
        results.push(result)
        if (!call.isJson) print(told(result))
        if (result.outcome === 'unanswered') break
      }
    } finally {
      line.end()
    }
    if (call.isJson) printJson(results)
    const unsent = messages.length - results.length
    if (unsent > 0) process.stderr.write(`${unsent} more messages were not sent\n`)
    return unsent === 0 && results.every(({ outcome }) => outcome === 'accepted' || outcome === 'silent')
      ? 0
      : 1
  },
}

function waitMsOf({ values }: Call): number {
  const seconds = Number(values['timeout'] ?? answerSecondsDefault)
  if (!(seconds > 0 && seconds <= 3600)) throw new Usage('--timeout is a number of seconds up to 3600')
  return seconds * 1000
}

interface Outgoing {
  /** The file, and which of its messages where it has several: `adt.hl7 #2`. */
  readonly from: string
  /** Latin-1, so that whatever the charset the bytes leave as they came. */
  readonly text: string
  /** Replies that MSH-15 and MSH-16 ask for where all goes well (HL7 v2.5.1 ch. 2.9.3). */
  readonly repliesExpected: number
  /** Silence is good news, and an error would be told (ER). */
  readonly isToldOfErrors: boolean
}

interface Result {
  readonly from: string
  readonly outcome: 'accepted' | 'refused' | 'silent' | 'unanswered'
  /** MSA-1 of the first reply. */
  readonly code: string | null
  readonly acknowledgements: readonly string[]
}

function messagesOf(file: string): Outgoing[] {
  const content = fileFor(file).toString('latin1').replace(/\r?\n/g, '\r')
  const messages = messagesIn(Buffer.from(content, 'latin1'))
  if (messages === undefined) throw new Findings(`${file} holds too many messages: send it in parts`)
  return messages.map((message, nth) => ({
    from: messages.length === 1 ? file : `${file} #${nth + 1}`,
    text: message.toString('latin1'),
    ...repliesTo(message),
  }))
}

function fileFor(name: string): Buffer {
  try {
    return readFileSync(name)
  } catch (cause) {
    throw new Findings(`${name} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unreadable'})`)
  }
}

function repliesTo(message: Buffer): Pick<Outgoing, 'repliesExpected' | 'isToldOfErrors'> {
  const reading = readHeader(message)
  const fields = reading.is === 'header' ? [reading.header.field(15), reading.header.field(16)] : []
  const conditions = fields.map((field) => field.trim().toUpperCase())
  if (conditions.every((condition) => condition === '')) return { repliesExpected: 1, isToldOfErrors: true }
  return {
    repliesExpected: conditions.filter((condition) => condition === 'AL' || condition === 'SU').length,
    isToldOfErrors: conditions.some((condition) => condition === 'AL' || condition === 'ER'),
  }
}

/** A connection with a decoder on it. Replies are read by our own: node-hl7-client takes two in one read for one. */
interface Line {
  readonly socket: net.Socket
  /** The next reply, or undefined where none comes in time or ever. */
  reply(waitMs: number): Promise<string | undefined>
  end(): void
}

async function openLine(to: { host: string; port: number }, call: Call, waitMs: number): Promise<Line> {
  const options = tlsOptionsOf(call)
  const socket = options === undefined ? net.connect(to) : tls.connect({ ...to, ...options })
  try {
    await once(socket, options === undefined ? 'connect' : 'secureConnect', {
      signal: AbortSignal.timeout(waitMs),
    })
  } catch (cause) {
    socket.destroy()
    throw new Findings(`${to.host}:${to.port} cannot be reached: ${whyUnreachable(cause)}`)
  }
  const decoder = new MllpDecoder(replyBytesMax)
  const replies: string[] = []
  let isOver = false
  let wake = (): void => {}
  socket.on('data', (bytes: Buffer) => {
    for (const event of decoder.push(bytes))
      if (event.what === 'frame') replies.push(event.bytes.toString('latin1'))
    wake()
  })
  const finish = (): void => {
    isOver = true
    for (const event of decoder.end('connection-ended'))
      if (event.what === 'frame') replies.push(event.bytes.toString('latin1'))
    wake()
  }
  socket.on('end', finish).on('close', finish).on('error', finish)
  return {
    socket,
    async reply(ms) {
      let isLate = false
      const timer = setTimeout(() => {
        isLate = true
        wake()
      }, ms)
      while (replies.length === 0 && !isOver && !isLate)
        await new Promise<void>((resolve) => (wake = resolve))
      clearTimeout(timer)
      return replies.shift()
    },
    end: () => socket.destroySoon(),
  }
}

function tlsOptionsOf({ values }: Call): tls.ConnectionOptions | undefined {
  const names = ['ca', 'cert', 'key'].filter((name) => typeof values[name] === 'string')
  const serverName = values['server-name']
  if (values['tls'] !== true && names.length === 0 && serverName === undefined) return undefined
  if (names.includes('cert') !== names.includes('key')) throw new Usage('--cert and --key belong together')
  return {
    ...Object.fromEntries(names.map((name) => [name, fileFor(values[name] as string)])),
    ...(typeof serverName === 'string' ? { servername: serverName } : {}),
  }
}

function whyUnreachable(cause: unknown): string {
  const { name, code, message } = cause as NodeJS.ErrnoException
  if (name === 'AbortError') return 'no answer in time'
  if (code === 'ECONNREFUSED') return 'nothing listens there (ECONNREFUSED)'
  return message === '' ? (code ?? name) : message
}

/** One message out, and the replies it asks for back. */
async function exchange(line: Line, message: Outgoing, waitMs: number): Promise<Result> {
  new MLLPCodec('latin1', '\r').sendMessage(line.socket, message.text, 'latin1')
  const acknowledgements: string[] = []
  const isSilenceGood = message.repliesExpected === 0
  const count = isSilenceGood && message.isToldOfErrors ? 1 : message.repliesExpected
  while (acknowledgements.length < count) {
    const reply = await line.reply(isSilenceGood ? Math.min(waitMs, complaintMsMax) : waitMs)
    if (reply === undefined) break
    acknowledgements.push(reply)
    // An error ends the exchange: no application acknowledgement follows.
    if (!isAccepting(codeOf(reply))) break
  }
  const codes = acknowledgements.map(codeOf)
  const whenNone = isSilenceGood ? 'silent' : 'unanswered'
  const outcome = codes.length === 0 ? whenNone : codes.every(isAccepting) ? 'accepted' : 'refused'
  return { from: message.from, outcome, code: codes[0] ?? null, acknowledgements }
}

function codeOf(reply: string): string | null {
  return /(?:^|[\r\n])MSA.([A-Z]{2})/.exec(reply)?.[1] ?? null
}

function isAccepting(code: string | null): boolean {
  return code === 'AA' || code === 'CA'
}

function told({ from, outcome, acknowledgements }: Result): string {
  const codes = acknowledgements.map((reply) => codeOf(reply) ?? 'not an acknowledgement').join(', ')
  const outcomes = {
    silent: 'sent, no answer was asked for',
    unanswered: 'no answer',
    accepted: codes,
    refused: codes,
  }
  const texts = acknowledgements.map((reply) => reply.replace(/\r\n?/g, '\n').trimEnd())
  return [`${from}: ${outcomes[outcome]}`, ...texts].join('\n')
}
