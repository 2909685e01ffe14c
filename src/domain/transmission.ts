import { failureOf, type FailureCode } from './failure.ts'

/**
 * One event × one authorization × one destination.
 *
 * `waiting` → `preparing` → `sealed` → `submitted` → `processed` → `delivered`; or `held` (needs a person), `failed`,
 * `withdrawn` (the source took the event back), `cancelled` (revoked, or an operator), `skipped` (the destination has this
 * very document already).
 */
export const transmissionStates = [
  'waiting',
  'preparing',
  'sealed',
  'submitted',
  'processed',
  'delivered',
  'held',
  'failed',
  'withdrawn',
  'cancelled',
  'skipped',
] as const

export type TransmissionState = (typeof transmissionStates)[number]

/** States in which nothing has left the house yet, so that a cancel or a revocation still stops everything. */
export const unsentStates = [
  'waiting',
  'preparing',
  'sealed',
  'held',
] as const satisfies readonly TransmissionState[]

/** The facts about a transmission that decide what may happen to it next. */
export interface TransmissionStanding {
  readonly state: TransmissionState
  /** Some attempt ended after DATA without an answer: it may have arrived, and only the same bytes may follow. */
  readonly ambiguous: boolean
  /** Handed to the next hop, whose answer is not known yet. Still set after a crash, it means the same as ambiguous. */
  readonly onWire: boolean
  /** Where `held` came from, so that a release goes back to the right place. */
  readonly heldFrom?: 'waiting' | 'preparing' | 'sealed'
  /** Whether we asked for a delivery notification; without it `processed` is the end. */
  readonly deliveryRequested: boolean
}

export type Occurrence =
  | { readonly what: 'preparing' }
  | { readonly what: 'sealed' }
  | { readonly what: 'handing-over' }
  | { readonly what: 'submitted' }
  | { readonly what: 'attempt-failed'; readonly code: FailureCode; readonly willRetry: boolean }
  | { readonly what: 'held' }
  | { readonly what: 'released' }
  | { readonly what: 'retried' }
  | { readonly what: 'withdrawn' }
  | { readonly what: 'cancelled' }
  | { readonly what: 'notified'; readonly disposition: Disposition }
  | { readonly what: 'timed-out'; readonly awaiting: 'processed' | 'delivered' }

/** What a notification says about one recipient, reduced to what counts here. */
export type Disposition = 'processed' | 'delivered' | 'failed'

export type Advance =
  /** The transmission moves (or stays, where an attempt will be repeated). */
  | { readonly outcome: 'moved'; readonly to: TransmissionStanding }
  /** True, but too late to matter: written down, the state stays. */
  | { readonly outcome: 'recorded'; readonly because: 'late' | 'already-known' }
  /** It cannot happen in this state: the caller lost a race and must not act. */
  | { readonly outcome: 'refused'; readonly because: string }

/** The one state machine. Pure: what happened goes in, where the transmission stands comes out. */
export function advance(from: TransmissionStanding, occurrence: Occurrence): Advance {
  const { state } = from
  switch (occurrence.what) {
    case 'preparing':
      return state === 'waiting' || state === 'preparing' ? to(from, 'preparing') : refused(from, occurrence)
    case 'sealed':
      return state === 'preparing' ? to(from, 'sealed') : refused(from, occurrence)
    case 'handing-over':
      return state === 'sealed'
        ? { outcome: 'moved', to: { ...from, onWire: true } }
        : refused(from, occurrence)
    case 'submitted':
      // An answer of the recipient may overtake the next hop’s 250.
      if (state === 'processed' || state === 'delivered')
        return { outcome: 'recorded', because: 'already-known' }
      return state === 'sealed' ? answered(from, 'submitted') : refused(from, occurrence)
    case 'attempt-failed':
      return attemptFailed(from, occurrence)
    case 'held':
      // While it is on the wire there is nothing to hold: the next hop’s answer must still find it sealed.
      if (from.onWire || (state !== 'waiting' && state !== 'preparing' && state !== 'sealed'))
        return refused(from, occurrence)
      return { outcome: 'moved', to: { ...from, state: 'held', heldFrom: state } }
    case 'released':
      if (state !== 'held') return refused(from, occurrence)
      return { outcome: 'moved', to: unheld(from, from.heldFrom === 'sealed' ? 'sealed' : 'waiting') }
    case 'retried':
      return state === 'failed' ? to(from, from.ambiguous ? 'sealed' : 'waiting') : refused(from, occurrence)
    case 'withdrawn':
    case 'cancelled':
      return (unsentStates as readonly TransmissionState[]).includes(state) && !from.onWire
        ? { outcome: 'moved', to: unheld(from, occurrence.what) }
        : refused(from, occurrence)
    case 'notified':
      return notified(from, occurrence.disposition)
    case 'timed-out':
      if (occurrence.awaiting === 'processed' && state === 'submitted') return to(from, 'failed')
      if (occurrence.awaiting === 'delivered' && state === 'processed' && from.deliveryRequested)
        return to(from, 'failed')
      return { outcome: 'recorded', because: 'already-known' }
  }
}

