import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import './expectations.ts'
import { dischargeOf } from './hl7-messages.ts'
import type { Town } from './neighbourhood.ts'
import { ellen, isaac } from './people.ts'
import { aTown } from './town.ts'

const startMsMax = 120_000
const storyMsMax = 60_000

let database: TestDatabase
let town: Town

beforeAll(async () => {
  database = await freshDatabase()
  town = await aTown({ database: database.url, authorization: { triggers: ['discharge'] } })
}, startMsMax)
afterAll(async () => {
  await town?.close()
  await database?.close()
}, startMsMax)

test(
  'a discharge reaches Ellen’s PHR and its MDN closes the transmission',
  async () => {
    expect(await town.hospital.sends(dischargeOf(ellen))).toMatchObject([{ ack: 'AA' }])
    await town.settles()
    expect(town.phr.refused).toEqual([])
    expect(town.phr.inbox).toContainDocument(town.ellensCcd)
    expect(await town.fateOf(ellen)).toBe('delivered')
  },
  storyMsMax,
)

test(
  'nothing is sent about somebody who asked for nothing',
  async () => {
    const before = town.phr.inbox.length
    await town.clinic.publishes(isaac)
    expect(await town.hospital.sends(dischargeOf(isaac))).toMatchObject([{ ack: 'AA' }])
    await town.settles()
    expect(town.phr.inbox).toHaveLength(before)
    expect(await town.fateOf(isaac)).toBe('nothing')
  },
  storyMsMax,
)

test(
  'the engine can be killed at any time and goes on after it is started again',
  async () => {
    const before = town.phr.inbox.length
    // The same document is not sent twice.
    await town.clinic.publishes(ellen, { version: 2 })
    await town.phr.answers({ never: true, times: 1 })
    await town.hospital.sends(dischargeOf(ellen))
    await town.engine.kill('SIGKILL')
    await town.engine.start()
    await town.settles()
    expect(town.phr.inbox).toHaveLength(before + 1)
    expect(await town.fateOf(ellen)).toBe('submitted')
    await town.phr.sendsMdn('dispatched')
    await town.settles()
    expect(await town.fateOf(ellen)).toBe('delivered')
  },
  storyMsMax,
)
