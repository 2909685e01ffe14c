import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import type { DataSource } from 'typeorm'
import type { GuardedFetch } from '../lib/guarded-fetch.ts'
import { appendAudit } from '../store/audit.ts'
import { inTransaction, queryOf, type Query } from '../store/query.ts'
import {
  ensureBundles,
  lockBundle,
  postponeBundle,
  readBundleAnchors,
  readPending,
  recordFailure,
  recordPending,
  recordUnchanged,
  swapAnchors,
  type BundleOrigin,
  type StoredAnchor,
  type StoredBundle,
} from '../store/trust-bundles.ts'
import { readAnchors } from '../trust/anchors.ts'
import { bundleOctetsMax, readBundle, type Bundle } from '../trust/bundle.ts'
import { readCertificate, type Certificate } from '../trust/certificate.ts'
import type { BundleOrder } from './trust-standing.ts'

export interface BundlePorts {
  readonly dataSource: DataSource
  /** Speaks https only. */
  readonly fetch: GuardedFetch
  readonly now: () => Date
  /** From 0 to 1. */
  readonly jitter: () => number
}

/** Who asked for it; `acceptRemoval`: a person has seen that many anchors go. */
export interface BundleWish {
  readonly actor: string
  readonly acceptRemoval?: boolean
}

export type BundleOutcome =
  | {
      readonly outcome: 'changed'
      readonly anchors: number
      /** Fingerprints. */
      readonly added: readonly string[]
      readonly removed: readonly string[]
      readonly dropped: readonly string[]
    }
  | { readonly outcome: 'unchanged' }
  /** Waits for a person; what is in use stays in use. */
  | { readonly outcome: 'held'; readonly because: string; readonly removed: readonly string[] }
  /** What is in use stays in use. */
  | { readonly outcome: 'failed'; readonly code: string; readonly because: string }
  /** It has neither url nor file: only a person brings it. */
  | { readonly outcome: 'by-hand' }

const fetchMsMax = 60_000
const retryMsMin = 10 * 60_000

/**
 * Fetches a trust bundle and exchanges its anchors in one transaction, or leaves everything as it is and says why. Every
 * process and every killed process may do so: the last complete exchange counts.
 */
export async function refreshBundle(
  ports: BundlePorts,
  order: BundleOrder,
  wish: BundleWish,
): Promise<BundleOutcome> {
  const row = await rowOf(ports, order)
  const outcome = await fetchAndTake(ports, order, row, wish)
  if (outcome.outcome === 'failed') await recordFailed(ports, order, row, outcome)
  return outcome
}

async function fetchAndTake(
  ports: BundlePorts,
  order: BundleOrder,
  row: StoredBundle,
  wish: BundleWish,
): Promise<BundleOutcome> {
  const signers = await signersOf(order, ports.now())
  if (typeof signers === 'string') return { outcome: 'failed', code: 'signer-missing', because: signers }
  const offer = await offerOf(ports, order, row, signers)
  switch (offer.is) {
    case 'bundle':
      return take(ports, order, offer, signers, wish)
    case 'unchanged':
      await recordUnchanged(queryOf(ports.dataSource), order.name, ports.now(), nextCheck(ports, order))
      return { outcome: 'unchanged' }
    case 'nothing':
      return { outcome: 'failed', code: offer.code, because: offer.because }
    case 'by-hand':
      await postponeBundle(queryOf(ports.dataSource), order.name, nextCheck(ports, order))
      return { outcome: 'by-hand' }
  }
}

/** For sites that fetch nothing: takes a bundle that a person brought, by the same rules. */
export async function importBundle(
  ports: BundlePorts,
  order: BundleOrder,
  bytes: Buffer,
  source: string,
  wish: BundleWish,
): Promise<BundleOutcome> {
  await rowOf(ports, order)
  const signers = await signersOf(order, ports.now())
  if (typeof signers === 'string') return { outcome: 'failed', code: 'signer-missing', because: signers }
  const offer = { is: 'bundle', bytes, source, etag: null, lastModified: null } as const
  return take(ports, order, offer, signers, wish)
}

