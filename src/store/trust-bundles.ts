import type { Query } from './query.ts'

/** A trust bundle as it stands in the database. */
export interface StoredBundle {
  readonly name: string
  /** Another one after every change of the anchors. */
  readonly version: string
  /** URL or file that the anchors in use came from; null before the first. */
  readonly source: string | null
  /** SHA-256 of the bytes, hexadecimal. */
  readonly sha256: string | null
  readonly form: string | null
  /** Fingerprint of the required signer whose signature they came with. */
  readonly signedBy: string | null
  readonly etag: string | null
  readonly lastModified: string | null
  readonly fetchedAt: Date | null
  /** When the source last confirmed what is in use. */
  readonly checkedAt: Date | null
  /** When the settings first named it. */
  readonly since: Date
  readonly nextCheckAt: Date
  /** What the bundle holds and is not used, in words. */
  readonly dropped: readonly string[]
  /** In a row; 0 after a success. */
  readonly failures: number
  readonly error: { readonly code: string; readonly because: string; readonly at: Date } | null
  readonly pending: { readonly sha256: string; readonly since: Date; readonly because: string } | null
}

interface Row {
  name: string
  version: string
  source: string | null
  sha256: string | null
  form: string | null
  signed_by: string | null
  etag: string | null
  last_modified: string | null
  fetched_at: Date | null
  checked_at: Date | null
  since: Date
  next_check_at: Date
  dropped: string[]
  failures: number
  failed_at: Date | null
  error_code: string | null
  error: string | null
  pending_sha256: string | null
  pending_since: Date | null
  pending_because: string | null
}

const columns = `name, version, source, encode(sha256, 'hex') AS sha256, form, signed_by, etag, last_modified, fetched_at,
  checked_at, since, next_check_at, dropped, failures, failed_at, error_code, error,
  encode(pending_sha256, 'hex') AS pending_sha256, pending_since, pending_because`

/** Makes the rows of bundles that are new in the settings; they are due at once. */
export async function ensureBundles(query: Query, names: readonly string[], at: Date): Promise<void> {
  await query(
    `INSERT INTO trust_bundle (name, since, next_check_at) SELECT name, $2, $2 FROM unnest($1::text[]) AS name
     ON CONFLICT DO NOTHING`,
    [names, at],
  )
}

/** In the order of their names. */
export async function readBundles(query: Query, names: readonly string[]): Promise<StoredBundle[]> {
  const rows = await query<Row>(`SELECT ${columns} FROM trust_bundle WHERE name = ANY($1) ORDER BY name`, [
    names,
  ])
  return rows.map(bundleOf)
}

/** Holds the row until the transaction ends: one change of a bundle at a time. */
export async function lockBundle(query: Query, name: string): Promise<StoredBundle> {
  const [row] = await query<Row>(`SELECT ${columns} FROM trust_bundle WHERE name = $1 FOR UPDATE`, [name])
  if (row === undefined) throw new Error(`there is no trust bundle ${name}`)
  return bundleOf(row)
}

export interface StoredAnchor {
  readonly bundle: string
  /** SHA-256, hexadecimal. */
  readonly fingerprint: string
  readonly der: Buffer
}

/** The anchors in use. */
export function readBundleAnchors(query: Query, names: readonly string[]): Promise<StoredAnchor[]> {
  return query<{ bundle: string; fingerprint: string; der: Buffer }>(
    `SELECT bundle, fingerprint, der FROM trust_bundle_anchor WHERE bundle = ANY($1) ORDER BY bundle, fingerprint`,
    [names],
  )
}

/** The bundles that are due; they are due again at `until`, unless somebody says otherwise before. */
export async function claimDueBundles(
  query: Query,
  names: readonly string[],
  at: Date,
  until: Date,
): Promise<string[]> {
  const rows = await query<{ name: string }>(
    `UPDATE trust_bundle SET next_check_at = $3 WHERE name = ANY($1) AND next_check_at <= $2 RETURNING name`,
    [names, at, until],
  )
  return rows.map(({ name }) => name)
}

/** What a bundle was read from. */
export interface BundleOrigin {
  readonly source: string
  readonly sha256: string
  readonly etag: string | null
  readonly lastModified: string | null
}

/** The source still has what is in use. What waits is no longer offered, so it goes. */
export async function recordUnchanged(
  query: Query,
  name: string,
  at: Date,
  nextCheckAt: Date,
): Promise<void> {
  await query(
    `UPDATE trust_bundle SET checked_at = $2, next_check_at = $3, ${noError}, ${noPending} WHERE name = $1`,
    [name, at, nextCheckAt],
  )
}

