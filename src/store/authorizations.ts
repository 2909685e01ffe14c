import { randomUUID } from 'node:crypto'
import type { Authorization, AuthorizationChange, AuthorizationRequest } from '../domain/authorization.ts'
import type { Identifier } from '../domain/patient.ts'
import { isSameAddress } from '../domain/direct-address.ts'
import { noteDestinations } from './destinations.ts'
import { loadAuthorizations } from './matching.ts'
import type { Query } from './query.ts'

export async function insertAuthorization(
  query: Query,
  wanted: AuthorizationRequest,
  by: string,
  at: Date,
): Promise<Authorization> {
  const id = randomUUID()
  const { patient, frequency, identityAssurance } = wanted
  await query(
    `INSERT INTO transmit_authorization (id, family, given, previous_families, birth_date, frequency, every, triggers, valid_from,
       valid_until, sensitive_data, assurance_method, assurance_by, assurance_at, evidence, created_at, created_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
    [
      id,
      patient.family,
      patient.given ?? null,
      patient.previousFamilies ?? [],
      patient.birthDate,
      frequency.type,
      frequency.type === 'interval' ? frequency.every : null,
      wanted.triggers,
      wanted.validFrom,
      wanted.validUntil ?? null,
      wanted.sensitiveData,
      identityAssurance.method,
      identityAssurance.verifiedBy,
      identityAssurance.verifiedAt,
      wanted.evidence ?? null,
      at,
      by,
    ],
  )
  await query(
    `INSERT INTO authorization_identifier (system, value, authorization_id, type)
     SELECT system, value, $1, max(type) FROM unnest($2::text[], $3::text[], $4::text[]) AS one (system, value, type) GROUP BY system, value`,
    [
      id,
      patient.identifiers.map((identifier) => identifier.system),
      patient.identifiers.map((identifier) => identifier.value),
      patient.identifiers.map((identifier) => identifier.type ?? null),
    ],
  )
  for (const address of wanted.destinations) await insertDestination(query, id, address, at)
  await noteDestinations(query, wanted.destinations, at)
  return recordVersion(query, id, 'created', by, null, at)
}

/**
 * Locks the authorization until the transaction ends, so that a change and a send never judge different versions. A change
 * takes NO KEY UPDATE: new rows that merely refer to the authorization do not wait for it.
 */
export async function lockAuthorization(
  query: Query,
  id: string,
  how: 'NO KEY UPDATE' | 'SHARE',
): Promise<Authorization | undefined> {
  const rows = await query(`SELECT 1 FROM transmit_authorization WHERE id = $1 FOR ${how}`, [id])
  if (rows.length === 0) return undefined
  const [authorization] = await loadAuthorizations(query, [id])
  return authorization
}

export async function updateAuthorization(
  query: Query,
  before: Authorization,
  change: AuthorizationChange,
  by: string,
  at: Date,
): Promise<Authorization> {
  const frequency = change.frequency ?? before.frequency
  const validUntil = change.validUntil === undefined ? (before.validUntil ?? null) : change.validUntil
  await query(
    `UPDATE transmit_authorization SET version = version + 1, frequency = $2, every = $3, triggers = $4, valid_until = $5,
       sensitive_data = $6 WHERE id = $1`,
    [
      before.id,
      frequency.type,
      frequency.type === 'interval' ? frequency.every : null,
      change.triggers ?? before.triggers,
      validUntil,
      change.sensitiveData ?? before.sensitiveData,
    ],
  )
  if (change.destinations !== undefined) {
    const wanted = change.destinations
    const removed = before.destinations.filter(
      (one) => !wanted.some((address) => isSameAddress(address, one.address)),
    )
    const added = wanted.filter(
      (address) => !before.destinations.some((one) => isSameAddress(address, one.address)),
    )
    await query('UPDATE authorization_destination SET removed_at = $2 WHERE id = ANY ($1::uuid[])', [
      removed.map(({ id }) => id),
      at,
    ])
    for (const address of added) await insertDestination(query, before.id, address, at)
  }
  // Also where they stay: a new frequency or validity may bring back what nobody looked after.
  await noteDestinations(query, change.destinations ?? before.destinations.map(({ address }) => address), at)
  return recordVersion(query, before.id, 'changed', by, null, at)
}

/**
 * Authorizations with any of these identifiers, locked in the order of their ids; what they are is read after the lock.
 */
export async function lockAuthorizationsOf(
  query: Query,
  identifiers: readonly Pick<Identifier, 'system' | 'value'>[],
): Promise<Authorization[]> {
  const rows = await query<{ id: string }>(
    `SELECT id FROM transmit_authorization WHERE id IN (
       SELECT i.authorization_id FROM unnest($1::text[], $2::text[]) AS wanted (system, value)
       JOIN authorization_identifier i ON i.system = wanted.system AND i.value = wanted.value)
     ORDER BY id FOR NO KEY UPDATE`,
    [identifiers.map(({ system }) => system), identifiers.map(({ value }) => value)],
  )
  return loadAuthorizations(
    query,
    rows.map(({ id }) => id),
  )
}

/** A source said that the patient goes by these identifiers, too. @returns the new version; undefined where nothing is new */
export async function addIdentifiers(
  query: Query,
  authorizationId: string,
  identifiers: readonly Identifier[],
  because: string,
  at: Date,
): Promise<Authorization | undefined> {
  const added = await query(
    `INSERT INTO authorization_identifier (system, value, authorization_id, type)
     SELECT system, value, $4, nullif(type, '') FROM unnest($1::text[], $2::text[], $3::text[]) AS i (system, value, type)
     ON CONFLICT DO NOTHING RETURNING 1`,
    [
      identifiers.map(({ system }) => system),
      identifiers.map(({ value }) => value),
      identifiers.map(({ type }) => type ?? ''),
      authorizationId,
    ],
  )
  if (added.length === 0) return undefined
  await query('UPDATE transmit_authorization SET version = version + 1 WHERE id = $1', [authorizationId])
  return recordVersion(query, authorizationId, 'changed', 'engine', because, at)
}

export async function markRevoked(
  query: Query,
  before: Authorization,
  by: string,
  because: string | undefined,
  at: Date,
): Promise<Authorization> {
  await query('UPDATE transmit_authorization SET version = version + 1, revoked_at = $2 WHERE id = $1', [
    before.id,
    at,
  ])
  return recordVersion(query, before.id, 'revoked', by, because ?? null, at)
}

async function insertDestination(
  query: Query,
  authorizationId: string,
  address: string,
  at: Date,
): Promise<void> {
  await query(
    'INSERT INTO authorization_destination (id, authorization_id, address, added_at) VALUES ($1, $2, $3, $4)',
    [randomUUID(), authorizationId, address, at],
  )
}

/** Every version is kept whole: what the patient had asked for at any moment can be shown. */
async function recordVersion(
  query: Query,
  id: string,
  what: 'created' | 'changed' | 'revoked',
  by: string,
  because: string | null,
  at: Date,
): Promise<Authorization> {
  const [authorization] = await loadAuthorizations(query, [id])
  if (authorization === undefined) throw new Error(`authorization ${id} vanished within its own transaction`)
  await query(
    `INSERT INTO authorization_change (authorization_id, version, at, by, what, because, snapshot) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [id, authorization.version, at, by, what, because, JSON.stringify(authorization)],
  )
  return authorization
}
