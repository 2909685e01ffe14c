import { setTimeout } from 'node:timers/promises'
import type { DataSource } from 'typeorm'
import { errorTrace, type Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { Partners } from '../partners.ts'
import { probeDueDestinations, type ProbePorts } from '../pipeline/probe-destinations.ts'
import type { Settings } from '../settings.ts'
import { countDestinations } from '../store/destinations.ts'
import { queryOf } from '../store/query.ts'
import type { Stops } from './stops.ts'

/** How soon destinations that a command stored are looked at. */
const followMs = 60_000
/** A look under way when the engine stops gets this long; it is made again after the next start. */
const drainMsMax = 2_000
/** Days before its end at which a destination is spoken of. */
const endingDays = [1, 7, 14, 30] as const

/** Looks ahead at the destinations of active requests. */
export interface FollowedDestinations {
  /** Does not wait for the next minute. */
  lookNow(): void
}

export function followDestinations(
  settings: Settings,
  { discovery, trust }: Partners,
  dataSource: DataSource,
  { log, metrics, stops }: { readonly log: Log; readonly metrics: Metrics; readonly stops: Stops },
): FollowedDestinations {
  const ports: ProbePorts = {
    dataSource,
    discovery,
    trust,
    localDomain: settings.dataHolder?.address.domain.toLowerCase() ?? '',
    timezone: settings.timezone,
    now: () => new Date(),
  }
  let isStopping = false
  let isWantedAgain = false
  let running: Promise<void> | undefined
  let spokenOn = ''
  const timer = setInterval(lookNow, followMs)
  timer.unref()
  stops.add('the look ahead', async () => {
    isStopping = true
    clearInterval(timer)
    await Promise.race([running, setTimeout(drainMsMax, undefined, { ref: false })])
  })
  lookNow()
  return { lookNow }

  function lookNow(): void {
    if (isStopping) return
    if (running !== undefined) {
      isWantedAgain = true
      return
    }
    isWantedAgain = false
    running = look()
      .catch((error: unknown) => {
        if (!isStopping) log.warn('cannot look ahead at destinations', { error: errorTrace(error) })
      })
      .finally(() => {
        running = undefined
        if (isWantedAgain) lookNow()
      })
  }

  async function look(): Promise<void> {
    const { lost } = await probeDueDestinations(ports, () => isStopping)
    if (isStopping) return
    if (lost > 0)
      log.warn('destinations that could receive cannot any more: bluepost destinations', { count: lost })
    const at = ports.now()
    const moments = endingDays.map((days) => new Date(at.getTime() + days * 86_400_000))
    const { byOutcome, ending } = await countDestinations(queryOf(dataSource), moments)
    for (const [outcome, count] of Object.entries(byOutcome)) metrics.destinations.set({ outcome }, count)
    for (const [nth, days] of endingDays.entries()) metrics.destinationsEnding.set({ days }, ending[nth]!)
    const today = at.toISOString().slice(0, 10)
    if (today === spokenOn) return
    spokenOn = today
    for (const [nth, days] of endingDays.entries()) {
      if (ending[nth] === 0) continue
      const words = `destinations whose certificates end within ${days} days: bluepost destinations --ending ${days}`
      log[days > 7 ? 'warn' : 'error'](words, { code: 'expires-soon', count: ending[nth]! })
      break
    }
  }
}
