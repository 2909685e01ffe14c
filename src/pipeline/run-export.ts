import { isSameExport, type ExportManifest } from '../documents/bulk-manifest.ts'
import { Failed } from '../domain/failure.ts'
import { appendAudit } from '../store/audit.ts'
import { dropPatients, readJob, saveJob, type ExportJob } from '../store/export-jobs.ts'
import { moveCursor, noteAsked, readCursor } from '../store/feed-cursors.ts'
import { inTransaction, queryOf, type Query } from '../store/query.ts'
import { withStepLock } from '../store/step-lock.ts'
import { engineEntry } from './engine-entry.ts'
import type { ExportPlan, ExportPorts } from './export-ports.ts'
import { readExport, type ExportErrors } from './read-export.ts'

export type Exported =
  /** The first time: the past is not replayed, what changes from now on is. */
  | { readonly outcome: 'begun' }
  /** Nothing is due, or the server is at work. `because`: why the last step failed, or what the last export left out. */
  | { readonly outcome: 'waiting'; readonly because?: string }
  | {
      readonly outcome: 'complete'
      readonly resources: number
      readonly fresh: number
      readonly deletions: number
      readonly because?: string
    }
  | { readonly outcome: 'failed'; readonly because: string }
  | { readonly outcome: 'interrupted' }
  /** Another process is at it. */
  | { readonly outcome: 'busy' }

type Job = ExportJob<ExportManifest>

/** Bulk Data Access asks for exponential backoff where the server names no time. */
const firstPollMs = 5_000
const pollMsMax = 300_000
const firstPauseMs = 30_000
const pauseMsMax = 3_600_000
/** A server that wants to be left alone for longer is asked all the same. */
const retryAfterMsMax = 24 * 3_600_000
/** Failures without progress that waiting does not mend; then the export is given up and another one asked for. */
const faultsMax = 5
const removalsMax = 3
/** Servers keep the files of an export for a day or some; one that is not done by then will not be. */
const jobAgeMsMax = 7 * 24 * 3_600_000
/** More than the states there are: each turn ends. */
const stepsMax = 6

/**
 * Takes the export of a channel as far as it goes now: asks for it, asks whether it is ready, reads it, and has it removed.
 * Where it stands is kept after each step, so whoever comes next, after whatever end of the process, goes on with the same
 * export. The next one begins where the last complete one ended.
 */
export async function runExport(ports: ExportPorts, plan: ExportPlan): Promise<Exported> {
  let exported: Exported = { outcome: 'busy' }
  await withStepLock(ports.dataSource, `export ${plan.name}`, async () => {
    exported = await run(ports, plan)
  })
  return exported
}

async function run(ports: ExportPorts, plan: ExportPlan): Promise<Exported> {
  const query = queryOf(ports.dataSource)
  let job = await readJob<ExportManifest>(query, plan.name)
  if (job === undefined) {
    job = await begin(ports, plan, query)
    if (plan.source.since === undefined) return { outcome: 'begun' }
  }
  let ended: Exported | undefined
  for (let steps = 0; steps < stepsMax && job.nextAt <= ports.now(); steps++) {
    try {
      const next: Job = await step(ports, plan, query, job)
      if (ports.signal.aborted) return { outcome: 'interrupted' }
      if (job.state === 'reading' && next.state === 'removing') ended = completeOf(next)
      job = next
    } catch (error) {
      if (ports.signal.aborted) return { outcome: 'interrupted' }
      if (!(error instanceof Failed)) throw error
      // What was read before it failed is counted and placed in the row.
      const failed = failedJob(ports, (await readJob<ExportManifest>(query, plan.name)) ?? job, error)
      await saveJob(query, failed)
      await noteAsked(query, plan.name, error.because, ports.now())
      return ended ?? { outcome: 'failed', because: failed.because ?? error.because }
    }
  }
  return ended ?? { outcome: 'waiting', ...(job.because !== null && { because: job.because }) }
}

async function begin({ now }: ExportPorts, { name, source }: ExportPlan, query: Query): Promise<Job> {
  const at = now()
  const dueAt = source.since === undefined ? new Date(at.getTime() + source.everyMs) : at
  const job: Job = {
    channel: name,
    state: 'idle',
    question: '',
    statusUrl: null,
    startedAt: at,
    dueAt,
    nextAt: dueAt,
    progress: null,
    polls: 0,
    failures: 0,
    faults: 0,
    attempts: 0,
    because: null,
    manifest: null,
    file: 0,
    line: 0,
    resources: 0,
    fresh: 0,
    deletions: 0,
  }
  // A channel that polled the same feed before goes on from where it stood.
  if ((await readCursor(query, name)) === undefined)
    await moveCursor(query, name, source.since ?? at.toISOString(), at)
  await saveJob(query, job)
  return job
}

