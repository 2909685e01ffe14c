import type { LoadedChannels } from '../channels/load.ts'
import type { Problem } from '../channels/problem.ts'
import type { ChannelPlan } from '../domain/channel.ts'
import { testedChannels } from './channel-tests.ts'

/** What a reload did to one channel. */
export interface Reloaded {
  readonly channel: string
  /** `refused`: its files cannot be used; what ran before goes on, where something did. */
  readonly outcome: 'same' | 'changed' | 'added' | 'removed' | 'refused'
  readonly revision: string | null
  readonly because: string | null
}

/** The channels by their files as they are now, or were when they could last be used. */
export interface ChannelFiles {
  plan(name: string): ChannelPlan | undefined
  plans(): readonly ChannelPlan[]
  /** Channels whose files are there and never could be used. */
  broken(): readonly string[]
  /** Why the files of a channel, as they are now, are not used. */
  refusal(name: string): string | undefined
  /** Of the last look, errors and warnings. */
  problems(): readonly Problem[]
  /**
   * Reads all files. A channel whose files, mapping and tables are right, and in production pass its tests, is taken whole;
   * any other stays as it is. `beforeRemoval` ends what the channels of files that are gone receive.
   */
  reload(beforeRemoval: (gone: readonly string[]) => Promise<unknown>): Promise<Reloaded[]>
}

/**
 * @param load reads and checks the files; must not throw for what stands in them
 * @param isProduction a channel whose tests fail is not taken
 */
export function openChannelFiles(load: () => LoadedChannels, isProduction: boolean): ChannelFiles {
  let loaded = testedChannels(load(), isProduction)
  let plans = byName(loaded.plans)
  let refusals = refusalsIn(loaded)
  let turn: Promise<unknown> = Promise.resolve()

  return {
    plan: (name) => plans.get(name),
    plans: () => [...plans.values()],
    broken: () => [...refusals.keys()].filter((name) => !plans.has(name)),
    refusal: (name) => refusals.get(name),
    problems: () => loaded.problems,
    reload(beforeRemoval) {
      const reloading = turn.then(() => reload(beforeRemoval))
      // One after the other, and one that fails does not end the row.
      turn = reloading.catch(() => {})
      return reloading
    },
  }

  async function reload(beforeRemoval: (gone: readonly string[]) => Promise<unknown>): Promise<Reloaded[]> {
    const fresh = testedChannels(load(), isProduction)
    const candidates = byName(fresh.plans)
    const present = new Set(fresh.names)
    const gone = [...plans.keys(), ...refusals.keys()].filter((name) => !present.has(name))
    if (gone.length > 0) await beforeRemoval(gone)
    const before = plans
    const after = new Map<string, ChannelPlan>()
    for (const name of fresh.names) {
      const plan = candidates.get(name) ?? before.get(name)
      if (plan !== undefined) after.set(name, plan)
    }
    plans = after
    refusals = refusalsIn(fresh)
    loaded = fresh
    const kept = fresh.names.map((channel): Reloaded => {
      const revision = after.get(channel)?.revision ?? null
      const because = refusals.get(channel) ?? null
      if (because !== null) return { channel, outcome: 'refused', revision, because }
      const last = before.get(channel)?.revision
      return {
        channel,
        outcome: last === undefined ? 'added' : last === revision ? 'same' : 'changed',
        revision,
        because,
      }
    })
    const removed = [...new Set(gone)].map((channel): Reloaded => ({
      channel,
      outcome: 'removed',
      revision: null,
      because: 'its file is gone',
    }))
    return [...kept, ...removed]
  }
}

function byName(plans: readonly ChannelPlan[]): Map<string, ChannelPlan> {
  return new Map(plans.map((plan) => [plan.name, plan]))
}

/** For each channel that could not be loaded, the first finding that says why. */
function refusalsIn({ names, plans, problems }: LoadedChannels): Map<string, string> {
  const usable = byName(plans)
  const errors = problems.filter(({ severity }) => severity === 'error')
  return new Map(
    names
      .filter((name) => !usable.has(name))
      .map((name) => {
        // Where its own file is right, its mapping or a table is not.
        const own = errors.find(({ file }) => file.endsWith(`/${name}.yaml`)) ?? errors[0]
        return [name, own === undefined ? 'its files cannot be used' : inWords(own)]
      }),
  )
}

/** `channels/adt-discharge.yaml:12:3  no such path …` */
export function inWords({ file, line, column, what }: Problem): string {
  return `${file}:${line}:${column}  ${what}`
}
