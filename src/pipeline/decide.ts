import type { DataSource } from 'typeorm'
import type { Authorization } from '../domain/authorization.ts'
import type { ChannelPlan } from '../domain/channel.ts'
import type { IdentityChange } from '../domain/identity-change.ts'
import type { TriggerEvent } from '../domain/trigger-event.ts'
import { schedule } from '../jobs/schedule.ts'
import { evaluate } from '../mapping/evaluate.ts'
import { identityChangesIn, mayChangeIdentity } from '../mapping/identity-change.ts'
import { isQuarantined, openInput, type LookupMiss } from '../mapping/input.ts'
import { match, strongKeys, type MatchResult } from '../matching/match.ts'
import { appendAudit } from '../store/audit.ts'
import {
  forgetContent,
  holdLanes,
  recordMessages,
  undecidedIn,
  type DecidedMessage,
  type Undecided,
} from '../store/decisions.ts'
import { candidatesFor } from '../store/matching.ts'
import { inTransaction, type Query } from '../store/query.ts'
import { applyIdentity, type IdentityMessage } from './apply-identity.ts'
import type { Told } from './place-stories.ts'
import { deletionIn, followDeletion } from './resource-deletion.ts'
import { tellStories } from './tell-stories.ts'

export interface DecidePorts {
  readonly dataSource: DataSource
  /** As its files are now; one pass sees each channel as it was when it first asked. */
  readonly channel: (name: string) => ChannelPlan | undefined
  /** Channels whose files are there and cannot be used: their messages wait for a correction. Default: none. */
  readonly broken?: () => readonly string[]
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
  /** Lookups that found no row. */
  readonly misses: readonly ChannelMiss[]
}

/** A lookup of a channel that found no row. */
export type ChannelMiss = LookupMiss & { readonly channel: string }

/** Messages of one pass: enough to make the transaction worth it, few enough to keep it short. */
const passRowsMax = 200

/**
 * Message → trigger event → verdicts → transmissions with their jobs, in one transaction. Takes the next messages of the
 * lanes that nobody else is working on, in order; run it until it decides nothing more.
 */
export function decide(
  livePorts: DecidePorts,
  lanes: readonly number[],
  rowsMax: number = passRowsMax,
): Promise<Decided> {
  const ports = { ...livePorts, channel: remembered(livePorts.channel) }
  return inTransaction(ports.dataSource, async (query) => {
    const held = await holdLanes(query, lanes)
    const waiting = held.length === 0 ? [] : await undecidedIn(query, held, brokenOf(ports), rowsMax)
    if (waiting.length === 0) return { messages: 0, transmissions: 0, outcomes: [], misses: [] }
    const at = ports.now()
    // What a merge or a deletion changes holds for every message after it, and for none before: it has a pass of its own.
    const alone = waiting.findIndex((message) => standsAlone(ports, message))
    if (alone === 0) return decideAlone(ports, query, waiting[0]!, at)
    const messages = alone < 0 ? waiting : waiting.slice(0, alone)

    const read = messages.map((message) => readMessage(ports, message))
    const triggered = read.filter(isTriggering)
    const matches = await matchEvents(
      query,
      triggered.map(({ event }) => event),
      ports.aliases,
      at,
    )
    const matched = triggered.map((one, index) => ({ ...one, result: matches[index]!.result }))
    return record(ports, query, read, matched, at)
  })
}

/** Files that change while a pass is under way concern the next one: no message is decided by two revisions. */
function remembered(channel: DecidePorts['channel']): DecidePorts['channel'] {
  const plans = new Map<string, ChannelPlan | undefined>()
  return (name) => {
    if (!plans.has(name)) plans.set(name, channel(name))
    return plans.get(name)
  }
}

function brokenOf({ broken }: DecidePorts): readonly string[] {
  return broken?.() ?? []
}

/** Each event with the authorizations it may concern, and what each of them says; one look at the database for all. */
export async function matchEvents(
  query: Query,
  events: readonly TriggerEvent[],
  aliases: ReadonlyMap<string, string>,
  at: Date,
): Promise<{ readonly candidates: readonly Authorization[]; readonly result: MatchResult }[]> {
  const found = await candidatesFor(
    query,
    events.map((event) => strongKeys(event, aliases)),
  )
  return events.map((event, index) => {
    const candidates = found[index] ?? []
    return { candidates, result: match(event, candidates, { aliases }, at) }
  })
}

/** What a message changes about whose records are whose, on a channel that follows it: such a message meets no filter. */
export function changesFollowed(
  plan: ChannelPlan | undefined,
  content: Buffer,
): readonly IdentityChange[] | undefined {
  if (plan?.identity !== 'follow' || !mayChangeIdentity(content)) return undefined
  const input = openInput(plan, content)
  return isQuarantined(input) ? undefined : identityChangesIn(input)
}

