import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { failureOf, type FailureCode } from '../../src/domain/failure.ts'
import {
  advance,
  isFinal,
  transmissionStates,
  unsentStates,
  type Occurrence,
  type TransmissionStanding,
  type TransmissionState,
} from '../../src/domain/transmission.ts'

const codes = [
  'document-missing',
  'document-refused',
  'document-unchanged',
  'edge-deferred',
  'edge-refused',
  'edge-lost-after-data',
] as const satisfies readonly FailureCode[]

const occurrences: readonly Occurrence[] = [
  { what: 'preparing' },
  { what: 'sealed' },
  { what: 'handing-over' },
  { what: 'submitted' },
  ...codes.flatMap((code): Occurrence[] => [
    { what: 'attempt-failed', code, willRetry: true },
    { what: 'attempt-failed', code, willRetry: false },
  ]),
  { what: 'held' },
  { what: 'released' },
  { what: 'retried' },
  { what: 'withdrawn' },
  { what: 'cancelled' },
  { what: 'notified', disposition: 'processed' },
  { what: 'notified', disposition: 'delivered' },
  { what: 'notified', disposition: 'failed' },
  { what: 'timed-out', awaiting: 'processed' },
  { what: 'timed-out', awaiting: 'delivered' },
]

const start: TransmissionStanding = {
  state: 'waiting',
  ambiguous: false,
  onWire: false,
  deliveryRequested: true,
}

/** Follows what happened from the start; what is refused or only recorded changes nothing. */
function after(...happened: Occurrence[]): TransmissionStanding {
  return happened.reduce<TransmissionStanding>((standing, occurrence) => {
    const next = advance(standing, occurrence)
    return next.outcome === 'moved' ? next.to : standing
  }, start)
}

/** Every standing there is, found by trying everything from the start: the machine is small enough to be walked whole. */
function everyStanding(): TransmissionStanding[] {
  const seen = new Map<string, TransmissionStanding>()
  const open: TransmissionStanding[] = [start, { ...start, deliveryRequested: false }]
  for (let standing; (standing = open.pop()) !== undefined;) {
    const key = JSON.stringify(standing, Object.keys(standing).sort())
    if (seen.has(key)) continue
    seen.set(key, standing)
    for (const occurrence of occurrences) {
      const next = advance(standing, occurrence)
      if (next.outcome === 'moved') open.push(next.to)
    }
  }
  return [...seen.values()]
}

const standings = everyStanding()
const story = fc.array(fc.constantFrom(...occurrences), { maxLength: 40 })
const sending: readonly TransmissionState[] = ['waiting', 'preparing', 'sealed', 'submitted']

const preparing: Occurrence = { what: 'preparing' }
const sealed: Occurrence = { what: 'sealed' }
const handingOver: Occurrence = { what: 'handing-over' }
const submitted: Occurrence = { what: 'submitted' }
const lost: Occurrence = { what: 'attempt-failed', code: 'edge-lost-after-data', willRetry: true }

test('the straight way: prepared, sealed, submitted, processed, delivered', () => {
  const standing = after(
    preparing,
    sealed,
    handingOver,
    submitted,
    { what: 'notified', disposition: 'processed' },
    { what: 'notified', disposition: 'delivered' },
  )
  expect(standing).toEqual({ ...start, state: 'delivered' })
})

test('every state can be reached', () => {
  expect(new Set(standings.map(({ state }) => state))).toEqual(new Set(transmissionStates))
})

test('delivered, withdrawn, cancelled and skipped are the end, whatever happens', () => {
  for (const standing of standings.filter(({ state }) =>
    ['delivered', 'withdrawn', 'cancelled', 'skipped'].includes(state),
  ))
    for (const occurrence of occurrences)
      expect([standing, occurrence, advance(standing, occurrence).outcome]).not.toContain('moved')
})

