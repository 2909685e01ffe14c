import { randomBytes } from 'node:crypto'
import type { DataSource } from 'typeorm'
import type { AckMode } from '../../src/intake/acknowledge.ts'
import { makeControlIds } from '../../src/intake/control-ids.ts'
import { withCommitBlocks } from '../../src/intake/mllp-commit.ts'
import type { MllpLimits } from '../../src/intake/mllp-limits.ts'
import { listenMllp, type MllpListener, type MllpTls } from '../../src/intake/mllp-listener.ts'
import { silentLog } from '../../src/lib/log.ts'
import { laneKey } from '../../src/mapping/lane-key.ts'
import { makeReceive } from '../../src/pipeline/receive.ts'
import { openInboundMessages, type InboundMessages } from '../../src/store/inbound-messages.ts'
import { connectSender, type Sender } from './sender.ts'

/** The intake room as the engine runs it: listener, receiver and store on a real database. */
export interface IntakeRoom {
  readonly listener: MllpListener
  readonly store: InboundMessages
  sender(): Promise<Sender>
  /** What is stored of this room’s channel, in the order of arrival. */
  messages(): Promise<StoredMessage[]>
  fragments(): Promise<StoredFragment[]>
  close(): Promise<void>
}

interface StoredMessage {
  readonly controlId: string
  readonly state: string
  readonly code: string | null
  readonly because: string | null
  readonly flags: string[]
  readonly ack: Buffer | null
  readonly content: Buffer
}

interface StoredFragment {
  readonly because: string
  readonly content: Buffer
}

export interface RoomChoices {
  readonly channel?: string
  readonly limits?: Partial<MllpLimits>
  readonly tls?: MllpTls
  readonly ackMode?: AckMode
  /** Of MLLP; default 1. */
  readonly release?: 1 | 2
}

const plan = {
  order: {
    key: [{ type: 'hl7v2', text: 'PID-3.1', path: { segment: 'PID', field: 3, component: 1 } }],
  },
} as const

let rooms = 0

export async function openIntakeRoom(dataSource: DataSource, choices: RoomChoices = {}): Promise<IntakeRoom> {
  const channel = choices.channel ?? `channel-${rooms++}`
  const store = openInboundMessages(dataSource)
  const made = makeReceive({
    channel,
    store,
    laneKey: (bytes) => laneKey(plan, bytes),
    clock: () => new Date(),
    newControlId: makeControlIds(randomBytes(8)),
    ...(choices.ackMode === undefined ? {} : { ackMode: choices.ackMode }),
    log: silentLog,
  })
  const receive = choices.release === 2 ? withCommitBlocks(made) : made
  const listener = await listenMllp({
    host: '127.0.0.1',
    port: 0,
    receive: receive.frame,
    onFragment: receive.fragment,
    log: silentLog,
    ...(choices.limits === undefined ? {} : { limits: choices.limits }),
    ...(choices.tls === undefined ? {} : { tls: choices.tls }),
  })
  return {
    listener,
    store,
    sender: () => connectSender(listener.address),
    messages: () =>
      dataSource.query(
        `SELECT control_id AS "controlId", state, code, because, flags, ack, content
         FROM message JOIN message_content ON message_id = id WHERE channel = $1 ORDER BY id`,
        [channel],
      ),
    fragments: () =>
      dataSource.query('SELECT because, content FROM fragment WHERE channel = $1 ORDER BY id', [channel]),
    async close() {
      await listener.close(1000)
      await store.close()
    },
  }
}
