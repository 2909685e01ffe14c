import { setTimeout as pause } from 'node:timers/promises'
import { count, line, milliseconds, short, Teller, type Look } from './demo-terminal.ts'
import type { Arrived, Message, Occurrence, Town, Transmission } from './demo-town.ts'

const storyMsMax = 120_000
const pollMs = 25
/** Rooms are watched from several sides; lines are held this long so that they come out in order. */
const orderMs = 250

export interface Ending {
  /** Why it did not end well. */
  because?: string
  totalMs: number
  /** Milliseconds from the first byte of the message to each point of the way. */
  points: Record<string, number>
  documentBytes: number
  sealedBytes: number
  arrivals: number
  transmissionId?: string
}

/** Sends the discharge and watches the document go through the rooms, until its fate is known. */
export async function story(town: Town, message: string, stopped: AbortSignal): Promise<Ending> {
  const authorization = await town.authorize()
  line('', 'request', 'Ellen asks for continuous transmit to ellen.ross@direct.somephr.example,')
  line('', '', `on discharge; verified in person (authorization ${authorization.id})`)
  line('', '', '')

  const began = Date.now()
  const teller = new Teller(began)
  const points: Record<string, number> = {}
  const point = (name: string, at: number) => (points[name] ??= at - began)
  let fetchedAt = began
  const ends = [
    town.clinic.process.listen(({ what, method, path, status }) => {
      if (what !== 'answered') return
      fetchedAt = Date.now()
      teller.tell(fetchedAt, 'documents', `${method} ${shortened(String(path))} → ${status}`, 'dim')
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
      const askedAt = Date.now()
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
          // The engine notes when it began to ask; it passed the gate after the last byte had come.
          const passedAt = Math.max(fetchedAt, Date.parse(document.fetchedAt))
          point('fetched', passedAt)
          teller.tell(
            passedAt,
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
      teller.flush(askedAt - orderMs)
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
      ...(transmission === undefined ? {} : { transmissionId: transmission.id }),
    }
  }
}

const finalStates = ['delivered', 'failed', 'held', 'withdrawn', 'cancelled', 'skipped']

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

/** A search by every identifier has a long address; what it asks for is in its beginning. */
function shortened(path: string): string {
  const plain = decodeURIComponent(path)
  return plain.length > pathCharactersMax ? `${plain.slice(0, pathCharactersMax)}…` : plain
}

const pathCharactersMax = 56

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
    case 'created':
      return [['matching', 'a transmission is made, and its work is scheduled with it']]
    case 'preparing':
      return []
    case 'handing-over':
      return [['edge', 'the next hop takes the recipient; judged once more, then DATA']]
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
    case 'notified-processed':
      return [['tracking', 'the MDN decrypts, its signer speaks for the recipient: processed']]
    case 'notified-delivered':
      return [['tracking', 'the second MDN, too: delivered']]
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

export function figures(ending: Ending) {
  const { because, totalMs, points, ...rest } = ending
  return {
    delivered: because === undefined,
    ...(because === undefined ? {} : { because }),
    totalMs: Math.round(totalMs),
    pointsMs: points,
    ...rest,
  }
}
