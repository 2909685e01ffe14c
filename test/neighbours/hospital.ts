import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import { setTimeout as pause } from 'node:timers/promises'
import type { Person } from './ccd.ts'
import { adtOf, type AdtChoices } from './hl7-messages.ts'
import { live, type Happening } from './life.ts'

/** Where the hospital’s interface engine sends to. */
export interface Target {
  host: string
  port: number
  tls?: { ca?: string; certificate?: string; privateKey?: string; serverName?: string }
}

/** How it sends. Real engines resend the very same bytes after AE/CE, a lost connection or no answer. */
export interface SendingHabits {
  /** Lock-step connections used side by side. Default 1. */
  connections?: number
  /** Messages per second over all connections. Default: as fast as they are acknowledged. */
  perSecond?: number
  /** Whether it sends again, and how long after. Default: yes, 200 ms, until `givesUpMs`. */
  resends?: boolean
  resendAfterMs?: number
  ackWithinMs?: number
  givesUpMs?: number
  /** In enhanced mode with MSH-16 set, wait for the application acknowledgement too. Default: no. */
  awaitsApplicationAck?: boolean
}

/** What became of one message. `ack` is MSA-1, absent where none was due (NE) or none came. */
export interface SendingResult {
  controlId: string
  ack?: string
  applicationAck?: string
  text?: string
  attempts: number
  /** Attempts that ended without an answer: it may have arrived. */
  unanswered: number
  /** From the first byte of the last attempt to its acknowledgement. */
  milliseconds: number
  gaveUp?: string
}

export interface LoadResult {
  sent: number
  acknowledged: number
  seconds: number
  perSecond: number
  millisecondsP50: number
  millisecondsP99: number
  resent: number
  notAccepted: number
}

const defaults = { resendAfterMs: 200, ackWithinMs: 10_000, givesUpMs: 60_000 }

/** A hospital’s interface engine: an MLLP sender with its own framing (HL7 v2.5.1 appendix C; MLLP release 1). */
export async function runHospital(tell: (happening: Happening) => void) {
  let target: Target | undefined
  const open = new Set<Line>()

  async function send(messages: Iterable<Buffer>, habits: SendingHabits, quiet: boolean) {
    const to = target
    if (to === undefined) throw new Error('tell the hospital where to send first: {"do":"target",…}')
    const queue = messages[Symbol.iterator]()
    const results: SendingResult[] = []
    const gapMs = habits.perSecond === undefined ? 0 : 1000 / habits.perSecond
    const began = performance.now()
    let taken = 0
    const worker = async () => {
      const line = new Line(to)
      open.add(line)
      try {
        for (;;) {
          const turn = taken++
          const { value: message, done } = queue.next()
          if (done === true) return
          const early = began + turn * gapMs - performance.now()
          if (early > 1) await pause(early)
          const result = await deliver(line, message, habits)
          results.push(result)
          if (!quiet) tell({ what: 'sent', ...result })
        }
      } finally {
        open.delete(line)
        line.hangUp()
      }
    }
    await Promise.all(Array.from({ length: habits.connections ?? 1 }, worker))
    return { results, seconds: (performance.now() - began) / 1000 }
  }

  return {
    port: 0,
    commands: {
      /** `{ target: Target }` */
      target: ({ target: wanted }: { target: Target }) => void (target = wanted),
      /** `{ messages: string[] }` (UTF-8 text) or `{ bytes: string[] }` (base64), and `habits`. Answers with the results. */
      send: async (order: { messages?: string[]; bytes?: string[]; habits?: SendingHabits }) => {
        const messages = [
          ...(order.messages ?? []).map((text) => Buffer.from(text)),
          ...(order.bytes ?? []).map((text) => Buffer.from(text, 'base64')),
        ]
        return (await send(messages, order.habits ?? {}, false)).results
      },
      /** Writes bytes as they are, frame or not, and reports what came back within `forMs`. */
      raw: async ({ bytes, forMs }: { bytes: string; forMs?: number }) => {
        if (target === undefined) throw new Error('tell the hospital where to send first')
        return (await converse(target, Buffer.from(bytes, 'base64'), forMs ?? 1000)).toString('base64')
      },
      /** Makes and sends one ADT message: `{ person, choices: { event, visit, … } }`. */
      adt: async (order: {
        person: Person
        choices?: Omit<AdtChoices, 'at'> & { at?: string }
        habits?: SendingHabits
      }) => {
        const { at, ...choices } = order.choices ?? {}
        const message = adtOf(order.person, { ...choices, ...(at === undefined ? {} : { at: new Date(at) }) })
        const { results } = await send([Buffer.from(message)], order.habits ?? {}, false)
        return { message, result: results[0] }
      },
      /** `{ people, count, choices?, habits? }`: messages about these people in turn, each its own; answers with figures. */
      load: async (order: {
        people: Person[]
        count: number
        choices?: AdtChoices
        habits?: SendingHabits
      }) => {
        const messages = (function* () {
          for (let n = 0; n < order.count; n++) {
            const person = order.people[n % order.people.length]
            if (person === undefined) throw new Error('nobody to send messages about')
            yield Buffer.from(adtOf(person, { ...order.choices, at: new Date() }))
          }
        })()
        const { results, seconds } = await send(messages, order.habits ?? {}, true)
        const times = results.map(({ milliseconds }) => milliseconds).sort((a, b) => a - b)
        const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0
        const accepted = results.filter(({ ack }) => ack === 'AA' || ack === 'CA').length
        return {
          sent: results.length,
          acknowledged: results.filter(({ ack }) => ack !== undefined).length,
          seconds,
          perSecond: results.length / seconds,
          millisecondsP50: at(0.5),
          millisecondsP99: at(0.99),
          resent: results.reduce((sum, { attempts }) => sum + attempts - 1, 0),
          notAccepted: results.length - accepted,
        } satisfies LoadResult
      },
    },
    close: () => {
      for (const line of open) line.hangUp()
    },
  }
}