test('a failed one is only ever opened again by an operator’s retry', () => {
  for (const standing of standings.filter(({ state }) => state === 'failed'))
    for (const occurrence of occurrences)
      if (occurrence.what !== 'retried')
        expect([standing, occurrence, advance(standing, occurrence).outcome]).not.toContain('moved')
})

test('a late notification after failure is written down as late and opens nothing', () => {
  const failed = after(preparing, sealed, handingOver, submitted, {
    what: 'timed-out',
    awaiting: 'processed',
  })
  expect(failed.state).toBe('failed')
  for (const disposition of ['processed', 'delivered', 'failed'] as const)
    expect(advance(failed, { what: 'notified', disposition })).toEqual({
      outcome: 'recorded',
      because: 'late',
    })
})

test('without an operator no story leads from an end back to sending', () => {
  fc.assert(
    fc.property(story, (happened) => {
      let standing = start
      for (const occurrence of happened.filter(({ what }) => what !== 'retried')) {
        const next = advance(standing, occurrence)
        if (next.outcome !== 'moved') continue
        if (['delivered', 'failed', 'withdrawn', 'cancelled', 'skipped'].includes(standing.state))
          expect(sending).not.toContain(next.to.state)
        standing = next.to
      }
    }),
    { numRuns: 3000 },
  )
})

test('what was sent is never unsent: from submitted on there is no way back to an earlier state', () => {
  const order: readonly TransmissionState[] = [...sending, 'processed', 'delivered']
  for (const standing of standings.filter(({ state }) => order.indexOf(state) >= order.indexOf('submitted')))
    for (const occurrence of occurrences) {
      const next = advance(standing, occurrence)
      if (next.outcome === 'moved' && next.to.state !== 'failed')
        expect(order.indexOf(next.to.state)).toBeGreaterThan(order.indexOf(standing.state))
    }
})

test('once it may have arrived it stays ambiguous until the recipient’s side has answered, or the next hop has', () => {
  fc.assert(
    fc.property(story, (happened) => {
      let standing = start
      for (const occurrence of happened) {
        const next = advance(standing, occurrence)
        if (next.outcome !== 'moved') continue
        if (standing.ambiguous && !next.to.ambiguous)
          expect(['submitted', 'notified']).toContain(occurrence.what)
        standing = next.to
      }
    }),
    { numRuns: 3000 },
  )
})

test('an ambiguous one is sealed, held or over: nothing else than the same bytes may follow', () => {
  for (const standing of standings.filter(({ ambiguous }) => ambiguous))
    expect(['sealed', 'held', 'failed', 'withdrawn', 'cancelled']).toContain(standing.state)
})

test('an ambiguous one that failed goes out again as the same bytes; one that surely never left is prepared anew', () => {
  const ambiguous = after(preparing, sealed, handingOver, { ...lost, willRetry: false })
  expect(ambiguous).toMatchObject({ state: 'failed', ambiguous: true })
  expect(advance(ambiguous, { what: 'retried' })).toMatchObject({ to: { state: 'sealed', ambiguous: true } })

  const refused = after(preparing, sealed, handingOver, {
    what: 'attempt-failed',
    code: 'edge-refused',
    willRetry: false,
  })
  expect(refused).toMatchObject({ state: 'failed', ambiguous: false })
  expect(advance(refused, { what: 'retried' })).toMatchObject({ to: { state: 'waiting' } })
})

test('a release goes back to where it was held: sealed bytes are not made twice', () => {
  expect(after(preparing, sealed, { what: 'held' }, { what: 'released' }).state).toBe('sealed')
  expect(after(preparing, { what: 'held' }, { what: 'released' }).state).toBe('waiting')
  expect(after({ what: 'held' }, { what: 'released' }).state).toBe('waiting')
  for (const { state, heldFrom } of standings) expect(heldFrom !== undefined).toBe(state === 'held')
})

