import type { TriggerKind } from '../src/domain/trigger-event.ts'
import type { Query } from '../src/store/query.ts'

/** Of all patients in the benchmarks. */
export const system = 'urn:oid:2.16.840.1.113883.19.5'

/** The identifier of patient n. */
export function numberOf(patient: number): string {
  return `P${String(patient).padStart(7, '0')}`
}

/** Patient n has the identifier P000000n, spread over the tables as if they had come in any order. */
export async function storeAuthorizations(
  query: Query,
  size: number,
  triggers: readonly TriggerKind[],
): Promise<void> {
  // The rows below refer to each other by construction; checking a million of them would take longer than the rest.
  for (const table of ['authorization_identifier', 'authorization_destination'])
    await query(`ALTER TABLE ${table} DROP CONSTRAINT ${table}_authorization_id_fkey`)
  const id = `md5('authorization ' || n)::uuid`
  await query(
    `INSERT INTO transmit_authorization (id, family, given, birth_date, frequency, triggers, valid_from, assurance_method,
       assurance_by, assurance_at, created_at, created_by)
     SELECT ${id}, 'Ross', 'Ellen', '1956-08-14', 'continuous', $2::text[], '2026-01-01', 'in-person', 'front desk',
       '2026-01-01', '2026-01-01', 'bench' FROM generate_series(1, $1::int) AS n`,
    [size, triggers],
  )
  await query(
    `INSERT INTO authorization_identifier (system, value, authorization_id, type)
     SELECT '${system}', 'P' || lpad(n::text, 7, '0'), ${id}, 'MR' FROM generate_series(1, $1::int) AS n`,
    [size],
  )
  await query(
    `INSERT INTO authorization_destination (id, authorization_id, address, added_at)
     SELECT md5('destination ' || n)::uuid, ${id}, 'patient' || n || '@direct.somephr.example', '2026-01-01'
       FROM generate_series(1, $1::int) AS n`,
    [size],
  )
  for (const table of ['transmit_authorization', 'authorization_identifier', 'authorization_destination'])
    await query(`VACUUM (ANALYZE) ${table}`)
}
