import type { DataSource } from 'typeorm'
import type { ChannelPlan, FhirPollSource } from '../domain/channel.ts'
import { Failed } from '../domain/failure.ts'
import type { FhirServer } from '../documents/fhir-server.ts'
import { timeFrom } from '../mapping/input.ts'
import { askFhirpath } from '../mapping/fhirpath.ts'
import { moveCursor, noteAsked, readCursor } from '../store/feed-cursors.ts'
import type { InboundMessages } from '../store/inbound-messages.ts'
import { queryOf } from '../store/query.ts'
import { withStepLock } from '../store/step-lock.ts'
import { makeKeepResource } from './keep-resource.ts'

export interface PollPorts {
  readonly dataSource: DataSource
  readonly store: Pick<InboundMessages, 'keep'>
  readonly server: Pick<FhirServer, 'name' | 'read' | 'pages'>
  readonly now: () => Date
}

export type Polled =
  /** The first time: the past is not replayed, what changes from now on is. */
  | { readonly outcome: 'begun' }
  | { readonly outcome: 'read'; readonly resources: number; readonly fresh: number }
  | { readonly outcome: 'failed'; readonly because: string }
  /** Another process is at it. */
  | { readonly outcome: 'busy' }

/** Pages of one question; a feed with more goes on from where its cursor stands. */
const pagesMax = 1000
/** Resources kept at a time: the store writes them in groups. */
const atOnce = 50

/**
 * Asks a feed for what changed since the last time. Each page is committed before the cursor moves: whatever ends the
 * process, nothing is lost, and what is read twice is known again by its version.
 */
export async function pollFeed(
  ports: PollPorts,
  plan: ChannelPlan & { readonly source: FhirPollSource },
): Promise<Polled> {
  let polled: Polled = { outcome: 'busy' }
  await withStepLock(ports.dataSource, `feed ${plan.name}`, async () => {
    polled = await ask(ports, plan)
  })
  return polled
}

async function ask(
  ports: PollPorts,
  plan: ChannelPlan & { readonly source: FhirPollSource },
): Promise<Polled> {
  const { source, name } = plan
  const query = queryOf(ports.dataSource)
  const from = await readCursor(query, name)
  if (from === undefined) {
    await moveCursor(query, name, ports.now().toISOString(), ports.now())
    return { outcome: 'begun' }
  }
  const keep = makeKeepResource(ports)
  const isSorted =
    /[?&]_sort=_lastUpdated(&|$)/.test(source.query) && source.cursor.field === 'meta.lastUpdated'
  let until = from
  let resources = 0
  let fresh = 0
  let pages = 0
  try {
    for await (const page of ports.server.pages(questionFrom(source, from))) {
      for (let at = 0; at < page.length; at += atOnce) {
        const kept = await Promise.all(page.slice(at, at + atOnce).map((resource) => keep(plan, resource)))
        fresh += kept.filter((one) => one.fresh).length
      }
      resources += page.length
      until = page.reduce((latest, resource) => later(latest, momentOf(source, resource)), until)
      // In another order than that of the cursor, only the whole answer says that nothing is behind it.
      if (isSorted && until !== from) await moveCursor(query, name, until, ports.now())
      if (++pages >= pagesMax && isSorted) break
    }
  } catch (error) {
    if (!(error instanceof Failed)) throw error
    await noteAsked(query, name, error.because, ports.now())
    return { outcome: 'failed', because: error.because }
  }
  if (until === from) await noteAsked(query, name, undefined, ports.now())
  else await moveCursor(query, name, until, ports.now())
  return { outcome: 'read', resources, fresh }
}

/** The query with the cursor in it, somewhat earlier: clocks of a server’s nodes differ, and commits overtake each other. */
function questionFrom({ query, cursor }: FhirPollSource, from: string): string {
  const begin = new Date(new Date(from).getTime() - cursor.overlapMs)
  return query.replaceAll('{cursor}', encodeURIComponent(begin.toISOString()))
}

function momentOf(
  { cursor }: FhirPollSource,
  resource: Readonly<Record<string, unknown>>,
): string | undefined {
  const [value] = askFhirpath(cursor.field, resource)
  if (typeof value !== 'string') return undefined
  const time = timeFrom({ type: 'fhir', resource, zone: 'UTC' }, value)
  return time.valid ? time.at.toISOString() : undefined
}

function later(one: string, other: string | undefined): string {
  return other !== undefined && other > one ? other : one
}