/**
 * The next message of these lanes cannot be decided, however often it is tried: it goes into quarantine, so that what
 * comes after it in its lane does not wait for ever.
 */
export function setAside(ports: DecidePorts, lanes: readonly number[]): Promise<void> {
  return inTransaction(ports.dataSource, async (query) => {
    const held = await holdLanes(query, lanes)
    const [message] = held.length === 0 ? [] : await undecidedIn(query, held, brokenOf(ports), 1)
    if (message === undefined) return
    const because =
      'deciding it failed unexpectedly; the log has the place. Report it, then replay the message'
    const { id } = message
    await recordMessages(
      query,
      [{ id, state: 'quarantined', code: 'undecidable', cause: 'undecidable', because, revision: null }],
      ports.now(),
    )
  })
}

function standsAlone(ports: DecidePorts, message: Undecided): boolean {
  const deletion = deletionIn(ports.channel(message.channel), message.content)
  return deletion !== undefined || identityMessage(ports, message) !== undefined
}

async function decideAlone(ports: DecidePorts, query: Query, message: Undecided, at: Date): Promise<Decided> {
  const plan = ports.channel(message.channel)!
  const deletion = deletionIn(plan, message.content)
  if (deletion === undefined) return followIdentity(ports, query, message, at)
  const followed = await followDeletion(query, message, deletion, plan.revision, at)
  return { messages: 1, transmissions: 0, outcomes: [{ channel: message.channel, ...followed }], misses: [] }
}

function identityMessage(
  ports: DecidePorts,
  { id, channel, content }: Undecided,
): IdentityMessage | undefined {
  const plan = ports.channel(channel)
  const changes = content === null ? undefined : changesFollowed(plan, content)
  return changes === undefined ? undefined : { id, channel, scope: plan?.visits ?? channel, changes }
}

async function followIdentity(
  ports: DecidePorts,
  query: Query,
  message: Undecided,
  at: Date,
): Promise<Decided> {
  const because = await applyIdentity(ports, query, identityMessage(ports, message)!, at)
  const revision = ports.channel(message.channel)!.revision
  await recordMessages(
    query,
    [{ id: message.id, state: 'filtered', code: 'identity', cause: null, because, revision }],
    at,
  )
  // It names patients who may have asked for nothing.
  await forgetContent(query, [message])
  const outcomes = [{ channel: message.channel, state: 'filtered', outcome: 'identity' }]
  return { messages: 1, transmissions: 0, outcomes, misses: [] }
}

interface Read {
  readonly message: Undecided
  readonly plan: ChannelPlan | undefined
  readonly decided: DecidedMessage
  readonly event: TriggerEvent | undefined
  readonly misses: readonly LookupMiss[]
}

type Triggering = Read & { readonly event: TriggerEvent }

type Triggered = Triggering & Told

function isTriggering(one: Read): one is Triggering {
  return one.event !== undefined
}

function readMessage(ports: DecidePorts, message: Undecided): Read {
  const plan = ports.channel(message.channel)
  const misses: LookupMiss[] = []
  const read = (
    state: DecidedMessage['state'],
    code: string | null,
    because: string | null,
    { event, cause = null }: { event?: TriggerEvent; cause?: string | null } = {},
  ): Read => ({
    message,
    plan,
    event,
    misses,
    decided: { id: message.id, state, code, cause, because, revision: plan?.revision ?? null },
  })
  if (plan === undefined)
    return read(
      'quarantined',
      'channel-missing',
      `channel “${message.channel}” is not loaded: restore its file, then replay`,
      { cause: 'channel-missing' },
    )
  if (message.content === null)
    return read(
      'quarantined',
      'content-missing',
      'the content is past its retention and was dropped before it was decided',
      { cause: 'content-missing' },
    )
  // Its age counts from its receipt, however long it waited here: a release after a long weekend finds it as fresh as it came.
  const decision = evaluate(plan, message.content, message.receivedAt, { misses })
  switch (decision.decision) {
    case 'trigger':
      return read('triggered', null, null, { event: decision.event })
    case 'filtered':
      return read('filtered', null, decision.because)
    case 'quarantined':
      return read('quarantined', decision.code, decision.because, { cause: decision.cause })
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
  const telling = await tellStories(ports, query, matched, at)
  await forgetContent(
    query,
    matched.filter((one) => one.result.outcome === 'no-authorization').map((one) => one.message),
  )
  await schedule(query, telling.jobs)
  await appendAudit(query, telling.audit)
  const undisclosed = read
    .filter((one) => one.event === undefined)
    .map((one) => ({
      channel: one.message.channel,
      state: one.decided.state,
      outcome: one.decided.code ?? one.decided.state,
    }))
  return {
    messages: read.length,
    transmissions: telling.transmissions,
    outcomes: [...undisclosed, ...telling.outcomes],
    misses: read.flatMap(({ message: { channel }, misses }) => misses.map((miss) => ({ channel, ...miss }))),
  }
}
