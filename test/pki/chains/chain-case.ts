import type { CertificatePurpose, DistrustCode } from '../../../src/domain/trust-verdict.ts'
import { issueFor, makeRoot, type Authority, type CertificateWishes, type Issued } from '../pki.ts'

export const ellen = 'ellen.ross@direct.somephr.example'
export const domain = 'direct.somephr.example'

/** One certificate, what may lie above it, and what has to come out. */
export interface ChainCase {
  readonly what: string
  readonly leaf: Buffer
  readonly pool: readonly Buffer[]
  readonly anchors: readonly Buffer[]
  /** The anchors are trusted for these policies only. */
  readonly policies?: readonly string[]
  readonly address: string
  readonly purpose: CertificatePurpose
  readonly at: Date
  readonly expected: 'trusted' | DistrustCode
  /** How strict openssl is asked, beyond `-purpose`, `-auth_level 2`, `-partial_chain` and the binding. */
  readonly openssl: {
    /** With `-x509_strict`; undefined, or why not. */
    readonly laxBecause?: string
    /** Set where openssl has to say the opposite, and why that is right. */
    readonly differsBecause?: string
    readonly also: readonly string[]
  }
}

export const at = new Date()
export const dayMs = 86_400_000
export const daysFromNow = (days: number): Date => new Date(at.getTime() + days * dayMs)

type Given = Partial<Omit<ChainCase, 'openssl' | 'leaf' | 'pool' | 'anchors' | 'what' | 'expected'>> & {
  readonly leaf: Issued | Buffer
  readonly pool?: readonly (Issued | Buffer)[]
  readonly anchors: readonly (Issued | Buffer)[]
  readonly laxBecause?: string
  readonly differsBecause?: string
  readonly opensslAlso?: readonly string[]
}

/** A case with the usual rest: Ellen’s address, signing, now. */
export function chain(what: string, expected: ChainCase['expected'], given: Given): ChainCase {
  const { leaf, pool = [], anchors, laxBecause, differsBecause, opensslAlso = [], ...rest } = given
  return {
    what,
    expected,
    address: ellen,
    purpose: 'sign',
    at,
    ...rest,
    leaf: derOf(leaf),
    pool: pool.map(derOf),
    anchors: anchors.map(derOf),
    openssl: {
      ...(laxBecause === undefined ? {} : { laxBecause }),
      ...(differsBecause === undefined ? {} : { differsBecause }),
      also: opensslAlso,
    },
  }
}

const derOf = (one: Issued | Buffer): Buffer => (Buffer.isBuffer(one) ? one : one.certificate)

/** RFC 4158 §2.4 asks for more than one try. */
export const noTurningBack = 'openssl follows the likeliest candidate only and does not turn back'

/** EC keys are made in a millisecond; chains that are not about RSA use them. */
export const ec = { keyType: 'ec256' } as const

export function anEcRoot(wishes: CertificateWishes & { readonly pathLen?: number } = {}): Authority {
  return makeRoot({ ...ec, ...wishes })
}

export function anEcIssuer(
  above: Authority,
  wishes: CertificateWishes & { readonly pathLen?: number } = {},
): Authority {
  return above.issueAuthority({ ...ec, ...wishes })
}

/** Ellen’s certificate. */
export function anEcLeaf(above: Authority, wishes: CertificateWishes = {}): Issued {
  return issueFor(above, ellen, { ...ec, ...wishes })
}

/** Root, one authority, leaf: with wishes for any of them. */
export function threeTiers(
  wishes: {
    root?: CertificateWishes & { pathLen?: number }
    issuer?: CertificateWishes & { pathLen?: number }
    leaf?: CertificateWishes
  } = {},
) {
  const root = anEcRoot(wishes.root)
  const issuer = anEcIssuer(root, wishes.issuer)
  return { root, issuer, leaf: anEcLeaf(issuer, wishes.leaf), given: { pool: [issuer], anchors: [root] } }
}

/** The certificate with one bit turned, counted from its end when negative. */
export function bitFlipped({ certificate }: Issued, octet: number): Buffer {
  const bytes = Buffer.from(certificate)
  bytes[octet < 0 ? bytes.length + octet : octet]! ^= 1
  return bytes
}
