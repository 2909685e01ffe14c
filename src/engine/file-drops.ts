import type { DataSource } from 'typeorm'
import type { ChannelPlan } from '../domain/channel.ts'
import { dropDirectory, type DropDirectory } from '../intake/drop-directory.ts'
import { errorTrace, type Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { keepFile, type FilePlan } from '../pipeline/keep-files.ts'
import type { InboundMessages } from '../store/inbound-messages.ts'
import { withStepLock } from '../store/step-lock.ts'
import type { Stops } from './stops.ts'

export interface FileDropPorts {
  readonly dataSource: DataSource
  readonly store: Pick<InboundMessages, 'keep' | 'keepFragment'>
  readonly metrics: Metrics
  readonly log: Log
  readonly now: () => Date
  readonly stops: Stops
}

/** The directories as they are looked at. */
export interface FileDrops {
  readonly listens: readonly { readonly what: string; readonly on: string }[]
  /** How a channel stands; undefined where it takes no files. */
  standing(channel: string): { readonly because?: string } | undefined
  /** Looks at a channel’s directory now, and resolves when that is done. */
  look(channel: string): Promise<void>
}

/** Files of one look; the next ones follow at the next. */
const filesMax = 1_000

/**
 * Looks at the directory of every enabled file channel, each at its own pace. Any number of processes may do so: one at a
 * time works on a channel. A file that cannot be read is put aside, and holds up no other.
 */
export function followFileDrops(plans: readonly ChannelPlan[], ports: FileDropPorts): FileDrops {
  const { stops, log } = ports
  const standings = new Map<string, { because?: string }>()
  const looks = new Map<string, () => Promise<void>>()
  const stopping = new AbortController()
  const timers: NodeJS.Timeout[] = []
  const listens: { what: string; on: string }[] = []
  const running = new Set<Promise<void>>()

  for (const plan of plans) {
    const { source, name } = plan
    if (!plan.enabled || source.type !== 'file-drop') continue
    const directory = dropDirectory({ ...source, channel: name })
    standings.set(name, {})
    listens.push({ what: `channel ${name} (files)`, on: source.directory })
    let isLooking: Promise<void> | undefined
    const look = () => {
      isLooking ??= once({ ...plan, source }, directory).finally(() => (isLooking = undefined))
      const looking = isLooking
      running.add(looking)
      void looking.finally(() => running.delete(looking))
      return looking
    }
    looks.set(name, look)
    const timer = setInterval(() => void look(), source.everyMs)
    timer.unref()
    timers.push(timer)
    void look()
  }
  stops.add('the file drops', async () => {
    for (const timer of timers) clearInterval(timer)
    stopping.abort()
    await Promise.allSettled(running)
  })
  return {
    listens,
    standing: (channel) => standings.get(channel),
    look: async (channel) => looks.get(channel)?.(),
  }

  async function once(plan: FilePlan, directory: DropDirectory): Promise<void> {
    if (stopping.signal.aborted) return
    const standing = standings.get(plan.name)!
    try {
      await withStepLock(ports.dataSource, `files ${plan.name}`, async () => {
        await directory.take(filesMax)
        for (const path of await directory.atWork()) {
          if (stopping.signal.aborted) return
          await keep(plan, directory, path)
        }
      })
      delete standing.because
    } catch (error) {
      if (stopping.signal.aborted) return
      if (standing.because === undefined)
        log.error('a directory or its files could not be read', {
          channel: plan.name,
          ...codeIn(error),
          error: errorTrace(error),
        })
      standing.because = whyNot(plan, error)
    }
  }

  async function keep(plan: FilePlan, directory: DropDirectory, path: string): Promise<void> {
    const { metrics, store, now } = ports
    const kept = await keepFile({ store, directory, now, log, signal: stopping.signal }, plan, path).catch(
      (error: unknown) => {
        // A process that had lost its lock without knowing was faster.
        if ((error as { code?: unknown }).code === 'ENOENT') return undefined
        throw error
      },
    )
    if (kept === undefined) return
    const { outcome } = kept
    const channel = plan.name
    if (outcome === 'archived') {
      log.info('a file was taken', { channel, count: kept.messages })
      metrics.received.inc({ channel, outcome: 'answered' }, kept.messages)
    }
    if (outcome === 'quarantined')
      log.warn('a file cannot be read and is in quarantine; the reason lies beside it', { channel })
    if (outcome === 'archived' || outcome === 'quarantined') metrics.files.inc({ channel, outcome })
  }
}

function codeIn(error: unknown): { code?: string } {
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? { code } : {}
}

/** File names are other people’s words, and may name patients: only the directory of the channel file is told. */
function whyNot({ source }: FilePlan, error: unknown): string {
  switch ((error as { code?: unknown }).code) {
    case 'ENOENT':
      return `${source.directory} is not there: create it, or correct directory: of the channel`
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `${source.directory}, its archive or its quarantine may not be written by the user bluepost runs as: files are moved out of it`
    case 'ENOSPC':
      return `there is no space left where ${source.directory} keeps its files`
    default:
      return 'a file could not be taken, and is tried again; the log has the place'
  }
}
