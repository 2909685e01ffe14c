import { DerError } from '../lib/der.ts'
import type { Certificate } from './certificate.ts'
import type { CrlEntry } from './crl-entries.ts'
import type { VerifiedCrl } from './crl.ts'
import { allReasons, type DistributionPoint, type RevocationReasons } from './distribution-points.ts'
import { clockSkewMs } from './freshness.ts'

export interface CrlQuestion {
  readonly certificate: Certificate
  readonly issuer: Certificate
  /** The distribution point of the certificate under which the list was found. */
  readonly point: DistributionPoint
  readonly at: Date
  /** How long after its nextUpdate the last list is still believed. */
  readonly graceMs: number
}

/** What a list says about one certificate. */
export type CrlAnswer =
  | { readonly says: 'revoked'; readonly entry: CrlEntry; readonly asOf: Date }
  | {
      readonly says: 'not-revoked'
      /** For these reasons only. */
      readonly reasons: RevocationReasons
      readonly asOf: Date
      readonly nextUpdate: Date
      /** Past its nextUpdate, within grace. */
      readonly isStale: boolean
    }
  | { readonly says: 'nothing'; readonly because: string }

/**
 * RFC 5280 §6.3.3 for one distribution point, on lists whose signatures were verified.
 *
 * An entry revokes whatever the age of its list: nothing but the end of a hold takes a revocation back. That a certificate
 * is *not* listed counts only in a list of the right scope that is in its time.
 *
 * @param delta changes since, if there is such a list; of use only on top of this complete list (§5.2.4)
 */
export function askCrl(
  complete: VerifiedCrl,
  delta: VerifiedCrl | undefined,
  question: CrlQuestion,
): CrlAnswer {
  const { certificate, issuer, at, graceMs } = question
  const nothing = (because: string): CrlAnswer => ({ says: 'nothing', because })
  if (complete.deltaBase !== undefined) return nothing('it is a delta, where the complete list should be')
  const scope = scopeOf(complete, question)
  if (!scope.covers) return nothing(scope.because)

  let listed: CrlEntry | undefined
  let changed: CrlEntry | undefined
  try {
    const find = (list: VerifiedCrl) => gravest(list.entries.find(certificate.serialNumber, issuer.subject))
    listed = find(complete)
    if (delta !== undefined && isNewer(delta, complete) && scopeOf(delta, question).covers)
      changed = find(delta)
  } catch (error) {
    if (!(error instanceof DerError)) throw error
    return nothing(error.message)
  }
  const joined = delta !== undefined && isJoinable(complete, delta, at) ? delta : undefined
  const asOf = (joined ?? complete).thisUpdate

  if (changed !== undefined && changed.reason !== 'removeFromCRL')
    return { says: 'revoked', entry: changed, asOf: delta!.thisUpdate }
  const isReleased = joined !== undefined && changed !== undefined && listed?.reason === 'certificateHold'
  if (listed !== undefined && !isReleased) return { says: 'revoked', entry: listed, asOf }

  if (complete.thisUpdate.getTime() > at.getTime() + clockSkewMs)
    return nothing(`it is of ${complete.thisUpdate.toISOString()}, which is yet to come`)
  // A delta in its time stands in for the nextUpdate of the list it builds on (§6.3.3 (a)).
  const { nextUpdate } = joined ?? complete
  if (nextUpdate === undefined)
    return nothing('it has no nextUpdate, so nobody can tell whether it is the newest')
  const isStale = at > nextUpdate
  if (at.getTime() > nextUpdate.getTime() + graceMs)
    return nothing(
      `it ended on ${nextUpdate.toISOString()}${graceMs > 0 ? ', and the grace after it is over' : ''}`,
    )
  return { says: 'not-revoked', reasons: scope.reasons, asOf, nextUpdate, isStale }
}

/** A removal is told only where nothing else is. */
function gravest(entries: readonly CrlEntry[]): CrlEntry | undefined {
  return entries.find(({ reason }) => reason !== 'removeFromCRL') ?? entries[0]
}

type Scope =
  | { readonly covers: true; readonly reasons: RevocationReasons }
  | { readonly covers: false; readonly because: string }

/** RFC 5280 §6.3.3 (b): would this certificate be on the list, if it were revoked, and for which reasons? */
function scopeOf(list: VerifiedCrl, { certificate, issuer, point }: CrlQuestion): Scope {
  const outside = (because: string): Scope => ({ covers: false, because })
  if (
    point.crlIssuer !== undefined &&
    !point.crlIssuer.some(
      (name) => name.kind === 'directory' && name.name.comparable === issuer.subject.comparable,
    )
  )
    return outside(
      'the certificate names another authority for its list (cRLIssuer), and indirect lists are not used',
    )
  const reasons = point.reasons ?? allReasons
  const issuing = list.issuingPoint
  if (issuing === undefined) return { covers: true, reasons }
  if (issuing.name !== undefined && !isSamePoint(list, issuing.name, point))
    return outside('it is the list of another distribution point')
  const isAuthority = certificate.basicConstraints?.ca === true
  if (issuing.onlyAttributeCertificates) return outside('it is for attribute certificates only')
  if (issuing.onlyUserCertificates && isAuthority) return outside('it is not for authorities')
  if (issuing.onlyAuthorities && !isAuthority) return outside('it is for authorities only')
  return { covers: true, reasons: reasons & (issuing.onlySomeReasons ?? allReasons) }
}

function isSamePoint(
  list: VerifiedCrl,
  ours: NonNullable<DistributionPoint['name']>,
  { name: theirs, crlIssuer }: DistributionPoint,
): boolean {
  const spelled = (name: NonNullable<DistributionPoint['name']>) =>
    name.kind === 'full' ? name.comparable : [`directory ${list.issuer.comparable}${name.rdn}`]
  const wanted =
    theirs === undefined
      ? (crlIssuer ?? []).flatMap((name) =>
          name.kind === 'directory' ? [`directory ${name.name.comparable}`] : [],
        )
      : spelled(theirs)
  return spelled(ours).some((name) => wanted.includes(name))
}

/** A delta that is older than the list holds what the list has left behind: a hold that ended, say. */
function isNewer(delta: VerifiedCrl, complete: VerifiedCrl): boolean {
  return delta.number === undefined || complete.number === undefined || delta.number > complete.number
}

/** RFC 5280 §5.2.4 and §6.3.3 (c): may these changes be applied to that list, at that time? */
function isJoinable(complete: VerifiedCrl, delta: VerifiedCrl, at: Date): boolean {
  const ownScope = complete.issuingPoint?.der ?? Buffer.alloc(0)
  return (
    delta.deltaBase !== undefined &&
    delta.number !== undefined &&
    complete.number !== undefined &&
    complete.number >= delta.deltaBase &&
    complete.number < delta.number &&
    ownScope.equals(delta.issuingPoint?.der ?? Buffer.alloc(0)) &&
    delta.thisUpdate.getTime() <= at.getTime() + clockSkewMs &&
    delta.nextUpdate !== undefined &&
    at <= delta.nextUpdate
  )
}
