import type { Identifier } from './patient.ts'

/** What may set a continuous transmission in motion (Blue Button+ transmit §E; the last is for systems without triggers). */
export const triggerKinds = [
  'discharge',
  'transition',
  'end-of-encounter',
  'new-results',
  'new-document',
  'claim-adjudicated',
  'eob-available',
  'interval',
] as const

export type TriggerKind = (typeof triggerKinds)[number]

/** The one canonical shape every mapping yields: trigger-event/1. */
export interface TriggerEvent {
  readonly kind: TriggerKind
  /** When it happened at the source; not when we heard of it. */
  readonly occurredAt: Date
  /**
   * True where the source takes an earlier event of this kind back (A13, A12, T11 …); `visit` where it takes back everything
   * about the visit (A11, A23).
   */
  readonly cancels?: true | 'visit'
  readonly patient: EventPatient
  readonly encounter?: { readonly id?: string; readonly class?: string; readonly disposition?: string }
  readonly document?: { readonly id?: string; readonly type?: string }
  readonly claim?: { readonly id?: string; readonly type?: string }
}

/** The patient as the event names her: identifiers (HL7v2) or a FHIR reference, and what may veto a match. */
export interface EventPatient {
  readonly identifiers?: readonly Identifier[]
  readonly reference?: string
  readonly family?: string
  readonly given?: string
  /** ISO 8601 date with the precision the source gave: YYYY, YYYY-MM or YYYY-MM-DD. */
  readonly birthDate?: string
}
