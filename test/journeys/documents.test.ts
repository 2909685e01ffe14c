import { afterAll, beforeAll, expect, test } from '@jest/globals'
import '../neighbours/expectations.ts'
import { dischargeOf } from '../neighbours/hl7-messages.ts'
import type { SeenTransmission, Town } from '../neighbours/neighbourhood.ts'
import { ellen } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const startMsMax = 120_000
const storyMsMax = 60_000

let database: TestDatabase
let town: Town
let authorization: string

beforeAll(async () => {
  database = await freshDatabase()
  town = await aTown({ database: database.url })
  authorization = (await town.authorize({ triggers: ['discharge'] })).id
}, startMsMax)
afterAll(async () => {
  await town?.close()
  await database?.close()
}, startMsMax)

/** Ellen is discharged once more. @returns what became of it */
async function discharged(visit: string): Promise<SeenTransmission> {
  const before = new Set((await town.transmissions(authorization)).map(({ id }) => id))
  await town.hospital.sends(dischargeOf(ellen, { visit }))
  await town.settles()
  const [fresh, ...more] = (await town.transmissions(authorization)).filter(({ id }) => !before.has(id))
  expect(more).toEqual([])
  return fresh!
}

test(
  'the same document is not sent twice to one place, and the operator reads why',
  async () => {
    expect(await discharged('V1')).toMatchObject({ state: 'delivered' })
    expect(town.phr.inbox).toHaveLength(1)
    expect(town.phr.inbox).toContainDocument(town.ellensCcd)

    const second = await discharged('V2')
    expect(second).toMatchObject({ state: 'skipped', code: 'document-unchanged' })
    expect(town.phr.inbox).toHaveLength(1)
    const { code, stdout } = await town.engine.command('explain', second.id)
    expect(code).toBe(0)
    expect(stdout).toMatch(/is skipped: the document is, byte by byte, that of transmission/)
    expect(stdout).toMatch(/nothing has to be done/)
  },
  storyMsMax,
)

test(
  'a new version is sent, and what goes along with it arrives beside it',
  async () => {
    const newer = await town.clinic.publishes(ellen, { version: 3 })
    const discharge = await town.clinic.publishes(ellen, { code: '18842-5' })
    expect(await discharged('V3')).toMatchObject({ state: 'delivered' })
    expect(town.phr.refused).toEqual([])
    expect(town.phr.inbox.at(-1)!.attachments).toMatchObject([
      { filename: 'clinical-summary.xml', sha256: newer.sha256 },
      { filename: 'discharge-summary.xml', sha256: discharge.sha256 },
      { filename: 'request.txt' },
    ])
  },
  storyMsMax,
)

test(
  'a version older than the one that was sent last is held',
  async () => {
    const before = town.phr.inbox.length
    await town.clinic.publishes(ellen, { version: 2 })
    const held = await discharged('V4')
    expect(held).toMatchObject({ state: 'held', code: 'document-refused' })
    expect(held.because).toMatch(/version 2 of a document of which version 3 was sent/)
    expect(town.phr.inbox).toHaveLength(before)
  },
  storyMsMax,
)
