import type { Query } from './query.ts'

export interface StoredRevocationList {
  readonly der: Buffer
  readonly fetchedAt: Date
}

/** Nobody has asked for it in a quarter of a year: its certificates have moved elsewhere. */
const unusedDaysMax = 90

/** The list last fetched under this key; whether it is signed is for whoever asked to find out, again. */
export async function loadRevocationList(
  query: Query,
  key: string,
): Promise<StoredRevocationList | undefined> {
  const [row] = await query<StoredRevocationList>(
    'SELECT der, fetched_at AS "fetchedAt" FROM revocation_list WHERE key = $1',
    [key],
  )
  return row
}

/** Keeps the newest: another process may have fetched a newer one in the meantime. */
export async function saveRevocationList(
  query: Query,
  key: string,
  { url, der, fetchedAt }: StoredRevocationList & { readonly url: string },
): Promise<void> {
  await query(
    `INSERT INTO revocation_list (key, url, der, fetched_at) VALUES ($1, $2, $3, $4)
     ON CONFLICT (key) DO UPDATE SET der = excluded.der, fetched_at = excluded.fetched_at
       WHERE revocation_list.fetched_at < excluded.fetched_at`,
    [key, url, der, fetchedAt],
  )
  await query(`DELETE FROM revocation_list WHERE fetched_at < $1::timestamptz - make_interval(days => $2)`, [
    fetchedAt,
    unusedDaysMax,
  ])
}
