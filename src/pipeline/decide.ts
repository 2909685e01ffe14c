import { randomUUID } from 'node:crypto'
import type { DataSource } from 'typeorm'
import type { ChannelPlan } from '../domain/channel.ts'
import type { TriggerEvent } from '../domain/trigger-event.ts'
import { schedule, type Job } from '../jobs/schedule.ts'
import { evaluate } from '../mapping/evaluate.ts'
import { match, strongKeys, type MatchResult } from '../matching/match.ts'
import { appendAudit, type AuditEntry } from '../store/audit.ts'
import {
  encounterKey,
  forgetContent,
  holdLanes,
  insertEvents,
  insertVerdicts,
  patientKey,
  recordMessages,
  sentOfEncounter,
  undecidedIn,
  unsentOfEncounter,
  wasCancelledBefore,
  type DecidedMessage,
  type NewEvent,
  type Undecided,
} from '../store/decisions.ts'
import { candidatesFor } from '../store/matching.ts'
import { inTransaction, type Query } from '../store/query.ts'
import {
  insertTransmissions,
  lockTransmission,
  recordOccurrence,
  type NewTransmission,
} from '../store/transmissions.ts'

export interface DecidePorts {
  readonly dataSource: DataSource
  readonly channel: (name: string) => ChannelPlan | undefined
  readonly aliases: ReadonlyMap<string, string>
  readonly blindKey: Buffer
  readonly holdMaxMs: number | undefined
  readonly deliveryRequested: boolean
  readonly now: () => Date
}

export interface Decided {
  readonly messages: number
  readonly transmissions: number
  /** How many messages met which end, for the counters: `triggered`, `filtered`, `quarantined` by channel. */
  readonly outcomes: readonly { readonly channel: string; readonly state: string; readonly outcome: string }[]
}

/** Messages of one pass: enough to make the transaction worth it, few enough to keep it short. */
const passRowsMax = 200

/**
 * Message → trigger event → verdicts → transmissions with their jobs, in one transaction. Takes the next messages of the
 * lanes that nobody else is working on, in order; run it until it decides nothing more.
 */
export function decide(ports: DecidePorts, lanes: readonly number[]): Promise<Decided> {
  return inTransaction(ports.dataSource, async (query) => {
    const held = await holdLanes(query, lanes)
    const messages = held.length === 0 ? [] : await undecidedIn(query, held, passRowsMax)
    if (messages.length === 0) return { messages: 0, transmissions: 0, outcomes: [] }
    const at = ports.now()

    const read = messages.map((message) => readMessage(ports, message, at))
    const triggered = read.filter((one) => one.event !== undefined)
    const candidates = await candidatesFor(
      query,
      triggered.map((one) => strongKeys(one.event, ports.aliases)),
    )
    const matched = triggered.map((one, index) => ({
      ...one,
      result: match(one.event, candidates[index] ?? [], { aliases: ports.aliases }, at),
    }))
    return record(ports, query, read, matched, at)
  })
}

interface Read {
  readonly message: Undecided
  readonly plan: ChannelPlan | undefined
  readonly decided: DecidedMessage
  readonly event: TriggerEvent | undefined
}

type Triggered = Read & { readonly event: TriggerEvent; readonly result: MatchResult }

function readMessage(ports: DecidePorts, message: Undecided, at: Date): Read & { event: TriggerEvent } {
  const plan = ports.channel(message.channel)
  const outcome = (
    state: DecidedMessage['state'],
    code: string | null,
    because: string | null,
    event?: TriggerEvent,
  ) =>
    // The cast is undone by the filter above: only triggers carry an event.
    ({
      message,
      plan,
      event,
      decided: { id: message.id, state, code, because, revision: plan?.revision ?? null },
    }) as Read & {
      event: TriggerEvent
    }
  if (plan === undefined)
    return outcome(
      'quarantined',
      'channel-missing',
      `channel “${message.channel}” is not loaded: restore its file, then replay`,
    )
  if (message.content === null)
    return outcome(
      'quarantined',
      'content-missing',
      'the content is past its retention and was dropped before it was decided',
    )
  const decision = evaluate(plan, message.content, at)
  switch (decision.decision) {
    case 'trigger':
      return outcome('triggered', null, null, decision.event)
    case 'filtered':
      return outcome('filtered', null, decision.because)
    case 'quarantined':
      return outcome('quarantined', decision.code, decision.because)
  }
}

async function record(
  ports: DecidePorts,
  query: Query,
  read: readonly Read[],
  matched: readonly Triggered[],
  at: Date,
): Promise<Decided> {
  await recordMessages(
    query,
    read.map((one) => one.decided),
    at,
  )
  // Events of one visit are recorded one after the other: a cancel in the same pass must see what came before it.
  const audit: AuditEntry[] = []
  const jobs: Job[] = []
  const outcomes = read
    .filter((one) => one.event === undefined)
    .map((one) => ({
      channel: one.message.channel,
      state: one.decided.state,
      outcome: one.decided.code ?? one.decided.state,
    }))
  let transmissions = 0
  for (const group of byEncounter(matched)) {
    const ends = await Promise.all(group.map((one) => endOf(ports, query, one)))
    const events = await insertEvents(
      query,
      ends.map((end) => end.event),
      at,
    )
    await insertVerdicts(
      query,
      ends.flatMap((end) => verdictsOf(end, events)),
      at,
    )
    const wanted = ends.flatMap((end) => transmissionsOf(ports, end, events, at))
    const inserted = await insertTransmissions(query, wanted, at)
    transmissions += inserted.size
    for (const row of wanted)
      if (row.dueAt !== null && inserted.has(row.id))
        jobs.push({ task: 'step', transmissionId: row.id, dueAt: row.dueAt })
    for (const end of ends) {
      audit.push(verdictAudit(end, events, at))
      outcomes.push({ channel: end.one.message.channel, state: 'triggered', outcome: end.event.outcome })
      if (end.one.event.cancels === true) audit.push(...(await withdraw(query, end, at)))
    }
  }
  await forgetContent(
    query,
    matched.filter((one) => one.result.outcome === 'no-authorization').map((one) => one.message),
  )
  await schedule(query, jobs)
  await appendAudit(query, audit)
  return { messages: read.length, transmissions, outcomes }
}

