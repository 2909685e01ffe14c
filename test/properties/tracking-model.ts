import fc from 'fast-check'
import { failureOf, type FailureCode } from '../../src/domain/failure.ts'
import type { Occurrence, TransmissionStanding } from '../../src/domain/transmission.ts'

/**
 * What a sealed transmission comes to, told another way than the state machine tells it: answers climb a ladder and never
 * come down, some things end it for good, and what comes after an end changes nothing.
 */
export interface Model {
  /** 0 sealed · 1 the next hop has it · 2 the HISP has it · 3 delivered */
  rung: 0 | 1 | 2 | 3
  /** How it ended short of delivery, or that a person has it. */
  end: 'failed' | 'withdrawn' | 'cancelled' | 'held' | undefined
  onWire: boolean
}

export const sealed: TransmissionStanding = {
  state: 'sealed',
  ambiguous: false,
  onWire: false,
  deliveryRequested: true,
}

const rungs = ['sealed', 'submitted', 'processed', 'delivered'] as const

export function stateOf({ rung, end }: Model): string {
  return end ?? rungs[rung]
}

export function modelAfter(occurrences: readonly Occurrence[], deliveryRequested: boolean): Model {
  const model: Model = { rung: 0, end: undefined, onWire: false }
  for (const occurrence of occurrences) happens(model, occurrence, deliveryRequested)
  return model
}

function happens(model: Model, occurrence: Occurrence, deliveryRequested: boolean): void {
  const climbs = (rung: Model['rung']) => {
    model.rung = rung > model.rung ? rung : model.rung
    model.end = undefined
    model.onWire = false
  }
  const ends = (end: NonNullable<Model['end']>) => {
    model.end = end
    model.onWire = false
  }
  const isOver = model.end === 'failed' || model.end === 'withdrawn' || model.end === 'cancelled'
  if (isOver || model.rung === 3) return
  const lies = model.end === undefined && model.rung === 0
  if (occurrence.what === 'handing-over') model.onWire = lies ? true : model.onWire
  else if (occurrence.what === 'submitted' && lies) climbs(1)
  else if (occurrence.what === 'notified') {
    if (occurrence.disposition === 'failed') ends('failed')
    else climbs(occurrence.disposition === 'processed' ? 2 : 3)
  } else if (occurrence.what === 'timed-out') {
    const isDue =
      occurrence.awaiting === 'processed' ? model.rung === 1 : model.rung === 2 && deliveryRequested
    if (isDue && model.end === undefined) ends('failed')
  } else if (occurrence.what === 'attempt-failed' && lies) {
    const kind = failureOf(occurrence.code).class
    if (kind === 'held') ends('held')
    else if (kind === 'permanent' || !occurrence.willRetry) ends('failed')
    else model.onWire = false
  } else if (occurrence.what === 'withdrawn' || occurrence.what === 'cancelled') {
    if (model.rung === 0 && !model.onWire) ends(occurrence.what)
  }
}

const codes: readonly FailureCode[] = [
  'edge-unreachable',
  'edge-deferred',
  'edge-refused',
  'edge-lost-after-data',
  'edge-overdue',
  'signing-key-missing',
]

/** Anything that may happen to a transmission whose bytes are sealed, as often and in whatever order. */
export const anOccurrence: fc.Arbitrary<Occurrence> = fc.oneof(
  fc.constant<Occurrence>({ what: 'handing-over' }),
  fc.constant<Occurrence>({ what: 'submitted' }),
  fc.constantFrom('processed', 'delivered', 'failed').map((disposition): Occurrence => {
    return { what: 'notified', disposition: disposition as 'processed' }
  }),
  fc.constantFrom('processed', 'delivered').map((awaiting): Occurrence => {
    return { what: 'timed-out', awaiting: awaiting as 'processed' }
  }),
  fc
    .record({ code: fc.constantFrom(...codes), willRetry: fc.boolean() })
    .map((failed): Occurrence => ({ what: 'attempt-failed', ...failed })),
  fc.constantFrom('withdrawn', 'cancelled').map((what): Occurrence => ({ what: what as 'withdrawn' })),
)
