import type { Query } from './query.ts'

export interface OccurrenceRow {
  readonly at: Date
  readonly what: string
  readonly from: string
  readonly to: string
  readonly code: string | null
  readonly because: string | null
  readonly detail: unknown
}

/** The story of one transmission, in order. */
export function readOccurrences(query: Query, id: string): Promise<OccurrenceRow[]> {
  return query<OccurrenceRow>(
    `SELECT at, what, from_state AS "from", to_state AS "to", code, because, detail
     FROM occurrence WHERE transmission_id = $1 ORDER BY ordinal`,
    [id],
  )
}