/** Splits a pass so that no group holds two events of one visit; order within a visit is kept. */
function byEncounter(matched: readonly Triggered[]): Triggered[][] {
  const groups: Triggered[][] = []
  const depth = new Map<string, number>()
  for (const one of matched) {
    const visit = one.event.encounter?.id
    const key = visit === undefined ? `message ${one.message.id}` : `${one.message.channel} ${visit}`
    const level = depth.get(key) ?? 0
    depth.set(key, level + 1)
    ;(groups[level] ??= []).push(one)
  }
  return groups
}

interface End {
  readonly one: Triggered
  readonly event: NewEvent
}

async function endOf(ports: DecidePorts, query: Query, one: Triggered): Promise<End> {
  const { event, message, result } = one
  const visit = event.encounter?.id
  const visitKey = visit === undefined ? null : encounterKey(ports.blindKey, message.channel, visit)
  const isTakenBack =
    event.cancels !== true &&
    visitKey !== null &&
    (await wasCancelledBefore(query, visitKey, event.kind, event.occurredAt))
  const outcome = event.cancels === true ? 'cancel' : isTakenBack ? 'cancelled' : result.outcome
  return {
    one,
    event: {
      messageId: message.id,
      channel: message.channel,
      kind: event.kind,
      occurredAt: event.occurredAt,
      cancels: event.cancels === true,
      patientKeys: strongKeys(event, ports.aliases).map((identifier) =>
        patientKey(ports.blindKey, identifier),
      ),
      encounterKey: visitKey,
      outcome,
      because: isTakenBack ? 'the source took this event back before it arrived here' : result.because,
    },
  }
}

function verdictsOf({ one, event }: End, events: ReadonlyMap<string, string>) {
  if (one.result.outcome === 'no-authorization') return []
  return one.result.verdicts.map((verdict) => ({
    eventId: events.get(event.messageId)!,
    authorizationId: verdict.authorizationId,
    authorizationVersion: verdict.version,
    outcome: verdict.outcome,
    code: verdict.code,
    because: verdict.because,
  }))
}

function transmissionsOf(
  ports: DecidePorts,
  { one, event }: End,
  events: ReadonlyMap<string, string>,
  at: Date,
): NewTransmission[] {
  if (
    one.result.outcome === 'no-authorization' ||
    event.outcome === 'cancel' ||
    event.outcome === 'cancelled'
  )
    return []
  const holdMs = Math.min(one.plan?.hold?.forMs ?? 0, ports.holdMaxMs ?? Infinity)
  return one.result.verdicts.flatMap((verdict) =>
    verdict.destinations.map((destination): NewTransmission => ({
      id: randomUUID(),
      authorizationId: verdict.authorizationId,
      authorizationVersion: verdict.version,
      destination,
      cause: one.event.kind,
      eventId: events.get(event.messageId)!,
      occurredAt: one.event.occurredAt,
      state: verdict.outcome === 'held' ? 'held' : 'waiting',
      code: verdict.outcome === 'held' ? verdict.code : null,
      because: verdict.outcome === 'held' ? verdict.because : null,
      dueAt: verdict.outcome === 'held' ? null : new Date(at.getTime() + holdMs),
      encounterKey: event.encounterKey,
      deliveryRequested: ports.deliveryRequested,
    })),
  )
}

/** A cancel takes back everything of the visit that has not left; what has left is told to the operator. */
async function withdraw(query: Query, { one, event }: End, at: Date): Promise<AuditEntry[]> {
  if (event.encounterKey === null) return []
  const because = `${one.event.kind} was taken back by the source`
  const entries: AuditEntry[] = []
  for (const id of await unsentOfEncounter(query, event.encounterKey, event.kind)) {
    const transmission = await lockTransmission(query, id)
    if (transmission === undefined) continue
    const { advance } = await recordOccurrence(query, transmission, { what: 'withdrawn' }, at, {
      code: 'taken-back',
      because,
    })
    if (advance.outcome === 'moved')
      entries.push(
        engineEntry(
          at,
          'transmission-withdrawn',
          `transmission:${id}`,
          { because },
          transmission.authorizationId,
        ),
      )
  }
  for (const id of await sentOfEncounter(query, event.encounterKey, event.kind))
    entries.push(engineEntry(at, 'transmission-withdrawn', `transmission:${id}`, { because, tooLate: true }))
  return entries
}

function verdictAudit({ one, event }: End, events: ReadonlyMap<string, string>, at: Date): AuditEntry {
  return engineEntry(at, 'verdict', `event:${events.get(event.messageId)}`, {
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

function engineEntry(
  at: Date,
  action: AuditEntry['action'],
  subject: string,
  detail: Record<string, unknown>,
  authorizationId?: string,
): AuditEntry {
  return {
    at,
    actor: 'engine',
    action,
    subject,
    detail,
    ...(authorizationId === undefined ? {} : { authorizationId }),
  }
}
