import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
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
  folder = mkdtempSync(join(tmpdir(), 'bluepost-failing-'))
  for (const part of ['channels', 'mappings'])
    cpSync(join(root, part), join(folder, part), { recursive: true })
  const shipped = readFileSync(join(folder, 'channels/lab-results.yaml'), 'utf8')
  writeFileSync(
    join(folder, 'channels/lab-results.yaml'),
    shipped
      .replace(/^enabled: false/m, 'enabled: true')
      .replace(/port: '?[^,}]*'? \}/, 'port: 0 }')
      .replace('kind: new-results', 'kind: discharge'),
  )
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

test(
  'a channel that fails its own test does not start and says which; the discharge feed runs and delivers',
  async () => {
    const said = town.engine.log.map(({ msg }) => String(msg))
    expect(said).toContainEqual(
      expect.stringMatching(/lab-results\.yaml:\d+:1 {2}channel lab-results fails its own test/),
    )
    const { items } = await town.engine.api<{ items: { name: string }[] }>('GET', 'channels')
    expect(items.find(({ name }) => name === 'adt-discharge')).toMatchObject({
      state: 'running',
      because: null,
      isUpToDate: true,
    })
    expect(items.find(({ name }) => name === 'lab-results')).toMatchObject({
      state: 'failed',
      because: expect.stringMatching(/lab-results fails its own test/),
      listen: null,
      revision: null,
    })
    expect(await town.hospital.sends(dischargeOf(ellen))).toMatchObject([{ ack: 'AA' }])
    await town.settles()
    expect(town.phr.inbox).toHaveLength(1)
  },
  startMsMax,
)
