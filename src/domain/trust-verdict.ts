/** How a certificate covers an address: by rfc822Name or by dNSName (Applicability Statement §4). */
export type Binding = 'address' | 'domain'

/** What a certificate is wanted for: to encrypt to its owner, or as the signer of a message. */
export type CertificatePurpose = 'encrypt' | 'sign'

/**
 * Why a certificate is not trusted. Ranked from vague to telling: of several paths the verdict shows the failure that got
 * furthest (see `trust/validate-chain.ts`).
 */
export type DistrustCode =
  | 'unreadable'
  | 'no-path'
  | 'address-not-bound'
  | 'algorithm-refused'
  | 'key-too-small'
  | 'not-yet-valid'
  | 'expired'
  | 'key-usage'
  | 'extended-key-usage'
  | 'critical-extension'
  | 'not-a-ca'
  | 'path-too-long'
  | 'policy'
  | 'name-constraints'
  | 'bad-signature'
  | 'anchor-expired'
  | 'budget-exceeded'
  | 'revoked'
  | 'issuer-unavailable'
  | 'revocation-unknown'

/** Somebody who had to be asked did not answer: only time can tell, and the same certificate may be good tomorrow. */
export function isUndecided(code: DistrustCode): boolean {
  return code === 'issuer-unavailable' || code === 'revocation-unknown'
}

/** What was learned of the revocation of one certificate that is trusted. */
export interface RevocationFinding {
  /** SHA-256 of the certificate. */
  readonly fingerprint: string
  /** `unknown` only where the settings let that pass; `not-published`: the certificate names nobody who could say. */
  readonly status: 'good' | 'unknown' | 'not-published'
  /** URL of the list or the responder. */
  readonly source?: string
  /** When the list or reply was made. */
  readonly asOf?: Date
  /** Past its nextUpdate, within the grace of the settings. */
  readonly isStale?: boolean
}

export type TrustVerdict =
  | {
      readonly trusted: true
      readonly binding: Binding
      /** SHA-256 fingerprints, leaf first, anchor last. */
      readonly path: readonly string[]
      /** One for each certificate below the anchor, leaf first; empty where revocation is not checked. */
      readonly revocation: readonly RevocationFinding[]
      /** The certificate of the path that ends first. */
      readonly ends: { readonly at: Date; readonly subject: string }
    }
  | {
      readonly trusted: false
      readonly code: DistrustCode
      readonly because: string
      readonly path: readonly string[]
    }

/** One line of the answer to “where does trust in this address come from?”; kept with each transmission. */
export interface TraceStep {
  /** Milliseconds since the look-up began. */
  readonly afterMs: number
  readonly step: string
  readonly outcome: 'found' | 'nothing' | 'failed' | 'trusted' | 'refused' | 'skipped'
  /** What was asked, where, and what came back; names and numbers only, no PHI beyond the Direct address itself. */
  readonly detail: string
}
