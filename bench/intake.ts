import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { DataSource } from 'typeorm'
import { loadChannels } from '../src/channels/load.ts'
import { startMllpChannel } from '../src/engine/mllp-channel.ts'
import { makeControlIds } from '../src/intake/control-ids.ts'
import { silentLog } from '../src/lib/log.ts'
import { Metrics } from '../src/lib/metrics.ts'
import { makeDataSource } from '../src/store/data-source.ts'
import { openDatabase } from '../src/store/embedded-postgres.ts'
import { openInboundMessages } from '../src/store/inbound-messages.ts'
import { migrate } from '../src/store/migrate.ts'
import { startFloor, type Contender } from './intake-floor.ts'
import type { LoadOrder, LoadReport } from './intake-load.ts'

/** One line of the result: the same load on bluepost’s intake and on the floor, in turns within the same run. */
export interface IntakeFigure {
  readonly senders: number
  readonly perSecond: number
  readonly floorPerSecond: number
  readonly ofFloor: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly floorP50Ms: number
  readonly floorP99Ms: number
}

const sendersList = [1, 8, 32, 128]
const rounds = 4
const warmUpMs = 200

/**
 * Acknowledged and committed messages per second of 1.5 KB ADT, over real sockets, with the load in another process.
 *
 * The floor: see {@link startFloor}.
 *
 * @param seconds measured per number of senders and contender
 * @param print takes each line as it is ready
 */
export async function benchIntake(seconds: number, print: (line: string) => void): Promise<IntakeFigure[]> {
  const directory = mkdtempSync(join(tmpdir(), 'bluepost-bench-'))
  const database = await openDatabase({ dataDirectory: directory, role: 'engine', log: silentLog })
  const dataSource = makeDataSource(database.url)
  await dataSource.initialize()
  await migrate(dataSource)
  const load = fork(join(import.meta.dirname, 'intake-load.ts'))
  const intake = await startIntake(dataSource)
  const floor = await startFloor(dataSource)
  const figures: IntakeFigure[] = []
  try {
    print('intake, 1.5 KB ADT, lock-step senders: acknowledged and committed per second')
    print('senders   bluepost      floor   of floor   p50/p99 ms (floor)')
    let run = 0
    for (const senders of sendersList) {
      const reports: { ours: LoadReport[]; floor: LoadReport[] } = { ours: [], floor: [] }
      for (let round = 0; round < rounds; round++) {
        // ours floor, floor ours, …: what drifts on the machine meets both.
        for (const which of round % 2 === 0 ? (['ours', 'floor'] as const) : (['floor', 'ours'] as const))
          reports[which].push(
            await order(load, {
              port: which === 'ours' ? intake.port : floor.port,
              senders,
              warmUpMs,
              measureMs: (seconds * 1000) / rounds,
              run: run++,
            }),
          )
        // As the retention and the deciders would: the tables do not grow through the whole run.
        await dataSource.query(
          'TRUNCATE message, message_content, trigger_event, verdict, floor_message, floor_content CASCADE',
        )
      }
      const figure = figureOf(senders, reports.ours, reports.floor)
      figures.push(figure)
      print(
        [
          String(senders).padStart(7),
          figure.perSecond.toFixed(0).padStart(10),
          figure.floorPerSecond.toFixed(0).padStart(10),
          figure.ofFloor.toFixed(2).padStart(10),
          `${figure.p50Ms.toFixed(2)}/${figure.p99Ms.toFixed(2)} (${figure.floorP50Ms.toFixed(2)}/${figure.floorP99Ms.toFixed(2)})`.padStart(
            28,
          ),
        ].join(' '),
      )
    }
  } finally {
    load.kill()
    await intake.stop()
    await floor.stop()
    await dataSource.destroy()
    await database.stop()
    rmSync(directory, { recursive: true, force: true })
  }
  return figures
}

async function order(load: ChildProcess, what: LoadOrder): Promise<LoadReport> {
  load.send(what)
  const [report] = (await once(load, 'message')) as [LoadReport]
  return report
}

function figureOf(senders: number, ours: LoadReport[], floor: LoadReport[]): IntakeFigure {
  const rate = (reports: LoadReport[]): number =>
    reports.reduce((sum, report) => sum + report.acknowledged, 0) /
    (reports.reduce((sum, report) => sum + report.measuredMs, 0) / 1000)
  const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!
  return {
    senders,
    perSecond: rate(ours),
    floorPerSecond: rate(floor),
    ofFloor: rate(ours) / rate(floor),
    p50Ms: median(ours.map((report) => report.p50Ms)),
    p99Ms: median(ours.map((report) => report.p99Ms)),
    floorP50Ms: median(floor.map((report) => report.p50Ms)),
    floorP99Ms: median(floor.map((report) => report.p99Ms)),
  }
}

/** What runs in production, up to the wake-up of the deciders. */
async function startIntake(dataSource: DataSource): Promise<Contender> {
  const root = join(import.meta.dirname, '..')
  const { plans, problems } = loadChannels({
    channelsDirectory: join(root, 'channels'),
    mappingsDirectory: join(root, 'mappings'),
    environment: {},
  })
  const shipped = plans.find(({ name }) => name === 'adt-discharge')
  if (shipped?.source.type !== 'mllp')
    throw new Error(`no channel adt-discharge: ${JSON.stringify(problems)}`)
  const source = { ...shipped.source, listen: { host: '127.0.0.1', port: 0 } }
  const store = openInboundMessages(dataSource)
  const run = await startMllpChannel(
    { ...shipped, source },
    {
      store,
      secrets: () => new Map(),
      newControlId: makeControlIds(randomBytes(8)),
      metrics: new Metrics(),
      log: silentLog,
      now: () => new Date(),
    },
  )
  return {
    port: Number(run.place!.split(':').at(-1)),
    async stop() {
      await run.stop()
      await store.close()
    },
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { seconds: { type: 'string' }, quick: { type: 'boolean' } } })
  const seconds = Number(values.seconds ?? (values.quick === true ? 0.4 : 4))
  await benchIntake(seconds, (line) => process.stdout.write(`${line}\n`))
}
