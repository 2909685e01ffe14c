import { appendFileSync, cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { setField } from '../../src/lib/hl7v2-edit.ts'
import { dischargeOf } from '../neighbours/hl7-messages.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const startMsMax = 120_000
const root = join(import.meta.dirname, '../..')

let database: TestDatabase
let town: Town
let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-quarantine-'))
  for (const part of ['channels', 'mappings'])
    cpSync(join(root, part), join(folder, part), { recursive: true })
  database = await freshDatabase()
  town = await aTown({
    database: database.url,
    authorization: { triggers: ['discharge'] },
    settings: { channelsDirectory: join(folder, 'channels'), mappingsDirectory: join(folder, 'mappings') },
  })
}, startMsMax)
afterAll(async () => {
  await town?.close()
  await database?.close()
  rmSync(folder, { recursive: true, force: true })
}, startMsMax)

interface Group {
  readonly id: string
  readonly count: number
  readonly sentence: string
  readonly release: { readonly released: number; readonly endedAt: string | null } | null
}

test(
  'a discharge with a code nobody knew waits, the table gets its row, the group is released, and it is delivered',
  async () => {
    const bytes = setField(Buffer.from(dischargeOf(ellen)), 'PV1-36', 'QQ')
    expect(await town.hospital.sends(bytes.toString())).toMatchObject([{ ack: 'AA' }])
    await town.settles()
    expect(town.phr.inbox).toHaveLength(0)
    const { items } = await town.engine.api<{ items: Group[] }>('GET', 'quarantine')
    expect(items).toMatchObject([{ count: 1, sentence: 'table discharge-disposition has no row for "QQ"' }])
    const path = `quarantine/${items[0]!.id}`
    expect(await town.engine.api('POST', `${path}/test`)).toMatchObject({ tested: 1, quarantined: 1 })

    appendFileSync(join(folder, 'mappings/tables/discharge-disposition.csv'), 'QQ,home\n')
    await town.engine.restart()
    // What was counted before the engine stopped is there.
    const { items: tables } = await town.engine.api<{ items: { table: string; misses: number }[] }>(
      'GET',
      'tables',
    )
    expect(tables).toContainEqual(
      expect.objectContaining({
        table: 'discharge-disposition',
        misses: 1,
        values: [expect.objectContaining({ value: 'QQ', hasRow: true })],
      }),
    )
    expect(await town.engine.api('POST', `${path}/test`)).toMatchObject({ tested: 1, trigger: 1 })
    expect(await town.engine.api('POST', `${path}/release`, { because: 'QQ is home' })).toMatchObject({
      wanted: 1,
    })
    await town.until(
      'the group is released',
      async () => (await town.engine.api<{ items: Group[] }>('GET', 'quarantine')).items.length === 0,
      30_000,
    )
    await town.settles()
    expect(town.phr.inbox).toHaveLength(1)
    expect(await town.engine.api('GET', 'quarantine')).toEqual({ items: [] })
  },
  startMsMax,
)
