import { existsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { styleText } from 'node:util'
import { Usage, type Call, type Command } from './command.ts'

/** The whole story on this machine, with real neighbours (contract: two commands on a fresh machine). */
export const demo: Command = {
  usage: `bluepost demo                      the story, then everything stays up until Ctrl-C
bluepost demo --once               end after the story: exit 0 only if the document arrived byte-identical, was
                                   decrypted and verified by software that is not ours, and its MDN closed the
                                   transmission
bluepost demo --json               one line of figures last
bluepost demo --document-bytes N   size of Ellen’s document (default 60000, at most 25000000)

The real engine on an embedded database of its own, and as separate processes a hospital, a FHIR server, a DNS server
and the HISP of a personal health record. Ellen Ross has asked for continuous transmit; the hospital discharges her.`,
  options: { once: { type: 'boolean' }, 'document-bytes': { type: 'string' } },
  run: (call) => tellTheStory(optionsFrom(call)),
}

const storyMsMax = 120_000
const pollMs = 25
/** Rooms are watched from several sides; lines are held this long so that they come out in order. */
const orderMs = 80
const documentBytesDefault = 60_000
const documentBytesMax = 25_000_000

/** What the demo needs of test/neighbours/town.ts, which is no part of the installed package. */
interface Town {
  readonly engine: {
    readonly url: string
    api<Answer>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Answer>
    lastWords(): string
    start(): Promise<void>
  }
  readonly hospital: {
    sends(
      message: string,
    ): Promise<{ controlId: string; ack?: string; milliseconds: number; gaveUp?: string }[]>
  }
  readonly clinic: { readonly process: Neighbour }
  readonly names: Neighbour
  readonly phr: {
    readonly process: Neighbour
    readonly opensWith: string
    readonly inbox: readonly Arrived[]
    readonly refused: readonly { code: string; because: string }[]
  }
  readonly ellensCcd: { sha256: string; bytes: number }
  authorize(): Promise<{ id: string }>
  close(): Promise<void>
}

interface Neighbour {
  readonly port: number
  listen(listener: (happening: Record<string, unknown>) => void): () => void
}

interface Arrived {
  messageId: string
  text: string
  attachments: { filename: string; contentType: string; bytes: number; sha256: string }[]
  request?: string
  signers: string[]
  arrivals: number
  overTls: boolean
  sealedBytes: number
  milliseconds: { decrypt: number; verify: number }
}

interface Occurrence {
  at: string
  what: string
  to: string
  because?: string | null
  detail?: Record<string, unknown> | null
}

interface Transmission {
  id: string
  state: string
  because?: string | null
  messageId?: string
  trace?: { step: string; outcome: string; detail: string }[]
  occurrences: Occurrence[]
  documents: { bytes: number; sha256: string; source: string; fetchedAt: string }[]
  notifications: { at: string; disposition: string; report: string; effect: string }[]
}

interface Message {
  id: string
  state: string
  channel: string
  receivedAt: string
  decidedAt: string | null
  because: string | null
}

interface Options {
  readonly once: boolean
  readonly json: boolean
  readonly documentBytes: number
}

/** Exit code: 0 it ended well, 1 it did not. */
async function tellTheStory(options: Options): Promise<number> {
  const townFile = new URL('../../test/neighbours/town.ts', import.meta.url)
  if (!existsSync(townFile)) {
    process.stderr.write(
      'bluepost demo: the neighbours are not here. They are part of the repository, not of the installed package: ' +
        'clone it and run `npm run demo` there.\n',
    )
    return 1
  }

  const stopped = new AbortController()
  const stop = () => stopped.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  let town: Town | undefined
  try {
    line('', 'bluepost', 'Ellen Ross of Ashby Medical Center is discharged')
    line(
      '',
      'starting',
      'embedded PostgreSQL, the engine, a hospital, a FHIR server, DNS, the HISP of a PHR …',
    )
    const { aTown, dischargeOf, ellen } = await neighbours(townFile)
    const began = performance.now()
    town = await aTown({ document: { bytes: options.documentBytes }, authorization: false })
    const startMs = performance.now() - began
    line('', 'engine', `ready after ${seconds(startMs)}: ${town.engine.url}`)
    line(
      '',
      'neighbours',
      `FHIR server 127.0.0.1:${town.clinic.process.port}, DNS 127.0.0.1:${town.names.port},`,
    )
    line('', '', `HISP 127.0.0.1:${town.phr.process.port}, which opens mail with ${town.phr.opensWith}`)
    if (stopped.signal.aborted) return 1

    const ending = await story(town, dischargeOf(ellen), stopped.signal)
    line('', '', '')
    if (ending.because === undefined)
      line(
        'green',
        'delivered',
        `in ${milliseconds(ending.totalMs)}: byte-identical, verified, and the MDN closed the transmission`,
      )
    else line('red', 'not so', ending.because)
    if (options.json)
      process.stdout.write(`${JSON.stringify({ startMs: Math.round(startMs), ...figures(ending) })}\n`)
    if (!options.once && !stopped.signal.aborted) {
      line('', 'console', `${town.engine.url}/ – everything stays up until Ctrl-C`)
      await new Promise((resolve) => stopped.signal.addEventListener('abort', resolve, { once: true }))
    }
    return ending.because === undefined ? 0 : 1
  } catch (error) {
    line('red', 'not so', error instanceof Error ? error.message : String(error))
    return 1
  } finally {
    await town?.close()
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
}

function optionsFrom(call: Call): Options {
  const documentBytes = Number(call.values['document-bytes'] ?? documentBytesDefault)
  if (!Number.isInteger(documentBytes) || documentBytes < 1 || documentBytes > documentBytesMax)
    throw new Usage(`--document-bytes takes a whole number up to ${documentBytesMax}`)
  if (call.positionals.length > 0) throw new Usage('the demo takes no further words')
  return { once: call.values['once'] === true, json: call.isJson, documentBytes }
}

/** Loaded by address, so that a build of the product does not drag the neighbours in. */
async function neighbours(townFile: URL) {
  const messages = new URL('hl7-messages.ts', townFile)
  const { aTown, ellen } = (await import(townFile.href)) as {
    aTown(options: object): Promise<Town>
    ellen: object
  }
  const { dischargeOf } = (await import(messages.href)) as { dischargeOf(person: object): string }
  return { aTown, ellen, dischargeOf }
}

interface Ending {
  /** Why it did not end well. */
  because?: string
  totalMs: number
  /** Milliseconds from the first byte of the message to each point of the way. */
  points: Record<string, number>
  documentBytes: number
  sealedBytes: number
  arrivals: number
}

/** Sends the discharge and watches the document go through the rooms, until its fate is known. */
async function story(town: Town, message: string, stopped: AbortSignal): Promise<Ending> {
  const authorization = await town.authorize()
  line('', 'request', 'Ellen asks for continuous transmit to ellen.ross@direct.somephr.example,')
  line('', '', `on discharge; verified in person (authorization ${authorization.id})`)
  line('', '', '')

  const began = Date.now()
  const teller = new Teller(began)
  const points: Record<string, number> = {}
  const point = (name: string, at: number) => (points[name] ??= at - began)
  const ends = [
    town.clinic.process.listen(({ what, method, path, status }) => {
      if (what === 'answered') teller.tell(Date.now(), 'documents', `${method} ${path} → ${status}`, 'dim')
    }),
    town.names.listen(({ what, type, name, answered }) => {
      if (what === 'asked') teller.tell(Date.now(), 'discovery', `DNS ${type} ${name} → ${answered}`, 'dim')
    }),
    town.phr.process.listen((happening) => {
      if (happening['what'] === 'arrived') {
        point('arrived', Date.now())
        for (const text of arrivalLines(happening['message'] as Arrived, town))
          teller.tell(Date.now(), 'arrived', text, 'green')
      }
      if (happening['what'] === 'refused')
        teller.tell(Date.now(), 'arrived', `refused by the recipient: ${happening['because']}`, 'red')
      if (happening['what'] === 'mdn')
        teller.tell(
          Date.now(),
          'recipient',
          happening['outcome'] === 'sent'
            ? `answers “${happening['disposition']}”: an MDN, signed and encrypted`
            : `could not answer: ${happening['because']}`,
          'dim',
        )
    }),
  ]
  let transmission: Transmission | undefined
  try {
    teller.tell(began, 'hospital', `ADT^A03 by MLLP, ${Buffer.byteLength(message)} bytes`)
    const [sent] = await town.hospital.sends(message)
    point('acknowledged', Date.now())
    if (sent?.ack !== 'AA') return ended(`the hospital’s message was answered ${sent?.ack ?? 'with nothing'}`)

    const told = { message: false, occurrences: 0, documents: 0, notifications: 0 }
    while (Date.now() - began < storyMsMax && !stopped.aborted) {
      const [received] = (
        await town.engine.api<{ items: Message[] }>(
          'GET',
          `messages?controlId=${encodeURIComponent(sent.controlId)}`,
        )
      ).items
      if (received !== undefined && received.decidedAt !== null && !told.message) {
        told.message = true
        teller.tell(
          Date.parse(received.receivedAt),
          'intake',
          `stored as message ${received.id} on channel ${received.channel}, then ${sent.ack} after ${milliseconds(sent.milliseconds)}`,
        )
        point('decided', Date.parse(received.decidedAt))
        for (const text of await decisionLines(town, received))
          teller.tell(Date.parse(received.decidedAt), ...text)
        if (received.state !== 'triggered')
          return ended(`message ${received.id} was ${received.state}: ${received.because}`)
      }
      const [listed] = (
        await town.engine.api<{ items: { id: string }[] }>(
          'GET',
          `transmissions?authorization=${authorization.id}`,
        )
      ).items
      if (listed !== undefined) {
        transmission = await town.engine.api<Transmission>('GET', `transmissions/${listed.id}`)
        for (const document of transmission.documents.slice(told.documents)) {
          point('fetched', Date.parse(document.fetchedAt))
          teller.tell(
            Date.parse(document.fetchedAt),
            'documents',
            `${count(document.bytes)} bytes passed the gate, SHA-256 ${short(document.sha256)}`,
          )
        }
        for (const occurrence of transmission.occurrences.slice(told.occurrences)) {
          point(occurrence.to, Date.parse(occurrence.at))
          for (const text of occurrenceLines(occurrence, transmission))
            teller.tell(Date.parse(occurrence.at), ...text)
        }
        told.documents = transmission.documents.length
        told.occurrences = transmission.occurrences.length
        if (finalStates.includes(transmission.state)) break
      }
      teller.flush(Date.now() - orderMs)
      await pause(pollMs)
    }
    if (stopped.aborted) return ended('it was stopped before the end')
    return ended(reasonAgainst(town, transmission))
  } finally {
    // The recipient’s own account of its last MDN may still be on its way to us.
    await pause(orderMs)
    for (const end of ends) end()
    teller.flush(Infinity)
  }

  function ended(because: string | undefined): Ending {
    const arrived = town.phr.inbox[0]
    return {
      ...(because === undefined ? {} : { because }),
      totalMs: points['delivered'] ?? Date.now() - began,
      points,
      documentBytes: town.ellensCcd.bytes,
      sealedBytes: arrived?.sealedBytes ?? 0,
      arrivals: arrived?.arrivals ?? 0,
    }
  }
}

const finalStates = ['delivered', 'failed', 'held', 'withdrawn', 'cancelled']

/** Undefined where everything was as promised. */
function reasonAgainst(town: Town, transmission: Transmission | undefined): string | undefined {
  if (transmission === undefined) return 'the discharge started no transmission'
  if (transmission.state !== 'delivered')
    return `the transmission is ${transmission.state}${transmission.because ? `: ${transmission.because}` : ''}`
  const [refusal] = town.phr.refused
  if (refusal !== undefined) return `the recipient’s HISP refused a message: ${refusal.because}`
  const arrived = town.phr.inbox.find(({ messageId }) => messageId === transmission.messageId)
  if (arrived === undefined) return 'nothing with the Message-ID of the transmission arrived'
  if (!arrived.attachments.some(({ sha256 }) => sha256 === town.ellensCcd.sha256))
    return 'what arrived is not the FHIR server’s document, byte for byte'
  if (!arrived.overTls) return 'the message came without TLS'
  return undefined
}

type Told = [room: string, text: string, look?: Look]

async function decisionLines(town: Town, message: Message): Promise<Told[]> {
  const { event, verdicts } = await town.engine.api<{
    event: { kind: string; occurredAt: string } | null
    verdicts: { authorizationId: string; outcome: string; because: string }[]
  }>('GET', `messages/${message.id}`)
  if (event === null) return [['mapping', `${message.state}: ${message.because}`, 'red']]
  return [
    ['mapping', `trigger event “${event.kind}” at ${event.occurredAt}`],
    ...verdicts.map(({ authorizationId, outcome, because }): Told => [
      'matching',
      `authorization ${authorizationId.slice(0, 8)}…: ${outcome}, ${because}`,
    ]),
  ]
}

function occurrenceLines(occurrence: Occurrence, transmission: Transmission): Told[] {
  const because = occurrence.because ? `: ${occurrence.because}` : ''
  switch (occurrence.what) {
    case 'preparing':
    case 'handing-over':
      return []
    case 'sealed': {
      const trust = (transmission.trace ?? []).filter(({ outcome }) => outcome === 'trusted')
      return [
        ...trust.map(({ detail }): Told => ['trust', detail]),
        [
          'seal',
          `signed and encrypted: ${count(Number(occurrence.detail?.['bytes'] ?? 0))} bytes, stored before sending`,
        ],
      ]
    }
    case 'submitted':
      return [['edge', `${occurrence.because ?? 'accepted by the next hop'} over TLS`]]
    case 'notified':
      return [['tracking', `${occurrence.to}${because}`]]
    default:
      return [['engine', `${occurrence.what} → ${occurrence.to}${because}`, 'red']]
  }
}

function arrivalLines(message: Arrived, town: Town): string[] {
  const { decrypt, verify } = message.milliseconds
  return [
    `decrypted (${milliseconds(decrypt)}) and verified (${milliseconds(verify)}) by ${town.phr.opensWith.split(' (')[0]}`,
    `“${message.text.trim()}”`,
    ...message.attachments.map(({ filename, contentType, bytes, sha256 }) => {
      const isTheDocument = sha256 === town.ellensCcd.sha256
      return `${filename}  ${contentType}  ${count(bytes)} bytes${isTheDocument ? `  SHA-256 ${short(sha256)} = the FHIR server’s document` : ''}`
    }),
    ...(message.request ?? '')
      .split(/\r?\n/)
      .filter((text) => text.trim() !== '')
      .map((text) => `  request.txt │ ${text}`),
  ]
}

function figures(ending: Ending) {
  const { because, totalMs, points, ...rest } = ending
  return {
    delivered: because === undefined,
    ...(because === undefined ? {} : { because }),
    totalMs: Math.round(totalMs),
    pointsMs: points,
    ...rest,
  }
}

type Look = '' | 'green' | 'red' | 'dim'

/** Lines in the order of what they tell, although they are heard of in another. */
class Teller {
  readonly #began: number
  #waiting: { at: number; room: string; text: string; look: Look }[] = []

  constructor(began: number) {
    this.#began = began
  }

  tell(at: number, room: string, text: string, look: Look = ''): void {
    this.#waiting.push({ at, room, text, look })
  }

  flush(until: number): void {
    const ripe = this.#waiting.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)
    this.#waiting = this.#waiting.filter(({ at }) => at > until)
    for (const { at, room, text, look } of ripe) line(look, room, text, at - this.#began)
  }
}

const roomWidth = 11
const timeWidth = 9

function line(look: Look, room: string, text: string, afterMs?: number): void {
  const time = (afterMs === undefined ? '' : `${count(afterMs)} ms`).padStart(timeWidth)
  const name = room.padEnd(roomWidth)
  const isColoured = process.stdout.isTTY === true && !('NO_COLOR' in process.env)
  const paint = (style: Parameters<typeof styleText>[0], painted: string) =>
    isColoured ? styleText(style, painted) : painted
  const said = look === '' ? text : paint(look, text)
  process.stdout.write(`${`${paint('dim', time)}  ${paint('bold', name)} ${said}`.trimEnd()}\n`)
}

function count(value: number): string {
  return value.toLocaleString('en-US')
}

function milliseconds(value: number): string {
  return value >= 10_000 ? seconds(value) : `${count(Math.round(value))} ms`
}

function seconds(valueMs: number): string {
  return `${(valueMs / 1000).toFixed(1)} s`
}

function short(hash: string): string {
  return `${hash.slice(0, 16)}…`
}
