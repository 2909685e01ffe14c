import type { Query } from './query.ts'

/**
 * What visit numbers stand for now, where they were given up.
 *
 * @returns by the hexadecimal text of the old key
 */
export async function currentVisits(query: Query, keys: readonly Buffer[]): Promise<Map<string, Buffer>> {
  if (keys.length === 0) return new Map()
  const rows = await query<{ old_key: Buffer; new_key: Buffer }>(
    'SELECT old_key, new_key FROM renumbered_visit WHERE old_key = ANY ($1::bytea[])',
    [keys],
  )
  return new Map(rows.map(({ old_key, new_key }) => [old_key.toString('hex'), new_key]))
}

/**
 * A visit goes by another number from now on: what was told of it, and what is on its way, with it. The stories of both
 * must be held.
 *
 * @returns transmissions of the visit that have not been sealed, of which another one with the same destination and
 *          authorization is older: the two numbers were two visits before
 */
export async function renumberVisit(
  query: Query,
  oldKey: Buffer,
  newKey: Buffer,
  at: Date,
): Promise<string[]> {
  await query('DELETE FROM renumbered_visit WHERE old_key = $1', [newKey])
  await query('UPDATE renumbered_visit SET new_key = $2 WHERE new_key = $1', [oldKey, newKey])
  await query(
    `INSERT INTO renumbered_visit (old_key, new_key, at) VALUES ($1, $2, $3)
     ON CONFLICT (old_key) DO UPDATE SET new_key = excluded.new_key, at = excluded.at`,
    [oldKey, newKey, at],
  )
  await query('UPDATE trigger_event SET encounter_key = $2 WHERE encounter_key = $1', [oldKey, newKey])
  await query('UPDATE transmission SET encounter_key = $2 WHERE encounter_key = $1', [oldKey, newKey])
  const rows = await query<{ id: string }>(
    `SELECT t.id FROM transmission t WHERE t.encounter_key = $1 AND t.state IN ('waiting', 'preparing') AND EXISTS (
       SELECT FROM transmission older WHERE older.encounter_key = t.encounter_key AND older.state IN ('waiting', 'preparing')
         AND older.authorization_id = t.authorization_id AND lower(older.destination) = lower(t.destination)
         AND (older.created_at, older.id) < (t.created_at, t.id))
     ORDER BY t.id`,
    [newKey],
  )
  return rows.map(({ id }) => id)
}

/** Unsent transmissions that speak for an event of one of these visits, whoever authorized them; in the order of their ids. */
export async function unsentAbout(query: Query, visits: readonly Buffer[]): Promise<string[]> {
  const rows = await query<{ id: string }>(
    `SELECT DISTINCT t.id FROM trigger_event e
     JOIN transmission_event te ON te.event_id = e.id JOIN transmission t ON t.id = te.transmission_id
     WHERE e.encounter_key = ANY ($1::bytea[]) AND t.state IN ('waiting', 'preparing', 'sealed') ORDER BY t.id`,
    [visits],
  )
  return rows.map(({ id }) => id)
}
