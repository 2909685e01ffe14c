import type { DataSource } from 'typeorm'
import type { ChannelView } from '../api/channels.ts'
import { errorTrace, type Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { appendAudit } from '../store/audit.ts'
import { readWishes, type ChannelWish, type Wish } from '../store/channel-wishes.ts'
import { queryOf } from '../store/query.ts'
import type { ChannelFiles, Reloaded } from './channel-files.ts'
import type { ChannelRuns } from './channel-runs.ts'
import type { Stops } from './stops.ts'

export interface LivePorts {
  readonly files: ChannelFiles
  /** Undefined in a process that does not receive. */
  readonly runs: ChannelRuns | undefined
  readonly dataSource: DataSource
  readonly metrics: Metrics
  readonly log: Log
  readonly now: () => Date
  readonly stops: Stops
}

/** The channels by their files and by what operators want, kept up with both. */
export interface LiveChannels {
  views(): ChannelView[]
  /** Takes the files as they are now. @param actor for the audit */
  reload(actor: string): Promise<Reloaded[]>
  /** Looks at once at what operators want, instead of within the next second. */
  follow(): Promise<void>
}

/** What an operator did in another process, or by a command, is seen within this time. */
const followMs = 1_000
/** A port that was taken may be free again; a certificate may be renewed. */
const retryMs = 10_000

/** Starts what is enabled and not stopped, and goes on following files and operators. */
export async function followChannels(ports: LivePorts): Promise<LiveChannels> {
  const { files, runs, dataSource, metrics, log, now, stops } = ports
  let wishes: readonly ChannelWish[] = await readWishes(queryOf(dataSource))
  let following: Promise<void> | undefined
  countRefused()
  await settle()

  const timers = [
    setInterval(() => void follow(), followMs),
    setInterval(() => {
      // Certificates are compared on the way; what failed is tried again.
      runs?.retry().then(settle).catch(unexpected)
    }, retryMs),
  ]
  stops.add('the channels’ followers', async () => {
    for (const timer of timers) clearInterval(timer)
    await following
  })
  return { views, reload, follow }

  function settle(): Promise<void> {
    const wanted = files
      .plans()
      .filter(({ name, enabled }) => enabled && wishFor(name, 'stopped') === undefined)
    return runs?.settle(new Map(wanted.map((plan) => [plan.name, plan]))) ?? Promise.resolve()
  }

  function follow(): Promise<void> {
    following ??= look()
      .catch((error: unknown) =>
        log.warn('cannot see what operators want of channels', { error: errorTrace(error) }),
      )
      .finally(() => (following = undefined))
    return following
  }

  async function look(): Promise<void> {
    const fresh = await readWishes(queryOf(dataSource))
    if (JSON.stringify(fresh) === JSON.stringify(wishes)) return
    wishes = fresh
    await settle()
  }

  async function reload(actor: string): Promise<Reloaded[]> {
    const reloaded = await files.reload(async (gone) => runs?.stop(gone))
    await settle()
    countRefused()
    const changes = reloaded.filter(({ outcome }) => outcome !== 'same')
    for (const { channel, outcome, revision, because } of changes) {
      const said = { channel, code: outcome, ...(revision === null ? {} : { revision }) }
      if (outcome === 'refused') log.error(`channel files are not used: ${because}`, said)
      else log.info('a channel follows its files', said)
    }
    if (changes.length > 0)
      await appendAudit(queryOf(dataSource), [
        { at: now(), actor, action: 'channels-reloaded', subject: 'channels', detail: { changes } },
      ])
    return reloaded
  }

  function countRefused(): void {
    metrics.channelsRefused.reset()
    for (const { name } of files.plans())
      metrics.channelsRefused.set({ channel: name }, files.refusal(name) === undefined ? 0 : 1)
    for (const name of files.broken()) metrics.channelsRefused.set({ channel: name }, 1)
  }

  function wishFor(channel: string, wish: Wish): ChannelWish | undefined {
    return wishes.find((one) => one.channel === channel && one.wish === wish)
  }

  function views(): ChannelView[] {
    const plans = files.plans().map((plan): ChannelView => {
      const { name, title, enabled, source, revision } = plan
      const refusal = files.refusal(name)
      const shared = {
        name,
        title: title ?? null,
        source: source.type,
        revision,
        isUpToDate: refusal === undefined,
      }
      const notes = (...because: (string | null | undefined)[]) => {
        const said = because.filter((one) => one !== null && one !== undefined)
        if (refusal !== undefined)
          said.push(`its files as they are now are not used, what ran before goes on: ${refusal}`)
        return said.length === 0 ? null : said.join('; ')
      }
      const stopped = wishFor(name, 'stopped')
      const paused = wishFor(name, 'paused')
      const pausedNote = paused && inWords(paused)
      const standing = runs?.standing(name)
      const at = { listen: standing?.listen ?? null, connections: standing?.connections ?? 0 }
      if (standing?.state === 'draining')
        return {
          ...shared,
          ...at,
          state: 'draining',
          because: notes(stopped && inWords(stopped), pausedNote),
        }
      if (!enabled)
        return {
          ...shared,
          ...at,
          state: 'stopped',
          because: notes('enabled: false in its file', pausedNote),
        }
      if (stopped !== undefined)
        return { ...shared, ...at, state: 'stopped', because: notes(inWords(stopped), pausedNote) }
      if (standing === undefined)
        return { ...shared, ...at, state: 'stopped', because: notes(otherProcess, pausedNote) }
      if (standing.state === 'running' && paused !== undefined)
        return { ...shared, ...at, state: 'paused', because: notes(pausedNote, standing.because) }
      return { ...shared, ...at, state: standing.state, because: notes(standing.because, pausedNote) }
    })
    const broken = files.broken().map((name): ChannelView => ({
      ...{ name, title: null, source: null, revision: null, isUpToDate: false, listen: null, connections: 0 },
      state: 'failed',
      because: files.refusal(name) ?? null,
    }))
    return [...plans, ...broken].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  function unexpected(error: unknown): void {
    log.error('following the channels failed and is tried again', { error: errorTrace(error) })
  }
}

const otherProcess = 'this process does not receive: the one with the role intake does'

function inWords({ wish, at, actor, because }: ChannelWish): string {
  const said = because === null ? '' : ` (${because})`
  return `${wish} by ${actor} since ${at.toISOString().slice(0, 16)}Z${said}`
}