/** One message until it is acknowledged for good, or given up: the same bytes each time. */
async function deliver(line: Line, message: Buffer, habits: SendingHabits): Promise<SendingResult> {
  const header = headerOf(message)
  const until = performance.now() + (habits.givesUpMs ?? defaults.givesUpMs)
  let unanswered = 0
  for (let attempts = 1; ; attempts++) {
    const began = performance.now()
    const outcome = await attempt(line, message, header, habits)
    const milliseconds = performance.now() - began
    const result = { controlId: header.controlId, attempts, unanswered, milliseconds }
    if (outcome.kind === 'answered' && outcome.ack?.slice(1) !== 'E') {
      return {
        ...result,
        ...(outcome.ack === undefined ? {} : { ack: outcome.ack }),
        ...(outcome.applicationAck === undefined ? {} : { applicationAck: outcome.applicationAck }),
        ...(outcome.text === undefined ? {} : { text: outcome.text }),
      }
    }
    if (outcome.kind === 'lost' && outcome.written) unanswered++
    if (habits.resends === false || performance.now() > until)
      return outcome.kind === 'answered'
        ? { ...result, ...(outcome.ack === undefined ? {} : { ack: outcome.ack }), text: outcome.text ?? '' }
        : { ...result, unanswered, gaveUp: outcome.because }
    await pause(habits.resendAfterMs ?? defaults.resendAfterMs)
  }
}

type Attempt =
  | { kind: 'answered'; ack?: string; applicationAck?: string; text?: string }
  | { kind: 'lost'; written: boolean; because: string }

async function attempt(line: Line, message: Buffer, header: Header, habits: SendingHabits): Promise<Attempt> {
  let written = false
  try {
    await line.connect()
    written = true
    line.write(message)
    const isEnhanced = header.acceptAck !== '' || header.applicationAck !== ''
    const accept = !isEnhanced || header.acceptAck === 'AL' || header.acceptAck === 'SU'
    const application = isEnhanced && habits.awaitsApplicationAck === true && header.applicationAck === 'AL'
    let answer: { ack?: string; text?: string } = {}
    if (accept) {
      const reply = await line.read(habits.ackWithinMs ?? defaults.ackWithinMs)
      const msa = segment(reply, 'MSA')
      if (msa[2] !== header.controlId)
        throw new Error(`the ACK is about “${msa[2]}”, not “${header.controlId}”`)
      answer = { ack: msa[1] ?? '', ...(msa[3] === undefined ? {} : { text: msa[3] }) }
    }
    if (!application || answer.ack === 'CE' || answer.ack === 'CR') return { kind: 'answered', ...answer }
    const reply = await line.read(habits.ackWithinMs ?? defaults.ackWithinMs)
    return { kind: 'answered', ...answer, applicationAck: segment(reply, 'MSA')[1] ?? '' }
  } catch (error) {
    line.hangUp()
    return { kind: 'lost', written, because: error instanceof Error ? error.message : String(error) }
  }
}

