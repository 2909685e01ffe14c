import type { Query } from './query.ts'

/** What looking ahead found for an address. `unavailable`: nobody could say, for now. */
export type DestinationOutcome = 'trusted' | 'untrusted' | 'absent' | 'unavailable'

export const destinationOutcomes: readonly DestinationOutcome[] = [
  'trusted',
  'untrusted',
  'absent',
  'unavailable',
]

export interface Probed {
  readonly outcome: DestinationOutcome
  /** Empty where it is trusted. */
  readonly because: string
  /** When nothing could be sent any more, without a new certificate; only where it is trusted. */
  readonly ends?: { readonly at: Date; readonly subject: string }
  readonly trace: unknown
}

/** A destination as looking ahead left it. */
export interface DestinationStanding {
  /** Lower case. */
  readonly address: string
  /** Null until the first look has ended. */
  readonly outcome: DestinationOutcome | null
  readonly because: string | null
  /** Since when the outcome is what it is. */
  readonly since: Date | null
  readonly probedAt: Date | null
  readonly nextProbeAt: Date
  readonly endsAt: Date | null
  readonly endsFirst: string | null
}

const columns = `address, outcome, because, since, probed_at AS "probedAt", next_probe_at AS "nextProbeAt",
  ends_at AS "endsAt", ends_first AS "endsFirst"`

/** Active: something may still be sent there. A `once` that is done is not. */
const isActive = `EXISTS (
  SELECT FROM authorization_destination d JOIN transmit_authorization a ON a.id = d.authorization_id
  WHERE lower(d.address) = s.address AND d.removed_at IS NULL AND a.revoked_at IS NULL
    AND (a.valid_until IS NULL OR a.valid_until > $1)
    AND (a.frequency <> 'once' OR EXISTS (
      SELECT FROM transmission t WHERE t.authorization_id = a.id AND t.ended_at IS NULL)))`

/** Wants a look at these addresses at once. */
export async function noteDestinations(query: Query, addresses: readonly string[], at: Date): Promise<void> {
  await query(
    `INSERT INTO destination_standing (address, next_probe_at)
     SELECT DISTINCT lower(address), $2::timestamptz FROM unnest($1::text[]) AS address ORDER BY 1
     ON CONFLICT (address) DO UPDATE SET next_probe_at = least(destination_standing.next_probe_at, excluded.next_probe_at)`,
    [addresses, at],
  )
}

/**
 * Takes destinations whose look is due, and forgets those to which nothing is sent any more. What a killed process took is
 * due again at `again`.
 */
export async function claimDueDestinations(
  query: Query,
  limit: number,
  at: Date,
  again: Date,
): Promise<string[]> {
  const rows = await query<{ address: string; active: boolean }>(
    `SELECT s.address, ${isActive} AS active FROM destination_standing s WHERE s.next_probe_at <= $1
     ORDER BY s.next_probe_at LIMIT $2 FOR UPDATE SKIP LOCKED`,
    [at, limit],
  )
  const due = rows.filter(({ active }) => active).map(({ address }) => address)
  const done = rows.filter(({ active }) => !active).map(({ address }) => address)
  await query('DELETE FROM destination_standing WHERE address = ANY ($1)', [done])
  await query('UPDATE destination_standing SET next_probe_at = $2 WHERE address = ANY ($1)', [due, again])
  return due
}

/** Keeps what was found. @returns the outcome before, null where this was the first */
export async function recordProbe(
  query: Query,
  address: string,
  { outcome, because, ends, trace }: Probed,
  at: Date,
  nextAt: Date,
): Promise<DestinationOutcome | null> {
  const [before] = await query<{ outcome: DestinationOutcome | null }>(
    'SELECT outcome FROM destination_standing WHERE address = $1 FOR UPDATE',
    [address],
  )
  await query(
    `UPDATE destination_standing SET next_probe_at = $2, probed_at = $3, outcome = $4,
       since = CASE WHEN outcome = $4 THEN since ELSE $3 END, because = nullif($5, ''), ends_at = $6, ends_first = $7, trace = $8
     WHERE address = $1`,
    [address, nextAt, at, outcome, because, ends?.at ?? null, ends?.subject ?? null, JSON.stringify(trace)],
  )
  return before?.outcome ?? null
}

export interface DestinationFilter {
  readonly outcome?: DestinationOutcome | undefined
  /** Only those that can receive until then and no longer. */
  readonly endsBefore?: Date | undefined
  readonly addresses?: readonly string[] | undefined
  /** The last address of the page before. */
  readonly after?: string | undefined
  readonly limit: number
}

/** In the order of the addresses. */
export function listDestinations(query: Query, filter: DestinationFilter): Promise<DestinationStanding[]> {
  return query<DestinationStanding>(
    `SELECT ${columns} FROM destination_standing
     WHERE ($1::text IS NULL OR outcome = $1) AND ($2::timestamptz IS NULL OR ends_at < $2)
       AND ($3::text[] IS NULL OR address = ANY ($3)) AND ($4::text IS NULL OR address > $4)
     ORDER BY address LIMIT $5`,
    [
      filter.outcome ?? null,
      filter.endsBefore ?? null,
      filter.addresses?.map((address) => address.toLowerCase()) ?? null,
      filter.after?.toLowerCase() ?? null,
      filter.limit,
    ],
  )
}

/** One with the trace of its last look. */
export async function readDestination(
  query: Query,
  address: string,
): Promise<(DestinationStanding & { readonly trace: unknown }) | undefined> {
  const [row] = await query<DestinationStanding & { trace: unknown }>(
    `SELECT ${columns}, trace FROM destination_standing WHERE address = $1`,
    [address.toLowerCase()],
  )
  return row
}

export interface DestinationCounts {
  /** By outcome; `unprobed`: nobody has looked yet. */
  readonly byOutcome: Readonly<Record<DestinationOutcome | 'unprobed', number>>
  /** How many can receive until each of the given moments and no longer. */
  readonly ending: readonly number[]
}

export async function countDestinations(query: Query, moments: readonly Date[]): Promise<DestinationCounts> {
  const rows = await query<{ outcome: DestinationOutcome | 'unprobed'; count: number }>(
    `SELECT coalesce(outcome, 'unprobed') AS outcome, count(*)::int AS count FROM destination_standing GROUP BY 1`,
  )
  const ending = await query<{ count: number }>(
    `SELECT count(address)::int AS count FROM unnest($1::timestamptz[]) WITH ORDINALITY AS m (moment, n)
     LEFT JOIN destination_standing ON outcome = 'trusted' AND ends_at < moment GROUP BY n ORDER BY n`,
    [moments],
  )
  const none = { trusted: 0, untrusted: 0, absent: 0, unavailable: 0, unprobed: 0 }
  return {
    byOutcome: { ...none, ...Object.fromEntries(rows.map(({ outcome, count }) => [outcome, count])) },
    ending: ending.map(({ count }) => count),
  }
}
