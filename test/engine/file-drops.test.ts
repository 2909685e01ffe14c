import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { appendFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { loadChannels } from '../../src/channels/load.ts'
import type { ChannelPlan, FileDropSource } from '../../src/domain/channel.ts'
import { followFileDrops, type FileDrops } from '../../src/engine/file-drops.ts'
import { makeStops, type Stops } from '../../src/engine/stops.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { dropDirectory } from '../../src/intake/drop-directory.ts'
import { silentLog } from '../../src/lib/log.ts'
import { Metrics } from '../../src/lib/metrics.ts'
import { evaluate } from '../../src/mapping/evaluate.ts'
import { keepFile } from '../../src/pipeline/keep-files.ts'
import { entities } from '../../src/store/entities.ts'
import { openInboundMessages, type InboundMessages } from '../../src/store/inbound-messages.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const shipped = (name: string) => plans.find((plan) => plan.name === name)!

type FilePlan = ChannelPlan & { readonly source: FileDropSource }

let database: TestDatabase
let query: Query
let store: InboundMessages
let folder: string
let stops: Stops

beforeAll(async () => {
  database = await freshDatabase({ entities })
  query = queryOf(database.dataSource)
  await makeRoomForDays(database.dataSource, new Date())
})
afterAll(() => database.close())
beforeEach(async () => {
  await query('TRUNCATE message, message_content, fragment CASCADE')
  folder = mkdtempSync(join(tmpdir(), 'bluepost-drop-'))
  stops = makeStops(silentLog)
  store = openInboundMessages(database.dataSource)
  stops.add('the store', () => store.close())
})
afterEach(async () => {
  await stops.stopAll()
  rmSync(folder, { recursive: true })
})

/** Looked at when a test says so: the pace is beyond its end. */
function planFor(format: FileDropSource['format'], over: Partial<FileDropSource> = {}): FilePlan {
  const name = { hl7v2: 'adt-discharge', 'x12-835': 'remittance-835', ndjson: 'eob-feed' }[format]
  return {
    ...shipped(name),
    enabled: true,
    source: {
      type: 'file-drop',
      directory: folder,
      pattern: '*',
      format,
      archive: join(folder, 'archive'),
      quarantine: join(folder, 'quarantine'),
      everyMs: 2 ** 30,
      ...over,
    },
  }
}

function engine(plan: FilePlan, metrics = new Metrics()): FileDrops {
  return followFileDrops([plan], {
    dataSource: database.dataSource,
    store,
    metrics,
    log: silentLog,
    now: () => new Date(),
    stops,
  })
}

/** A file that stood still is taken at the second look. */
async function looks(drops: FileDrops, plan: FilePlan, times = 3): Promise<void> {
  for (let time = 0; time < times; time++) await drops.look(plan.name)
}

const drop = (name: string, content: string | Buffer) => writeFileSync(join(folder, name), content)
const inFolder = (...names: string[]) => {
  const path = join(folder, ...names)
  return existsSync(path) ? readdirSync(path).sort() : []
}
const stored = () =>
  query<{ control_id: string; state: string; sender: string; content: Buffer }>(
    `SELECT m.control_id, m.state, m.sender, c.content FROM message m JOIN message_content c ON c.message_id = m.id ORDER BY m.id`,
  )
const adt = (id: string) =>
  `MSH|^~\\&|EPIC|ASHBY|BB|ASHBY|20260302114500-0500||ADT^A03|${id}|P|2.5.1\rEVN|A03|20260302\rPID|1||${id}^^^ASHBY\r`
const batch = (count: number) =>
  `FHS|^~\\&|EPIC\rBHS|^~\\&|EPIC\r${Array.from({ length: count }, (_, nth) => adt(`M${nth}`)).join('')}BTS|${count}\rFTS|1\r`

test('a batch that was dropped is kept message by message, in order, and archived', async () => {
  const plan = planFor('hl7v2')
  drop('visits.hl7', batch(3))
  const drops = engine(plan)
  await looks(drops, plan)
  const rows = await stored()
  expect(rows.map(({ control_id, state, sender }) => [control_id, state, sender])).toEqual(
    ['M0', 'M1', 'M2'].map((id) => [id, 'received', 'EPIC|ASHBY']),
  )
  expect(rows[1]!.content.toString()).toBe(adt('M1'))
  expect(inFolder('archive')).toEqual([
    expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-visits\.hl7$/),
  ])
  expect(inFolder('.bluepost-adt-discharge', 'work')).toEqual([])
  expect(drops.standing(plan.name)).toEqual({})
  // The same file once more is known, and overwrites nothing.
  drop('visits.hl7', batch(3))
  await looks(drops, plan)
  expect(await stored()).toHaveLength(3)
  expect(inFolder('archive')).toHaveLength(2)
})

