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
  undecidedIn,
  wasCancelledBefore,
  type DecidedMessage,
  type NewEvent,
  type Undecided,
} from '../store/decisions.ts'
import { candidatesFor } from '../store/matching.ts'
import { inTransaction, type Query } from '../store/query.ts'
import { insertTransmissions, type NewTransmission } from '../store/transmissions.ts'
import { engineEntry } from './engine-entry.ts'
import { takeBack } from './take-back.ts'

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
export function decide(
  ports: DecidePorts,
  lanes: readonly number[],
  rowsMax: number = passRowsMax,
): Promise<Decided> {
  return inTransaction(ports.dataSource, async (query) => {
    const held = await holdLanes(query, lanes)
    const messages = held.length === 0 ? [] : await undecidedIn(query, held, rowsMax)
    if (messages.length === 0) return { messages: 0, transmissions: 0, outcomes: [] }
    const at = ports.now()

    const read = messages.map((message) => readMessage(ports, message, at))
    const triggered = read.filter(isTriggering)
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

/**
 * The next message of these lanes cannot be decided, however often it is tried: it goes into quarantine, so that what
 * comes after it in its lane does not wait for ever.
 */
export function setAside(ports: DecidePorts, lanes: readonly number[]): Promise<void> {
  return inTransaction(ports.dataSource, async (query) => {
    const held = await holdLanes(query, lanes)
    const [message] = held.length === 0 ? [] : await undecidedIn(query, held, 1)
    if (message === undefined) return
    const because =
      'deciding it failed unexpectedly; the log has the place. Report it, then replay the message'
    const { id } = message
    await recordMessages(
      query,
      [{ id, state: 'quarantined', code: 'undecidable', because, revision: null }],
      ports.now(),
    )
  })
}

interface Read {
  readonly message: Undecided
  readonly plan: ChannelPlan | undefined
  readonly decided: DecidedMessage
  readonly event: TriggerEvent | undefined
}

type Triggering = Read & { readonly event: TriggerEvent }

type Triggered = Triggering & { readonly result: MatchResult }

function isTriggering(one: Read): one is Triggering {
  return one.event !== undefined
}

function readMessage(ports: DecidePorts, message: Undecided, at: Date): Read {
  const plan = ports.channel(message.channel)
  const read = (
    state: DecidedMessage['state'],
    code: string | null,
    because: string | null,
    event?: TriggerEvent,
  ): Read => ({
    message,
    plan,
    event,
    decided: { id: message.id, state, code, because, revision: plan?.revision ?? null },
  })
  if (plan === undefined)
    return read(
      'quarantined',
      'channel-missing',
      `channel “${message.channel}” is not loaded: restore its file, then replay`,
    )
  if (message.content === null)
    return read(
      'quarantined',
      'content-missing',
      'the content is past its retention and was dropped before it was decided',
    )
  const decision = evaluate(plan, message.content, at)
  switch (decision.decision) {
    case 'trigger':
      return read('triggered', null, null, decision.event)
    case 'filtered':
      return read('filtered', null, decision.because)
    case 'quarantined':
      return read('quarantined', decision.code, decision.because)
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
    const ends: End[] = []
    for (const one of group) ends.push(await endOf(ports, query, one))
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
      if (end.one.event.cancels === true) audit.push(...(await takeBack(query, end.event, at)))
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
