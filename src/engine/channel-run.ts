import type { FedChannel } from '../api/inbound.ts'
import type { ChannelPlan } from '../domain/channel.ts'

/** A channel that is receiving: its listener, its directory, its questions to a server. */
export interface ChannelRun {
  readonly listens: readonly { readonly what: string; readonly on: string }[]
  /** Where senders connect to; undefined where nobody does. */
  readonly place?: string
  readonly connections?: () => number
  /** Why it receives nothing at the moment, although it tries. */
  readonly because?: () => string | undefined
  /** What POST /inbound hands messages to. */
  readonly fed?: FedChannel
  /** Something was noted for the channel: it does not wait for its turn. */
  readonly wake?: () => void
  /**
   * Goes on with other files, between two messages.
   *
   * @returns false where that takes another run
   * @throws Error in words, where the new files cannot be followed; it goes on as it was
   */
  take(plan: ChannelPlan): boolean
  /** True where another run can begin while this one is still receiving: nobody is ever turned away then. */
  isBeside(plan: ChannelPlan): boolean
  /** Finishes what it owes, then receives no more. */
  stop(): Promise<unknown>
}

export type StartChannel = (plan: ChannelPlan) => Promise<ChannelRun>