async function step(ports: ExportPorts, plan: ExportPlan, query: Query, job: Job): Promise<Job> {
  const isOther = job.question !== questionOf(plan)
  if (isOther && (job.state === 'running' || job.state === 'reading'))
    return save(query, givenUp(ports, job, 'the channel asks for something else now', 0))
  switch (job.state) {
    case 'idle':
      return start(ports, plan, query, job)
    case 'running':
      return poll(ports, plan, query, job)
    case 'reading':
      return read(ports, plan, query, job)
    case 'removing':
      return remove(ports, query, job)
  }
}

async function save(query: Query, job: Job): Promise<Job> {
  await saveJob(query, job)
  return job
}

/** Everything of the channel that decides what is in an export. */
function questionOf({ source }: ExportPlan): string {
  const { server, level, group, types, typeFilters } = source
  return JSON.stringify([server, level, group, types, typeFilters])
}

async function start(ports: ExportPorts, plan: ExportPlan, query: Query, job: Job): Promise<Job> {
  const { level, group, types, typeFilters } = plan.source
  const since = (await readCursor(query, plan.name)) ?? ports.now().toISOString()
  const statusUrl = await ports.server.start({
    level,
    types,
    typeFilters,
    since,
    ...(group !== undefined && { group }),
  })
  const at = ports.now()
  ports.log.info('an export was asked for', { channel: plan.name })
  return save(query, {
    ...job,
    state: 'running',
    question: questionOf(plan),
    statusUrl,
    startedAt: at,
    nextAt: new Date(at.getTime() + firstPollMs),
    progress: null,
    polls: 0,
    failures: 0,
    faults: 0,
    because: null,
    manifest: null,
    file: 0,
    line: 0,
    resources: 0,
    fresh: 0,
    deletions: 0,
  })
}

async function poll(ports: ExportPorts, plan: ExportPlan, query: Query, job: Job): Promise<Job> {
  const standing = await ports.server.standing(job.statusUrl!, plan.source.types)
  const at = ports.now()
  if (standing.state === 'complete') {
    const { manifest } = standing
    const isSame = job.manifest !== null && isSameExport(job.manifest, manifest)
    return save(query, {
      ...job,
      state: 'reading',
      manifest,
      nextAt: at,
      progress: null,
      // Addresses that had run out were asked for anew: the reading goes on. Of another export it begins again.
      ...(isSame ? {} : { file: 0, line: 0 }),
    })
  }
  if (at.getTime() - job.startedAt.getTime() > jobAgeMsMax)
    return save(query, givenUp(ports, job, 'the server did not finish the export within a week'))
  if (standing.progress !== undefined && standing.progress !== job.progress)
    ports.log.debug('an export goes on', { channel: plan.name, state: standing.progress })
  const waitMs = standing.retryAfterMs ?? Math.min(firstPollMs * 2 ** Math.min(job.polls, 16), pollMsMax)
  return save(query, {
    ...job,
    nextAt: new Date(at.getTime() + Math.min(Math.max(waitMs, 1_000), retryAfterMsMax)),
    progress: standing.progress ?? job.progress,
    polls: job.polls + 1,
    failures: 0,
    faults: 0,
    because: null,
  })
}

async function read(ports: ExportPorts, plan: ExportPlan, query: Query, job: Job): Promise<Job> {
  const errors = await readExport(ports, plan, { ...job, manifest: job.manifest! })
  if (errors === 'interrupted') return job
  const { transactionTime } = job.manifest!
  const because = leftOut(errors)
  return inTransaction(ports.dataSource, async (inside) => {
    const at = ports.now()
    const current = (await readJob<ExportManifest>(inside, plan.name))!
    const { resources, fresh, deletions } = current
    const since = await readCursor(inside, plan.name)
    await moveCursor(inside, plan.name, transactionTime, at)
    await dropPatients(inside, plan.name)
    await appendAudit(inside, [
      engineEntry(at, 'export-completed', `channel:${plan.name}`, {
        server: ports.server.name,
        since,
        until: transactionTime,
        resources,
        fresh,
        deletions,
        errors: Object.fromEntries(errors.counts),
        ...(errors.unreadable > 0 && { unreadable: errors.unreadable }),
      }),
    ])
    if (because !== undefined) ports.log.warn('an export is complete but for errors', { channel: plan.name })
    return save(inside, {
      ...current,
      state: 'removing',
      dueAt: new Date(Math.max(current.startedAt.getTime() + plan.source.everyMs, at.getTime())),
      nextAt: at,
      failures: 0,
      faults: 0,
      attempts: 0,
      because: because ?? null,
      manifest: null,
    })
  })
}

