import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { DataSource } from 'typeorm'
import type { TriggerEvent } from '../src/domain/trigger-event.ts'
import { silentLog } from '../src/lib/log.ts'
import { match, strongKeys } from '../src/matching/match.ts'
import { makeDataSource } from '../src/store/data-source.ts'
import { openDatabase } from '../src/store/embedded-postgres.ts'
import { candidatesFor } from '../src/store/matching.ts'
import { migrate } from '../src/store/migrate.ts'
import { queryOf, type Query } from '../src/store/query.ts'
import { numberOf, storeAuthorizations, system } from './authorizations.ts'

/** One line of the result: medians over rounds that were taken in turns with those of the other sizes. */
export interface MatchingFigure {
  readonly authorizations: number
  /** Events looked up in one statement: 1, or as many as a decider takes at most. */
  readonly batch: number
  readonly usPerEvent: number
  /** The same number of rows by their primary key, with the same number of statements. */
  readonly floorUsPerEvent: number
  /** Of the time with the fewest authorizations. */
  readonly ratio: number
}

const batches = [1, 200]

/**
 * From a trigger event to its verdicts (look-up and decision) with so many authorizations stored; nine of ten events find
 * one, the tenth none. The measure of the issue: ratio ≤ 1.3 from 1,000 to 1,000,000.
 *
 * @param eventsPerRound per size and batch
 * @param print takes each line as it is ready
 */
export async function benchMatching(
  sizes: readonly number[],
  rounds: number,
  eventsPerRound: number,
  print: (line: string) => void,
): Promise<MatchingFigure[]> {
  const directory = mkdtempSync(join(tmpdir(), 'bluepost-bench-'))
  const server = await openDatabase({
    dataDirectory: directory,
    role: 'engine',
    log: silentLog,
    durable: false,
  })
  const stores: Store[] = []
  try {
    for (const size of sizes) stores.push(await openStore(server.url, size, print))
    const times = new Map<string, { ours: number[]; floor: number[] }>()
    // The first round warms caches and the JIT, and is not counted.
    for (let round = -1; round < rounds; round++)
      for (const batch of batches)
        for (let turn = 0; turn < stores.length; turn++) {
          const store = stores[(turn + round + stores.length) % stores.length]!
          const key = `${store.size} ${batch}`
          const taken = times.get(key) ?? { ours: [], floor: [] }
          times.set(key, taken)
          const ours = await timeEvents(store, batch, eventsPerRound)
          const floor = await timeFloor(store, batch, eventsPerRound)
          if (round < 0) continue
          taken.ours.push(ours)
          taken.floor.push(floor)
        }

    print('matching, event to verdict: microseconds per event')
    print('authorizations   events at once   bluepost      floor   of floor   ratio to smallest')
    const figures: MatchingFigure[] = []
    for (const batch of batches)
      for (const { size } of stores) {
        const taken = times.get(`${size} ${batch}`)!
        const usPerEvent = median(taken.ours)
        const floorUsPerEvent = median(taken.floor)
        const ratio = usPerEvent / median(times.get(`${stores[0]!.size} ${batch}`)!.ours)
        figures.push({ authorizations: size, batch, usPerEvent, floorUsPerEvent, ratio })
        print(
          `${size.toLocaleString('en').padStart(14)}   ${String(batch).padStart(14)}   ${usPerEvent.toFixed(1).padStart(8)}   ${floorUsPerEvent.toFixed(1).padStart(8)}   ${(usPerEvent / floorUsPerEvent).toFixed(2).padStart(8)}   ${ratio.toFixed(2).padStart(17)}`,
        )
      }
    return figures
  } finally {
    for (const { dataSource } of stores) await dataSource.destroy()
    await server.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

interface Store {
  readonly size: number
  readonly dataSource: DataSource
  readonly query: Query
}

async function openStore(serverUrl: string, size: number, print: (line: string) => void): Promise<Store> {
  const administrator = makeDataSource(serverUrl, { poolSize: 1 })
  await administrator.initialize()
  await administrator.query(`CREATE DATABASE with_${size}`)
  await administrator.destroy()
  const url = new URL(serverUrl)
  url.pathname = `/with_${size}`
  const dataSource = makeDataSource(url.href, { poolSize: 1 })
  await dataSource.initialize()
  await migrate(dataSource)
  const query = queryOf(dataSource)
  const began = performance.now()
  await storeAuthorizations(query, size, ['discharge'])
  print(
    `${size.toLocaleString('en')} authorizations stored in ${((performance.now() - began) / 1000).toFixed(1)} s`,
  )
  return { size, dataSource, query }
}

const at = new Date('2026-06-01T12:00:00Z')
const options = { aliases: new Map([[system, system]]) }

function eventOf(patient: number): TriggerEvent {
  return {
    kind: 'discharge',
    occurredAt: at,
    patient: {
      identifiers: [{ system, value: numberOf(patient), type: 'MR' }],
      family: 'ROSS',
      birthDate: '1956-08-14',
    },
  }
}

/** @returns microseconds per event */
async function timeEvents({ query, size }: Store, batch: number, events: number): Promise<number> {
  let matched = 0
  const began = performance.now()
  for (let done = 0; done < events; done += batch) {
    const some = Array.from({ length: batch }, (_, index) =>
      eventOf(index % 10 === 9 ? 9_000_000 + done : anyOf(size)),
    )
    const candidates = await candidatesFor(
      query,
      some.map((event) => strongKeys(event, options.aliases)),
    )
    for (const [index, event] of some.entries())
      if (match(event, candidates[index] ?? [], options, at).outcome === 'matched') matched++
  }
  const us = ((performance.now() - began) * 1000) / events
  if (matched < events * 0.85) throw new Error(`only ${matched} of ${events} events matched`)
  return us
}

/** @returns microseconds per row */
async function timeFloor({ query, size }: Store, batch: number, events: number): Promise<number> {
  const began = performance.now()
  for (let done = 0; done < events; done += batch) {
    const values = Array.from({ length: batch }, () => numberOf(anyOf(size)))
    await query(
      'SELECT authorization_id FROM authorization_identifier WHERE system = $1 AND value = ANY ($2::text[])',
      [system, values],
    )
  }
  return ((performance.now() - began) * 1000) / events
}

function anyOf(size: number): number {
  return 1 + Math.floor(Math.random() * size)
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' } } })
  await benchMatching(
    values.quick === true ? [1000, 100_000] : [1000, 100_000, 1_000_000],
    values.quick === true ? 5 : 9,
    values.quick === true ? 400 : 1000,
    (line) => process.stdout.write(`${line}\n`),
  )
}
