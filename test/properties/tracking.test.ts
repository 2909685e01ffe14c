import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { threeFacts } from '../../src/domain/three-facts.ts'
import {
  advance,
  type Disposition,
  type Occurrence,
  type TransmissionStanding,
} from '../../src/domain/transmission.ts'
import { inTransaction, queryOf } from '../../src/store/query.ts'
import { lockTransmission, recordOccurrence } from '../../src/store/transmissions.ts'
import { anAuthorization, aTransmission, minutesAfter } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { anOccurrence, modelAfter, sealed, stateOf } from './tracking-model.ts'

/** Each occurrence in turn; what is refused or only recorded leaves the standing as it is. */
function standingAfter(occurrences: readonly Occurrence[], deliveryRequested: boolean): TransmissionStanding {
  let standing: TransmissionStanding = { ...sealed, deliveryRequested }
  for (const occurrence of occurrences) {
    const result = advance(standing, occurrence)
    if (result.outcome === 'moved') standing = result.to
  }
  return standing
}

const story = fc.array(anOccurrence, { maxLength: 24 })

describe('whatever happens, in any order, as often and as late as it likes', () => {
  test('a transmission ends where the model says', () => {
    fc.assert(
      fc.property(story, fc.boolean(), (occurrences, deliveryRequested) => {
        const standing = standingAfter(occurrences, deliveryRequested)
        const model = modelAfter(occurrences, deliveryRequested)
        expect({ state: standing.state, onWire: standing.onWire }).toEqual({
          state: stateOf(model),
          onWire: model.onWire,
        })
      }),
      { numRuns: 20_000 },
    )
  })

  test('what is over stays over, and delivered stays delivered', () => {
    fc.assert(
      fc.property(story, story, (before, after) => {
        const { state } = standingAfter(before, true)
        if (['delivered', 'failed', 'withdrawn', 'cancelled'].includes(state))
          expect(standingAfter([...before, ...after], true).state).toBe(state)
      }),
      { numRuns: 5_000 },
    )
  })

  test('doubling every occurrence changes nothing', () => {
    fc.assert(
      fc.property(story, (occurrences) => {
        const doubled = occurrences.flatMap((occurrence) => [occurrence, occurrence])
        expect(standingAfter(doubled, true).state).toBe(standingAfter(occurrences, true).state)
      }),
      { numRuns: 5_000 },
    )
  })

  test('good answers come to the same in any order, before the 250 of the next hop or after it', () => {
    const good: Occurrence[] = [
      { what: 'submitted' },
      { what: 'notified', disposition: 'processed' },
      { what: 'notified', disposition: 'delivered' },
    ]
    const some = fc.shuffledSubarray([...good, ...good], { minLength: 1 })
    fc.assert(
      fc.property(some, (answers) => {
        const best = Math.max(...answers.map((answer) => good.findIndex((one) => same(one, answer))))
        expect(standingAfter([{ what: 'handing-over' }, ...answers], true).state).toBe(
          ['submitted', 'processed', 'delivered'][best],
        )
      }),
      { numRuns: 2_000 },
    )
  })
})

const isOver = (end: string | undefined) => end !== undefined && end !== 'held'
const same = (a: Occurrence, b: Occurrence) => JSON.stringify(a) === JSON.stringify(b)

describe('the three facts', () => {
  test('say yes to nothing that nobody said, and never more of a later one than of an earlier', () => {
    fc.assert(
      fc.property(story, fc.boolean(), (occurrences, deliveryRequested) => {
        const standing = standingAfter(occurrences, deliveryRequested)
        const facts = threeFacts({ ...standing, late: [] })
        const wasSaid = (disposition: Disposition) =>
          occurrences.some((one) => one.what === 'notified' && one.disposition === disposition)
        if (facts.delivered.is === 'yes') expect(wasSaid('delivered')).toBe(true)
        if (facts.processedByHisp.is === 'yes')
          expect(wasSaid('processed') || wasSaid('delivered')).toBe(true)
        if (facts.delivered.is === 'yes') expect(facts.processedByHisp.is).toBe('yes')
        if (facts.processedByHisp.is === 'yes') expect(facts.acceptedByNextHop.is).toBe('yes')
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('as it is stored', () => {
  let database: TestDatabase
  let authorizationId: string
  beforeAll(async () => {
    database = await freshDatabase()
    authorizationId = (await anAuthorization(database.dataSource)).id
  })
  afterAll(() => database.close())

  test('state and moments are those of the story, each fact from its own word', async () => {
    const property = fc.asyncProperty(fc.array(anOccurrence, { maxLength: 10 }), async (occurrences) => {
      const id = await aTransmission(database.dataSource, authorizationId, { cause: 'new-results' })
      const query = queryOf(database.dataSource)
      await query(`UPDATE transmission SET state = 'sealed' WHERE id = $1`, [id])
      for (const [minute, occurrence] of occurrences.entries())
        await inTransaction(database.dataSource, async (tx) =>
          recordOccurrence(tx, (await lockTransmission(tx, id))!, occurrence, minutesAfter(minute)),
        )
      const stored = (await inTransaction(database.dataSource, (tx) => lockTransmission(tx, id)))!
      const model = modelAfter(occurrences, true)
      expect(stored.state).toBe(stateOf(model))
      if (model.rung >= 1 && stored.submittedAt !== undefined)
        expect(occurrences).toContainEqual({ what: 'submitted' })
      if (stored.processedAt !== undefined)
        expect(occurrences).toContainEqual({ what: 'notified', disposition: 'processed' })
      const saidInTime = occurrences.some(
        (one, index) =>
          one.what === 'notified' &&
          one.disposition === 'processed' &&
          !isOver(modelAfter(occurrences.slice(0, index), true).end),
      )
      expect(stored.processedAt !== undefined).toBe(saidInTime)
      expect(stored.deliveredAt === undefined).toBe(model.rung !== 3 || model.end !== undefined)
      // The waits count from the first hand-over that may have arrived.
      if (stored.firstSentAt !== undefined) expect(occurrences).toContainEqual({ what: 'handing-over' })
    })
    await fc.assert(property, { numRuns: 150 })
  }, 60_000)
})
