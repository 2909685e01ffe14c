import { hash } from 'node:crypto'
import type { ChannelPlan, FileDropSource } from '../domain/channel.ts'
import { openFile } from '../intake/file-drop.ts'
import type { DropDirectory } from '../intake/drop-directory.ts'
import { laneOf } from '../intake/lane.ts'
import { readHeader } from '../intake/msh.ts'
import { Unsplittable, type Piece } from '../intake/split.ts'
import { errorTrace, type Log } from '../lib/log.ts'
import { laneKey } from '../mapping/lane-key.ts'
import { isRowAtFault, type InboundMessage, type InboundMessages } from '../store/inbound-messages.ts'
import { quarantineOf, senderOf } from './receive.ts'

export interface KeepFilesPorts {
  readonly store: Pick<InboundMessages, 'keep' | 'keepFragment'>
  readonly directory: DropDirectory
  readonly now: () => Date
  readonly log: Log
  /** Ends the reading between two groups of messages; the file is read again at the next start. */
  readonly signal: AbortSignal
}

export type FilePlan = ChannelPlan & { readonly source: FileDropSource }

export type KeptFile =
  /** `fresh`: those that were not known already. */
  | { readonly outcome: 'archived'; readonly messages: number; readonly fresh: number }
  | { readonly outcome: 'quarantined' }
  /** It grew while it was read: its writer is not done. It is read again. */
  | { readonly outcome: 'growing' }
  | { readonly outcome: 'interrupted' }

/** Messages, and bytes, that wait for one commit. */
const groupMax = 256
const groupBytesMax = 4 * 1024 * 1024
/** Of a file that cannot be read, what is kept where people look first. */
const headBytesMax = 4 * 1024

/**
 * Keeps the messages of one file that was dropped. It is read twice: once to its end to see that it is whole, for what was
 * kept of half a file could not be taken back; then to keep its messages, in order. It is put away after the last commit:
 * whatever ends the process before, the file is read again, and what was kept is known again by its bytes.
 *
 * @throws Error where the store does not answer: the file stays where it is
 */
export async function keepFile(ports: KeepFilesPorts, plan: FilePlan, path: string): Promise<KeptFile> {
  const file = await openFile(path, plan.source.format)
  try {
    for await (const _ of file.pieces()) if (ports.signal.aborted) return { outcome: 'interrupted' }
    const counts = await keepAll(ports, plan, file.pieces())
    if (counts === undefined) return { outcome: 'interrupted' }
    if (!(await file.isUnchanged())) return { outcome: 'growing' }
    await ports.directory.archive(path, ports.now())
    return { outcome: 'archived', ...counts }
  } catch (error) {
    if (!(error instanceof Unsplittable)) throw error
    if (!(await file.isUnchanged())) return { outcome: 'growing' }
    const at = ports.now()
    await ports.store.keepFragment({
      channel: plan.name,
      receivedAt: at,
      peer: 'file',
      because: `a file was put into quarantine: ${error.because}`,
      content: await file.head(headBytesMax),
    })
    await ports.directory.quarantine(path, reasonFor(plan, error.because), at)
    return { outcome: 'quarantined' }
  } finally {
    await file.close()
  }
}

async function keepAll(
  ports: KeepFilesPorts,
  plan: FilePlan,
  pieces: AsyncIterable<Piece>,
): Promise<{ messages: number; fresh: number } | undefined> {
  const order = {}
  let group: InboundMessage[] = []
  let bytes = 0
  let messages = 0
  let fresh = 0
  const commit = async () => {
    const kept = await Promise.all(group.map((message) => keepOne(ports, message)))
    messages += group.length
    fresh += kept.filter((isFresh) => isFresh).length
    group = []
    bytes = 0
  }
  for await (const piece of pieces) {
    group.push(rowOf(plan, piece, ports.now(), order))
    bytes += piece.content.length
    if (group.length < groupMax && bytes < groupBytesMax) continue
    await commit()
    if (ports.signal.aborted) return undefined
  }
  await commit()
  return { messages, fresh }
}

/** One that the database refuses for its content is kept aside: it would be refused for ever, and nothing behind it kept. */
async function keepOne({ store, log }: KeepFilesPorts, message: InboundMessage): Promise<boolean> {
  try {
    return (await store.keep(message)).fresh
  } catch (error) {
    if (!isRowAtFault(error)) throw error
    const { channel, receivedAt, peer, content } = message
    log.error('a message of a file could not be stored', { channel, error: errorTrace(error) })
    const because = 'the database refused the message because of its content'
    await store.keepFragment({ channel, receivedAt, peer, because, content })
    return true
  }
}

function rowOf(plan: FilePlan, piece: Piece, at: Date, order: unknown): InboundMessage {
  const { content } = piece
  const part = {
    channel: plan.name,
    receivedAt: at,
    digest: hash('sha256', content, 'buffer'),
    peer: 'file',
    ack: undefined,
    content,
    order,
  }
  if (plan.source.format !== 'hl7v2')
    return { ...part, ...piece, lane: laneOf(orderKeyOf(plan, content) ?? piece.controlId) }
  const reading = readHeader(content)
  if (reading.is === 'not-hl7')
    return {
      ...part,
      ...piece,
      lane: laneOf(plan.name),
      quarantine: { code: 'hl7-no-msh', because: reading.because },
    }
  const sender = senderOf(reading.header)
  return {
    ...part,
    ...piece,
    sender,
    lane: laneOf(orderKeyOf(plan, content) ?? sender),
    ...quarantineOf(reading.header, reading.defect),
  }
}

/** A reader that stumbles costs a message its patient’s lane, not its place in the store; it is judged when decided. */
function orderKeyOf(plan: FilePlan, content: Buffer): string | undefined {
  try {
    return laneKey(plan, content)
  } catch {
    return undefined
  }
}

function reasonFor({ name, source }: FilePlan, because: string): string {
  return [
    `bluepost, channel ${name} (${source.format}), took nothing from this file:`,
    because,
    `When it is correct, move it into ${source.directory} again; what was kept before is known again.`,
  ].join('\n')
}
