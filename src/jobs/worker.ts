import { Logger, parseCronItems, run, type Runner, type TaskList } from 'graphile-worker'
import type { Pool } from 'pg'
import { errorTrace, type Log } from '../lib/log.ts'

/** What the engine does when a job comes up, and what it does by the clock. */
export interface Work {
  readonly step: (transmissionId: string) => Promise<void>
  readonly openMail: (mailId: string) => Promise<void>
  readonly answer: (answerId: string) => Promise<void>
  readonly refreshBundle: (bundle: string) => Promise<void>
  readonly releaseQuarantine: (releaseId: string) => Promise<void>
  /** Every minute: chain the audit, fold the counters of quarantine, schedule the refresh of trust bundles that are due. */
  readonly minutely: () => Promise<void>
  /** Once a day: make tomorrow’s partitions, drop what is past its retention. */
  readonly daily: () => Promise<void>
}

/**
 * Runs jobs until stopped. Any number of processes may do so on one database; a job is given to one of them.
 *
 * @param concurrency jobs at a time in this process; most of a job’s time is waiting for other machines
 */
export async function startWorker(
  pool: Pool,
  work: Work,
  log: Log,
  concurrency: number,
): Promise<{ stop(): Promise<void> }> {
  const taskList: TaskList = {
    step: (payload) => work.step(idIn(payload, 'transmissionId')),
    'open-mail': (payload) => work.openMail(idIn(payload, 'mailId')),
    answer: (payload) => work.answer(idIn(payload, 'answerId')),
    'refresh-bundle': (payload) => work.refreshBundle(idIn(payload, 'bundle')),
    'release-quarantine': (payload) => work.releaseQuarantine(idIn(payload, 'releaseId')),
    minutely: () => work.minutely(),
    daily: () => work.daily(),
  }
  const runner: Runner = await run({
    pgPool: pool,
    taskList,
    concurrency,
    noHandleSignals: true,
    // A missed wake-up must not cost more than this.
    pollInterval: 1000,
    logger: new Logger(() => () => {}),
    parsedCronItems: parseCronItems([
      {
        task: 'minutely',
        match: '* * * * *',
        options: { jobKey: 'minutely', backfillPeriod: 0, maxAttempts: 1 },
      },
      {
        task: 'daily',
        match: '17 2 * * *',
        options: { jobKey: 'daily', backfillPeriod: 86_400_000, maxAttempts: 5 },
      },
    ]),
  })
  runner.events.on('job:error', ({ job, error }) => {
    log.error('a job failed unexpectedly and will be repeated', {
      jobId: job.id,
      attempt: job.attempts,
      error: errorTrace(error),
    })
  })
  // The pool reports a lost database; the runner goes on by itself when it is back.
  runner.promise.catch((error: unknown) => log.error('the worker stopped', { error: errorTrace(error) }))
  return { stop: () => runner.stop() }
}

function idIn(payload: unknown, name: string): string {
  const value =
    typeof payload === 'object' && payload !== null ? (payload as Record<string, unknown>)[name] : undefined
  if (typeof value !== 'string') throw new Error(`job payload has no ${name}`)
  return value
}