/** Takes the bundle that waits; undefined where none does. */
export async function acceptPending(
  ports: BundlePorts,
  order: BundleOrder,
  actor: string,
): Promise<BundleOutcome | undefined> {
  await rowOf(ports, order)
  const pending = await readPending(queryOf(ports.dataSource), order.name)
  if (pending === undefined) return undefined
  return importBundle(ports, order, pending.bytes, pending.source, { actor, acceptRemoval: true })
}

type Offer =
  | ({ readonly is: 'bundle'; readonly bytes: Buffer } & Omit<BundleOrigin, 'sha256'>)
  | { readonly is: 'unchanged' }
  | { readonly is: 'by-hand' }
  | { readonly is: 'nothing'; readonly code: string; readonly because: string }

async function offerOf(
  { fetch }: BundlePorts,
  { url, file }: BundleOrder,
  row: StoredBundle,
  signers: readonly Certificate[],
): Promise<Offer> {
  if (file !== undefined) return offerOfFile(file)
  if (url === undefined) return { is: 'by-hand' }
  // What was taken from elsewhere, or without the signature that is asked for now, is fetched whole.
  const mayBeUnchanged = row.source === url && isSignedAsAsked(row, signers)
  const answer = await fetch(url, {
    headers: {
      accept: 'application/pkcs7-mime, application/x-pkcs7-certificates, */*;q=0.5',
      ...(mayBeUnchanged && row.etag !== null ? { 'if-none-match': row.etag } : {}),
      ...(mayBeUnchanged && row.lastModified !== null ? { 'if-modified-since': row.lastModified } : {}),
    },
    bytesMax: bundleOctetsMax,
    timeoutMs: fetchMsMax,
  })
  if (answer.outcome !== 'fetched') return { is: 'nothing', code: answer.outcome, because: answer.because }
  const { status, headers, body } = answer
  if (status === 304 && mayBeUnchanged) return { is: 'unchanged' }
  if (status !== 200)
    return {
      is: 'nothing',
      code: status === 404 || status === 410 ? 'not-found' : 'http-status',
      because: `${new URL(url).host} answers with HTTP status ${status}`,
    }
  return {
    is: 'bundle',
    bytes: body,
    source: url,
    etag: validator(headers.get('etag')),
    lastModified: validator(headers.get('last-modified')),
  }
}

async function offerOfFile(file: string): Promise<Offer> {
  try {
    const { size } = await stat(file)
    if (size > bundleOctetsMax)
      return { is: 'nothing', code: 'too-large', because: `${file} has more than ${bundleOctetsMax} octets` }
    return { is: 'bundle', bytes: await readFile(file), source: file, etag: null, lastModified: null }
  } catch (cause) {
    return { is: 'nothing', code: 'file', because: `${file} cannot be read (${codeOf(cause)})` }
  }
}

/** Goes back to whoever sent it; what is no plain header value is not kept. */
function validator(value: string | undefined): string | null {
  return value !== undefined && /^[ -~]{1,256}$/.test(value) ? value : null
}

/** The certificates of those who may sign, or why there are none. */
async function signersOf({ signer }: BundleOrder, at: Date): Promise<readonly Certificate[] | string> {
  if (signer === undefined) return []
  try {
    const { anchors } = readAnchors([{ name: signer, bytes: await readFile(signer) }], at)
    return anchors.length > 0 ? anchors : `${signer} has no certificate of a signer`
  } catch (cause) {
    return `the certificate of the signer, ${signer}, cannot be read (${codeOf(cause)})`
  }
}

const codeOf = (cause: unknown) => (cause as NodeJS.ErrnoException).code ?? 'unreadable'

function isSignedAsAsked({ sha256, signedBy }: StoredBundle, signers: readonly Certificate[]): boolean {
  if (sha256 === null) return false
  return signers.length === 0 || signers.some(({ fingerprint }) => fingerprint === signedBy)
}

