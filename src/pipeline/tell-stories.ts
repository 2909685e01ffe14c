import { randomUUID } from 'node:crypto'
import { cancelToleranceMs, happensOnce } from '../domain/story.ts'
import type { Job } from '../jobs/schedule.ts'
import { strongKeys, type MatchResult } from '../matching/match.ts'
import type { AuditEntry } from '../store/audit.ts'
import { insertEvents, insertVerdicts, patientKey, type NewEvent } from '../store/decisions.ts'
import type { Query } from '../store/query.ts'
import {
  extendTransmission,
  holdStories,
  joinEvents,
  lockStories,
  standingOf,
  takenBackBefore,
  type StoryStanding,
  type Wanted,
} from '../store/stories.ts'
import { insertTransmissions, type NewTransmission } from '../store/transmissions.ts'
import type { DecidePorts } from './decide.ts'
import { engineEntry } from './engine-entry.ts'
import { keysIn, place, underCurrentNumbers, type Placed, type Told } from './place-stories.ts'
import { settleDoubt, takeBack } from './take-back.ts'

export interface Telling {
  readonly jobs: readonly Job[]
  readonly audit: readonly AuditEntry[]
  readonly transmissions: number
  readonly outcomes: readonly { readonly channel: string; readonly state: string; readonly outcome: string }[]
}

/** However often a story goes on while it waits for quiet: after this many holds it is sent. */
const holdsMax = 6

type StoryPorts = Pick<DecidePorts, 'aliases' | 'blindKey' | 'holdMaxMs' | 'deliveryRequested'>

/**
 * Events → stories → transmissions: what is told of one visit (or claim, or document) while it waits becomes one
 * transmission; what was told before makes none; a cancel takes back what it means, also where it comes first.
 */
export async function tellStories(
  ports: StoryPorts,
  query: Query,
  told: readonly Told[],
  at: Date,
): Promise<Telling> {
  const named = told.map((one) => place(ports, one))
  await lockStories(query, named.flatMap(keysIn))
  // While the story of a number is held, nobody gives the number up.
  const placed = await underCurrentNumbers(query, named)
  await holdStories(
    query,
    placed.flatMap(keysIn),
    placed.flatMap(({ keys, one: { result } }) =>
      keys.storyKey === null || result.outcome === 'no-authorization'
        ? []
        : result.verdicts.map(({ authorizationId }) => authorizationId),
    ),
  )
  const jobs: Job[] = []
  const audit: AuditEntry[] = []
  const outcomes: { channel: string; state: string; outcome: string }[] = []
  let transmissions = 0
  // Events of one story are told one after the other: each must see what came before it.
  for (const chapter of chapters(placed)) {
    const swallowed = await takenBackBefore(
      query,
      chapter.map(({ keys }) => keys),
      cancelToleranceMs,
    )
    const wanted = chapter.flatMap((one, nth) => (swallowed.has(nth) ? [] : wantedOf(one)))
    const standings = await standingOf(
      query,
      wanted.flatMap(({ lookup }) => (lookup === undefined ? [] : [lookup])),
    )
    const open = [...standings]
    const planned: Planned[] = wanted.map((each) => ({
      ...each,
      standing: each.lookup === undefined ? {} : open.shift()!,
    }))
    const events = chapter.map((one, nth) =>
      eventOf(
        ports,
        one,
        swallowed.has(nth),
        planned.filter(({ placed }) => placed === one),
      ),
    )
    const ids = await insertEvents(query, events, at)
    await insertVerdicts(
      query,
      chapter.flatMap((one) => verdictsOf(one, ids)),
      at,
    )
    const begun = await beginTransmissions(ports, query, planned, ids, at)
    transmissions += begun.count
    jobs.push(...begun.jobs)
    for (const [nth, one] of chapter.entries()) {
      const event = events[nth]!
      const eventId = ids.get(one.one.message.id)!
      audit.push(verdictAudit(one, event, eventId, at))
      outcomes.push({ channel: event.channel, state: 'triggered', outcome: event.outcome })
      if (event.cancels)
        audit.push(...(await takeBack(query, { ...one.keys, eventId, cancelsVisit: event.cancelsVisit }, at)))
    }
    const settled = await settleDoubt(
      query,
      chapter.filter((_, nth) => swallowed.has(nth) || events[nth]!.cancels).map(({ keys }) => keys),
      at,
    )
    jobs.push(...settled.jobs)
    audit.push(...settled.audit)
  }
  return { jobs, audit, transmissions, outcomes }
}

/** Splits a pass so that no chapter holds two events of one story or of one patient; their order is kept. */
function chapters(placed: readonly Placed[]): Placed[][] {
  const result: Placed[][] = []
  const depths = new Map<string, number>()
  for (const one of placed) {
    const names = namesOf(one)
    const depth = Math.max(0, ...names.map((name) => depths.get(name) ?? 0))
    for (const name of names) depths.set(name, depth + 1)
    ;(result[depth] ??= []).push(one)
  }
  return result
}

function namesOf({ keys, one }: Placed): string[] {
  const together =
    one.plan?.hold?.merge === 'patient' && one.result.outcome !== 'no-authorization'
      ? one.result.verdicts.map(({ authorizationId }) => authorizationId)
      : []
  return [keys.encounterKey?.toString('hex'), keys.subjectKey?.toString('hex'), ...together].filter(
    (name) => name !== undefined,
  )
}

/** One event × one authorization × one destination that something could be sent to. */
interface WantedOne {
  readonly placed: Placed
  readonly verdict: Extract<MatchResult, { readonly verdicts: unknown }>['verdicts'][number]
  readonly destination: string
  /** Undefined where the event belongs to no story. */
  readonly lookup: Wanted | undefined
}

