import type { DataSource } from 'typeorm'
import type { ChannelPlan, FhirPollSource } from '../domain/channel.ts'
import { fhirServer } from '../documents/fhir-server.ts'
import { errorTrace, type Log } from '../lib/log.ts'
import { pollFeed } from '../pipeline/poll-feed.ts'
import type { Settings } from '../settings.ts'
import type { InboundMessages } from '../store/inbound-messages.ts'
import type { Stops } from './stops.ts'

export interface FeedPorts {
  readonly dataSource: DataSource
  readonly store: Pick<InboundMessages, 'keep'>
  readonly log: Log
  readonly stops: Stops
}

type PollPlan = ChannelPlan & { readonly source: FhirPollSource }

/** The feeds as they are asked. */
export interface Feeds {
  readonly listens: readonly { readonly what: string; readonly on: string }[]
  /** How a channel stands; undefined where it is no feed. */
  standing(channel: string): { readonly because?: string } | undefined
}

/** Asks every enabled feed, each at its own pace; one that fails is asked again at the next turn and holds up no other. */
export function followFeeds(plans: readonly ChannelPlan[], settings: Settings, ports: FeedPorts): Feeds {
  const { dataSource, store, log, stops } = ports
  const standings = new Map<string, { because?: string }>()
  const stopping = new AbortController()
  const timers: NodeJS.Timeout[] = []
  const running = new Set<Promise<void>>()
  const listens: { what: string; on: string }[] = []

  for (const plan of plans) {
    if (!plan.enabled || plan.source.type !== 'fhir-poll') continue
    const { source } = plan
    const setting = settings.fhirServers.find(({ name }) => name === source.server)
    if (setting === undefined) continue
    const server = fhirServer(setting, { signal: stopping.signal })
    const feed = { ...plan, source } satisfies PollPlan
    let isAsking = false
    const ask = () => {
      // A question that takes longer than its turn is not asked twice at a time.
      if (isAsking || stopping.signal.aborted) return
      isAsking = true
      const asking = askOnce(feed, server).finally(() => {
        isAsking = false
        running.delete(asking)
      })
      running.add(asking)
    }
    standings.set(plan.name, {})
    listens.push({ what: `channel ${plan.name} (FHIR)`, on: `${source.server}, asked regularly` })
    const timer = setInterval(ask, source.everyMs)
    timer.unref()
    timers.push(timer)
    ask()
  }
  stops.add('the feeds', async () => {
    for (const timer of timers) clearInterval(timer)
    stopping.abort()
    await Promise.allSettled(running)
  })
  return { listens, standing: (channel) => standings.get(channel) }

  async function askOnce(plan: PollPlan, server: ReturnType<typeof fhirServer>): Promise<void> {
    const standing = standings.get(plan.name)!
    try {
      const polled = await pollFeed({ dataSource, store, server, now: () => new Date() }, plan)
      if (polled.outcome === 'failed') {
        if (stopping.signal.aborted) return
        standing.because = polled.because
        log.warn('a feed could not be read; it is asked again at its next turn', {
          channel: plan.name,
          outcome: polled.outcome,
        })
        return
      }
      delete standing.because
      if (polled.outcome === 'read' && polled.fresh > 0)
        log.info('a feed was read', { channel: plan.name, count: polled.fresh })
    } catch (error) {
      if (stopping.signal.aborted) return
      standing.because = 'reading it failed unexpectedly; the log has the place'
      log.error('a feed could not be read', { channel: plan.name, error: errorTrace(error) })
    }
  }
}
