import type { DataSource } from 'typeorm'
import { errorTrace, type Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { makeMissCounter } from '../pipeline/count-misses.ts'
import type { ChannelMiss } from '../pipeline/decide.ts'
import type { Stops } from './stops.ts'

/** A crash loses the counts, and nothing but the counts, of so long. */
const flushEveryMs = 10_000

/** Counts lookups without a row: for /metrics at once, in the database every ten seconds and when the engine stops. */
export function countMisses(
  dataSource: DataSource,
  { metrics, log, now, stops }: { metrics: Metrics; log: Log; now: () => Date; stops: Stops },
): (misses: readonly ChannelMiss[]) => void {
  const counter = makeMissCounter({ dataSource, now })
  const timer = setInterval(() => {
    counter.flush().catch((error: unknown) => log.warn('cannot count lookups', { error: errorTrace(error) }))
  }, flushEveryMs)
  stops.add('the counters of lookups', () => {
    clearInterval(timer)
    return counter.flush()
  })
  return (misses) => {
    counter.note(misses)
    for (const { table } of misses) metrics.lookupMisses.inc({ table })
  }
}