/** There is nothing to ask. */
export async function postponeBundle(query: Query, name: string, nextCheckAt: Date): Promise<void> {
  await query('UPDATE trust_bundle SET next_check_at = $2 WHERE name = $1', [name, nextCheckAt])
}

/** What is in use stays in use. */
export async function recordFailure(
  query: Query,
  name: string,
  { code, because }: { readonly code: string; readonly because: string },
  at: Date,
  nextCheckAt: Date,
): Promise<void> {
  await query(
    `UPDATE trust_bundle SET failures = failures + 1, failed_at = $2, error_code = $3, error = $4, next_check_at = $5
     WHERE name = $1`,
    [name, at, code, because, nextCheckAt],
  )
}

/** Keeps a bundle for a person to decide; the source was reached, what is in use was not confirmed. */
export async function recordPending(
  query: Query,
  name: string,
  bytes: Buffer,
  { source, sha256 }: Pick<BundleOrigin, 'source' | 'sha256'>,
  because: string,
  at: Date,
  nextCheckAt: Date,
): Promise<void> {
  await query(
    `UPDATE trust_bundle SET pending_since = CASE WHEN pending_sha256 = decode($4, 'hex') THEN pending_since ELSE $6 END,
       pending = $2, pending_source = $3, pending_sha256 = decode($4, 'hex'), pending_because = $5, next_check_at = $7,
       ${noError} WHERE name = $1`,
    [name, bytes, source, sha256, because, at, nextCheckAt],
  )
}

export async function readPending(
  query: Query,
  name: string,
): Promise<{ readonly bytes: Buffer; readonly source: string; readonly sha256: string } | undefined> {
  const [row] = await query<{ bytes: Buffer; source: string; sha256: string }>(
    `SELECT pending AS bytes, pending_source AS source, encode(pending_sha256, 'hex') AS sha256
     FROM trust_bundle WHERE name = $1 AND pending IS NOT NULL`,
    [name],
  )
  return row
}

/** Exchanges the anchors of a bundle; call it in the transaction that holds the row. */
export async function swapAnchors(
  query: Query,
  name: string,
  anchors: readonly Omit<StoredAnchor, 'bundle'>[],
  origin: BundleOrigin & {
    readonly form: string
    readonly signedBy: string | null
    readonly dropped: readonly string[]
  },
  at: Date,
  nextCheckAt: Date,
): Promise<void> {
  const fingerprints = anchors.map(({ fingerprint }) => fingerprint)
  await query('DELETE FROM trust_bundle_anchor WHERE bundle = $1 AND fingerprint <> ALL($2)', [
    name,
    fingerprints,
  ])
  await query(
    `INSERT INTO trust_bundle_anchor (bundle, fingerprint, der, added_at)
     SELECT $1, fingerprint, der, $4 FROM unnest($2::text[], $3::bytea[]) AS anchor (fingerprint, der)
     ON CONFLICT DO NOTHING`,
    [name, fingerprints, anchors.map(({ der }) => der), at],
  )
  await query(
    `UPDATE trust_bundle SET version = nextval('trust_version'), source = $2, sha256 = decode($3, 'hex'), etag = $4,
       last_modified = $5, form = $6, signed_by = $7, dropped = $8, fetched_at = $9, checked_at = $9, next_check_at = $10,
       ${noError}, ${noPending} WHERE name = $1`,
    [
      name,
      origin.source,
      origin.sha256,
      origin.etag,
      origin.lastModified,
      origin.form,
      origin.signedBy,
      origin.dropped,
      at,
      nextCheckAt,
    ],
  )
}

const noError = 'failures = 0, failed_at = NULL, error_code = NULL, error = NULL'
const noPending =
  'pending = NULL, pending_source = NULL, pending_sha256 = NULL, pending_since = NULL, pending_because = NULL'

function bundleOf(row: Row): StoredBundle {
  return {
    name: row.name,
    version: row.version,
    source: row.source,
    sha256: row.sha256,
    form: row.form,
    signedBy: row.signed_by,
    etag: row.etag,
    lastModified: row.last_modified,
    fetchedAt: row.fetched_at,
    checkedAt: row.checked_at,
    since: row.since,
    nextCheckAt: row.next_check_at,
    dropped: row.dropped,
    failures: row.failures,
    error: row.error === null ? null : { code: row.error_code!, because: row.error, at: row.failed_at! },
    pending:
      row.pending_sha256 === null
        ? null
        : { sha256: row.pending_sha256, since: row.pending_since!, because: row.pending_because! },
  }
}
