import { hash } from 'node:crypto'
import { acknowledge, isAcknowledgment, refusedFor } from '../intake/acknowledge.ts'
import type { AckMode, Acknowledger, Reception } from '../intake/acknowledge.ts'
import { messagesIn, messagesPerFrameMax } from '../intake/batch.ts'
import { laneOf } from '../intake/lane.ts'
import type { Fragment, MllpFrame, Peer, Receipt } from '../intake/mllp-receiver.ts'
import { controlIdCharactersMax, legible, readHeader } from '../intake/msh.ts'
import type { MessageHeader } from '../intake/msh.ts'
import { errorTrace } from '../lib/log.ts'
import type { Log } from '../lib/log.ts'
import { betweenFrames } from '../lib/mllp.ts'
import { isRowAtFault } from '../store/inbound-messages.ts'
import type { InboundMessage, InboundMessages } from '../store/inbound-messages.ts'

export interface ReceivePorts {
  readonly channel: string
  readonly store: Pick<InboundMessages, 'keep' | 'keepFragment'>
  /** The channel’s order key of a message (its patient), or undefined where it has none; may throw. */
  laneKey(bytes: Buffer): string | undefined
  clock(): Date
  newControlId(): string
  /** How the channel answers. Default: auto. */
  readonly ackMode?: AckMode
  readonly log: Log
}

export interface Receive {
  /** A frame became whole: keeps its message, and only then says what to answer. Never rejects. */
  frame(frame: MllpFrame, peer: Peer): Promise<Receipt>
  /** Bytes came that are no frame: keeps them with the reason. Never rejects. */
  fragment(fragment: Fragment, peer: Peer): Promise<Receipt>
}

/** The first room’s step: a frame becomes a stored message, and its sender is answered after the commit, not before. */
export function makeReceive(ports: ReceivePorts): Receive {
  return {
    async frame({ bytes, endBlockComplete }, peer) {
      const messages = messagesIn(bytes)
      if (messages === undefined)
        return refuseWhole(bytes, `the frame holds more than ${messagesPerFrameMax} messages`, peer, ports)
      const flags = endBlockComplete ? [] : ['end-block-without-cr']
      if (messages.length === 1) return receiveMessage(messages[0]!, flags, peer, ports)
      return together(
        await Promise.all(
          messages.map((message) => receiveMessage(message, [...flags, 'in-batch'], peer, ports)),
        ),
      )
    },

    async fragment({ bytes, because }, peer) {
      if (because === 'frame-too-large') return refuseWhole(bytes, reasons[because], peer, ports)
      await keepFragment(bytes, reasons[because], ports.clock(), peer, ports)
      return {}
    },
  }
}

async function receiveMessage(
  bytes: Buffer,
  flags: readonly string[],
  peer: Peer,
  ports: ReceivePorts,
): Promise<Receipt> {
  const at = ports.clock()
  const acknowledger = acknowledgerAt(at, ports)
  const reading = readHeader(bytes)
  if (reading.is === 'not-hl7') {
    const isKept = await keepFragment(bytes, reading.because, at, peer, ports)
    return isKept ? { isUnreadable: true } : { isLost: true }
  }

  const { header, defect } = reading
  const message: InboundMessage = {
    channel: ports.channel,
    receivedAt: at,
    sender: senderOf(header),
    controlId: legible(header.controlId, controlIdCharactersMax),
    digest: hash('sha256', bytes, 'buffer'),
    peer: peer.address,
    lane: laneOf(orderKeyOf(bytes, ports) ?? senderOf(header)),
    ack: acknowledge(header, defect === undefined ? { outcome: 'stored' } : refusedFor(defect), acknowledger),
    ...quarantineOf(header, defect),
    flags,
    content: bytes,
    order: peer,
  }
  let failure: unknown
  try {
    const kept = await ports.store.keep(message)
    return receiptFor(kept.fresh ? message.ack : kept.ack)
  } catch (error) {
    failure = error
  }
  ports.log.error('a message could not be stored', {
    channel: ports.channel,
    peer: peer.address,
    bytes: bytes.length,
    error: errorTrace(failure),
  })
  if (isRowAtFault(failure))
    return refuseWhole(bytes, 'the database refused the message because of its content', peer, ports)
  const reply = acknowledge(header, { outcome: 'not-stored' }, acknowledger)
  return reply === undefined ? { isLost: true } : { reply, isNotStored: true }
}

