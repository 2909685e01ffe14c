import { createHash } from 'node:crypto'
import type { MappingPlan } from '../domain/channel.ts'
import type { Values } from './surroundings.ts'

/**
 * SHA-256 over everything that decides: the channel file as substituted, the mapping file, its tables. Titles, alerts and
 * tests do not decide.
 */
export function revisionOf(channel: Values, mapping: Values, { tables }: MappingPlan): string {
  const { title, owner, alerts, tests, ...deciding } = channel
  void [title, owner, alerts, tests]
  const rows = [...tables].map(([name, table]) => [name, [...table.rows]])
  return createHash('sha256')
    .update(JSON.stringify(sorted([deciding, mapping, rows])))
    .digest('hex')
}

/** The same content gives the same text, in whatever order its keys are written. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, sorted(each)]),
  )
}