test('only what is sealed goes on the wire, and on the wire it can be neither held, withdrawn nor cancelled', () => {
  for (const standing of standings) {
    expect(advance(standing, handingOver).outcome).toBe(standing.state === 'sealed' ? 'moved' : 'refused')
    if (!standing.onWire) continue
    expect(standing.state).toBe('sealed')
    for (const what of ['held', 'withdrawn', 'cancelled'] as const)
      expect(advance(standing, { what }).outcome).toBe('refused')
  }
})

test('whatever is unsent and not on the wire can be withdrawn and cancelled; nothing else can', () => {
  for (const standing of standings)
    for (const what of ['withdrawn', 'cancelled'] as const) {
      const isUnsent = (unsentStates as readonly string[]).includes(standing.state) && !standing.onWire
      expect(advance(standing, { what }).outcome).toBe(isUnsent ? 'moved' : 'refused')
    }
})

test('the next hop’s 250 is never lost: while on the wire, submitted moves or is known already', () => {
  for (const standing of standings.filter(({ onWire }) => onWire))
    expect(advance(standing, submitted)).toMatchObject({
      outcome: 'moved',
      to: { state: 'submitted', onWire: false },
    })
})

test('an answer may overtake the next hop’s 250, which then changes nothing', () => {
  const early = after(preparing, sealed, handingOver, { what: 'notified', disposition: 'processed' })
  expect(early).toMatchObject({ state: 'processed', onWire: false, ambiguous: false })
  expect(advance(early, submitted)).toEqual({ outcome: 'recorded', because: 'already-known' })
  expect(advance(early, lost)).toEqual({ outcome: 'recorded', because: 'already-known' })
})

test('nobody can answer what has not left', () => {
  for (const standing of [start, after(preparing), after(preparing, { what: 'held' })])
    expect(advance(standing, { what: 'notified', disposition: 'delivered' }).outcome).toBe('refused')
  const held = after(preparing, sealed, handingOver, lost, { what: 'held' })
  expect(advance(held, { what: 'notified', disposition: 'delivered' })).toMatchObject({
    to: { state: 'delivered' },
  })
})

test('the timer only ends what still waits for the very answer', () => {
  const waiting = after(preparing, sealed, handingOver, submitted)
  const processed = after(preparing, sealed, handingOver, submitted, {
    what: 'notified',
    disposition: 'processed',
  })
  expect(advance(waiting, { what: 'timed-out', awaiting: 'processed' })).toMatchObject({
    to: { state: 'failed' },
  })
  expect(advance(waiting, { what: 'timed-out', awaiting: 'delivered' }).outcome).toBe('recorded')
  expect(advance(processed, { what: 'timed-out', awaiting: 'processed' }).outcome).toBe('recorded')
  expect(advance(processed, { what: 'timed-out', awaiting: 'delivered' })).toMatchObject({
    to: { state: 'failed' },
  })
  expect(
    advance({ ...processed, deliveryRequested: false }, { what: 'timed-out', awaiting: 'delivered' }).outcome,
  ).toBe('recorded')
})

test('final is where nothing further is awaited', () => {
  for (const standing of standings)
    expect([standing, isFinal(standing)]).toEqual([
      standing,
      ['delivered', 'failed', 'withdrawn', 'cancelled', 'skipped'].includes(standing.state) ||
        (standing.state === 'processed' && !standing.deliveryRequested),
    ])
})

test('a failed attempt is repeated, held or given up as the failure table says', () => {
  for (const state of ['waiting', 'preparing', 'sealed'] as const)
    for (const code of codes)
      for (const willRetry of [true, false]) {
        const next = advance({ ...start, state }, { what: 'attempt-failed', code, willRetry })
        const kind = failureOf(code).class
        if (kind === 'ambiguous' && state !== 'sealed') continue
        const expected =
          kind === 'held' || kind === 'skipped' ? kind : willRetry && kind !== 'permanent' ? state : 'failed'
        if (kind === 'skipped' && state === 'sealed') continue
        expect([state, code, willRetry, next]).toMatchObject([
          state,
          code,
          willRetry,
          { to: { state: expected } },
        ])
      }
})