/**
 * Bytes that would come again for ever, and nothing behind them ever: they are kept aside, and their sender is told not
 * to repeat them, where a header says how.
 */
async function refuseWhole(
  bytes: Buffer,
  because: string,
  peer: Peer,
  ports: ReceivePorts,
): Promise<Receipt> {
  const at = ports.clock()
  const isKept = await keepFragment(bytes, because, at, peer, ports)
  const reading = readHeader(bytes)
  if (reading.is === 'not-hl7') return isKept ? { isUnreadable: true } : { isLost: true }
  const refused: Reception =
    reading.defect === undefined
      ? { outcome: 'refused', error: { code: '207', text: 'Application internal error' } }
      : refusedFor(reading.defect)
  const reception: Reception = isKept ? refused : { outcome: 'not-stored' }
  const reply = acknowledge(reading.header, reception, acknowledgerAt(at, ports))
  if (reply !== undefined) return isKept ? { reply } : { reply, isNotStored: true }
  return isKept ? {} : { isLost: true }
}

function acknowledgerAt(at: Date, ports: ReceivePorts): Acknowledger {
  return { at, newControlId: () => ports.newControlId(), mode: ports.ackMode ?? 'auto' }
}

/** Several messages came in one frame: their replies go out one by one, in the same order. */
function together(receipts: readonly Receipt[]): Receipt {
  const replies = receipts.flatMap(({ reply }) => (reply === undefined ? [] : [reply]))
  const joined = replies.flatMap((reply, nth) => (nth === 0 ? [reply] : [betweenFrames, reply]))
  return {
    ...(replies.length === 0 ? {} : { reply: Buffer.concat(joined) }),
    ...(receipts.some(({ isLost }) => isLost) ? { isLost: true } : {}),
    ...(receipts.some(({ isNotStored }) => isNotStored) ? { isNotStored: true } : {}),
  }
}

function receiptFor(reply: Buffer | undefined): Receipt {
  return reply === undefined ? {} : { reply }
}

/** MSH-3 and MSH-4 are two HDs of up to 227 characters; whoever writes more is told apart by the digest anyway. */
const senderCharactersMax = 240

export function senderOf(header: MessageHeader): string {
  return legible(`${header.field(3)}|${header.field(4)}`, senderCharactersMax)
}

/** What cannot be decided later is put aside now; it is stored like any other message. */
export function quarantineOf(
  header: MessageHeader,
  defect: { code: string; because: string } | undefined,
): Pick<InboundMessage, 'quarantine'> {
  if (defect !== undefined) return { quarantine: { code: defect.code, because: defect.because } }
  if (!isAcknowledgment(header)) return {}
  return {
    quarantine: {
      code: 'acknowledgment-received',
      because: 'an acknowledgment came where messages are expected: check where the sender sends its replies',
    },
  }
}

/** A reader that stumbles costs a message its patient’s lane, not its place in the store; it is judged when decided. */
function orderKeyOf(bytes: Buffer, ports: ReceivePorts): string | undefined {
  try {
    return ports.laneKey(bytes)
  } catch {
    return undefined
  }
}

const reasons: Record<Fragment['because'], string> = {
  'start-block-inside-frame': 'a new frame began before this one ended: its end (0x1C 0x0D) is missing',
  'frame-too-large': 'the frame is larger than the channel allows; this is its beginning',
  'frame-too-slow': 'the rest of the frame did not come in time',
  'connection-ended': 'the connection ended before the frame did',
  'bytes-outside-frames': 'bytes came outside of frames, where MLLP has none; these are the first of them',
}

async function keepFragment(
  content: Buffer,
  because: string,
  receivedAt: Date,
  peer: Peer,
  { channel, store, log }: ReceivePorts,
): Promise<boolean> {
  try {
    await store.keepFragment({ channel, receivedAt, peer: peer.address, because, content })
    return true
  } catch (error) {
    log.error('a fragment could not be stored', { channel, peer: peer.address, error: errorTrace(error) })
    return false
  }
}
