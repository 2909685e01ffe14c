import type { ChannelPlan } from '../domain/channel.ts'
import type { AckMode } from '../intake/acknowledge.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { laneKey } from '../mapping/lane-key.ts'
import { makeReceive, type Receive } from '../pipeline/receive.ts'
import type { InboundMessages } from '../store/inbound-messages.ts'

/** What channels need that are fed with messages. */
export interface ReceivingPorts {
  readonly store: Pick<InboundMessages, 'keep' | 'keepFragment'>
  /** As they are now. */
  readonly secrets: () => ReadonlyMap<string, string>
  readonly newControlId: () => string
  readonly metrics: Metrics
  readonly log: Log
  readonly now: () => Date
}

/** @param plan as it is when a message comes */
export function receiverOf(
  plan: () => ChannelPlan,
  ackMode: AckMode,
  { store, newControlId, log, now }: ReceivingPorts,
): Receive {
  return makeReceive({
    channel: plan().name,
    store,
    laneKey: (bytes) => laneKey(plan(), bytes),
    clock: now,
    newControlId,
    ackMode,
    log,
  })
}

/** With the time until the answer, and what it was. */
export function measured(frame: Receive['frame'], channel: string, metrics: Metrics): Receive['frame'] {
  return async (one, peer) => {
    const stop = metrics.ackSeconds.startTimer({ channel })
    const receipt = await frame(one, peer)
    stop()
    metrics.received.inc({
      channel,
      outcome: receipt.isLost === true ? 'lost' : receipt.isUnreadable === true ? 'unreadable' : 'answered',
    })
    return receipt
  }
}
