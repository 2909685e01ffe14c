import type { TraceStep } from '../domain/trust-verdict.ts'

/** One line of what was seen on the way, for the trace. */
export type Seen = Pick<TraceStep, 'outcome' | 'detail'>

/** What looking at one place gave. `open`: the question was not answered, which is not the same as nothing. */
export type Look =
  | { readonly outcome: 'found'; readonly certificates: readonly Buffer[]; readonly seen: readonly Seen[] }
  | { readonly outcome: 'nothing'; readonly seen: readonly Seen[] }
  | { readonly outcome: 'open'; readonly because: string; readonly seen: readonly Seen[] }

export const nothing = (...seen: Seen[]): Look => ({ outcome: 'nothing', seen })

export function counted(certificates: readonly Buffer[]): string {
  return certificates.length === 1 ? '1 certificate' : `${certificates.length} certificates`
}
