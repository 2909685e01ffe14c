import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { loadChannels } from '../../src/channels/load.ts'
import type { ChannelPlan, FileDropSource } from '../../src/domain/channel.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { dropDirectory } from '../../src/intake/drop-directory.ts'
import { silentLog } from '../../src/lib/log.ts'
import { decide, type DecidePorts } from '../../src/pipeline/decide.ts'
import { keepFile } from '../../src/pipeline/keep-files.ts'
import { readBlindKey } from '../../src/store/decisions.ts'
import { entities } from '../../src/store/entities.ts'
import { openInboundMessages, type InboundMessages } from '../../src/store/inbound-messages.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { anAuthorization } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const lanes = Array.from({ length: 256 }, (_, lane) => lane)
const payer = 'urn:oid:2.16.840.1.113883.3.9999'
const paid = readFileSync('channels/samples/claim-paid.835', 'utf8')

let database: TestDatabase
let query: Query
let store: InboundMessages
let folder: string
let plan: ChannelPlan & { source: FileDropSource }
let ports: DecidePorts

beforeAll(async () => {
  database = await freshDatabase({ entities })
  query = queryOf(database.dataSource)
  await makeRoomForDays(database.dataSource, new Date())
  store = openInboundMessages(database.dataSource)
  folder = mkdtempSync(join(tmpdir(), 'bluepost-remittance-'))
  const shipped = plans.find(({ name }) => name === 'remittance-835')!
  plan = {
    ...shipped,
    enabled: true,
    source: {
      ...(shipped.source as FileDropSource),
      directory: folder,
      archive: join(folder, 'archive'),
      quarantine: join(folder, 'quarantine'),
    },
  }
  ports = {
    dataSource: database.dataSource,
    channel: () => plan,
    aliases: new Map([['1512345678', payer]]),
    blindKey: await readBlindKey(query),
    holdMaxMs: undefined,
    deliveryRequested: true,
    now: () => new Date(),
  }
})
afterAll(async () => {
  await store.close()
  await database.close()
  rmSync(folder, { recursive: true })
})
/** Dropped, taken, decided. */
async function arrives(name: string, content: string): Promise<void> {
  writeFileSync(join(folder, name), content)
  const directory = dropDirectory({ ...plan.source, channel: plan.name })
  await directory.take(10)
  await directory.take(10)
  for (const path of await directory.atWork())
    expect(
      await keepFile(
        { store, directory, now: () => new Date(), log: silentLog, signal: new AbortController().signal },
        plan,
        path,
      ),
    ).toMatchObject({ outcome: 'archived' })
  while ((await decide(ports, lanes)).messages > 0);
}

function remittance(day: string, number: string, ...claims: readonly string[]): string {
  const head = paid.slice(0, paid.indexOf('LX*1'))
  const [claim] = /CLP\*[^]*?(?=SE\*)/.exec(paid)!
  const body = `LX*1~\n${claims.map((change) => claim.replace('CLP*ASHBY-77*1', `CLP*ASHBY-77*${change}`)).join('')}`
  const segments = `${head}${body}`.split('~').length - 1 - 2 + 1
  return `${head}${body}SE*${segments}*0001~\nGE*1*42~\nIEA*1*000000042~\n`
    .replaceAll('ICN20260302001', 'ICN-7')
    .replaceAll('20260302', day)
    .replaceAll('*42*X', `*${number}*X`)
    .replace('GE*1*42', `GE*1*${number}`)
}

const transmissions = () =>
  query<{ state: string; code: string | null; occurred_at: Date }>(
    'SELECT state, code, occurred_at FROM transmission ORDER BY created_at, occurred_at',
  )

test('a reversal takes the claim of an earlier file back; the corrected claim behind it stands', async () => {
  await anAuthorization(database.dataSource, {
    patient: {
      identifiers: [{ system: payer, value: 'M5550147', type: 'MB' }],
      family: 'Ross',
      given: 'Ellen',
      birthDate: '1956-08-14',
    },
    triggers: ['claim-adjudicated'],
    validFrom: new Date('2026-01-01T00:00:00Z'),
  })
  await arrives('first.835', remittance('20260302', '42', '1'))
  // A remittance has no birth date: nobody can check the identifier by it, and a person looks.
  expect(await transmissions()).toMatchObject([{ state: 'held', code: 'birth-date-missing' }])
  await arrives('second.835', remittance('20260309', '43', '22', '1'))
  const events = await query<{ cancels: boolean; back: boolean; occurred_at: Date }>(
    'SELECT cancels, taken_back_by IS NOT NULL AS back, occurred_at FROM trigger_event ORDER BY id',
  )
  expect(events.map(({ cancels, back }) => [cancels, back])).toEqual([
    [false, true],
    [true, false],
    [false, false],
  ])
  expect((await transmissions()).map(({ state }) => state).sort()).toEqual(['held', 'withdrawn'])
})
