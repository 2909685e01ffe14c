import { createHash } from 'node:crypto'
import type { Query } from './query.ts'

/** One line of the audit. Holds no PHI: subjects are ids, details are codes, counts, hashes and Direct addresses. */
export interface AuditEntry {
  readonly at: Date
  /** Who: `key:NAME`, `oidc:SUBJECT`, `cli:USER`, or `engine`. */
  readonly actor: string
  readonly action: AuditAction
  /** What it was done to: `authorization:ID`, `transmission:ID`, `message:ID`, `event:ID`, `destination:ADDRESS`,
   * `quarantine:GROUP`, `channel:NAME`. */
  readonly subject: string
  readonly authorizationId?: string
  readonly detail: Readonly<Record<string, unknown>>
}

export type AuditAction =
  | 'authorization-created'
  | 'authorization-changed'
  | 'authorization-revoked'
  | 'authorization-read'
  | 'destination-probed'
  | 'verdict'
  | 'transmission-cancelled'
  | 'transmission-withdrawn'
  | 'transmission-held'
  | 'transmission-released'
  | 'transmission-retried'
  | 'disclosure'
  | 'disclosure-stopped'
  | 'notification'
  | 'inbox-kept'
  | 'inbox-refused'
  | 'inbox-read'
  | 'inbox-answered'
  | 'message-replayed'
  | 'quarantine-released'
  | 'export-completed'
  | 'trust-bundle-changed'
  | 'trust-bundle-held'
  | 'channel-paused'
  | 'channel-resumed'
  | 'channel-stopped'
  | 'channel-started'
  | 'channels-reloaded'
  | 'engine-started'
  | 'engine-stopped'

/** Appends entries in the transaction of what they tell about: neither exists without the other. */
export async function appendAudit(query: Query, entries: readonly AuditEntry[]): Promise<void> {
  if (entries.length === 0) return
  await query(
    `INSERT INTO audit (at, actor, action, subject, authorization_id, detail)
     SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::jsonb[])`,
    [
      entries.map((entry) => entry.at),
      entries.map((entry) => entry.actor),
      entries.map((entry) => entry.action),
      entries.map((entry) => entry.subject),
      entries.map((entry) => entry.authorizationId ?? null),
      entries.map((entry) => JSON.stringify(entry.detail)),
    ],
  )
}

/** One seal takes at most this many transactions’ entries, so that a long backlog is sealed in bounded memory. */
const sealEntriesMax = 10_000

/** A 64-bit key of our own for pg_advisory_xact_lock: one sealer at a time. */
const sealLock = 7_210_001

/**
 * Chains what was appended since the last seal: hash = SHA-256 over the previous hash and every row of the transactions
 * in the range. Only transactions below the snapshot’s horizon are taken; none of those can still add a row. Rows are
 * never rewritten, and appending never waits for the chain.
 *
 * @returns how many entries were sealed
 */
export async function sealAudit(query: Query, at: Date): Promise<number> {
  await query('SELECT pg_advisory_xact_lock($1)', [sealLock])
  const [last] = await query<{ txid_until: string; hash: Buffer }>(
    'SELECT txid_until, hash FROM audit_seal ORDER BY txid_from DESC LIMIT 1',
  )
  const from = last?.txid_until ?? '0'
  const [range] = await query<{ until: string | null; entries: string }>(
    `SELECT max(txid) + 1 AS until, count(*) AS entries FROM (
       SELECT txid FROM audit
       WHERE txid >= $1
         AND txid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint + (SELECT audit_offset FROM installation)
       ORDER BY txid FETCH FIRST $2 ROWS WITH TIES) AS sealable`,
    [from, sealEntriesMax],
  )
  if (range === undefined || range.until === null) return 0
  const previous = last?.hash ?? Buffer.alloc(32)
  const hash = await hashRange(query, from, range.until, previous)
  await query(
    `INSERT INTO audit_seal (txid_from, txid_until, entries, previous, hash, at) VALUES ($1, $2, $3, $4, $5, $6)`,
    [from, range.until, range.entries, previous, hash, at],
  )
  return Number(range.entries)
}

/**
 * Transaction ids begin anew in the cluster that a dump was restored into, and would fall into ranges that are sealed.
 * Whoever opens a database calls this before anything is appended (`migrate` does): where the newest entry is ahead of
 * the cluster’s own counter, the installation’s offset is raised so that ids go on rising. In the cluster where the
 * entries were made no committed id is ever ahead of the counter, and nothing happens.
 */
export async function continueAudit(query: Query): Promise<void> {
  await query(
    `UPDATE installation SET audit_offset = newest.txid + 1 - pg_snapshot_xmin(pg_current_snapshot())::text::bigint
     FROM (SELECT max(txid) AS txid FROM audit) AS newest
     WHERE newest.txid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint + audit_offset`,
  )
}

export type AuditVerification =
  | {
      readonly intact: true
      readonly seals: number
      readonly entries: number
      /**
       * SHA-256 of the newest seal, hex: it stands for everything before it. Kept somewhere else, it also shows that
       * nothing was cut off at the end. Absent while nothing is sealed.
       */
      readonly head?: string
    }
  | { readonly intact: false; readonly sealId: number; readonly because: string }

/** Recomputes the chain. A row changed, added or removed within a sealed range breaks its seal. */
export async function verifyAudit(query: Query): Promise<AuditVerification> {
  const seals = await query<{
    id: string
    txid_from: string
    txid_until: string
    entries: number
    previous: Buffer
    hash: Buffer
  }>('SELECT id, txid_from, txid_until, entries, previous, hash FROM audit_seal ORDER BY txid_from')
  let previous: Buffer = Buffer.alloc(32)
  let until = '0'
  let entries = 0
  for (const seal of seals) {
    const sealId = Number(seal.id)
    if (seal.txid_from !== until || !seal.previous.equals(previous))
      return { intact: false, sealId, because: 'it does not continue the seal before it' }
    const hash = await hashRange(query, seal.txid_from, seal.txid_until, previous)
    if (!hash.equals(seal.hash))
      return { intact: false, sealId, because: 'its entries are not those that were sealed' }
    previous = seal.hash
    until = seal.txid_until
    entries += seal.entries
  }
  return {
    intact: true,
    seals: seals.length,
    entries,
    ...(seals.length === 0 ? {} : { head: previous.toString('hex') }),
  }
}

async function hashRange(query: Query, from: string, until: string, previous: Buffer): Promise<Buffer> {
  const hash = createHash('sha256').update(previous)
  let page = { txid: from, id: '0' }
  for (;;) {
    const rows = await query<{ id: string; txid: string; line: string }>(
      `SELECT id, txid, jsonb_build_array(id, txid, extract(epoch FROM at), actor, action, subject, authorization_id, detail)::text AS line
       FROM audit WHERE (txid, id) > ($1::bigint, $2::bigint) AND txid < $3 ORDER BY txid, id LIMIT ${hashPageRows}`,
      [page.txid, page.id, until],
    )
    for (const row of rows) hash.update(row.line).update('\n')
    const tail = rows.at(-1)
    if (tail === undefined || rows.length < hashPageRows) return hash.digest()
    page = tail
  }
}

const hashPageRows = 1000
