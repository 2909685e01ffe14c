import type { DataSource } from 'typeorm'
import { schedule } from '../jobs/schedule.ts'
import { makeGuardedFetch, type GuardedFetch } from '../lib/guarded-fetch.ts'
import { errorTrace, type Log } from '../lib/log.ts'
import { resolveBy } from '../lib/outbound-guard.ts'
import type { Metrics } from '../lib/metrics.ts'
import { anchorDaysLeft, certificatesOf, type Partners } from '../partners.ts'
import { refreshBundle, type BundlePorts } from '../pipeline/refresh-bundle.ts'
import {
  ageMs,
  groupsOf,
  readBundlesOf,
  trustView,
  type BundlesRead,
  type TrustView,
} from '../pipeline/trust-standing.ts'
import type { Settings } from '../settings.ts'
import { inTransaction, queryOf } from '../store/query.ts'
import { claimDueBundles, ensureBundles, readBundleAnchors, readBundles } from '../store/trust-bundles.ts'
import type { AnchorGroup } from '../trust/anchors.ts'
import type { Stops } from './stops.ts'

/** How soon anchors that another process exchanged are those of this one. */
const followMs = 2_000
/** A refresh that a killed process began is begun again after this. */
const claimMs = 15 * 60_000

/** The anchors of this process, kept equal to what the bundles in the database hold. */
export interface FollowedTrust {
  view(): Promise<TrustView>
  /** Schedules the refresh of the bundles that are due. */
  scheduleDue(): Promise<void>
  /** Takes one bundle anew from its source. */
  refresh(bundle: string): Promise<void>
}

export async function followTrust(
  settings: Settings,
  { anchorSet }: Partners,
  dataSource: DataSource,
  { log, metrics, stops }: { readonly log: Log; readonly metrics: Metrics; readonly stops: Stops },
): Promise<FollowedTrust> {
  const { bundles } = settings.trust
  const names = bundles.map(({ name }) => name)
  const files: readonly AnchorGroup[] = anchorSet.groups
  const query = queryOf(dataSource)
  const ports: BundlePorts = {
    dataSource,
    fetch: bundleFetch(settings),
    now: () => new Date(),
    jitter: Math.random,
  }
  let held: BundlesRead = { orders: bundles, rows: new Map(), anchors: [] }
  let versions = ''

  if (names.length > 0) {
    await ensureBundles(query, names, ports.now())
    await follow()
    let isFailing = false
    let isBusy = false
    const timer = setInterval(() => {
      if (isBusy) return
      isBusy = true
      follow()
        .then(
          () => (isFailing = false),
          (error: unknown) => {
            if (!isFailing) log.warn('cannot look after the trust bundles', { error: errorTrace(error) })
            isFailing = true
          },
        )
        .finally(() => (isBusy = false))
    }, followMs)
    stops.add('the trust bundles', async () => clearInterval(timer))
  }

  return {
    view: async () => trustView(files, await readBundlesOf(query, bundles), ports.now()),
    scheduleDue: async () => {
      if (names.length === 0) return
      const at = ports.now()
      await inTransaction(dataSource, async (tx) => {
        const due = await claimDueBundles(tx, names, at, new Date(at.getTime() + claimMs))
        await schedule(
          tx,
          due.map((bundle) => ({ task: 'refresh-bundle', bundle, dueAt: at })),
        )
      })
    },
    refresh: async (bundle) => {
      // A job of yesterday’s settings has nothing to do.
      const order = bundles.find(({ name }) => name === bundle)
      if (order === undefined) return
      const outcome = await refreshBundle(ports, order, { actor: 'engine' })
      const about = `trust bundle “${bundle}”`
      if (outcome.outcome === 'changed')
        log.info(`${about}: its anchors were exchanged`, { count: outcome.anchors })
      if (outcome.outcome === 'held')
        log.error(`${about}: a new one waits for a person: bluepost trust list`, { code: 'held' })
      if (outcome.outcome === 'failed')
        log.warn(`${about}: cannot be refreshed, what is in use stays in use`, { code: outcome.code })
      const { rows } = await readBundlesOf(query, [order])
      const age = ageMs(rows.get(bundle), ports.now())
      if (age > order.alarmAfterMs)
        log.error(`${about}: it was not confirmed for too long: bluepost trust list`, {
          code: 'stale',
          durationMs: age,
        })
    },
  }

  async function follow(): Promise<void> {
    const at = ports.now()
    const rows = await readBundles(query, names)
    const current = rows.map(({ name, version }) => `${name} ${version}`).join()
    const isChanged = current !== versions
    // Read after the versions: should the anchors be newer already, the next round reads them once more.
    const anchors = isChanged ? await readBundleAnchors(query, names) : held.anchors
    held = { orders: bundles, rows: new Map(rows.map((row) => [row.name, row])), anchors }
    if (isChanged) {
      anchorSet.change([...files, ...groupsOf(held)])
      versions = current
      const days = anchorDaysLeft(certificatesOf(anchorSet), at)
      if (days !== undefined) metrics.certificateDays.set({ use: 'anchor' }, days)
    }
    for (const { name, anchors: count, alarms } of trustView([], held, at).bundles) {
      metrics.bundleAnchors.set({ bundle: name }, count)
      metrics.bundleAlarms.set({ bundle: name }, alarms.length)
      metrics.bundleAgeSeconds.set({ bundle: name }, ageMs(held.rows.get(name), at) / 1000)
    }
  }
}

/** https and nothing else, at every step of a redirect. */
export function bundleFetch({ discovery: { allowPrivateAddresses, dns } }: Settings): GuardedFetch {
  return makeGuardedFetch({ allowPrivateAddresses, resolve: resolveBy(dns.servers), protocols: ['https:'] })
}
