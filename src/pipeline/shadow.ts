import type { ChannelPlan } from '../domain/channel.ts'
import { storyOf } from '../domain/story.ts'
import type { TriggerEvent } from '../domain/trigger-event.ts'
import { evaluate } from '../mapping/evaluate.ts'
import { strongKeys } from '../matching/match.ts'
import { patientKey, readBlindKey } from '../store/decisions.ts'
import type { Query } from '../store/query.ts'
import { decidedSince, type ShadowedMessage } from '../store/shadowed.ts'
import { storyKey } from '../store/stories.ts'
import { currentVisits } from '../store/visit-numbers.ts'
import { changesFollowed } from './decide.ts'

/** One way in which decisions would differ. Reasons and kinds are ours and the analyst’s: no PHI. */
export interface ShadowDifference {
  /** `filtered: test message` */
  readonly before: string
  readonly after: string
  readonly messages: number
  /** Numbers of the first of them, for `bluepost explain` and `bluepost try`. */
  readonly examples: readonly string[]
}

export interface Shadowed {
  readonly channel: string
  readonly revision: string
  readonly compared: number
  readonly same: number
  /** Decided messages whose bytes are no longer kept: they concerned nobody who asked for anything, or are past retention. */
  readonly withoutContent: number
  /** The most frequent first. */
  readonly differences: readonly ShadowDifference[]
}

const examplesMax = 5
/** More ways to differ are not told apart by anybody. */
const differencesMax = 1_000

/**
 * Stored messages of a channel through another plan of it, as if each came when it came: which decisions would be others. Reads
 * only, holds one page of messages, and tells no values of them.
 *
 * @param onProgress messages compared so far
 */
export async function shadow(
  query: Query,
  plan: ChannelPlan,
  since: Date,
  aliases: ReadonlyMap<string, string>,
  onProgress: (compared: number) => void = () => {},
): Promise<Shadowed> {
  const blindKey = await readBlindKey(query)
  const keys: Keys = {
    patient: (event) =>
      strongKeys(event, aliases)
        .map((identifier) => patientKey(blindKey, identifier).toString('hex'))
        .sort()
        .join(),
    async visit(event) {
      const visit = storyOf(event)?.visit
      if (visit === undefined) return ''
      const key = storyKey(blindKey, plan.visits ?? plan.name, visit)
      // Stored under the number that it went by later.
      return ((await currentVisits(query, [key])).get(key.toString('hex')) ?? key).toString('hex')
    },
  }
  const differences = new Map<
    string,
    { before: string; after: string; messages: number; examples: string[] }
  >()
  let [compared, same, withoutContent] = [0, 0, 0]
  for await (const page of decidedSince(query, plan.name, since)) {
    for (const message of page) {
      if (message.content === null) {
        withoutContent++
        continue
      }
      compared++
      const [before, after] = await compare(message, message.content, plan, keys)
      if (before === after) {
        same++
        continue
      }
      const key = `${before}\n${after}`
      const known = differences.get(key) ?? { before, after, messages: 0, examples: [] }
      known.messages++
      if (known.examples.length < examplesMax) known.examples.push(message.id)
      if (differences.has(key) || differences.size < differencesMax) differences.set(key, known)
    }
    onProgress(compared)
  }
  return {
    channel: plan.name,
    revision: plan.revision,
    compared,
    same,
    withoutContent,
    differences: [...differences.values()].sort((a, b) => b.messages - a.messages),
  }
}

/** Whom and which visit an event is about, as texts to compare. */
interface Keys {
  patient(event: TriggerEvent): string
  visit(event: TriggerEvent): Promise<string>
}

/** What was decided and what would be, in words that are the same where the decisions are. */
async function compare(
  message: ShadowedMessage,
  content: Buffer,
  plan: ChannelPlan,
  keys: Keys,
): Promise<[string, string]> {
  const followed = changesFollowed(plan, content)
  if (followed !== undefined) return [stored(message), 'filtered: a change of records, followed']
  const decision = evaluate(plan, content, message.receivedAt)
  if (decision.decision === 'filtered') return [stored(message), `filtered: ${decision.because}`]
  if (decision.decision === 'quarantined')
    return [stored(message), `quarantined: ${decision.because} [${decision.code}]`]
  const { event } = decision
  if (message.kind === null) return [stored(message), kindOf(event.kind, event.cancels !== undefined)]
  const was = kindOf(message.kind, message.cancels === true)
  const is = kindOf(event.kind, event.cancels !== undefined)
  if (was !== is) return [was, is]
  const keysBefore = (message.patientKeys ?? []).map((key) => key.toString('hex')).sort()
  if (keysBefore.join() !== keys.patient(event)) return [was, `${is}, for other identifiers of the patient`]
  if (message.occurredAt?.getTime() !== event.occurredAt.getTime()) return [was, `${is}, at another time`]
  if ((message.encounterKey?.toString('hex') ?? '') !== (await keys.visit(event)))
    return [was, `${is}, for another visit number`]
  return [was, was]
}

function stored({ state, code, because, kind, cancels }: ShadowedMessage): string {
  if (state === 'filtered')
    return code === 'identity' ? 'filtered: a change of records, followed' : `filtered: ${because}`
  if (state === 'quarantined') return `quarantined: ${because} [${code}]`
  return kindOf(kind ?? 'triggered', cancels === true)
}

function kindOf(kind: string, cancels: boolean): string {
  return cancels ? `${kind}, taken back` : kind
}
