import { afterAll, beforeAll, expect, test } from '@jest/globals'
import '../neighbours/expectations.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const startMsMax = 120_000
const storyMsMax = 120_000

let database: TestDatabase
let town: Town

beforeAll(async () => {
  database = await freshDatabase()
  town = await aTown({ database: database.url, authorization: false })
}, startMsMax)
afterAll(async () => {
  await town?.close()
  await database?.close()
}, startMsMax)

test(
  'a request by interval sends at once; what has not changed is skipped at the next time, what has is sent',
  async () => {
    const { id } = await town.authorize({ frequency: 'interval: P1M', triggers: [] })
    await town.settles()
    expect(town.phr.inbox).toHaveLength(1)
    expect(town.phr.inbox).toContainDocument(town.ellensCcd)

    const comesDue = async (count: number) => {
      await database.dataSource.query('UPDATE transmit_authorization SET next_due_at = now()')
      await town.until('it was due', async () => (await town.transmissions(id)).length === count)
      await town.settles()
    }
    await comesDue(2)
    expect((await town.transmissions(id))[0]).toMatchObject({
      state: 'skipped',
      because: expect.stringContaining('byte by byte'),
    })
    expect(town.phr.inbox).toHaveLength(1)

    const newer = await town.clinic.publishes(ellen, { seed: 'newer', effectiveTime: new Date() })
    await comesDue(3)
    expect(town.phr.inbox).toHaveLength(2)
    expect(town.phr.inbox).toContainDocument(newer)

    await town.revoke(id)
    const [row] = await database.dataSource.query<{ due: Date | null }[]>(
      'SELECT next_due_at AS due FROM transmit_authorization',
    )
    expect(row!.due).toBeNull()
  },
  storyMsMax,
)
