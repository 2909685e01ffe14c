import type { TriggerEvent, TriggerKind } from './trigger-event.ts'

/**
 * A story is what events are told about again and again: a visit (A03, its MDM, Encounter finished), else a claim, else a
 * document. What is told of one story within the hold of its channel becomes one transmission.
 */
export interface Story {
  /** Names the visit, the claim or the document within the scope of its channel. */
  readonly story: string
  /** The claim or the document, also where a visit is named: a cancel of one document leaves the visit alone. */
  readonly subject?: string
  readonly visit?: string
}

/** Undefined where the event names neither visit nor claim nor document: it stands alone, and no cancel finds it. */
export function storyOf(event: Pick<TriggerEvent, 'encounter' | 'claim' | 'document'>): Story | undefined {
  const visit = event.encounter?.id === undefined ? undefined : `encounter ${event.encounter.id}`
  const subject =
    event.claim?.id !== undefined
      ? `claim ${event.claim.id}`
      : event.document?.id !== undefined
        ? `document ${event.document.id}`
        : undefined
  const story = visit ?? subject
  if (story === undefined) return undefined
  return { story, ...(visit !== undefined && { visit }), ...(subject !== undefined && { subject }) }
}

/** A stay and a visit end once; which of the two it was depends on the patient class, which systems correct. */
export const visitEnds: readonly TriggerKind[] = ['discharge', 'end-of-encounter']

/** Kinds that take the place of each other: a cancel of one is a cancel of the other. */
export function kindsLike(kind: TriggerKind): readonly TriggerKind[] {
  return visitEnds.includes(kind) ? visitEnds : [kind]
}

/**
 * True where a story has such an event only once, whatever time a later message gives for it: the end of a visit. Moves,
 * results, documents and claims come again, each at its own time.
 */
export function happensOnce(kind: TriggerKind): boolean {
  return visitEnds.includes(kind)
}

/**
 * A cancel names the time of the event it takes back (EVN-6), or its own, which is later. Sources round both differently:
 * an event up to a minute later is still the one that is meant. What happened after that is another event, in whichever
 * order the two arrive.
 */
export const cancelToleranceMs = 60_000