/** True where nothing further is awaited. */
export function isFinal(standing: TransmissionStanding): boolean {
  const { state } = standing
  return (
    state === 'delivered' ||
    state === 'failed' ||
    state === 'withdrawn' ||
    state === 'cancelled' ||
    state === 'skipped' ||
    (state === 'processed' && !standing.deliveryRequested)
  )
}

function attemptFailed(
  from: TransmissionStanding,
  { code, willRetry }: { code: FailureCode; willRetry: boolean },
): Advance {
  const { state } = from
  if (state === 'processed' || state === 'delivered') return { outcome: 'recorded', because: 'already-known' }
  if (state !== 'waiting' && state !== 'preparing' && state !== 'sealed')
    return { outcome: 'recorded', because: 'late' }
  const kind = failureOf(code).class
  // Only sealed bytes can be under way when a connection breaks.
  if (kind === 'ambiguous' && state !== 'sealed')
    return { outcome: 'refused', because: `nothing was sent yet (${state})` }
  // Once it may have arrived it stays so, whatever later attempts bring.
  const known = { ...from, onWire: false, ambiguous: from.ambiguous || kind === 'ambiguous' }
  if (kind === 'held') return { outcome: 'moved', to: { ...known, state: 'held', heldFrom: state } }
  if (kind === 'skipped')
    return state === 'sealed'
      ? { outcome: 'refused', because: `it is decided before anything is sealed (${state})` }
      : to(known, 'skipped')
  if (willRetry && kind !== 'permanent') return { outcome: 'moved', to: known }
  return { outcome: 'moved', to: { ...known, state: 'failed' } }
}

function notified(from: TransmissionStanding, disposition: Disposition): Advance {
  const { state } = from
  // A recipient can only answer what has left: anything earlier cannot be about this message.
  if (state === 'waiting' || state === 'preparing' || (state === 'held' && from.heldFrom !== 'sealed'))
    return { outcome: 'refused', because: `nothing was sent yet (${state})` }
  if (state === 'failed' || state === 'withdrawn' || state === 'cancelled' || state === 'skipped')
    return { outcome: 'recorded', because: 'late' }
  if (state === 'delivered') return { outcome: 'recorded', because: 'already-known' }
  if (disposition === 'delivered') return answered(from, 'delivered')
  if (disposition === 'failed') return answered(from, 'failed')
  return state === 'processed'
    ? { outcome: 'recorded', because: 'already-known' }
    : answered(from, 'processed')
}

function answered(from: TransmissionStanding, state: TransmissionState): Advance {
  return { outcome: 'moved', to: { ...unheld(from, state), ambiguous: false, onWire: false } }
}

function unheld(from: TransmissionStanding, state: TransmissionState): TransmissionStanding {
  const { heldFrom: _, ...rest } = from
  return { ...rest, state }
}

function to(from: TransmissionStanding, state: TransmissionState): Advance {
  return { outcome: 'moved', to: { ...from, state } }
}

function refused(from: TransmissionStanding, occurrence: Occurrence): Advance {
  return { outcome: 'refused', because: `“${occurrence.what}” cannot follow “${from.state}”` }
}