async function take(
  ports: BundlePorts,
  order: BundleOrder,
  offer: Offer & { is: 'bundle' },
  signers: readonly Certificate[],
  wish: BundleWish,
): Promise<BundleOutcome> {
  const at = ports.now()
  const reading = readBundle(offer.bytes, signers, at)
  if (reading.outcome === 'refused') return { ...reading, outcome: 'failed' }
  const { bundle } = reading
  const origin = { ...offer, sha256: createHash('sha256').update(offer.bytes).digest('hex') }
  return inTransaction(ports.dataSource, async (query) => {
    const locked = await lockBundle(query, order.name)
    const current = await readBundleAnchors(query, [order.name])
    const change = changeOf(current, bundle)
    const next = nextCheck(ports, order)
    const isSame = locked.sha256 === origin.sha256 && change.added.length + change.removed.length === 0
    if (isSame && isSignedAsAsked(locked, signers) && locked.source === origin.source) {
      await recordUnchanged(query, order.name, at, next)
      return { outcome: 'unchanged' }
    }
    const because = wish.acceptRemoval === true ? undefined : tooMuchRemoved(current, change, order, at)
    if (because !== undefined) {
      await recordPending(query, order.name, offer.bytes, origin, because, at, next)
      if (locked.pending?.sha256 !== origin.sha256)
        await note(query, 'trust-bundle-held', order, origin, change, wish, at)
      return { outcome: 'held', because, removed: change.removed }
    }
    await swapAnchors(
      query,
      order.name,
      bundle.anchors,
      { ...origin, form: bundle.form, signedBy: bundle.signer?.fingerprint ?? null, dropped: bundle.dropped },
      at,
      next,
    )
    await note(query, 'trust-bundle-changed', order, origin, change, wish, at)
    return { outcome: 'changed', anchors: bundle.anchors.length, ...change, dropped: bundle.dropped }
  })
}

interface Change {
  readonly added: readonly string[]
  readonly removed: readonly string[]
}

function changeOf(current: readonly StoredAnchor[], { anchors }: Bundle): Change {
  const before = new Set(current.map(({ fingerprint }) => fingerprint))
  const after = new Set(anchors.map(({ fingerprint }) => fingerprint))
  return {
    added: [...after].filter((one) => !before.has(one)).sort(),
    removed: [...before].filter((one) => !after.has(one)).sort(),
  }
}

/** Anchors that have expired are no loss. Undefined: a removal of this size happens. */
function tooMuchRemoved(
  current: readonly StoredAnchor[],
  { removed }: Change,
  { removalPercentMax }: BundleOrder,
  at: Date,
): string | undefined {
  const valid = current.filter(({ der }) => {
    const reading = readCertificate(der)
    return reading.readable && at <= reading.certificate.notAfter
  })
  const lost = valid.filter(({ fingerprint }) => removed.includes(fingerprint)).length
  return lost * 100 > removalPercentMax * valid.length
    ? `it takes away ${lost} of ${valid.length} anchors, more than ${removalPercentMax} %`
    : undefined
}

function note(
  query: Query,
  action: 'trust-bundle-changed' | 'trust-bundle-held',
  { name }: BundleOrder,
  { source, sha256 }: Pick<BundleOrigin, 'source' | 'sha256'>,
  { added, removed }: Change,
  { actor, acceptRemoval = false }: BundleWish,
  at: Date,
): Promise<void> {
  const detail = { source, sha256, added, removed, acceptRemoval }
  return appendAudit(query, [{ at, actor, action, subject: `trust-bundle:${name}`, detail }])
}

/** Asked again soon, and later each time. */
async function recordFailed(
  ports: BundlePorts,
  { name, refreshEveryMs }: BundleOrder,
  { failures }: StoredBundle,
  failure: { readonly code: string; readonly because: string },
): Promise<void> {
  const at = ports.now()
  const waitMs = Math.min(refreshEveryMs, retryMsMin * 2 ** Math.min(failures, 10))
  await recordFailure(queryOf(ports.dataSource), name, failure, at, after(at, waitMs, ports.jitter()))
}

function nextCheck({ now, jitter }: BundlePorts, { refreshEveryMs }: BundleOrder): Date {
  return after(now(), refreshEveryMs, jitter())
}

/** A tenth sooner or later: many installations fetch the same bundle. */
function after(at: Date, ms: number, jitter: number): Date {
  return new Date(at.getTime() + ms * (0.9 + 0.2 * jitter))
}

async function rowOf({ dataSource, now }: BundlePorts, { name }: BundleOrder): Promise<StoredBundle> {
  return inTransaction(dataSource, async (query) => {
    await ensureBundles(query, [name], now())
    return lockBundle(query, name)
  })
}
