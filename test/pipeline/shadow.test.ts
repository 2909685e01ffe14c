import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { loadChannels } from '../../src/channels/load.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { silentLog } from '../../src/lib/log.ts'
import { laneKey } from '../../src/mapping/lane-key.ts'
import { decide, type DecidePorts } from '../../src/pipeline/decide.ts'
import { explainPatient } from '../../src/pipeline/explain-patient.ts'
import { makeReceive } from '../../src/pipeline/receive.ts'
import { shadow } from '../../src/pipeline/shadow.ts'
import { readBlindKey } from '../../src/store/decisions.ts'
import { openInboundMessages } from '../../src/store/inbound-messages.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { cancelledDischargeOf, adtOf } from '../neighbours/hl7-messages.ts'
import { ellen } from '../neighbours/people.ts'
import { anAuthorization } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const system = 'urn:oid:2.16.840.1.113883.19.5.1'
const lanes = Array.from({ length: 256 }, (_, lane) => lane)
let folder: string
let database: TestDatabase
let query: Query
let decidePorts: DecidePorts
let closeStore: () => Promise<void>
const asShipped = () => loadedFrom('.')
const loadedFrom = (root: string) => {
  const { plans, problems } = loadChannels({
    channelsDirectory: join(root, 'channels'),
    mappingsDirectory: join(root, 'mappings'),
    environment: {},
  })
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([])
  return plans.find(({ name }) => name === 'adt-discharge')!
}
/** The shipped files, one of them changed. */
const changed = (file: string, from: string | RegExp, to: string) => {
  const text = readFileSync(file, 'utf8')
  expect(text).toMatch(from)
  writeFileSync(join(folder, file), text.replace(from, to))
  const plan = loadedFrom(folder)
  writeFileSync(join(folder, file), text)
  return plan
}
const since = new Date(Date.now() - 3_600_000)
const aliases = new Map([['ASHBY', system]])
const compared = (plan: ReturnType<typeof asShipped>) => shadow(query, plan, since, aliases)

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-shadow-'))
  for (const part of ['channels', 'mappings']) cpSync(part, join(folder, part), { recursive: true })
  database = await freshDatabase()
  query = queryOf(database.dataSource)
  await makeRoomForDays(database.dataSource, new Date())
  const plan = asShipped()
  decidePorts = {
    dataSource: database.dataSource,
    channel: (name) => (name === plan.name ? plan : undefined),
    aliases,
    blindKey: await readBlindKey(query),
    holdMaxMs: undefined,
    deliveryRequested: true,
    now: () => new Date(),
  }
  await anAuthorization(database.dataSource, {
    patient: {
      identifiers: [{ system, value: 'E1001', type: 'MR' }],
      family: ellen.family,
      given: ellen.given,
      birthDate: ellen.birthDate,
    },
    validFrom: since,
  })
  const store = openInboundMessages(database.dataSource, { onCommitted: () => {} })
  closeStore = () => store.close()
  const { frame } = makeReceive({
    channel: plan.name,
    store,
    laneKey: (bytes) => laneKey(plan, bytes),
    clock: () => new Date(),
    newControlId: () => 'ACK',
    log: silentLog,
  })
  const known = { ...ellen, identifiers: [{ system, value: 'E1001', type: 'MR' }] }
  const nobody = { ...ellen, identifiers: [{ system, value: 'E9999', type: 'MR' }] }
  const messages = [
    adtOf(known, { event: 'A03', visit: 'V1' }),
    adtOf(known, { event: 'A03', visit: 'V2', patientClass: 'E' }),
    cancelledDischargeOf(known, 'V1'),
    adtOf(known, { event: 'A01' }),
    adtOf(known, { event: 'A03', processingId: 'T' }),
    adtOf(known, { event: 'A03', visit: 'V3', disposition: 'ZZ' }),
    adtOf(nobody, { event: 'A03' }),
  ]
  for (const message of messages)
    await frame({ bytes: Buffer.from(message), endBlockComplete: true }, { address: '127.0.0.1' })
  while ((await decide(decidePorts, lanes)).messages > 0);
})
afterAll(async () => {
  await closeStore()
  await database.close()
  rmSync(folder, { recursive: true })
})

test('the same files decide the same; what is kept of nobody is counted and not compared', async () => {
  const all = await compared(asShipped())
  expect(all.differences).toEqual([])
  expect(all).toMatchObject({ compared: 6, same: 6, withoutContent: 1 })
})

test('a row for a code that had none: the message would no longer be in quarantine', async () => {
  const { differences } = await compared(
    changed('mappings/tables/discharge-disposition.csv', /\n$/, '\nZZ,home\n'),
  )
  expect(differences).toMatchObject([
    {
      before: expect.stringMatching(/^quarantined: .*ZZ.* \[lookup-miss\]$/),
      after: 'discharge',
      messages: 1,
    },
  ])
})

test('other filters, kinds, patients and visits are told apart, and no value of a message is told', async () => {
  const production = await compared(changed('channels/adt-discharge.yaml', /^tests:[^]*$/m, ''))
  expect(production.differences).toEqual([])
  const kind = await compared(changed('mappings/tables/visit-end-kind.csv', /^I,.*$/m, 'I,transition,'))
  expect(kind.differences.map(({ before, after, messages }) => [before, after, messages])).toContainEqual([
    'discharge',
    'transition',
    1,
  ])
  const visit = await compared(changed('mappings/adt-to-trigger.yaml', /PV1-19\.1/, 'PV1-3.1'))
  expect(visit.differences.map(({ after }) => after)).toContainEqual('discharge, for another visit number')
  expect(JSON.stringify([production, kind, visit])).not.toMatch(/E1001|Ross|V1\b/)
})

test('a patient and a day on which nothing triggered: her request, the channels, quarantine', async () => {
  const name = new Date().toISOString().slice(0, 10)
  const day = {
    name,
    from: new Date(`${name}T00:00:00Z`),
    until: new Date(Date.parse(`${name}T00:00:00Z`) + 86_400_000),
  }
  const ask = async (value: string, on = day) =>
    (
      await explainPatient(query, { system, value, type: 'MR' }, on, ['adt-discharge', 'lab-results'])
    ).explanations
      .map(({ sentences }) => sentences.join('\n'))
      .join('\n')
  const stranger = await ask('E4711')
  expect(stranger).toContain(`Nothing was received about this patient on ${name}`)
  expect(stranger).toContain('No request is stored under this identifier')
  expect(stranger).toMatch(/Channel adt-discharge received 7 messages .* 1 are in quarantine/)
  expect(stranger).toContain('Channel lab-results received nothing at all')

  expect(await ask('E1001')).toMatch(/It says: discharge/)
  const yesterday = {
    name: 'yesterday',
    from: new Date(day.from.getTime() - 86_400_000),
    until: day.from,
  }
  const before = await ask('E1001', yesterday)
  expect(before).toMatch(/Request .* \(continuously on discharge\) begins only at/)
  expect(before).toContain(
    'Channel adt-discharge received nothing at all on yesterday; nor in the 30 days before',
  )
})