interface Planned extends WantedOne {
  readonly standing: StoryStanding
}

function wantedOf(placed: Placed): WantedOne[] {
  const { one, keys } = placed
  if (one.result.outcome === 'no-authorization' || one.event.cancels !== undefined) return []
  return one.result.verdicts.flatMap((verdict) =>
    verdict.destinations.map((destination): WantedOne => {
      const { storyKey } = keys
      return {
        placed,
        verdict,
        destination,
        lookup:
          storyKey === null
            ? undefined
            : {
                ...keys,
                storyKey: togetherKey(placed, verdict.authorizationId) ?? storyKey,
                authorizationId: verdict.authorizationId,
                destination,
                held: verdict.outcome === 'held',
                happensOnce: happensOnce(one.event.kind),
              },
      }
    }),
  )
}

/** With `hold: { merge: patient }` everything of one patient waits together, whatever it is about. */
function togetherKey({ one }: Placed, authorizationId: string): Buffer | undefined {
  return one.plan?.hold?.merge === 'patient'
    ? Buffer.from(authorizationId.replaceAll('-', ''), 'hex')
    : undefined
}

function eventOf(
  { aliases, blindKey }: StoryPorts,
  { one: { event, message, result }, keys }: Placed,
  isSwallowed: boolean,
  planned: readonly Planned[],
): NewEvent {
  const isCancel = event.cancels !== undefined
  const isTakenBack = !isCancel && isSwallowed
  const isRepeat = planned.length > 0 && planned.every(({ standing }) => standing.repeatOf !== undefined)
  const outcome = isCancel ? 'cancel' : isTakenBack ? 'cancelled' : isRepeat ? 'repeat' : result.outcome
  return {
    messageId: message.id,
    channel: message.channel,
    kind: event.kind,
    occurredAt: event.occurredAt,
    cancels: isCancel,
    cancelsVisit: event.cancels === 'visit',
    patientKeys: strongKeys(event, aliases).map((identifier) => patientKey(blindKey, identifier)),
    encounterKey: keys.encounterKey,
    subjectKey: keys.subjectKey,
    outcome,
    because: isTakenBack
      ? 'the source took this event back before it arrived here'
      : isRepeat
        ? `the same was told before and sent, or is about to be: ${result.because}`
        : result.because,
  }
}

function verdictsOf({ one: { message, result } }: Placed, events: ReadonlyMap<string, string>) {
  if (result.outcome === 'no-authorization') return []
  return result.verdicts.map((verdict) => ({
    eventId: events.get(message.id)!,
    authorizationId: verdict.authorizationId,
    authorizationVersion: verdict.version,
    outcome: verdict.outcome,
    code: verdict.code,
    because: verdict.because,
  }))
}

/** What is new begins to wait; what goes on with a story that waits already becomes part of it. */
async function beginTransmissions(
  ports: StoryPorts,
  query: Query,
  planned: readonly Planned[],
  events: ReadonlyMap<string, string>,
  at: Date,
): Promise<{ readonly jobs: Job[]; readonly count: number }> {
  const jobs: Job[] = []
  const pairs: { transmissionId: string; eventId: string }[] = []
  const fresh: NewTransmission[] = []
  for (const one of planned) {
    const { event, message, plan } = one.placed.one
    const eventId = events.get(message.id)!
    const holdMs = Math.min(plan?.hold?.forMs ?? 0, ports.holdMaxMs ?? Infinity)
    const isHeld = one.verdict.outcome === 'held'
    const dueAt = isHeld ? null : new Date(at.getTime() + holdMs)
    const { openId, repeatOf } = one.standing
    if (repeatOf !== undefined) {
      // The one told first may be taken back yet: then this one is what the transmission is about.
      if (repeatOf.isUnsent) pairs.push({ transmissionId: repeatOf.id, eventId })
      continue
    }
    if (openId !== undefined) {
      const extended = await extendTransmission(
        query,
        openId,
        { eventId, occurredAt: event.occurredAt, dueAt, waitMsMax: holdMs * holdsMax },
        at,
      )
      if (extended !== undefined) {
        pairs.push({ transmissionId: openId, eventId })
        if (extended.dueAt !== null)
          jobs.push({ task: 'step', transmissionId: openId, dueAt: extended.dueAt })
        continue
      }
    }
    fresh.push({
      id: randomUUID(),
      authorizationId: one.verdict.authorizationId,
      authorizationVersion: one.verdict.version,
      destination: one.destination,
      cause: event.kind,
      eventId,
      occurredAt: event.occurredAt,
      state: isHeld ? 'held' : 'waiting',
      code: isHeld ? one.verdict.code : null,
      because: isHeld ? one.verdict.because : null,
      dueAt,
      encounterKey: one.lookup?.storyKey ?? null,
      deliveryRequested: ports.deliveryRequested,
    })
  }
  const inserted = await insertTransmissions(query, fresh, at)
  for (const row of fresh) {
    if (inserted.has(row.id) && row.dueAt !== null)
      jobs.push({ task: 'step', transmissionId: row.id, dueAt: row.dueAt })
  }
  await joinEvents(query, pairs)
  return { jobs, count: inserted.size }
}

function verdictAudit({ one }: Placed, event: NewEvent, eventId: string, at: Date): AuditEntry {
  return engineEntry(at, 'verdict', `event:${eventId}`, {
    message: event.messageId,
    channel: event.channel,
    kind: event.kind,
    outcome: event.outcome,
    because: event.because,
    authorizations:
      one.result.outcome === 'no-authorization'
        ? []
        : one.result.verdicts.map((verdict) => ({
            id: verdict.authorizationId,
            version: verdict.version,
            outcome: verdict.outcome,
            code: verdict.code,
          })),
  })
}
