import { kindsLike, storyOf } from '../domain/story.ts'
import type { ChannelPlan } from '../domain/channel.ts'
import type { TriggerEvent } from '../domain/trigger-event.ts'
import type { MatchResult } from '../matching/match.ts'
import type { Undecided } from '../store/decisions.ts'
import type { Query } from '../store/query.ts'
import { storyKey, type ToldEvent } from '../store/stories.ts'
import { currentVisits } from '../store/visit-numbers.ts'
import type { DecidePorts } from './decide.ts'

/** A trigger event with what matching said about it. */
export interface Told {
  readonly message: Undecided
  readonly plan: ChannelPlan | undefined
  readonly event: TriggerEvent
  readonly result: MatchResult
}

/** An event that was told, with what it is part of. */
export interface Placed {
  readonly one: Told
  readonly keys: ToldEvent & { readonly storyKey: Buffer | null }
}

export function place({ blindKey }: Pick<DecidePorts, 'blindKey'>, one: Told): Placed {
  const { event, message, plan } = one
  const scope = plan?.visits ?? message.channel
  const story = storyOf(event)
  const keyOf = (name: string | undefined) => (name === undefined ? null : storyKey(blindKey, scope, name))
  return {
    one,
    keys: {
      storyKey: keyOf(story?.story),
      encounterKey: keyOf(story?.visit),
      subjectKey: keyOf(story?.subject),
      kinds: kindsLike(event.kind),
      occurredAt: event.occurredAt,
    },
  }
}

export function keysIn({ keys: { encounterKey, subjectKey } }: Placed): Buffer[] {
  return [encounterKey, subjectKey].filter((key) => key !== null)
}

/** Late messages name a visit by a number that was given up for another one. */
export async function underCurrentNumbers(
  query: Query,
  placed: readonly Placed[],
): Promise<readonly Placed[]> {
  const current = await currentVisits(
    query,
    placed.flatMap(({ keys: { encounterKey } }) => encounterKey ?? []),
  )
  if (current.size === 0) return placed
  return placed.map(({ one, keys }) => {
    const encounterKey = keys.encounterKey && current.get(keys.encounterKey.toString('hex'))
    // The story of an event that names a visit is the visit’s.
    return encounterKey ? { one, keys: { ...keys, encounterKey, storyKey: encounterKey } } : { one, keys }
  })
}
