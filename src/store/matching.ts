import type { Authorization, Frequency, IdentityAssurance } from '../domain/authorization.ts'
import type { Identifier } from '../domain/patient.ts'
import type { TriggerKind } from '../domain/trigger-event.ts'
import type { Query } from './query.ts'

/** What an event is looked up by; see `strongKeys` in matching. */
export type MatchKey = Pick<Identifier, 'system' | 'value'>

/**
 * The authorizations that share an identifier with each event of a batch, in two statements for the whole batch.
 * Revoked and expired ones are among them: that they do not permit it is a verdict, too.
 *
 * @param keys one list per event; canonical authority and value, both compared exactly
 * @returns one list per event, in the order of `keys`
 */
export async function candidatesFor(
  query: Query,
  keys: readonly (readonly MatchKey[])[],
): Promise<Authorization[][]> {
  const wanted = keys.flatMap((list, event) => list.map((key) => ({ event, ...key })))
  if (wanted.length === 0) return keys.map(() => [])
  const hits = await query<{ event: number; authorization_id: string }>(candidateSql, [
    wanted.map(({ event }) => event),
    wanted.map(({ system }) => system),
    wanted.map(({ value }) => value),
  ])
  if (hits.length === 0) return keys.map(() => [])

  const loaded = new Map<string, Authorization>()
  for (const authorization of await loadAuthorizations(query, [
    ...new Set(hits.map((hit) => hit.authorization_id)),
  ]))
    loaded.set(authorization.id, authorization)
  const found: Authorization[][] = keys.map(() => [])
  for (const hit of hits) {
    const authorization = loaded.get(hit.authorization_id)
    if (authorization !== undefined) found[hit.event]?.push(authorization)
  }
  return found
}

/** Uses the primary key of authorization_identifier (system, value, authorization_id), once per key. */
const candidateSql = `
  SELECT DISTINCT wanted.event, identifier.authorization_id
    FROM unnest($1::int[], $2::text[], $3::text[]) AS wanted (event, system, value)
    JOIN authorization_identifier identifier
      ON identifier.system = wanted.system AND identifier.value = wanted.value`

/** Whole authorizations with their identifiers and active destinations, in one statement; unknown ids are left out. */
export async function loadAuthorizations(query: Query, ids: readonly string[]): Promise<Authorization[]> {
  if (ids.length === 0) return []
  const rows = await query<AuthorizationRow>(
    `${selectAuthorization} WHERE authorization_row.id = ANY ($1::uuid[])`,
    [ids],
  )
  return rows.map(rowToAuthorization)
}

/** Selects {@link AuthorizationRow}s; add a WHERE on `authorization_row`. Both subqueries use an index on authorization_id. */
const selectAuthorization = `
  SELECT authorization_row.id, version, family, given, previous_families, birth_date, frequency, every, triggers,
         valid_from, valid_until, revoked_at, sensitive_data, assurance_method, assurance_by, assurance_at, evidence,
         (SELECT json_agg(json_build_object('system', system, 'value', value, 'type', type) ORDER BY system, value)
            FROM authorization_identifier WHERE authorization_id = authorization_row.id) AS identifiers,
         (SELECT json_agg(json_build_object('id', id, 'address', address) ORDER BY added_at, id)
            FROM authorization_destination
           WHERE authorization_id = authorization_row.id AND removed_at IS NULL) AS destinations
    FROM transmit_authorization authorization_row`

interface AuthorizationRow {
  readonly id: string
  readonly version: number
  readonly family: string
  readonly given: string | null
  readonly previous_families: readonly string[]
  readonly birth_date: string
  readonly frequency: Frequency['type']
  readonly every: string | null
  readonly triggers: readonly TriggerKind[]
  readonly valid_from: Date
  readonly valid_until: Date | null
  readonly revoked_at: Date | null
  readonly sensitive_data: Authorization['sensitiveData']
  readonly assurance_method: IdentityAssurance['method']
  readonly assurance_by: string
  readonly assurance_at: Date
  readonly evidence: string | null
  readonly identifiers: readonly { system: string; value: string; type: string | null }[] | null
  readonly destinations: readonly { id: string; address: string }[] | null
}

function rowToAuthorization(row: AuthorizationRow): Authorization {
  return {
    id: row.id,
    version: row.version,
    patient: {
      identifiers: (row.identifiers ?? []).map(({ system, value, type }) => ({
        system,
        value,
        ...(type === null ? {} : { type }),
      })),
      family: row.family,
      ...(row.given === null ? {} : { given: row.given }),
      ...(row.previous_families.length === 0 ? {} : { previousFamilies: row.previous_families }),
      birthDate: row.birth_date,
    },
    destinations: row.destinations ?? [],
    frequency: frequencyOf(row),
    triggers: row.triggers,
    validFrom: row.valid_from,
    ...(row.valid_until === null ? {} : { validUntil: row.valid_until }),
    ...(row.revoked_at === null ? {} : { revokedAt: row.revoked_at }),
    identityAssurance: {
      method: row.assurance_method,
      verifiedBy: row.assurance_by,
      verifiedAt: row.assurance_at,
    },
    ...(row.evidence === null ? {} : { evidence: row.evidence }),
    sensitiveData: row.sensitive_data,
  }
}

function frequencyOf({ frequency, every }: AuthorizationRow): Frequency {
  // The table checks that an interval, and nothing else, has a duration.
  return frequency === 'interval' ? { type: 'interval', every: every! } : { type: frequency }
}
