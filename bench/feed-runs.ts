import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { BulkNeighbour } from '../test/neighbours/bulk-server.ts'
import type { Query } from '../src/store/query.ts'

export type FeedKind = 'export' | 'poll'

export interface FeedRun {
  readonly entries: number
  readonly kept: number
  /** As the reader that came to the end counts them. */
  readonly fresh: number
  /** Before the first reader was killed. */
  readonly keptBefore: number
  readonly kickOffs: number
  readonly idleBytes: number
  readonly peakBytes: number
  readonly seconds: number
}

const patients = 300
/** A claim of a CARIN payer with its items: some kilobytes. */
const filler = 'x'.repeat(2_000)
const stepMs = 1_000
const linesPerCommit = 1_000

/**
 * Reads so many claims in a process that is killed (SIGKILL) in the middle, then in another one to the end.
 *
 * @param query of a database that holds nothing of the channel
 */
export async function runFeed(
  kind: FeedKind,
  entries: number,
  { payer, query, url }: { payer: BulkNeighbour; query: Query; url: string },
): Promise<FeedRun> {
  const fromMs = Date.parse('2026-02-01T00:00:00Z')
  const channel = kind === 'export' ? 'eob-export' : 'eob-feed'
  payer.has.patients = Array.from({ length: patients }, (_, nth) => ({
    resourceType: 'Patient',
    id: `P${nth}`,
    meta: { lastUpdated: '2025-01-01T00:00:00Z' },
  }))
  payer.has.endless = {
    count: entries,
    fromMs,
    stepMs,
    line: (nth) =>
      JSON.stringify({
        resourceType: 'ExplanationOfBenefit',
        id: `c-${nth}`,
        meta: { versionId: '1', lastUpdated: new Date(fromMs + nth * stepMs).toISOString() },
        status: 'active',
        use: 'claim',
        outcome: 'complete',
        patient: { reference: `Patient/P${nth % patients}` },
        text: { status: 'generated', div: filler },
      }),
  }
  if (kind === 'poll')
    await query(
      `INSERT INTO feed_cursor (channel, value, moved_at, asked_at) VALUES ($1, '2026-01-01T00:00:00Z', now(), now())`,
      [channel],
    )
  const began = performance.now()
  const isAtMiddle = Promise.withResolvers<void>()
  const half = Math.floor(entries / 2)
  if (kind === 'export') payer.behaves.standstill = { line: half, then: isAtMiddle.resolve }
  else
    payer.behaves.answer = ({ path }) => {
      const offset = Number(new URL(path, payer.base).searchParams.get('offset') ?? 0)
      if (offset < half) return undefined
      isAtMiddle.resolve()
      return 'nothing'
    }
  const first = startReader(kind, url, payer.base)
  await Promise.race([isAtMiddle.promise, first.ended])
  // What was sent has been committed, but for a last group of lines.
  while ((await countOf(query, channel)) < half - linesPerCommit);
  first.kill()
  await first.ended.catch(() => {})
  payer.behaves.answer = () => undefined
  const keptBefore = await countOf(query, channel)
  const told = JSON.parse(await startReader(kind, url, payer.base).ended) as {
    outcome: { fresh: number }
    idle: number
    peak: number
  }
  return {
    entries,
    keptBefore,
    kept: await countOf(query, channel),
    fresh: told.outcome.fresh,
    kickOffs: payer.asked.filter(({ path }) => path.includes('$export')).length,
    idleBytes: told.idle,
    peakBytes: told.peak,
    seconds: (performance.now() - began) / 1000,
  }
}

async function countOf(query: Query, channel: string): Promise<number> {
  const [row] = await query<{ resources: string; messages: string }>(
    'SELECT count(DISTINCT control_id) AS resources, count(*) AS messages FROM message WHERE channel = $1',
    [channel],
  )
  if (row!.resources !== row!.messages)
    throw new Error(`${row!.messages} messages of ${row!.resources} resources`)
  return Number(row!.messages)
}

function startReader(kind: FeedKind, url: string, base: string) {
  // A test runner’s own options are not the reader’s.
  const { NODE_OPTIONS: _, ...environment } = process.env
  const child = spawn(process.execPath, [join(import.meta.dirname, 'feed-reader.ts'), kind, url, base], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: environment,
  })
  let output = ''
  let complaints = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text))
  const ended = new Promise<string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) =>
      code === 0
        ? resolve(output)
        : reject(new Error(`the reader ended (${signal ?? code}): ${complaints.slice(-2000)}`)),
    )
  })
  return { ended, kill: () => child.kill('SIGKILL') }
}
