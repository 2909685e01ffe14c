import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { silentLog } from '../src/lib/log.ts'
import { openDatabase } from '../src/store/embedded-postgres.ts'
import { Engine, freePorts } from '../test/neighbours/engine.ts'

/**
 * From the spawn of `bluepost start` until it says ready, on a database directory that has been used before. The floor: an
 * empty node, and this PostgreSQL alone.
 */
export async function benchStart(rounds: number, print: (line: string) => void): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'bluepost-bench-'))
  // Started as root, the database runs under another account, which has to get here.
  await chmod(directory, 0o755)
  try {
    const [http, smtp, mllp] = await freePorts(3)
    const config = join(directory, 'bluepost.yaml')
    const dataDirectory = join(directory, 'var')
    const project = fileURLToPath(new URL('../', import.meta.url))
    await writeFile(
      config,
      `dataDirectory: ${dataDirectory}
channelsDirectory: ${join(project, 'channels')}
mappingsDirectory: ${join(project, 'mappings')}
listen: { http: 127.0.0.1:${http}, smtp: 127.0.0.1:${smtp} }
`,
    )
    let readyAt = 0
    const engine = new Engine(config, `http://127.0.0.1:${http}`, { ADT_PORT: String(mllp) }, ({ msg }) => {
      if (msg === 'ready') readyAt = performance.now()
    })
    const starts: number[] = []
    for (let round = 0; round <= rounds; round++) {
      const began = performance.now()
      await engine.start()
      // The first one makes the database.
      if (round > 0) starts.push(readyAt - began)
      await engine.stop()
    }

    const nodes: number[] = []
    const databases: number[] = []
    for (let round = 0; round < rounds; round++) {
      const began = performance.now()
      await once(spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }), 'exit')
      nodes.push(performance.now() - began)
      const opening = performance.now()
      const database = await openDatabase({ dataDirectory, role: 'engine', log: silentLog })
      databases.push(performance.now() - opening)
      await database.stop()
    }
    print(`start on a warm embedded database, median of ${rounds}`)
    print(`bluepost start → ready   ${median(starts)} ms   (slowest ${Math.max(...starts).toFixed(0)} ms)`)
    print(`floor: node -e 0         ${median(nodes)} ms`)
    print(`floor: PostgreSQL alone  ${median(databases)} ms`)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function median(values: readonly number[]): string {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]?.toFixed(0) ?? '–'
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
  await benchStart(values.quick ? 2 : 5, (line) => process.stdout.write(`${line}\n`))
}
