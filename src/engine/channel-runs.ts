import type { ChannelView } from '../api/channels.ts'
import type { FedChannel } from '../api/inbound.ts'
import type { ChannelPlan } from '../domain/channel.ts'
import type { ChannelRun, StartChannel } from './channel-run.ts'

/** What is wanted of the channels: the plans that receive, by name; those that are not there do not. */
export type Wanted = ReadonlyMap<string, ChannelPlan>

/** The channels of this process as they receive. */
export interface ChannelRuns {
  /** Starts, changes and stops what differs from `wanted`; resolves when everything stands. One that fails keeps no other from it. */
  settle(wanted: Wanted): Promise<void>
  /** As `settle`, for these channels alone. */
  stop(channels: readonly string[]): Promise<void>
  /** Tries again what could not be started. */
  retry(): Promise<void>
  standing(channel: string): Standing
  listens(): { readonly what: string; readonly on: string }[]
  problems(): string[]
  fed(channel: string): FedChannel | undefined
  wake(channel: string): void
  /** Stops all, and starts no more. */
  close(): Promise<void>
}

export interface Standing extends Pick<ChannelView, 'because' | 'listen' | 'connections'> {
  readonly state: 'stopped' | 'starting' | 'running' | 'draining' | 'failed'
}

export function runChannels(start: StartChannel): ChannelRuns {
  const lives = new Map<string, Life>()
  let isClosed = false
  const lifeOf = (name: string) => {
    const life = lives.get(name) ?? new Life(start)
    lives.set(name, life)
    return life
  }
  const runs = () =>
    [...lives].flatMap(([name, { run }]) => (run === undefined ? [] : [[name, run] as const]))

  return {
    async settle(wanted) {
      if (isClosed) return
      const names = new Set([...lives.keys(), ...wanted.keys()])
      await Promise.all([...names].map((name) => lifeOf(name).lead(wanted.get(name))))
    },
    async stop(channels) {
      const stopping = channels.flatMap((name) => lives.get(name) ?? [])
      await Promise.all(stopping.map((life) => life.lead(undefined)))
    },
    async retry() {
      if (!isClosed) await Promise.all([...lives.values()].map((life) => life.again()))
    },
    standing: (channel) => lives.get(channel)?.standing() ?? standingStill,
    listens: () => runs().flatMap(([, run]) => run.listens),
    problems: () =>
      [...lives].flatMap(([name, { failure }]) =>
        failure === undefined ? [] : [`channel ${name} does not listen: ${failure}`],
      ),
    fed: (channel) => lives.get(channel)?.run?.fed,
    wake: (channel) => lives.get(channel)?.run?.wake?.(),
    async close() {
      isClosed = true
      await Promise.all([...lives.values()].map((life) => life.lead(undefined)))
    },
  }
}

const standingStill: Standing = { state: 'stopped', because: null, listen: null, connections: 0 }

/** One channel between its start and its end, led from one plan to the next; what it is led to meanwhile comes after. */
class Life {
  run: ChannelRun | undefined
  /** Why the plan it was led to is not, or not wholly, followed. */
  failure: string | undefined
  private readonly start: StartChannel
  private state: Standing['state'] = 'stopped'
  private plan: ChannelPlan | undefined
  private wanted: ChannelPlan | undefined
  private isDue = false
  private working: Promise<void> | undefined

  constructor(start: StartChannel) {
    this.start = start
  }

  standing(): Standing {
    const because = this.failure ?? this.run?.because?.() ?? null
    return {
      // Who asks a server that does not answer receives nothing.
      state: this.state === 'running' && this.run?.because?.() !== undefined ? 'failed' : this.state,
      because,
      listen: this.run?.place ?? null,
      connections: this.run?.connections?.() ?? 0,
    }
  }

  lead(plan: ChannelPlan | undefined): Promise<void> {
    this.wanted = plan
    this.isDue = true
    this.working ??= this.work()
    return this.working
  }

  async again(): Promise<void> {
    if (this.failure !== undefined && this.working === undefined) await this.lead(this.wanted)
  }

  private async work(): Promise<void> {
    // Whoever leads a life does not wait inside its own call.
    await Promise.resolve()
    while (this.isDue) {
      this.isDue = false
      const { wanted } = this
      if (wanted === undefined) await this.end()
      else if (this.run === undefined) await this.begin(wanted)
      else await this.change(this.run, wanted)
    }
    this.working = undefined
  }

  private async end(): Promise<void> {
    this.failure = undefined
    if (this.run !== undefined) {
      this.state = 'draining'
      await this.run.stop()
      this.run = undefined
    }
    this.state = 'stopped'
  }

  private async begin(plan: ChannelPlan): Promise<void> {
    this.state = 'starting'
    try {
      this.runs(await this.start(plan), plan)
    } catch (error) {
      this.state = 'failed'
      this.failure = (error as Error).message
    }
  }

  private async change(run: ChannelRun, plan: ChannelPlan): Promise<void> {
    try {
      if (run.take(plan)) return this.runs(run, plan)
      if (run.isBeside(plan)) {
        const fresh = await this.start(plan)
        this.state = 'draining'
        await run.stop()
        return this.runs(fresh, plan)
      }
    } catch (error) {
      this.failure = `${(error as Error).message}; it goes on as it was`
      return
    }
    this.state = 'draining'
    await run.stop()
    this.run = undefined
    const { plan: last } = this
    await this.begin(plan)
    if (this.failure === undefined || last === undefined) return
    const { failure } = this
    await this.begin(last)
    this.failure = this.failure === undefined ? `${failure}; it goes on as it was` : failure
  }

  private runs(run: ChannelRun, plan: ChannelPlan): void {
    this.run = run
    this.plan = plan
    this.state = 'running'
    this.failure = undefined
  }
}
