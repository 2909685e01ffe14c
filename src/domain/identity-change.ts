import type { Identifier } from './patient.ts'

/** What a source says about whose records are whose (HL7 v2.5.1 ch. 3.3, 3.6.2). Identifiers as the source spells them. */
export type IdentityChange =
  /** One person had two records: `from` is given up for `into` (A40 and its older forms), or was renamed (A46 …). */
  | { readonly type: 'merge'; readonly from: readonly Identifier[]; readonly into: readonly Identifier[] }
  /** Something of one person was written down for another: a visit (A45), an account (A44), identifiers (A43). */
  | { readonly type: 'move'; readonly from: readonly Identifier[]; readonly visits: readonly string[] }
  /** A visit or an account of one person goes by another number (A41, A42, A49, A50, A51). */
  | { readonly type: 'renumber'; readonly from: string; readonly into: string }
  /** Two records are said, or no longer said, to be of one person; they stay two (A24, A37). */
  | { readonly type: 'link' }
  /** The record of the person was an error (A29). */
  | { readonly type: 'delete'; readonly record: readonly Identifier[] }
