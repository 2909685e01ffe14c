import { hash, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { DataSource } from 'typeorm'
import { loadChannels } from '../src/channels/load.ts'
import type { ChannelPlan } from '../src/domain/channel.ts'
import { triggerKinds } from '../src/domain/trigger-event.ts'
import { makeRoomForDays } from '../src/engine/work.ts'
import { laneOf } from '../src/intake/lane.ts'
import { silentLog } from '../src/lib/log.ts'
import { evaluate } from '../src/mapping/evaluate.ts'
import { decide, type DecidePorts } from '../src/pipeline/decide.ts'
import { makeDataSource } from '../src/store/data-source.ts'
import { readBlindKey } from '../src/store/decisions.ts'
import { openDatabase } from '../src/store/embedded-postgres.ts'
import { entities } from '../src/store/entities.ts'
import { migrateAll } from '../src/store/schema.ts'
import { inTransaction, queryOf, type Query } from '../src/store/query.ts'
import { numberOf, storeAuthorizations, system } from './authorizations.ts'
import { encounterSample, eobSample, hl7v2Sample, type Sample } from './decide-samples.ts'

/** One source: events per second through decide, and through the statements alone, medians over rounds in turns. */
export interface DecideFigure {
  readonly source: string
  readonly perSecond: number
  readonly floorPerSecond: number
  readonly ofFloor: number
}

/** As many as the decider takes in one pass. */
const passRows = 200
const lanes = Array.from({ length: 256 }, (_, lane) => lane)

/**
 * From a stored message to the committed decision (mapped, matched, and for nine of ten a transmission with its job) with so
 * many authorizations stored, source by source.
 *
 * The floor, in turns within the same run: for as many rows in as large transactions, the same number of contents read, rows
 * looked up by primary key, and rows written (event, verdict, transmission, job, decision), without reading a message.
 *
 * @param events per source and round
 */
export async function benchDecide(
  authorizations: number,
  rounds: number,
  events: number,
  print: (line: string) => void,
): Promise<DecideFigure[]> {
  const directory = mkdtempSync(join(tmpdir(), 'bluepost-bench-'))
  const server = await openDatabase({
    dataDirectory: directory,
    role: 'engine',
    log: silentLog,
    durable: false,
  })
  const dataSource = makeDataSource(server.url, { entities, poolSize: 2 })
  try {
    await dataSource.initialize()
    await migrateAll(dataSource)
    const query = queryOf(dataSource)
    const began = performance.now()
    await storeAuthorizations(query, authorizations, triggerKinds)
    print(
      `${authorizations.toLocaleString('en')} authorizations stored in ${((performance.now() - began) / 1000).toFixed(1)} s`,
    )
    await makeRoomForDays(dataSource, new Date())
    for (const statement of floorTables) await query(statement)
    const { plans, problems } = loadChannels({
      channelsDirectory: join(import.meta.dirname, '../channels'),
      mappingsDirectory: join(import.meta.dirname, '../mappings'),
      environment: {},
    })
    if (plans.length === 0) throw new Error(`no channel can be loaded: ${problems[0]?.what}`)
    const ports: DecidePorts = {
      dataSource,
      channel: (name) => plans.find((plan) => plan.name === name),
      aliases: new Map(),
      blindKey: await readBlindKey(query),
      holdMaxMs: undefined,
      deliveryRequested: true,
      now: () => new Date(),
    }
    print(`deciding, ${passRows} messages at once: events per second`)
    print('source                    bluepost      floor   of floor')
    const figures: DecideFigure[] = []
    for (const [channel, sample] of sources()) {
      const plan = ports.channel(channel)!
      const [ours, floors]: [number[], number[]] = [[], []]
      // The first round warms caches and the JIT, and is not counted.
      for (let round = -1; round < rounds; round++) {
        const messages = messagesOf(plan, sample, authorizations, events)
        await store(query, messages)
        const perSecond = await timeDecide(ports, events)
        const floor = await timeFloor(dataSource, messages, authorizations)
        await query('ANALYZE message')
        if (round < 0) continue
        ours.push(perSecond)
        floors.push(floor)
      }
      const [perSecond, floorPerSecond] = [median(ours), median(floors)]
      figures.push({ source: channel, perSecond, floorPerSecond, ofFloor: perSecond / floorPerSecond })
      print(
        `${channel.padEnd(22)} ${count(perSecond)} ${count(floorPerSecond)} ${(perSecond / floorPerSecond).toFixed(2).padStart(10)}`,
      )
    }
    return figures
  } finally {
    if (dataSource.isInitialized) await dataSource.destroy()
    await server.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

function sources(): [string, Sample][] {
  const iso = new Date(Date.now() - 3_600_000).toISOString()
  const hl7 = new Date(Date.now() - 6 * 3_600_000).toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)
  return [
    ['adt-discharge', hl7v2Sample('a03.hl7', hl7)],
    ['adt-transfer', hl7v2Sample('a02.hl7', hl7)],
    ['lab-results', hl7v2Sample('oru-r01.hl7', hl7)],
    ['documents', hl7v2Sample('mdm-t02.hl7', hl7)],
    ['encounter-finished', encounterSample(iso)],
    ['eob-feed', eobSample(iso)],
  ]
}

interface Message {
  readonly channel: string
  readonly controlId: string
  readonly lane: number
  readonly content: Buffer
}

let made = 0

function messagesOf(plan: ChannelPlan, sample: Sample, authorizations: number, events: number): Message[] {
  const messages = Array.from({ length: events }, (): Message => {
    const n = ++made
    // Every tenth patient asked for nothing.
    const patient = n % 10 === 9 ? 9_000_000 + n : 1 + Math.floor(Math.random() * authorizations)
    return {
      channel: plan.name,
      controlId: `B${n}`,
      lane: laneOf(numberOf(patient)),
      content: sample(patient, n),
    }
  })
  const first = evaluate(plan, messages[0]!.content, new Date())
  if (first.decision !== 'trigger')
    throw new Error(`a message of ${plan.name} does not trigger: ${first.because}`)
  return messages
}

async function store(query: Query, messages: readonly Message[]): Promise<void> {
  for (let from = 0; from < messages.length; from += 1000) {
    const some = messages.slice(from, from + 1000)
    await query(
      `WITH kept AS (
         INSERT INTO message (channel, received_at, received_on, sender, control_id, digest, bytes, peer, lane, state)
         SELECT channel, now(), (now() AT TIME ZONE 'UTC')::date, 'bench', control_id, digest, length(content), 'bench', lane, 'received'
         FROM unnest($1::text[], $2::text[], $3::bytea[], $4::smallint[], $5::bytea[]) AS m (channel, control_id, digest, lane, content)
         RETURNING id, received_on, control_id)
       INSERT INTO message_content (received_on, message_id, content)
       SELECT kept.received_on, kept.id, m.content FROM kept
       JOIN unnest($2::text[], $5::bytea[]) AS m (control_id, content) USING (control_id)`,
      [
        some.map(({ channel }) => channel),
        some.map(({ controlId }) => controlId),
        some.map(({ content }) => hash('sha256', content, 'buffer')),
        some.map(({ lane }) => lane),
        some.map(({ content }) => content),
      ],
    )
  }
}

async function timeDecide(ports: DecidePorts, events: number): Promise<number> {
  const began = performance.now()
  let [messages, transmissions] = [0, 0]
  for (let pass = await decide(ports, lanes); pass.messages > 0; pass = await decide(ports, lanes)) {
    messages += pass.messages
    transmissions += pass.transmissions
  }
  const seconds = (performance.now() - began) / 1000
  if (messages !== events || transmissions < events * 0.7)
    throw new Error(`${messages} of ${events} messages were decided, with ${transmissions} transmissions`)
  return events / seconds
}

const floorTables = [
  ...['event', 'verdict', 'transmission', 'job'].map(
    (name) =>
      `CREATE TABLE floor_${name} (id uuid PRIMARY KEY, key bytea NOT NULL, at timestamptz NOT NULL, told text NOT NULL)`,
  ),
  'CREATE INDEX floor_event_key ON floor_event (key)',
  'CREATE INDEX floor_transmission_key ON floor_transmission (key)',
  'CREATE INDEX floor_job_at ON floor_job (at)',
]

async function timeFloor(
  dataSource: DataSource,
  messages: readonly Message[],
  authorizations: number,
): Promise<number> {
  const told = 'what was decided, in as many letters as usual: '.repeat(3)
  const began = performance.now()
  for (let from = 0; from < messages.length; from += passRows) {
    const some = messages.slice(from, from + passRows)
    await inTransaction(dataSource, async (query) => {
      const controlIds = some.map(({ controlId }) => controlId)
      await query(
        `SELECT m.id, c.content FROM message m JOIN message_content c ON c.received_on = m.received_on AND c.message_id = m.id
         WHERE m.control_id = ANY ($1::text[])`,
        [controlIds],
      )
      await query(
        'SELECT authorization_id FROM authorization_identifier WHERE system = $1 AND value = ANY ($2::text[])',
        [system, some.map(() => numberOf(1 + Math.floor(Math.random() * authorizations)))],
      )
      for (const table of ['event', 'verdict', 'transmission', 'job'])
        await query(`INSERT INTO floor_${table} SELECT *, now(), $3 FROM unnest($1::uuid[], $2::bytea[])`, [
          some.map(() => randomUUID()),
          some.map(({ content }) => content.subarray(0, 16)),
          told,
        ])
      await query(`UPDATE message SET because = $2 WHERE control_id = ANY ($1::text[])`, [controlIds, told])
    })
  }
  return messages.length / ((performance.now() - began) / 1000)
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en-US').padStart(10)
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' } } })
  await benchDecide(
    values.quick === true ? 100_000 : 1_000_000,
    values.quick === true ? 3 : 5,
    values.quick === true ? 1_000 : 4_000,
    (line) => process.stdout.write(`${line}\n`),
  )
}