test('what is still written, hidden, linked or not wanted is left alone', async () => {
  const plan = planFor('hl7v2', { pattern: '*.hl7' })
  drop('growing.hl7', adt('A'))
  drop('.hidden.hl7', adt('B'))
  drop('b.hl7.part', adt('C'))
  drop('notes.txt', 'hello')
  const outside = mkdtempSync(join(tmpdir(), 'bluepost-outside-'))
  writeFileSync(join(outside, 'secret.hl7'), adt('D'))
  symlinkSync(join(outside, 'secret.hl7'), join(folder, 'link.hl7'))
  mkdirSync(join(folder, 'sub.hl7'))
  const drops = engine(plan)
  await drops.look(plan.name)
  appendFileSync(join(folder, 'growing.hl7'), adt('E'))
  await drops.look(plan.name)
  expect(await stored()).toEqual([])
  await drops.look(plan.name)
  expect((await stored()).map(({ control_id }) => control_id)).toEqual(['A', 'E'])
  expect(inFolder()).toEqual([
    '.bluepost-adt-discharge',
    '.hidden.hl7',
    'archive',
    'b.hl7.part',
    'link.hl7',
    'notes.txt',
    'sub.hl7',
  ])
  rmSync(outside, { recursive: true })
})

test('a file that cannot be read is put aside with its reason, and the others go on', async () => {
  const plan = planFor('x12-835')
  const whole = readFileSync('channels/samples/claim-paid.835', 'utf8')
  drop('a-cut-off.835', whole.slice(0, -40))
  drop('b-whole.835', whole)
  drop('c-empty.835', '')
  const metrics = new Metrics()
  const drops = engine(plan, metrics)
  await looks(drops, plan)
  expect((await stored()).map(({ control_id }) => control_id)).toEqual(['835/000000042/42/0001/1'])
  const aside = inFolder('quarantine')
  expect(aside).toEqual(
    ['a-cut-off.835', 'a-cut-off.835.reason.txt', 'c-empty.835', 'c-empty.835.reason.txt'].map((name) =>
      expect.stringMatching(new RegExp(`Z-${name.replaceAll('.', '\\.')}$`)),
    ),
  )
  const reason = readFileSync(join(folder, 'quarantine', aside[1]!), 'utf8')
  expect(reason).toMatch(/remittance-835.*took nothing from this file:\n.*it was cut off.*Ask the sender/s)
  expect(reason).not.toMatch(/ROSS|ICN/)
  const fragments = await query<{ because: string; content: Buffer }>(
    'SELECT because, content FROM fragment ORDER BY id',
  )
  expect(fragments.map(({ because }) => because)).toEqual([
    expect.stringMatching(/^a file was put into quarantine: .*cut off/),
    expect.stringMatching(/^a file was put into quarantine: the file is empty/),
  ])
  expect(await metrics.registry.metrics()).toContain(
    'bluepost_files_total{channel="remittance-835",outcome="quarantined"} 2',
  )
})

test('two engines at the same directory keep every message once', async () => {
  const plan = planFor('hl7v2')
  const two = openInboundMessages(database.dataSource)
  stops.add('another store', () => two.close())
  const engines = [store, two].map((one) =>
    followFileDrops([plan], {
      dataSource: database.dataSource,
      store: one,
      metrics: new Metrics(),
      log: silentLog,
      now: () => new Date(),
      stops,
    }),
  )
  for (let nth = 0; nth < 20; nth++) drop(`f${nth}.hl7`, adt(`F${nth}-1`) + adt(`F${nth}-2`))
  for (let time = 0; time < 6; time++) await Promise.all(engines.map((drops) => drops.look(plan.name)))
  const ids = (await stored()).map(({ control_id }) => control_id)
  expect(ids).toHaveLength(40)
  expect(new Set(ids).size).toBe(40)
  expect(inFolder('archive')).toHaveLength(20)
})

