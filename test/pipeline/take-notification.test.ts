import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import { awaitAnswer } from '../../src/pipeline/await-answer.ts'
import { explainTransmission } from '../../src/pipeline/explain.ts'
import { anyCms } from '../neighbours/cms.ts'
import {
  notification,
  seal,
  type NotificationShape,
  type ReportedDisposition,
} from '../neighbours/direct-message.ts'
import { issueFor, type Issued } from '../pki/pki.ts'
import { anAuthorization, aTransmission } from '../store/ellen.ts'
import { aMailbox, ellensPhr, ours, pairOf } from './a-mailbox.ts'

const minuteMs = 60_000
// The certificates of a run are valid from a day before it.
const sentAt = new Date(Math.floor(Date.now() / minuteMs) * minuteMs - 3 * 60 * minuteMs)
const after = (minutes: number) => new Date(sentAt.getTime() + minutes * minuteMs)

let box: Awaited<ReturnType<typeof aMailbox>>
let authorizationId: string
let hisp: Issued
let postmaster: Issued
let neighbour: Issued
let other: Issued
beforeAll(async () => {
  box = await aMailbox()
  authorizationId = (await anAuthorization(box.database.dataSource)).id
  hisp = issueFor(box.root, 'direct.somephr.example')
  postmaster = issueFor(box.root, 'postmaster@direct.somephr.example')
  neighbour = issueFor(box.root, 'bob.lin@direct.somephr.example')
  other = issueFor(box.root, 'direct.otherphr.example')
})
afterAll(() => box.database.close())

/** A message of ours that the next hop has taken, and what is told about it. */
async function sent({ deliveryRequested = true } = {}) {
  const id = await aTransmission(box.database.dataSource, authorizationId, {
    deliveryRequested,
    cause: 'new-results',
  })
  const messageId = `<${randomUUID()}@direct.ashby.example>`
  await box.query(
    `UPDATE transmission SET state = 'submitted', message_id = $2, first_sent_at = $3, submitted_at = $3, due_at = $4 WHERE id = $1`,
    [id, messageId, sentAt, after(60)],
  )
  const waits = { processedWithinMs: 60 * minuteMs, deliveredWithinMs: 90 * minuteMs }
  const at = (minutes: number) => ({ waits, now: () => after(minutes) })
  return {
    id,
    messageId,
    /** An MDN or DSN comes in, `minutes` after the message had left. */
    async hears(
      disposition: ReportedDisposition,
      minutes: number,
      {
        shape,
        signer = box.ellen,
        unsigned = false,
      }: { shape?: NotificationShape; signer?: Issued; unsigned?: boolean } = {},
    ) {
      const { bytes } = notification({
        of: messageId,
        from: ellensPhr,
        to: ours,
        disposition,
        at: after(minutes),
        finalRecipient: ellensPhr,
        ...(shape === undefined ? {} : { shape }),
      })
      const pair = unsigned ? undefined : pairOf(signer)
      const raw = await seal(bytes, anyCms(), pair, [box.own.certificatePem])
      const { id: mailId } = await box.takes(raw, {}, at(minutes))
      const [row] = await box.query<{ effect: string; because: string; bound: boolean }>(
        'SELECT effect, because, bound FROM notification WHERE mail_id = $1',
        [mailId],
      )
      return row
    },
    /** The clock reaches this minute. */
    waits: (minutes: number) => awaitAnswer({ dataSource: box.database.dataSource, ...at(minutes) }, id),
    async stands() {
      const [row] = await box.query<{ state: string; code: string | null; due_at: Date | null }>(
        'SELECT state, code, due_at FROM transmission WHERE id = $1',
        [id],
      )
      return row!
    },
    facts: async () => (await explainTransmission(box.query, id))!.facts['threeFacts'],
  }
}

