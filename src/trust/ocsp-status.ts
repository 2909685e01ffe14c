import { readCertificate, type Certificate } from './certificate.ts'
import type { RevocationReason } from './crl-entries.ts'
import { dateFlaw, keyFlaw } from './flaws.ts'
import { clockSkewMs } from './freshness.ts'
import { readOcspReply, type OcspReply } from './ocsp-reply.ts'
import { isCertIdOf, keyHashOf } from './ocsp-request.ts'
import { weaknessOf } from './signature-algorithm.ts'
import { isSignedBy } from './signed-by.ts'

export interface OcspQuestion {
  readonly certificate: Certificate
  readonly issuer: Certificate
  /** The one that was sent; undefined where a reply is judged that was asked for long ago. */
  readonly nonce?: Buffer
  /** Certificates that may be the responder’s, beside those of the reply. */
  readonly pool: readonly Certificate[]
  readonly at: Date
}

/** What a responder says about one certificate. */
export type OcspAnswer =
  | {
      readonly says: 'revoked'
      readonly since: Date
      readonly reason?: RevocationReason
      readonly asOf: Date
    }
  | {
      readonly says: 'not-revoked'
      readonly asOf: Date
      readonly nextUpdate?: Date
      /** Who signed, where the issuer did not; whether it is revoked itself was not asked. */
      readonly delegate?: Certificate
    }
  | { readonly says: 'nothing'; readonly because: string }

const ocspSigning = '1.3.6.1.5.5.7.3.9'
/** A reply without nextUpdate says that there is always a newer one (RFC 6960 §4.2.2.1): this old it may be. */
const ageMsMaxWithoutNextUpdate = 3_600_000

/**
 * RFC 6960 §3.2: a reply counts when it is about this certificate, signed by its issuer or by somebody whom the issuer
 * itself has made a responder, and in its time. It counts as *revoked* whatever its age.
 */
export function askOcspReply(bytes: Buffer, question: OcspQuestion): OcspAnswer {
  const { certificate, issuer, nonce } = question
  const reading = readOcspReply(bytes)
  if (!reading.readable) return nothing(reading.because)
  const { reply } = reading
  const signer = signerOf(reply, question)
  if ('because' in signer) return nothing(signer.because)
  const [unknown] = reply.unknownCritical
  if (unknown !== undefined) return nothing(`its reply has the unknown critical extension ${unknown}`)
  if (nonce !== undefined && reply.nonce !== undefined && !reply.nonce.equals(nonce))
    return nothing('its reply is to another question (nonce)')

  const ours = reply.statuses.filter(({ certId }) => isCertIdOf(certId, certificate, issuer))
  if (ours.length === 0) return nothing('its reply is about other certificates')
  for (const { status, thisUpdate } of ours)
    if (status.is === 'revoked') {
      const { since, reason } = status
      return { says: 'revoked', since, ...(reason === undefined ? {} : { reason }), asOf: thisUpdate }
    }
  if (ours.some(({ status }) => status.is === 'unknown'))
    return nothing('the responder does not know the certificate')
  const [latest] = ours.toSorted((a, b) => b.thisUpdate.getTime() - a.thisUpdate.getTime())
  return timely(reply, latest!, question, signer.delegate)
}

function nothing(because: string): OcspAnswer {
  return { says: 'nothing', because }
}

function timely(
  { producedAt }: OcspReply,
  { thisUpdate, nextUpdate }: OcspReply['statuses'][number],
  { at }: OcspQuestion,
  delegate: Certificate | undefined,
): OcspAnswer {
  const soon = new Date(at.getTime() + clockSkewMs)
  if (thisUpdate > soon || producedAt > soon)
    return nothing(`its reply is of ${thisUpdate.toISOString()}, which is yet to come`)
  const lastly = nextUpdate ?? new Date(thisUpdate.getTime() + ageMsMaxWithoutNextUpdate)
  if (lastly.getTime() + clockSkewMs < at.getTime())
    return nothing(
      nextUpdate === undefined
        ? `its reply is of ${thisUpdate.toISOString()} and does not say until when it holds`
        : `its reply ended on ${nextUpdate.toISOString()}`,
    )
  return {
    says: 'not-revoked',
    asOf: thisUpdate,
    ...(nextUpdate === undefined ? {} : { nextUpdate }),
    ...(delegate === undefined ? {} : { delegate }),
  }
}

type Signer = { readonly delegate?: Certificate } | { readonly because: string }

/** RFC 6960 §4.2.2.2: the issuer, or a certificate that the issuer signed directly for this purpose. */
function signerOf(reply: OcspReply, { issuer, pool, at }: OcspQuestion): Signer {
  const weakness = weaknessOf(reply.signatureAlgorithm)
  if (weakness !== undefined) return { because: `its reply is signed with ${weakness}` }
  const { responder } = reply
  const isNamed = (candidate: Certificate) =>
    responder.by === 'name'
      ? responder.name.comparable === candidate.subject.comparable
      : responder.keyHash.equals(keyHashOf(candidate, 'sha1'))
  if (isNamed(issuer) && isSignedBy(reply, issuer)) return {}
  let because = 'its reply is signed by somebody whose certificate is not in it'
  const enclosed = reply.certificates.map(readCertificate)
  const candidates = [
    ...enclosed.flatMap((reading) => (reading.readable ? [reading.certificate] : [])),
    ...pool.filter(({ extendedKeyUsage }) => extendedKeyUsage?.includes(ocspSigning)),
  ]
  for (const candidate of candidates) {
    // A key that cannot be read has no hash to be named by.
    if (candidate.publicKey.kind === 'unsupported' || !isNamed(candidate)) continue
    const flaw = delegateFlaw(candidate, issuer, at)
    if (flaw === undefined && isSignedBy(reply, candidate)) return { delegate: candidate }
    because = flaw ?? `its reply is not signed by “${candidate.subject.text}”, whom it names`
  }
  return {
    because: isNamed(issuer) ? `its reply is not signed by “${issuer.subject.text}”, whom it names` : because,
  }
}

function delegateFlaw(delegate: Certificate, issuer: Certificate, at: Date): string | undefined {
  const who = `the responder “${delegate.subject.text}”`
  if (delegate.extendedKeyUsage?.includes(ocspSigning) !== true)
    return `${who} is not made a responder by anybody (extKeyUsage has no OCSPSigning)`
  if (delegate.keyUsage !== undefined && !delegate.keyUsage.has('digitalSignature'))
    return `${who} may not sign replies (keyUsage has no digitalSignature)`
  if (delegate.issuer.comparable !== issuer.subject.comparable)
    return `${who} is one of “${delegate.issuer.text}”, not of “${issuer.subject.text}”`
  const [unknown] = delegate.unknownCritical
  if (unknown !== undefined) return `${who} has the unknown critical extension ${unknown}`
  const weakness = weaknessOf(delegate.signatureAlgorithm)
  if (weakness !== undefined) return `${who} is signed with ${weakness}`
  const flaw = keyFlaw(delegate) ?? dateFlaw(delegate, at)
  if (flaw !== undefined) return `as a responder, ${flaw.because}`
  return isSignedBy(delegate, issuer)
    ? undefined
    : `${who} is not signed by “${issuer.subject.text}”, whom it names`
}