test('stopped in the middle of a file, it is read again: nothing is lost and nothing is kept twice', async () => {
  const plan = planFor('hl7v2')
  drop('many.hl7', batch(1_000))
  const stopping = new AbortController()
  // The first commit is the last thing this process does.
  const first = openInboundMessages(database.dataSource, { onCommitted: () => stopping.abort() })
  const directory = dropDirectory({ ...plan.source, channel: plan.name })
  await directory.take(10)
  await directory.take(10)
  const [path] = await directory.atWork()
  const kept = await keepFile(
    { store: first, directory, now: () => new Date(), log: silentLog, signal: stopping.signal },
    plan,
    path!,
  )
  await first.close()
  expect(kept).toEqual({ outcome: 'interrupted' })
  const before = (await stored()).length
  expect(before).toBeGreaterThan(0)
  expect(before).toBeLessThan(1_000)
  expect(inFolder('archive')).toEqual([])
  // What the last process left is taken first, without waiting for it to stand still.
  const drops = engine(plan)
  await drops.look(plan.name)
  const ids = (await stored()).map(({ control_id }) => control_id)
  expect(ids).toEqual(Array.from({ length: 1_000 }, (_, nth) => `M${nth}`))
  expect(inFolder('archive')).toHaveLength(1)
})

test('a claim out of a file is decided by the shipped channel; a packed file of resources brings its patients along', async () => {
  const claims = planFor('x12-835')
  drop('paid.835', readFileSync('channels/samples/claim-paid.835'))
  const drops = engine(claims)
  await looks(drops, claims)
  const [claim] = await stored()
  expect(evaluate(claims, claim!.content, new Date())).toMatchObject({
    decision: 'trigger',
    event: { claim: { id: 'ICN20260302001' }, patient: { family: 'ROSS' } },
  })

  const resources = planFor('ndjson', { pattern: '*.ndjson.gz' })
  const eob = (id: string, patient: object) => ({
    resourceType: 'ExplanationOfBenefit',
    id,
    meta: { versionId: '1', lastUpdated: '2026-03-02T20:00:00Z' },
    status: 'active',
    use: 'claim',
    outcome: 'complete',
    ...patient,
  })
  const ellen = {
    resourceType: 'Patient',
    id: 'm-5',
    identifier: [{ system: 'urn:oid:1.2.3.4', value: 'M5' }],
    name: [{ family: 'Ross' }],
    birthDate: '1956-08-14',
  }
  const lines = [
    eob('c-1', { patient: { reference: 'Patient/m-5' } }),
    eob('c-2', { patient: { reference: '#p' }, contained: [{ ...ellen, id: 'p' }] }),
    eob('c-3', { patient: { reference: 'Patient/unknown' } }),
    ellen,
  ].map((one) => JSON.stringify(one))
  drop('eob.ndjson.gz', gzipSync([...lines, '{ broken'].join('\n')))
  const feed = engine(resources)
  await looks(feed, resources)
  const rows = (await stored()).slice(1)
  const told = rows.map(({ content }) => evaluate(resources, content, new Date()))
  const patient = {
    identifiers: [{ system: 'urn:oid:1.2.3.4', value: 'M5' }],
    family: 'Ross',
    birthDate: '1956-08-14',
  }
  expect(told[0]).toMatchObject({ decision: 'trigger', event: { patient } })
  expect(told[1]).toMatchObject({ decision: 'trigger', event: { patient } })
  expect(told[2]).toMatchObject({ decision: 'trigger', event: { patient: { reference: 'Patient/unknown' } } })
  expect(told[3]).toMatchObject({ decision: 'quarantined', code: 'fhir-unreadable' })
  expect(rows.map(({ control_id }) => control_id)).toEqual([
    'ExplanationOfBenefit/c-1/_history/1',
    'ExplanationOfBenefit/c-2/_history/1',
    'ExplanationOfBenefit/c-3/_history/1',
    'line/5',
  ])
})

test('a directory that is not there is told, and followed once it is', async () => {
  const plan = planFor('hl7v2', { directory: join(folder, 'later') })
  const drops = engine(plan)
  await drops.look(plan.name)
  expect(drops.standing(plan.name)?.because).toMatch(/later is not there: create it, or correct directory:/)
  mkdirSync(join(folder, 'later'), { recursive: true })
  expect(inFolder()).toEqual(['later'])
  writeFileSync(join(folder, 'staged'), adt('A'))
  renameSync(join(folder, 'staged'), join(folder, 'later', 'a.hl7'))
  await looks(drops, plan)
  expect(await stored()).toHaveLength(1)
  expect(drops.standing(plan.name)).toEqual({})
})
