import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { queryOf } from '../../src/store/query.ts'
import { reconcile } from '../../src/store/reconcile.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellensPhr, transmitAddress } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { letter } from '../pipeline/a-mailbox.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { Watch, type Moment } from './moments.ts'

const startMsMax = 120_000
const storyMsMax = 90_000
const option = 'Disposition-Notification-Options: X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true'

let database: TestDatabase
let town: Town
let watch: Watch

beforeAll(async () => {
  database = await freshDatabase()
  town = await aTown({ database: database.url })
  watch = await Watch.on(database.url)
}, startMsMax)
afterAll(async () => {
  await watch?.close()
  await town?.close()
  await database?.close()
}, startMsMax)

const answerBecomes = (what: string, when: string): Moment => ({
  what: `an answer is ${what}`,
  table: 'answer',
  on: 'UPDATE',
  when,
})

/** Every moment at which something about an inbound message becomes durable. */
const moments: readonly Moment[] = [
  { what: 'a mail is stored', table: 'inbound_mail' },
  { what: 'a message lies in the inbox', table: 'inbox_message' },
  { what: 'an answer is owed', table: 'answer' },
  answerBecomes('sealed', `NEW.state = 'sealed' AND OLD.state = 'waiting'`),
  answerBecomes('handed over', 'NEW.on_wire AND NOT OLD.on_wire'),
  answerBecomes('sent', `NEW.state = 'sent' AND OLD.state = 'sealed'`),
]

/** Whatever was killed, the message is kept once, and each answer comes, always in the same bytes. */
async function expectAnswered(messageId: string): Promise<void> {
  await town.settles()
  const kept = await database.dataSource.query('SELECT id FROM inbox_message WHERE message_id = $1', [
    messageId,
  ])
  expect(kept).toHaveLength(1)
  const told = town.phr.inbox.filter(({ inReplyTo }) => inReplyTo === messageId)
  expect(told.map(({ subject }) => subject).sort()).toEqual(['Dispatched', 'Processed'])
  for (const { sealedSha256s } of told) expect(new Set(sealedSha256s).size).toBe(1)
  expect((await reconcile(queryOf(database.dataSource))).findings).toEqual([])
}

/** A HISP tries again until it hears 250, as every mail server does. */
function ellenWrites() {
  const { messageId, bytes } = letter({ fields: [option] })
  const sent = town.phr.writes({ from: ellensPhr, to: transmitAddress, text: bytes.toString() })
  sent.catch(() => {})
  return { messageId, sent }
}

test.each(moments)(
  'killed when $what',
  async (moment) => {
    const { reached, forget } = await watch.committed(moment)
    const { messageId, sent } = ellenWrites()
    await reached
    await town.engine.kill('SIGKILL')
    await forget()
    await town.engine.start()
    expect(await sent).toMatch(/^250/)
    await expectAnswered(messageId)
  },
  storyMsMax,
)

test.each(moments)(
  'killed just before it is durable that $what',
  async (moment) => {
    const held = await watch.uncommitted(moment)
    const { messageId, sent } = ellenWrites()
    await town.until(moment.what, () => held.isReached())
    await town.engine.kill('SIGKILL')
    await held.letGo()
    await town.engine.start()
    expect(await sent).toMatch(/^250/)
    await expectAnswered(messageId)
  },
  storyMsMax,
)

test(
  'killed when the sender’s side has every byte of an answer and has not said so: the same bytes come again',
  async () => {
    await town.phr.door({ at: 'data', how: 'hang', times: 1 })
    const { messageId, sent } = ellenWrites()
    expect(await sent).toMatch(/^250/)
    await town.until('an answer hangs at the door', async () => {
      const [row] = await database.dataSource.query<{ open: string }[]>(
        'SELECT count(*) AS open FROM answer WHERE on_wire',
      )
      return (
        row?.open === '1' &&
        town.phr.process.happenings.some(({ what, how }) => what === 'fault' && how === 'hang')
      )
    })
    await town.engine.kill('SIGKILL')
    await town.phr.door(null)
    await town.engine.start()
    await expectAnswered(messageId)
    const told = town.phr.inbox.filter(({ inReplyTo }) => inReplyTo === messageId)
    expect(Math.max(...told.map(({ arrivals }) => arrivals))).toBe(2)
  },
  storyMsMax,
)