describe('answers of the recipient’s side', () => {
  test('processed, then dispatched: delivered', async () => {
    const one = await sent()
    expect(await one.hears('processed', 1)).toMatchObject({ effect: 'moved', bound: true })
    expect(await one.stands()).toMatchObject({ state: 'processed', due_at: after(90) })
    expect(await one.hears('dispatched', 2)).toMatchObject({ effect: 'moved' })
    expect(await one.stands()).toMatchObject({ state: 'delivered', due_at: null })
  })

  test('the other way round, and each twice: delivered all the same, with both moments', async () => {
    const one = await sent()
    await one.hears('dispatched', 1)
    expect(await one.hears('processed', 2)).toMatchObject({ effect: 'already-known' })
    expect(await one.hears('dispatched', 3)).toMatchObject({ effect: 'already-known' })
    expect(await one.stands()).toMatchObject({ state: 'delivered' })
    expect(await one.facts()).toEqual({
      acceptedByNextHop: { is: 'yes', at: sentAt },
      processedByHisp: { is: 'yes', at: after(2) },
      delivered: { is: 'yes', at: after(1) },
    })
  })

  test.each(['failed', 'denied', 'error'] as const)(
    '%s after processed: failed with 5.5.0',
    async (disposition) => {
      const one = await sent()
      await one.hears('processed', 1)
      await one.hears(disposition, 2)
      expect(await one.stands()).toMatchObject({ state: 'failed', code: 'notified-failed' })
      const { facts } = (await explainTransmission(box.query, one.id))!
      expect(facts['notices']).toMatchObject([{ status: '5.5.0', recipient: ellensPhr }])
    },
  )

  test.each([
    'different-case',
    'extra-spaces',
    'extra-line-breaks',
    'only-in-reply-to',
    'no-final-recipient',
  ] as const)('misshapen in the ways of the accreditation tool (%s) they still count', async (shape) => {
    const one = await sent()
    expect(await one.hears('processed', 1, { shape })).toMatchObject({ effect: 'moved' })
  })

  test('without a disposition they say nothing', async () => {
    const one = await sent()
    expect(await one.hears('processed', 1, { shape: 'no-disposition' })).toMatchObject({ effect: 'ignored' })
    expect(await one.stands()).toMatchObject({ state: 'submitted' })
  })
})

describe('who is believed', () => {
  test('the recipient, its HISP, and its mail server in a DSN', async () => {
    for (const [signer, shape] of [
      [box.ellen, 'usual'],
      [hisp, 'usual'],
      [hisp, 'dsn'],
      [postmaster, 'dsn'],
    ] as const) {
      const one = await sent()
      expect(await one.hears('failed', 1, { signer, shape })).toMatchObject({ effect: 'moved' })
    }
  })

  test('nobody else, however trusted, and the reason names who signed', async () => {
    const refused = [
      [other, /signed for direct\.otherphr\.example, which does not speak for ellen/],
      [neighbour, /signed for bob\.lin@direct\.somephr\.example, which does not speak for ellen/],
      [postmaster, /signed for postmaster@direct\.somephr\.example, which does not speak for ellen/],
    ] as const
    for (const [signer, because] of refused) {
      const one = await sent()
      expect(await one.hears('dispatched', 1, { signer })).toMatchObject({
        effect: 'ignored',
        bound: false,
        because: expect.stringMatching(because),
      })
      expect(await one.stands()).toMatchObject({ state: 'submitted' })
    }
  })

  test('nobody who did not sign: what is encrypted only is not even read', async () => {
    const one = await sent()
    expect(await one.hears('dispatched', 1, { unsigned: true })).toBeUndefined()
    expect(await one.stands()).toMatchObject({ state: 'submitted' })
  })
})

describe('the waits', () => {
  test('no processed by T1: failed with 5.4.71, and what comes later is late and opens nothing', async () => {
    const one = await sent()
    await one.waits(59)
    expect(await one.stands()).toMatchObject({ state: 'submitted' })
    await one.waits(60)
    expect(await one.stands()).toMatchObject({ state: 'failed', code: 'processed-timeout' })
    expect(await one.hears('processed', 61)).toMatchObject({ effect: 'late' })
    expect(await one.hears('dispatched', 62)).toMatchObject({ effect: 'late' })
    expect(await one.stands()).toMatchObject({ state: 'failed', code: 'processed-timeout' })
    const { sentences, facts } = (await explainTransmission(box.query, one.id))!
    expect(facts['notices']).toMatchObject([{ status: '5.4.71' }])
    expect(facts['threeFacts']).toMatchObject({
      processedByHisp: { is: 'yes', isLate: true },
      delivered: { is: 'yes', isLate: true },
    })
    expect(sentences).toContain(
      `Its delivery was confirmed at ${after(62).toISOString()}, too late to count.`,
    )
  })

  test('no dispatched by T2, which counts from the first sending whenever processed came: 5.4.72', async () => {
    const one = await sent()
    await one.hears('processed', 59)
    await one.waits(89)
    expect(await one.stands()).toMatchObject({ state: 'processed' })
    await one.waits(90)
    expect(await one.stands()).toMatchObject({ state: 'failed', code: 'delivered-timeout' })
  })

  test('no dispatched where none was asked for: processed is the end', async () => {
    const one = await sent({ deliveryRequested: false })
    await one.hears('processed', 1)
    await one.waits(1000)
    expect(await one.stands()).toMatchObject({ state: 'processed', due_at: null })
    expect(await one.facts()).toMatchObject({ delivered: { is: 'not-asked' } })
  })
})
