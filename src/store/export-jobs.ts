import type { Query } from './query.ts'

/** The export of one channel: what was asked, where it stands, how far it was read. */
export interface ExportJob<Manifest = unknown> {
  readonly channel: string
  readonly state: 'idle' | 'running' | 'reading' | 'removing'
  readonly question: string
  readonly statusUrl: string | null
  readonly startedAt: Date
  /** When the next export may begin. */
  readonly dueAt: Date
  /** When the next step may be taken. */
  readonly nextAt: Date
  readonly progress: string | null
  readonly polls: number
  /** Steps that failed in a row. */
  readonly failures: number
  /** Failures since something was read that waiting alone does not mend. */
  readonly faults: number
  /** Exports given up since the last complete one. */
  readonly attempts: number
  readonly because: string | null
  readonly manifest: Manifest | null
  /** Everything before this line of this file is committed; both from 0. */
  readonly file: number
  readonly line: number
  readonly resources: number
  readonly fresh: number
  readonly deletions: number
}

export async function readJob<Manifest>(
  query: Query,
  channel: string,
): Promise<ExportJob<Manifest> | undefined> {
  const [row] = await query<ExportJob<Manifest>>(
    `SELECT channel, state, question, status_url AS "statusUrl", started_at AS "startedAt", due_at AS "dueAt", next_at AS "nextAt",
       progress, polls, failures, faults, attempts, because, manifest, file, line::float8 AS line, resources::float8 AS resources,
       fresh::float8 AS fresh, deletions::float8 AS deletions FROM export_job WHERE channel = $1`,
    [channel],
  )
  return row
}

export async function saveJob(query: Query, job: ExportJob): Promise<void> {
  await query(
    `INSERT INTO export_job (channel, state, question, status_url, started_at, due_at, next_at, progress, polls, failures, faults,
       attempts, because, manifest, file, line, resources, fresh, deletions)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
     ON CONFLICT (channel) DO UPDATE SET state = $2, question = $3, status_url = $4, started_at = $5, due_at = $6, next_at = $7,
       progress = $8, polls = $9, failures = $10, faults = $11, attempts = $12, because = $13, manifest = $14, file = $15, line = $16,
       resources = $17, fresh = $18, deletions = $19`,
    [
      job.channel,
      job.state,
      job.question,
      job.statusUrl,
      job.startedAt,
      job.dueAt,
      job.nextAt,
      job.progress,
      job.polls,
      job.failures,
      job.faults,
      job.attempts,
      job.because,
      job.manifest === null ? null : JSON.stringify(job.manifest),
      job.file,
      job.line,
      job.resources,
      job.fresh,
      job.deletions,
    ],
  )
}

/** Everything before this place is committed; what was read since the last time is counted. */
export async function moveJob(
  query: Query,
  channel: string,
  place: { readonly file: number; readonly line: number },
  read: { readonly resources: number; readonly fresh: number; readonly deletions: number },
): Promise<void> {
  await query(
    `UPDATE export_job SET file = $2, line = $3, resources = resources + $4, fresh = fresh + $5, deletions = deletions + $6,
       failures = 0, faults = 0 WHERE channel = $1`,
    [channel, place.file, place.line, read.resources, read.fresh, read.deletions],
  )
}

/** Patients of the export that is read, for the resources that are about them. */
export async function keepPatients(
  query: Query,
  channel: string,
  patients: ReadonlyMap<string, string>,
): Promise<void> {
  await query(
    `INSERT INTO export_patient (channel, id, resource) SELECT $1, * FROM unnest($2::text[], $3::text[])
     ON CONFLICT (channel, id) DO UPDATE SET resource = excluded.resource`,
    [channel, [...patients.keys()], [...patients.values()]],
  )
}

export async function patientsIn(
  query: Query,
  channel: string,
  ids: readonly string[],
): Promise<Map<string, Readonly<Record<string, unknown>>>> {
  const rows = await query<{ id: string; resource: string }>(
    'SELECT id, resource FROM export_patient WHERE channel = $1 AND id = ANY ($2::text[])',
    [channel, ids],
  )
  return new Map(rows.map(({ id, resource }) => [id, JSON.parse(resource) as Record<string, unknown>]))
}

export async function dropPatients(query: Query, channel: string): Promise<void> {
  await query('DELETE FROM export_patient WHERE channel = $1', [channel])
}
