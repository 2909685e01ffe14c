import type { DataSource } from 'typeorm'
import { bulkServer, type BulkServer } from '../documents/bulk-export.ts'
import type {
  ChannelPlan,
  FhirExportSource,
  FhirPollSource,
  FhirSubscriptionSource,
} from '../domain/channel.ts'
import { fhirServer } from '../documents/fhir-server.ts'
import { errorTrace, type Log } from '../lib/log.ts'
import type { ExportPlan } from '../pipeline/export-ports.ts'
import { pollFeed, type PollPorts } from '../pipeline/poll-feed.ts'
import { runExport } from '../pipeline/run-export.ts'
import { searchMissed, takeHints, type SubscriptionPlan } from '../pipeline/take-hints.ts'
import type { Settings } from '../settings.ts'
import type { InboundMessages } from '../store/inbound-messages.ts'
import type { Stops } from './stops.ts'

export interface FeedPorts {
  readonly dataSource: DataSource
  readonly store: Pick<InboundMessages, 'keep' | 'keepFragment'>
  readonly log: Log
  readonly stops: Stops
}

/** The feeds as they are asked, and the subscriptions as they are followed. */
export interface Feeds {
  readonly listens: readonly { readonly what: string; readonly on: string }[]
  /** How a channel stands; undefined where it is no feed. */
  standing(channel: string): { readonly because?: string } | undefined
  /** Something was noted for the channel: it does not wait for its turn. */
  wake(channel: string): void
}

/** What another process noted is seen within this time. */
const lookMs = 5_000
/** Where the channel does not say how often to search for what was never told. */
const sweepMsUsual = 6 * 3_600_000
const lookbackMsUsual = 24 * 3_600_000
/** A search for what a notification did not name begins a little before the last answer. */
const overlapMsUsual = 300_000

type Ask = (ports: PollPorts) => Promise<string | undefined>

/** Asks every enabled feed, each at its own pace; one that fails is asked again at the next turn and holds up no other. */
export function followFeeds(plans: readonly ChannelPlan[], settings: Settings, ports: FeedPorts): Feeds {
  const { dataSource, store, log, stops } = ports
  const standings = new Map<string, { because?: string }>()
  const askers = new Map<string, () => void>()
  const stopping = new AbortController()
  const timers: NodeJS.Timeout[] = []
  const running = new Set<Promise<void>>()
  const listens: { what: string; on: string }[] = []

  for (const plan of plans) {
    const { source } = plan
    if (!plan.enabled || !isAsked(source)) continue
    const setting = settings.fhirServers.find(({ name }) => name === source.server)
    if (setting === undefined) continue
    const server = fhirServer(setting, { signal: stopping.signal })
    const asked: PollPorts = { dataSource, store, server, now: () => new Date() }
    standings.set(plan.name, {})
    if (source.type === 'fhir-export') {
      listens.push({ what: `channel ${plan.name} (FHIR)`, on: `${source.server}, exports` })
      const bulk = bulkServer(setting, source.fileOrigins, { signal: stopping.signal })
      turn(plan.name, lookMs, followExport({ ...plan, source }, bulk), asked)
    } else if (source.type === 'fhir-poll') {
      listens.push({ what: `channel ${plan.name} (FHIR)`, on: `${source.server}, asked regularly` })
      turn(plan.name, source.everyMs, (ports) => poll(plan.name, pollFeed(ports, { ...plan, source })), asked)
    } else {
      listens.push({ what: `channel ${plan.name} (FHIR)`, on: `/fhir/subscription/${plan.name}` })
      turn(plan.name, lookMs, followSubscription({ ...plan, source }), asked)
    }
  }
  stops.add('the feeds', async () => {
    for (const timer of timers) clearInterval(timer)
    stopping.abort()
    await Promise.allSettled(running)
  })
  return {
    listens,
    standing: (channel) => standings.get(channel),
    wake: (channel) => askers.get(channel)?.(),
  }

  /** Once now, then every so often; never twice at a time, and once more where it was woken meanwhile. */
  function turn(channel: string, everyMs: number, ask: Ask, asked: PollPorts): void {
    let isAsking = false
    let isWantedAgain = false
    const next = () => {
      if (stopping.signal.aborted) return
      if (isAsking) {
        isWantedAgain = true
        return
      }
      isAsking = true
      isWantedAgain = false
      const asking = once(channel, ask, asked).finally(() => {
        isAsking = false
        running.delete(asking)
        if (isWantedAgain) next()
      })
      running.add(asking)
    }
    askers.set(channel, next)
    const timer = setInterval(next, everyMs)
    timer.unref()
    timers.push(timer)
    next()
  }

  async function once(channel: string, ask: Ask, asked: PollPorts): Promise<void> {
    const standing = standings.get(channel)!
    try {
      const because = await ask(asked)
      if (stopping.signal.aborted) return
      if (because === undefined) delete standing.because
      else {
        if (standing.because === undefined)
          log.warn('a FHIR server does not answer; it is asked again', { channel })
        standing.because = because
      }
    } catch (error) {
      if (stopping.signal.aborted) return
      standing.because = 'reading it failed unexpectedly; the log has the place'
      log.error('a feed could not be read', { channel, error: errorTrace(error) })
    }
  }

  /** @returns why it failed */
  async function poll(channel: string, polling: ReturnType<typeof pollFeed>): Promise<string | undefined> {
    const polled = await polling
    if (polled.outcome === 'read' && polled.fresh > 0)
      log.info('a feed was read', { channel, count: polled.fresh })
    return polled.outcome === 'failed' ? polled.because : undefined
  }

  /** Where an export stands is looked up at each turn; what is due is done. */
  function followExport(plan: ExportPlan, server: BulkServer): Ask {
    return async ({ now }) => {
      const { signal } = stopping
      const exported = await runExport({ dataSource, store, server, now, log, signal }, plan)
      if (exported.outcome === 'complete')
        log.info('an export was read', { channel: plan.name, count: exported.fresh })
      return 'because' in exported ? exported.because : undefined
    }
  }

  /** What was told is fetched at once; what was not, or may have been missed, is searched for. */
  function followSubscription(plan: SubscriptionPlan): Ask {
    const { sweep } = plan.source
    let sweptAtMs: number | undefined
    return async (asked) => {
      const taken = await takeHints(asked, plan)
      if (taken.outcome === 'failed') return taken.because
      if (taken.outcome === 'busy') return undefined
      if (taken.fetched > 0)
        log.info('notified resources were fetched', { channel: plan.name, count: taken.fetched })
      const atMs = asked.now().getTime()
      const isDue = sweptAtMs === undefined || atMs - sweptAtMs >= (sweep?.everyMs ?? sweepMsUsual)
      if (!isDue && !(taken.isSearchWanted && plan.source.gaps === 'replay')) return undefined
      const searching = searchMissed(
        asked,
        plan,
        isDue ? (sweep?.lookbackMs ?? lookbackMsUsual) : overlapMsUsual,
      )
      const polled = await searching
      if (polled === undefined || polled.outcome === 'busy') return undefined
      if (polled.outcome === 'failed') return polled.because
      if (isDue) sweptAtMs = atMs
      if (polled.outcome === 'read' && polled.fresh > 0)
        log.info('a search found what was not told', { channel: plan.name, count: polled.fresh })
      return undefined
    }
  }
}

function isAsked(
  source: ChannelPlan['source'],
): source is FhirPollSource | FhirSubscriptionSource | FhirExportSource {
  return ['fhir-poll', 'fhir-subscription', 'fhir-export'].includes(source.type)
}