interface Header {
  controlId: string
  acceptAck: string
  applicationAck: string
}

function headerOf(message: Buffer): Header {
  const text = message.subarray(0, 2000).toString('latin1')
  const fields = (text.split(/[\r\n]/)[0] ?? '').split(text[3] ?? '|')
  return { controlId: fields[9] ?? '', acceptAck: fields[14] ?? '', applicationAck: fields[15] ?? '' }
}

function segment(message: Buffer, name: string): string[] {
  const lines = message.toString().split('\r')
  const separator = lines[0]?.[3] ?? '|'
  const line = lines.find((candidate) => candidate.startsWith(name + separator))
  if (line === undefined) throw new Error(`the answer has no ${name}: ${lines[0]?.slice(0, 60)}`)
  return line.split(separator)
}

const startBlock = 0x0b
const endBlock = 0x1c
const carriageReturn = 0x0d

/** One MLLP connection, opened when needed. */
class Line {
  #target: Target
  #socket: net.Socket | undefined
  #received = Buffer.alloc(0)
  #wake: () => void = () => {}

  constructor(target: Target) {
    this.#target = target
  }

  async connect(): Promise<void> {
    if (this.#socket !== undefined && !this.#socket.destroyed && this.#socket.writable) return
    this.#received = Buffer.alloc(0)
    const socket = await dial(this.#target)
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#wake()
    })
    socket.on('close', () => this.#wake())
    this.#socket = socket
  }

  write(message: Buffer): void {
    this.#socket?.write(
      Buffer.concat([Buffer.from([startBlock]), message, Buffer.from([endBlock, carriageReturn])]),
    )
  }

  async read(withinMs: number): Promise<Buffer> {
    const until = performance.now() + withinMs
    for (;;) {
      const end = this.#received.indexOf(Buffer.from([endBlock, carriageReturn]))
      if (end >= 0) {
        const start = this.#received.lastIndexOf(startBlock, end)
        if (start < 0) throw new Error('the answer has no start block')
        const frame = this.#received.subarray(start + 1, end)
        this.#received = this.#received.subarray(end + 2)
        return frame
      }
      if (this.#socket === undefined || this.#socket.destroyed) throw new Error('the connection was lost')
      const left = until - performance.now()
      if (left <= 0) throw new Error(`no answer within ${withinMs} ms`)
      await new Promise<void>((resolve) => {
        const late = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(late)
          resolve()
        }
      })
    }
  }

  hangUp(): void {
    this.#socket?.destroy()
    this.#socket = undefined
    this.#wake()
  }
}

function dial(target: Target): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const pem = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path))
    const options = target.tls
    const socket =
      options === undefined
        ? net.connect(target.port, target.host, () => resolve(socket))
        : tls.connect(
            {
              host: target.host,
              port: target.port,
              ca: pem(options.ca),
              cert: pem(options.certificate),
              key: pem(options.privateKey),
              servername: options.serverName ?? 'localhost',
            },
            () => resolve(socket),
          )
    socket.setNoDelay(true)
    socket.once('error', reject)
    socket.on('error', () => {})
  })
}

async function converse(target: Target, bytes: Buffer, forMs: number): Promise<Buffer> {
  const socket = await dial(target)
  const received: Buffer[] = []
  socket.on('data', (chunk: Buffer) => received.push(chunk))
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.write(bytes)
  await Promise.race([closed, pause(forMs)])
  socket.destroy()
  return Buffer.concat(received)
}

if (import.meta.main) await live(runHospital)
