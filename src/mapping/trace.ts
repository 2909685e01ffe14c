import type { ValuePath } from '../domain/channel.ts'
import { quotable } from './quotable.ts'

/** Something that was looked at on the way to a decision. Texts of the message are PHI unless `isCode` says otherwise. */
export type Seen =
  /** A value at a path; absent where there is none. */
  | { readonly saw: 'value'; readonly path: string; readonly value?: string; readonly isCode: boolean }
  /** A lookup; `to` is absent where the table has no such row. */
  | {
      readonly saw: 'table'
      readonly table: string
      readonly from: string
      readonly to?: string
      readonly isCode: boolean
    }
  /** From here on paths mean this repetition of a field, or this element that an expression found. */
  | { readonly saw: 'repetition'; readonly of: string; readonly number: number }
  /** Whether `keep:` lets the repetition pass. */
  | { readonly saw: 'keep'; readonly kept: boolean }
  /** What a row inside `each:` gave. */
  | { readonly saw: 'part'; readonly to: string; readonly value: string }

/**
 * One step of the way to a decision, for `bluepost try`: written down by the code that decides, while it decides. `value`
 * and what `saw` holds are PHI: shown to whoever has the message, never logged.
 */
export interface TraceStep {
  readonly step: 'filter' | 'row'
  /** File and line. */
  readonly at: string
  /** The rule, or the source of the row, in words. */
  readonly asks: string
  readonly outcome: 'passed' | 'stopped' | 'not asked' | 'gave' | 'gave nothing' | 'not needed'
  readonly saw: readonly Seen[]
  /** What a row fills. */
  readonly to?: string
  readonly value?: string
  /** False where the value was looked up or is fixed: then it is the analyst’s, not the patient’s. */
  readonly isFromMessage?: boolean
  readonly because?: string
}

/** What was seen since the last time; nothing where nobody looks on. */
export function taken(seen: Seen[] | undefined): readonly Seen[] {
  return seen === undefined ? [] : seen.splice(0)
}

export function noteValue(seen: Seen[], path: ValuePath, value: string | undefined): void {
  seen.push({
    saw: 'value',
    path: path.text,
    isCode: value !== undefined && quotable(path, value) !== undefined,
    ...(value !== undefined && { value }),
  })
}

export function noteLookup(
  seen: Seen[],
  table: string,
  path: ValuePath,
  from: string,
  to: string | undefined,
): void {
  const isCode = quotable(path, from) !== undefined
  seen.push({ saw: 'table', table, from, isCode, ...(to !== undefined && { to }) })
}
