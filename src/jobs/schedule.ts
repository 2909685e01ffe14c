import type { Query } from '../store/query.ts'

/** The jobs there are. Each takes ids only: what to do is read from the database when it runs. */
export type Job =
  /** Take a transmission one step further, whichever is next. */
  | { readonly task: 'step'; readonly transmissionId: string; readonly dueAt: Date }
  /** Open an inbound message that was stored. */
  | { readonly task: 'open-mail'; readonly mailId: string; readonly dueAt: Date }
  /** Take an answer of ours to an inbound message one step further. */
  | { readonly task: 'answer'; readonly answerId: string; readonly dueAt: Date }
  /** Ask the source of a trust bundle for a newer one. */
  | { readonly task: 'refresh-bundle'; readonly bundle: string; readonly dueAt: Date }
  /** Take the release of a group in quarantine to its end. */
  | { readonly task: 'release-quarantine'; readonly releaseId: string; readonly dueAt: Date }

/** Retries for what is thrown unexpectedly (database away, a bug); what the rooms know to fail has its own plan. */
const attemptsMax = 25

/**
 * Schedules jobs in the transaction of what made them necessary. A job has the key of what it is about: scheduling it
 * again moves it instead of adding a second one.
 */
export async function schedule(query: Query, wanted: readonly Job[]): Promise<void> {
  if (wanted.length === 0) return
  // Of several for the same thing the last one counts, as if they had been scheduled one after the other.
  const jobs = [...new Map(wanted.map((job) => [keyOf(job), job])).values()]
  await query(
    `SELECT count(*) FROM graphile_worker.add_jobs((
       SELECT array_agg(ROW(task, payload::json, NULL, run_at, ${attemptsMax}, key, NULL, NULL)::graphile_worker.job_spec)
       FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[]) AS job (task, payload, run_at, key)))`,
    [jobs.map((job) => job.task), jobs.map(payloadOf), jobs.map((job) => job.dueAt), jobs.map(keyOf)],
  )
}

function keyOf(job: Job): string {
  switch (job.task) {
    case 'step':
      return `transmission:${job.transmissionId}`
    case 'open-mail':
      return `mail:${job.mailId}`
    case 'answer':
      return `answer:${job.answerId}`
    case 'refresh-bundle':
      return `trust-bundle:${job.bundle}`
    case 'release-quarantine':
      return `quarantine-release:${job.releaseId}`
  }
}

function payloadOf({ task: _, dueAt: __, ...payload }: Job): string {
  return JSON.stringify(payload)
}
