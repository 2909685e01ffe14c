import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { DataSource } from 'typeorm'
import type { ChannelPlan } from '../src/domain/channel.ts'
import { makeControlIds } from '../src/intake/control-ids.ts'
import { listenMllp } from '../src/intake/mllp-listener.ts'
import { GroupCommit } from '../src/lib/group-commit.ts'
import { parsePath } from '../src/lib/hl7v2-path.ts'
import { silentLog } from '../src/lib/log.ts'
import { MllpDecoder, frameFor } from '../src/lib/mllp.ts'
import { laneKey } from '../src/mapping/lane-key.ts'
import { makeReceive } from '../src/pipeline/receive.ts'
import { makeDataSource } from '../src/store/data-source.ts'
import { openDatabase } from '../src/store/embedded-postgres.ts'
import { intakePool, openInboundMessages } from '../src/store/inbound-messages.ts'
import { migrate } from '../src/store/migrate.ts'
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
const warmUpMs = 300

/**
 * Acknowledged and committed messages per second of 1.5 KB ADT, over real sockets, with the load in another process.
 *
 * The floor is the same group commit into tables of the same shape, without reading HL7, without channels, lanes,
 * hashes or recognising repeats, and with a constant reply.
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

interface Contender {
  readonly port: number
  stop(): Promise<void>
}

/** What runs in production, up to the wake-up of the deciders. */
async function startIntake(dataSource: DataSource): Promise<Contender> {
  const store = openInboundMessages(dataSource)
  const key = ['PID-3.1', 'PID-3.4.1'].map((text) => {
    const reading = parsePath(text)
    if (!reading.valid) throw new Error(`${text} is no path`)
    return reading.path
  })
  const plan = { order: { key } } as unknown as ChannelPlan
  const receive = makeReceive({
    channel: 'adt-discharge',
    store,
    laneKey: (bytes) => laneKey(plan, bytes),
    clock: () => new Date(),
    newControlId: makeControlIds(randomBytes(8)),
    log: silentLog,
  })
  const listener = await listenMllp({
    host: '127.0.0.1',
    port: 0,
    receive: receive.frame,
    onFragment: receive.fragment,
    log: silentLog,
  })
  return {
    port: listener.address.port,
    async stop() {
      await listener.close(1000)
      await store.close()
    },
  }
}

const floorTables = [
  `CREATE TABLE floor_message (LIKE message INCLUDING ALL EXCLUDING INDEXES)`,
  // The same indexes, but for the one that recognises repeats.
  `ALTER TABLE floor_message ADD PRIMARY KEY (id)`,
  `CREATE INDEX ON floor_message (lane, id) WHERE state = 'received'`,
  `CREATE INDEX ON floor_message (channel, code, id) WHERE state = 'quarantined'`,
  `CREATE INDEX ON floor_message (control_id)`,
  `CREATE INDEX ON floor_message (received_at)`,
  `CREATE TABLE floor_content (LIKE message_content INCLUDING ALL) PARTITION BY RANGE (received_on)`,
  `CREATE TABLE floor_content_default PARTITION OF floor_content DEFAULT`,
]

const floorInsert = `
  WITH arrived AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('floor_message', 'id')) AS id, a.*
    FROM unnest($1::int[], $2::int[]) AS a (content_at, content_bytes)
  ), stored AS (
    INSERT INTO floor_message (id, channel, received_at, received_on, sender, control_id, digest, bytes, peer, lane, ack, state)
    OVERRIDING SYSTEM VALUE
    SELECT id, 'adt-discharge', now(), current_date, 'ADT|ASHBY', 'BBBBBBBBBBBBB' || id,
           decode(repeat('00', 32), 'hex'), content_bytes, '127.0.0.1:40000', 0, $4, 'received'
    FROM arrived
  )
  INSERT INTO floor_content (received_on, message_id, content)
  SELECT current_date, id, substring($3::bytea FROM content_at FOR content_bytes) FROM arrived`

async function startFloor(dataSource: DataSource): Promise<Contender> {
  for (const statement of floorTables) await dataSource.query(statement)
  const pool = intakePool(dataSource)
  const reply = Buffer.alloc(150, 'A')
  const replyFrame = frameFor(reply)
  const commits = new GroupCommit<Buffer, undefined>({
    bytesOf: (content) => content.length,
    orderOf: (content) => content,
    mayBlameRow: () => false,
    async write(contents) {
      const at: number[] = []
      let end = 1
      for (const content of contents) {
        at.push(end)
        end += content.length
      }
      const bytes = contents.map((content) => content.length)
      await pool.query({
        name: 'floor',
        text: floorInsert,
        values: [`{${at.join(',')}}`, `{${bytes.join(',')}}`, Buffer.concat(contents), reply],
      })
      return contents.map(() => undefined)
    },
  })
  const server = net.createServer({ noDelay: true }, (socket) => {
    const decoder = new MllpDecoder(1024 * 1024)
    socket.on('data', (chunk) => {
      for (const event of decoder.push(chunk))
        if (event.what === 'frame') void commits.add(event.bytes).then(() => socket.write(replyFrame))
    })
    socket.on('error', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    async stop() {
      server.close()
      await commits.idle()
      await pool.end()
    },
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { seconds: { type: 'string', default: '3' } } })
  await benchIntake(Number(values.seconds), (line) => process.stdout.write(`${line}\n`))
}
