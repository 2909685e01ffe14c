import {
  distributionPoints,
  makeCrl,
  serialOf,
  type CrlWishes,
  type EntryWish,
  type PointWish,
} from '../crl.ts'
import { makeRoot, type Authority, type CertificateWishes, type Issued } from '../pki.ts'

/** One situation: a certificate, who issued it, and the lists there are. */
export interface CrlCase {
  readonly what: string
  readonly certificate: Buffer
  readonly issuer: Authority
  readonly complete: Buffer
  readonly delta?: Buffer
  readonly at: Date
  /** What has to come out, without grace. */
  readonly expected: 'good' | 'revoked' | 'unknown'
  /** In the reason of an unknown. */
  readonly because?: RegExp
  /** `openssl verify -crl_check` says OK exactly for what is good; where it does not, why. */
  readonly opensslDiffersBecause?: string
}

export const hourMs = 3_600_000
export const dayMs = 24 * hourMs
export const at = new Date(Math.floor(Date.now() / 1000) * 1000)
export const ago = (ms: number) => new Date(at.getTime() - ms)
export const ahead = (ms: number) => new Date(at.getTime() + ms)

export const crlUrl = 'http://crl.example/a.crl'
export const otherUrl = 'http://crl.example/b.crl'

/** An authority, and a certificate of it that names one distribution point (or those given). */
export function aCertificate(
  wishes: CertificateWishes & { readonly points?: readonly PointWish[] } = {},
  authorityWishes: CertificateWishes = {},
): { issuer: Authority; issued: Issued; serial: bigint } {
  const issuer = makeRoot({ keyType: 'ec256', ...authorityWishes })
  const { points = [{ names: [{ uri: crlUrl }] }], ...rest } = wishes
  const issued = issuer.issue({
    keyType: 'ec256',
    emails: ['ellen.ross@direct.somephr.example'],
    ...rest,
    extensions: [...(rest.extensions ?? []), { oid: '2.5.29.31', value: distributionPoints(...points) }],
  })
  return { issuer, issued, serial: serialOf(issued.certificate) }
}

/** A case around one complete list, which may list the certificate (`entry`) and others. */
export function listCase(
  what: string,
  expected: CrlCase['expected'],
  wishes: CrlWishes & {
    readonly entry?: Omit<EntryWish, 'serial'>
    readonly certificate?: CertificateWishes & { readonly points?: readonly PointWish[] }
    readonly authority?: CertificateWishes
    readonly delta?: (serial: bigint) => CrlWishes
    /** The list as it is delivered. */
    readonly damage?: (list: Buffer) => Buffer
  } = {},
  rest: Pick<CrlCase, 'because' | 'opensslDiffersBecause'> = {},
): CrlCase {
  const { entry, certificate, authority, delta, damage, ...list } = wishes
  const { issuer, issued, serial } = aCertificate(certificate, authority)
  const revoked = [
    { serial: 0x1111n },
    ...(list.revoked ?? []),
    ...(entry === undefined ? [] : [{ serial, ...entry }]),
    { serial: 0x7fff_ffff_ffff_ffffn },
  ]
  const made = makeCrl(issuer, { ...list, revoked })
  return {
    what,
    certificate: issued.certificate,
    issuer,
    complete: damage === undefined ? made : damage(made),
    ...(delta === undefined ? {} : { delta: makeCrl(issuer, delta(serial)) }),
    at,
    expected,
    ...rest,
  }
}
