import type { GuardedFetch } from './lib/guarded-fetch.ts'
import type { TrustSettings } from './settings/trust.ts'
import type { Query } from './store/query.ts'
import { loadRevocationList, saveRevocationList } from './store/revocation-lists.ts'
import { makeRevocation, type RevocationCheck } from './trust/revocation.ts'

/**
 * The check that the settings ask for; undefined where they say `off`.
 *
 * @param query of a migrated database, where lists outlive the process; commands that only look do without
 */
export function revocationCheck(
  { revocation: { mode, graceMs } }: TrustSettings,
  fetch: GuardedFetch,
  query?: Query,
): RevocationCheck | undefined {
  if (mode === 'off') return undefined
  return makeRevocation({
    fetch,
    mode,
    graceMs,
    ...(query === undefined
      ? {}
      : {
          store: {
            load: (key) => loadRevocationList(query, key),
            save: (key, list) => saveRevocationList(query, key, list),
          },
        }),
  })
}
