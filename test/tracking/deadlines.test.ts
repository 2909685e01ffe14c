import { describe, expect, test } from '@jest/globals'
import { transmissionStates } from '../../src/domain/transmission.ts'
import { nextDeadline } from '../../src/tracking/deadlines.ts'

const firstSentAt = new Date('2026-11-23T12:00:00Z')
const minutes = (count: number) => count * 60_000
const waits = { processedWithinMs: minutes(60), deliveredWithinMs: minutes(90) }
const due = (state: (typeof transmissionStates)[number], deliveryRequested = true, times = waits) =>
  nextDeadline({ state, deliveryRequested }, firstSentAt, times)

describe('what is awaited next', () => {
  test('processed, once the message has left, whether delivery was asked for or not', () => {
    for (const deliveryRequested of [true, false])
      expect(due('submitted', deliveryRequested)).toEqual({
        dueAt: new Date('2026-11-23T13:00:00Z'),
        awaiting: 'processed',
        code: 'processed-timeout',
      })
  })

  test('delivered after that, where it was asked for, counted from the first hand-over', () => {
    expect(due('processed')).toEqual({
      dueAt: new Date('2026-11-23T13:30:00Z'),
      awaiting: 'delivered',
      code: 'delivered-timeout',
    })
    expect(due('processed', false)).toBeUndefined()
  })

  test('delivered never falls due before processed', () => {
    const times = { processedWithinMs: minutes(60), deliveredWithinMs: minutes(10) }
    expect(due('processed', true, times)!.dueAt).toEqual(due('submitted', true, times)!.dueAt)
  })

  test('nothing before the message has left and nothing after the end', () => {
    for (const state of transmissionStates)
      if (state !== 'submitted' && state !== 'processed') expect(due(state)).toBeUndefined()
  })
})
