import pg from 'pg'
import type { Log } from '../../src/lib/log.ts'

// A process that opens the embedded database and holds it: node opening-process.ts ROLE DIRECTORY [MODULE]
// It tells what happens in JSON lines. SIGTERM and SIGINT make it drain (one more row is committed) and stop.
const [role, dataDirectory, module] = process.argv.slice(2)
if ((role !== 'engine' && role !== 'visitor') || !dataDirectory)
  throw new Error('usage: ROLE DIRECTORY [MODULE]')

type Store = typeof import('../../src/store/embedded-postgres.ts')
const store = (await import(module ?? '../../src/store/embedded-postgres.ts')) as Store

const tell = (event: Record<string, unknown>) => process.stdout.write(`${JSON.stringify(event)}\n`)
const line = (text: string) => tell({ event: 'log', text })
const log: Log = { debug: line, info: line, warn: line, error: line }

try {
  const database = await store.openDatabase({
    dataDirectory,
    role,
    log,
    onNotice: (text) => tell({ event: 'notice', text }),
    onLost: (error) => tell({ event: 'lost', message: error.message }),
  })
  const alive = setInterval(() => {}, 60_000)
  const drain = async () => {
    const client = new pg.Client({ connectionString: database.url })
    await client.connect()
    await client.query("INSERT INTO kept VALUES ('drained')")
    await client.end()
    tell({ event: 'drained' })
    await database.stop()
    tell({ event: 'stopped' })
    clearInterval(alive)
  }
  process.once('SIGTERM', drain)
  process.once('SIGINT', drain)
  tell({ event: 'open', url: database.url, ...database.location })
} catch (error) {
  tell({ event: 'refused', name: (error as Error).name, message: (error as Error).message })
  process.exitCode = 1
}
