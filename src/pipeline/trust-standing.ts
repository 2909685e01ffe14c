import type { Query } from '../store/query.ts'
import {
  readBundleAnchors,
  readBundles,
  type StoredAnchor,
  type StoredBundle,
} from '../store/trust-bundles.ts'
import type { AnchorGroup, TrustAnchor } from '../trust/anchors.ts'
import { readCertificate } from '../trust/certificate.ts'

/** A trust bundle as the settings order it. */
export interface BundleOrder {
  readonly name: string
  readonly url?: string
  readonly file?: string
  readonly refreshEveryMs: number
  /** File with the certificates of those who may sign; read anew each time. */
  readonly signer?: string
  readonly removalPercentMax: number
  readonly alarmAfterMs: number
  readonly direction: 'both' | 'incoming' | 'outgoing'
  readonly domain?: string
  readonly policies: readonly string[]
}

/** What the bundles of an installation hold at one moment. */
export interface BundlesRead {
  readonly orders: readonly BundleOrder[]
  readonly rows: ReadonlyMap<string, StoredBundle>
  readonly anchors: readonly StoredAnchor[]
}

export async function readBundlesOf(query: Query, orders: readonly BundleOrder[]): Promise<BundlesRead> {
  const names = orders.map(({ name }) => name)
  if (names.length === 0) return { orders, rows: new Map(), anchors: [] }
  const rows = await readBundles(query, names)
  return {
    orders,
    rows: new Map(rows.map((row) => [row.name, row])),
    anchors: await readBundleAnchors(query, names),
  }
}

/** The anchors of bundles that may be used. */
export function groupsOf({ orders, rows, anchors }: BundlesRead): AnchorGroup[] {
  return orders.flatMap((order): AnchorGroup[] => {
    const { name, direction, domain, policies } = order
    if (lacksSignature(order, rows.get(name))) return []
    const trusted = anchors
      .filter(({ bundle }) => bundle === name)
      .flatMap(({ der }): TrustAnchor[] => {
        const reading = readCertificate(der)
        if (!reading.readable) return []
        const anchor = { certificate: reading.certificate, source: name }
        return [policies.length === 0 ? anchor : { ...anchor, policies }]
      })
    return [{ anchors: trusted, direction, ...(domain === undefined ? {} : { domain }) }]
  })
}

/**
 * A signer is asked for since the anchors came, unsigned: until a signed bundle comes they do not count. Another signer than
 * then is no such reason: the bundle was genuine when it came.
 */
function lacksSignature({ signer }: BundleOrder, row: StoredBundle | undefined): boolean {
  return signer !== undefined && row?.signedBy == null
}

export interface AnchorView {
  readonly subject: string
  /** Hexadecimal. */
  readonly sha256: string
  readonly notBefore: Date
  readonly notAfter: Date
  readonly state: 'valid' | 'expired' | 'not-yet-valid'
  /** File, or name of the bundle. */
  readonly source: string
  readonly direction: AnchorGroup['direction']
  readonly domain: string | null
  readonly policies: readonly string[]
}

export interface BundleView {
  readonly name: string
  /** URL or file of the settings; null: by hand alone. */
  readonly from: string | null
  readonly direction: AnchorGroup['direction']
  readonly domain: string | null
  readonly policies: readonly string[]
  readonly anchors: number
  /** Such as `signed`. */
  readonly form: string | null
  readonly isSignerRequired: boolean
  /** Of the bytes, hexadecimal. */
  readonly sha256: string | null
  readonly fetchedAt: Date | null
  readonly checkedAt: Date | null
  readonly nextCheckAt: Date | null
  /** What it holds and is not used, in words. */
  readonly dropped: readonly string[]
  readonly error: StoredBundle['error']
  readonly pending: StoredBundle['pending']
  /** Sentences: what is wrong and what helps; empty where nothing is. */
  readonly alarms: readonly string[]
}

export interface TrustView {
  readonly anchors: readonly AnchorView[]
  readonly bundles: readonly BundleView[]
}

/** Whom the installation trusts now, from which places, and what is wrong with them. */
export function trustView(files: readonly AnchorGroup[], read: BundlesRead, at: Date): TrustView {
  return {
    anchors: [...files, ...groupsOf(read)].flatMap(({ anchors, direction, domain }) =>
      anchors.map(({ certificate, source, policies = [] }): AnchorView => {
        const { subject, fingerprint, notBefore, notAfter } = certificate
        const state = at > notAfter ? 'expired' : at < notBefore ? 'not-yet-valid' : 'valid'
        const what = { subject: subject.text, sha256: fingerprint, notBefore, notAfter, state } as const
        return { ...what, source, direction, domain: domain ?? null, policies }
      }),
    ),
    bundles: read.orders.map((order) => bundleView(order, read, at)),
  }
}

function bundleView(order: BundleOrder, { rows, anchors }: BundlesRead, at: Date): BundleView {
  const { name, url, file, direction, domain, policies, signer } = order
  const row = rows.get(name)
  const own = anchors.filter(({ bundle }) => bundle === name)
  return {
    name,
    from: url ?? file ?? null,
    direction,
    domain: domain ?? null,
    policies,
    anchors: own.length,
    form: row?.form ?? null,
    isSignerRequired: signer !== undefined,
    sha256: row?.sha256 ?? null,
    fetchedAt: row?.fetchedAt ?? null,
    checkedAt: row?.checkedAt ?? null,
    nextCheckAt: row?.nextCheckAt ?? null,
    dropped: row?.dropped ?? [],
    error: row?.error ?? null,
    pending: row?.pending ?? null,
    alarms: alarmsOf(order, row, own, at),
  }
}

function alarmsOf(
  order: BundleOrder,
  row: StoredBundle | undefined,
  anchors: readonly StoredAnchor[],
  at: Date,
): string[] {
  const { name } = order
  const isByHand = order.url === undefined && order.file === undefined
  const alarms: string[] = []
  if (row === undefined || row.sha256 === null)
    alarms.push(
      isByHand
        ? `it has not been imported: bluepost trust import FILE --bundle ${name}`
        : `it has not been fetched yet: bluepost trust refresh ${name}, or start the engine`,
    )
  else if (lacksSignature(order, row))
    alarms.push(
      `its anchors came unsigned and are not used, since a signer is asked for now: bluepost trust refresh ${name}`,
    )
  if (row?.error != null) alarms.push(`the last check failed (${row.error.code}): ${row.error.because}`)
  if (row?.pending != null)
    alarms.push(
      `a new bundle waits for a person since ${row.pending.since.toISOString()}: ${row.pending.because}: bluepost trust accept ${name}`,
    )
  const staleMs = ageMs(row, at)
  if (row?.sha256 != null && staleMs > order.alarmAfterMs)
    alarms.push(
      `it was last confirmed ${Math.floor(staleMs / dayMs)} days ago; what it held then is still in use`,
    )
  for (const what of row?.dropped ?? []) alarms.push(`not used: ${what}`)
  for (const { der } of anchors) {
    const reading = readCertificate(der)
    if (reading.readable && at > reading.certificate.notAfter)
      alarms.push(
        `the anchor “${reading.certificate.subject.text}” expired on ${reading.certificate.notAfter.toISOString()}`,
      )
  }
  return alarms
}

/** Since what is in use was confirmed; of a bundle that never came, since the settings name it. */
export function ageMs(row: StoredBundle | undefined, at: Date): number {
  const since = row?.checkedAt ?? row?.since
  return since === undefined ? 0 : at.getTime() - since.getTime()
}

const dayMs = 86_400_000
