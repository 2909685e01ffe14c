import { readPartners, type Partners } from '../partners.ts'
import { groupsOf, readBundlesOf, trustView, type BundleView } from '../pipeline/trust-standing.ts'
import type { Settings } from '../settings.ts'
import { queryOf } from '../store/query.ts'
import { onDatabase } from './on-database.ts'

/**
 * What an installation brings to the exchange, for a command that looks once: keys and anchors of files, and the anchors of
 * its bundles. The database is opened only where there are bundles.
 */
export async function partnersNow(
  settings: Settings,
  at: Date,
): Promise<{ readonly partners: Partners; readonly bundles: readonly BundleView[] }> {
  const partners = readPartners(settings, at)
  const orders = settings.trust.bundles
  if (orders.length === 0) return { partners, bundles: [] }
  const read = await onDatabase(settings, (dataSource) => readBundlesOf(queryOf(dataSource), orders))
  const { anchorSet } = partners
  const files = anchorSet.groups
  anchorSet.change([...files, ...groupsOf(read)])
  return { partners, bundles: trustView(files, read, at).bundles }
}
