import { createHash } from 'node:crypto'
import type { GuardedFetch } from '../lib/guarded-fetch.ts'
import type { Certificate } from './certificate.ts'
import { crlOctetsMax, readCrl, verifyCrl, type VerifiedCrl } from './crl.ts'
import { askAgainAt } from './freshness.ts'

/** Lists that outlive the process: with an authority that is down, a restart must not forget its last list. */
export interface CrlStore {
  load(key: string): Promise<{ readonly der: Buffer; readonly fetchedAt: Date } | undefined>
  save(
    key: string,
    list: { readonly url: string; readonly der: Buffer; readonly fetchedAt: Date },
  ): Promise<void>
}

/** What there is under a URL by a certain authority. */
export interface HeldCrl {
  /** The newest one that was ever seen there, whatever its age. */
  readonly crl?: VerifiedCrl
  /** Why there is none, or none that is newer. */
  readonly because?: string
}

interface Kept extends HeldCrl {
  readonly askAgainAt: Date
}

/** A certificate revoked today shall not be used tomorrow, even where its authority publishes once a week. */
const keepMsMax = 6 * 3_600_000
const fetchMsMax = 20_000
/** Lists in memory, together; those used longest ago go first and are read from the store again. */
const octetsKeptMax = 96 * 1024 * 1024
const listsKeptMax = 2_000

/**
 * Revocation lists by URL and authority: fetched once for all who wait, verified, kept until their nextUpdate (6 hours at
 * most, 5 minutes at least), and kept as last good for as long as nothing newer comes. An older one never takes the place
 * of a newer one: whoever replays yesterday’s list gets nowhere.
 *
 * Under the same URL another authority finds nothing of the first: what one signed proves nothing about the other.
 */
export function makeCrlCache({ fetch, store }: { readonly fetch: GuardedFetch; readonly store?: CrlStore }) {
  const kept = new Map<string, Kept>()
  const asked = new Map<string, Promise<HeldCrl>>()
  const fetched = new Map<string, Promise<Buffer | string>>()

  return async function crlAt(url: string, issuer: Certificate, at: Date): Promise<HeldCrl> {
    const key = keyOf(url, issuer)
    const found = kept.get(key)
    if (found !== undefined && at < found.askAgainAt) {
      keep(key, found)
      return found
    }
    return once(asked, key, () => renew(key, url, issuer, at))
  }

  async function renew(key: string, url: string, issuer: Certificate, at: Date): Promise<HeldCrl> {
    const last = kept.get(key) ?? (await stored(key, issuer))
    if (last !== undefined && at < last.askAgainAt) return keep(key, last)
    const unchanged = (because: string) =>
      keep(key, {
        ...(last?.crl === undefined ? {} : { crl: last.crl }),
        because,
        askAgainAt: askAgainAt(at, undefined, keepMsMax),
      })
    const bytes = await once(fetched, url, () => bytesAt(url))
    if (typeof bytes === 'string') return unchanged(bytes)
    const opened = open(bytes, issuer)
    if (typeof opened === 'string') return unchanged(`what is there is not its revocation list: ${opened}`)
    if (last?.crl !== undefined && isOlder(opened, last.crl))
      return unchanged(`the list there, of ${opened.thisUpdate.toISOString()}, is older than one seen before`)
    // Without the database the check goes on; whatever it decides cannot be recorded anyway.
    await store?.save(key, { url, der: opened.der, fetchedAt: at }).catch(() => {})
    return keep(key, { crl: opened, askAgainAt: askAgainAt(at, opened.nextUpdate, keepMsMax) })
  }

  async function stored(key: string, issuer: Certificate): Promise<Kept | undefined> {
    const found = await store?.load(key).catch(() => undefined)
    if (found === undefined) return undefined
    // A database is not where trust comes from: what lies in it is verified again.
    const crl = open(found.der, issuer)
    if (typeof crl === 'string') return undefined
    return { crl, askAgainAt: askAgainAt(found.fetchedAt, crl.nextUpdate, keepMsMax) }
  }

  async function bytesAt(url: string): Promise<Buffer | string> {
    const answer = await fetch(url, { bytesMax: crlOctetsMax, timeoutMs: fetchMsMax })
    if (answer.outcome !== 'fetched') return answer.because
    return answer.status === 200 ? answer.body : `the server answers ${answer.status}`
  }

  function keep(key: string, list: Kept): Kept {
    kept.delete(key)
    kept.set(key, list)
    let octets = 0
    for (const { crl } of kept.values()) octets += crl?.der.length ?? 0
    for (const [oldest, { crl }] of kept) {
      if (oldest === key || (octets <= octetsKeptMax && kept.size <= listsKeptMax)) break
      kept.delete(oldest)
      octets -= crl?.der.length ?? 0
    }
    return list
  }
}

function open(bytes: Buffer, issuer: Certificate): VerifiedCrl | string {
  const reading = readCrl(bytes)
  if (!reading.readable) return reading.because
  const verification = verifyCrl(reading.crl, issuer)
  return verification.verified ? verification.crl : verification.because
}

function isOlder(one: VerifiedCrl, other: VerifiedCrl): boolean {
  return one.number !== undefined && other.number !== undefined && one.number !== other.number
    ? one.number < other.number
    : one.thisUpdate < other.thisUpdate
}

/** The authority is its name and its key, whichever certificate carries them. */
function keyOf(url: string, { subject, publicKeyInfo }: Certificate): string {
  return createHash('sha256')
    .update(publicKeyInfo)
    .update(subject.comparable)
    .update('\0')
    .update(url)
    .digest('hex')
}

/** Whoever asks while somebody else is asking the same waits for that answer. */
export function once<Key, Answer>(
  underWay: Map<Key, Promise<Answer>>,
  key: Key,
  ask: () => Promise<Answer>,
): Promise<Answer> {
  const known = underWay.get(key)
  if (known !== undefined) return known
  const answer = ask().finally(() => underWay.delete(key))
  underWay.set(key, answer)
  return answer
}
