import type { ChannelPlan } from '../domain/channel.ts'
import { evaluate } from '../mapping/evaluate.ts'
import { newestIn, waitingIn, type QuarantineGroup, type WaitingMessage } from '../store/quarantine.ts'
import type { Query } from '../store/query.ts'
import { changesFollowed } from './decide.ts'

/** What would become of the messages of a group if it were released now. Authorizations are not asked: nobody is named. */
export interface QuarantineTest {
  readonly tested: number
  readonly trigger: number
  /** Merges and moves of records that the channel follows. */
  readonly identity: number
  readonly filtered: number
  readonly quarantined: number
  /** Past their retention: they can never be released. */
  readonly withoutContent: number
  /** True where more wait than were tested. */
  readonly isPartial: boolean
  /** Why they are filtered, or would wait again, most frequent first. */
  readonly reasons: readonly {
    readonly decision: 'filtered' | 'quarantined'
    readonly cause: string | null
    readonly because: string
    readonly count: number
    readonly example: string
  }[]
}

type Reason = QuarantineTest['reasons'][number]

const pageRowsMax = 100

/** Reasons that are told apart; a group that falls apart into more of them is not understood by reading a list. */
const reasonsMax = 100

/**
 * Evaluates the messages of a group, oldest first, as the channel decides now; changes nothing.
 *
 * @param plan the channel: as it runs, or as its files are
 */
export async function testQuarantine(
  query: Query,
  group: Pick<QuarantineGroup, 'channel' | 'cause'>,
  plan: ChannelPlan | undefined,
  messagesMax: number = Number.POSITIVE_INFINITY,
): Promise<QuarantineTest> {
  const counts = { trigger: 0, identity: 0, filtered: 0, quarantined: 0, withoutContent: 0 }
  const reasons = new Map<string, Reason>()
  const untilId = await newestIn(query, group)
  let tested = 0
  for (let afterId = '0'; ;) {
    const rowsMax = Math.min(pageRowsMax, messagesMax - tested)
    const page = rowsMax <= 0 ? [] : await waitingIn(query, { ...group, afterId, untilId }, rowsMax)
    for (const message of page) {
      const { outcome, reason } = outcomeOf(message, plan)
      counts[outcome]++
      if (reason !== undefined) count(reasons, reason)
    }
    tested += page.length
    afterId = page.at(-1)?.id ?? afterId
    if (page.length < pageRowsMax) {
      const left = await waitingIn(query, { ...group, afterId, untilId }, 1)
      const sorted = [...reasons.values()].sort((one, other) => other.count - one.count)
      return { tested, ...counts, isPartial: left.length > 0, reasons: sorted }
    }
  }
}

function outcomeOf(
  { id, receivedAt, content }: WaitingMessage,
  plan: ChannelPlan | undefined,
): {
  readonly outcome: 'trigger' | 'identity' | 'filtered' | 'quarantined' | 'withoutContent'
  readonly reason?: Omit<Reason, 'count'>
} {
  if (content === null) return { outcome: 'withoutContent' }
  if (plan === undefined) {
    const because = 'the channel is not loaded'
    const reason = { decision: 'quarantined', cause: 'channel-missing', because, example: id } as const
    return { outcome: 'quarantined', reason }
  }
  if (changesFollowed(plan, content) !== undefined) return { outcome: 'identity' }
  const evaluation = evaluate(plan, content, receivedAt)
  const { decision } = evaluation
  if (decision === 'trigger') return { outcome: 'trigger' }
  const cause = decision === 'quarantined' ? evaluation.cause : null
  return { outcome: decision, reason: { decision, cause, because: evaluation.because, example: id } }
}

function count(reasons: Map<string, Reason>, { cause, because, ...rest }: Omit<Reason, 'count'>): void {
  const key = cause ?? `filtered ${because}`
  const known = reasons.get(key)
  if (known !== undefined) reasons.set(key, { ...known, count: known.count + 1 })
  else if (reasons.size < reasonsMax) reasons.set(key, { ...rest, cause, because, count: 1 })
}
