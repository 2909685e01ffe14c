import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { makeRoomForDays } from '../src/engine/work.ts'
import { silentLog } from '../src/lib/log.ts'
import { makeDataSource } from '../src/store/data-source.ts'
import { openDatabase } from '../src/store/embedded-postgres.ts'
import { entities } from '../src/store/entities.ts'
import { queryOf } from '../src/store/query.ts'
import { migrateAll } from '../src/store/schema.ts'
import { startBulkServer } from '../test/neighbours/bulk-server.ts'
import { runFeed, type FeedKind } from './feed-runs.ts'

/** What a reader may grow by, however much it reads. */
const growthBytesMax = 256 * 1024 * 1024

/**
 * Claims of 2 kB from a payer’s export, and from its search pages, read to the end in spite of a kill -9 in the middle:
 * how fast, with how much memory, and whether each was kept once. The floor is a tenth of the claims: memory must not follow
 * their number.
 */
async function benchFeeds(entries: number, print: (line: string) => void): Promise<boolean> {
  const directory = mkdtempSync(join(tmpdir(), 'bluepost-bench-'))
  const server = await openDatabase({
    dataDirectory: directory,
    role: 'engine',
    log: silentLog,
    durable: false,
  })
  const dataSource = makeDataSource(server.url, { entities, poolSize: 2 })
  let isGood = true
  try {
    await dataSource.initialize()
    await migrateAll(dataSource)
    await makeRoomForDays(dataSource, new Date())
    const query = queryOf(dataSource)
    print('feed     claims   kept   before kill -9   claims/s   idle MB   peak MB')
    for (const kind of ['export', 'poll'] as const satisfies readonly FeedKind[])
      for (const count of [entries / 10, entries]) {
        await query('TRUNCATE message, message_content, feed_cursor, export_job, export_patient CASCADE')
        const payer = await startBulkServer()
        const run = await runFeed(kind, count, { payer, query, url: server.url })
        await payer.close()
        print(
          [
            kind.padEnd(6),
            String(run.entries).padStart(8),
            String(run.kept).padStart(7),
            String(run.keptBefore).padStart(16),
            (run.entries / run.seconds).toFixed(0).padStart(10),
            (run.idleBytes / 1e6).toFixed(0).padStart(9),
            (run.peakBytes / 1e6).toFixed(0).padStart(9),
          ].join(' '),
        )
        isGood &&= run.kept === run.entries && run.keptBefore > 0
        isGood &&= run.peakBytes - run.idleBytes < growthBytesMax
        isGood &&= kind === 'poll' || run.kickOffs === 1
      }
  } finally {
    await dataSource.destroy()
    await server.stop()
    rmSync(directory, { recursive: true })
  }
  return isGood
}

const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
const isGood = await benchFeeds(values.quick ? 10_000 : 100_000, (line) => process.stdout.write(`${line}\n`))
if (!isGood) {
  process.stdout.write('something was lost, kept twice, or held in memory\n')
  process.exitCode = 1
}