/** The server keeps its files until it is told, or until they are too old: it is told, and not begged. */
async function remove(ports: ExportPorts, query: Query, job: Job): Promise<Job> {
  const idle: Job = { ...job, state: 'idle', statusUrl: null, manifest: null, failures: 0, nextAt: job.dueAt }
  try {
    await ports.server.remove(job.statusUrl!)
  } catch (error) {
    if (!(error instanceof Failed) || ports.signal.aborted) throw error
    if (job.failures + 1 < removalsMax)
      return save(query, {
        ...job,
        failures: job.failures + 1,
        nextAt: new Date(ports.now().getTime() + pauseMs(job.failures + 1, error)),
      })
    ports.log.warn('an export could not be removed from its server, which keeps its files', {
      channel: job.channel,
    })
  }
  return save(query, idle)
}

/** The step is tried again later; where that cannot help, the export is given up and another one asked for. */
function failedJob(ports: ExportPorts, job: Job, error: Failed): Job {
  const at = ports.now()
  const { because } = error
  const { status, isFault, hasRunOut } = (error.detail ?? {}) as {
    status?: number
    isFault?: boolean
    hasRunOut?: boolean
  }
  const failures = job.failures + 1
  const nextAt = new Date(at.getTime() + pauseMs(failures, error))
  if (job.state === 'idle' || job.state === 'removing') return { ...job, failures, nextAt, because }
  const isGone = status === 404 || status === 410
  if (job.state === 'running' && isGone)
    return givenUp(ports, job, `${because}: the export is gone, and another one is asked for`)
  // Credentials, and what passes by itself, do not speak against the export.
  const isPassing =
    status === 401 || status === 403
      ? hasRunOut !== true
      : error.code === 'fhir-unavailable' && isFault !== true && status !== 500
  const faults = job.faults + (isPassing ? 0 : 1)
  const isTooOld = at.getTime() - job.startedAt.getTime() > jobAgeMsMax
  if (faults >= faultsMax || isTooOld)
    return givenUp(ports, { ...job, failures }, `${because}: another export is asked for`)
  return {
    ...job,
    ...(hasRunOut === true && { state: 'running' }),
    failures,
    faults,
    nextAt: hasRunOut === true && faults === 1 ? at : nextAt,
    because,
  }
}

/** @param pause undefined: the longer, the more exports were given up */
function givenUp(ports: ExportPorts, job: Job, because: string, pause?: number): Job {
  const at = ports.now()
  const attempts = job.attempts + 1
  ports.log.warn('an export was given up', { channel: job.channel, attempt: attempts })
  return {
    ...job,
    state: 'removing',
    dueAt: new Date(at.getTime() + (pause ?? pauseMs(attempts))),
    nextAt: at,
    failures: 0,
    faults: 0,
    attempts,
    because,
    manifest: null,
    file: 0,
    line: 0,
  }
}

function pauseMs(times: number, error?: Failed): number {
  const { retryAfterMs } = (error?.detail ?? {}) as { retryAfterMs?: number }
  const ownMs = Math.min(firstPauseMs * 2 ** Math.min(times - 1, 16), pauseMsMax)
  return Math.min(Math.max(retryAfterMs ?? 0, ownMs), retryAfterMsMax)
}

/** What the server could not export, as it says itself: nobody will hear of it, unless somebody asks the server. */
function leftOut({ counts, unreadable }: ExportErrors): string | undefined {
  const grave = [...counts].filter(([name]) => /^(fatal|error) /.test(name))
  if (grave.length === 0 && unreadable === 0) return undefined
  const named = grave.map(([name, count]) => `${count} × ${name}`)
  if (unreadable > 0) named.push(`${unreadable} that cannot be read`)
  return `the server says that the last export is not whole (${named.join(', ')}): ask those who run it, and export again from before it where something is missing`
}

function completeOf({ resources, fresh, deletions, because }: Job): Exported {
  return { outcome: 'complete', resources, fresh, deletions, ...(because !== null && { because }) }
}
