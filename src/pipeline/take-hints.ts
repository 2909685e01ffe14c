import type { ChannelPlan, FhirPollSource, FhirSubscriptionSource } from '../domain/channel.ts'
import { Failed } from '../domain/failure.ts'
import { queryOf } from '../store/query.ts'
import { withStepLock } from '../store/step-lock.ts'
import { dropHint, hintsOf } from '../store/subscription-hints.ts'
import { makeKeepResource } from './keep-resource.ts'
import { pollFeed, type Polled, type PollPorts } from './poll-feed.ts'

export type SubscriptionPlan = ChannelPlan & { readonly source: FhirSubscriptionSource }

export type Taken =
  | { readonly outcome: 'done'; readonly fetched: number; readonly isSearchWanted: boolean }
  | { readonly outcome: 'failed'; readonly because: string }
  | { readonly outcome: 'busy' }

const hintsAtOnce = 200

/**
 * Fetches what notifications named from the server of the settings, and keeps it; what was kept in that version before is
 * known again. A hint goes when its resource is committed.
 */
export async function takeHints(ports: PollPorts, plan: SubscriptionPlan): Promise<Taken> {
  let taken: Taken = { outcome: 'busy' }
  await withStepLock(ports.dataSource, `hints ${plan.name}`, async () => {
    taken = await fetchHints(ports, plan)
  })
  return taken
}

async function fetchHints(ports: PollPorts, plan: SubscriptionPlan): Promise<Taken> {
  const query = queryOf(ports.dataSource)
  const keep = makeKeepResource(ports)
  let fetched = 0
  let isSearchWanted = false
  try {
    for (;;) {
      const hints = await hintsOf(query, plan.name, hintsAtOnce)
      const named = hints.filter(({ focus }) => focus !== '')
      isSearchWanted ||= named.length < hints.length
      if (named.length === 0) return { outcome: 'done', fetched, isSearchWanted }
      for (const hint of named) {
        const [type = '', id = ''] = hint.focus.split('/')
        const resource = await ports.server.read(type, id)
        // Gone again: there is nothing left to tell.
        if (resource !== undefined) {
          await keep(plan, resource)
          fetched++
        }
        await dropHint(query, plan.name, hint)
      }
    }
  } catch (error) {
    if (!(error instanceof Failed)) throw error
    return { outcome: 'failed', because: error.because }
  }
}

/**
 * Searches for what changed since the last search: after a gap, after a notification that does not say what changed, and
 * regularly, since nothing reveals a notification that never came.
 *
 * @param overlapMs how far before the last answer the search begins
 */
export async function searchMissed(
  ports: PollPorts,
  plan: SubscriptionPlan,
  overlapMs: number,
): Promise<Polled | undefined> {
  const { fallbackCriteria, server } = plan.source
  if (fallbackCriteria === undefined) return undefined
  const [wanted] = (await hintsOf(queryOf(ports.dataSource), plan.name, hintsAtOnce)).filter(
    ({ focus }) => focus === '',
  )
  const joined = `${fallbackCriteria}${fallbackCriteria.includes('?') ? '&' : '?'}`
  const source: FhirPollSource = {
    type: 'fhir-poll',
    server,
    query: `${joined}_lastUpdated=gt{cursor}&_sort=_lastUpdated`,
    everyMs: 0,
    cursor: { field: 'meta.lastUpdated', overlapMs },
  }
  const polled = await pollFeed(ports, { ...plan, source })
  if (wanted !== undefined && polled.outcome === 'read')
    await dropHint(queryOf(ports.dataSource), plan.name, wanted)
  return polled
}
