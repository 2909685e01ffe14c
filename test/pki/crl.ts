import { X509Certificate, type KeyObject } from 'node:crypto'
import {
  bitString,
  boolean,
  context,
  contextPrimitive,
  enumerated,
  generalizedTime,
  integer,
  namedBits,
  octetString,
  oid,
  sequence,
  time,
} from './der.ts'
import { generalName, nameOf, type GeneralNameWish, type NameWish } from './names.ts'
import type { Issued } from './pki.ts'
import { signatureAlgorithm } from './signature.ts'
import type { CertificateWishes } from './wishes.ts'

export interface EntryWish {
  readonly serial: bigint
  readonly revokedAt?: Date
  readonly reason?: (typeof reasonNames)[number]
  readonly invalidSince?: Date
  readonly certificateIssuer?: Buffer
  /** DER of further extensions. */
  readonly extensions?: readonly Buffer[]
}

/** What a revocation list shall say. Every default is in order; every field can be set so that it is not. */
export interface CrlWishes {
  readonly revoked?: readonly EntryWish[]
  readonly thisUpdate?: Date
  readonly nextUpdate?: Date | null
  readonly number?: bigint | null
  /** BaseCRLNumber: makes it a delta. */
  readonly deltaBase?: bigint
  readonly issuingPoint?: IssuingPointWish
  /** URLs of freshestCRL. */
  readonly freshestUrls?: readonly string[]
  readonly version1?: boolean
  /** DER of further extensions. */
  readonly extensions?: readonly Buffer[]
  readonly signatureDigest?: NonNullable<CertificateWishes['signatureDigest']>
  readonly signaturePadding?: NonNullable<CertificateWishes['signaturePadding']>
  /** Forgeries: the issuer’s name as written, and the key that signs instead of the issuer’s. */
  readonly issuerName?: NameWish | Buffer
  readonly signWith?: KeyObject
}

export interface IssuingPointWish {
  readonly names?: readonly GeneralNameWish[]
  readonly onlyUsers?: boolean
  readonly onlyAuthorities?: boolean
  readonly onlyAttributes?: boolean
  readonly onlyReasons?: readonly (typeof flagNames)[number][]
  readonly indirect?: boolean
}

/** By code (RFC 5280 §5.3.1). */
const reasonNames = [
  'unspecified',
  'keyCompromise',
  'cACompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'certificateHold',
  'seven',
  'removeFromCRL',
  'privilegeWithdrawn',
  'aACompromise',
] as const

/** By bit (RFC 5280 §4.2.1.13). */
const flagNames = [
  'unused',
  'keyCompromise',
  'cACompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'certificateHold',
  'privilegeWithdrawn',
  'aACompromise',
] as const

export interface PointWish {
  readonly names?: readonly GeneralNameWish[]
  readonly reasons?: readonly (typeof flagNames)[number][]
  readonly crlIssuer?: Buffer
}

const hourMs = 3_600_000

/** DER of a revocation list by this authority. */
export function makeCrl(issuer: Issued, wishes: CrlWishes = {}): Buffer {
  const algorithm = signatureAlgorithm(wishes.signWith ?? issuer.privateKey, wishes)
  const now = Date.now()
  const nextUpdate = wishes.nextUpdate === undefined ? new Date(now + 24 * hourMs) : wishes.nextUpdate
  const entries = (wishes.revoked ?? []).map((entry) => entryOf(entry, now))
  const extensions = crlExtensions(issuer, wishes)
  const tbs = sequence(
    ...(wishes.version1 ? [] : [integer(1)]),
    algorithm.identifier,
    wishes.issuerName === undefined ? issuer.subjectName : nameOf(wishes.issuerName, ''),
    time(wishes.thisUpdate ?? new Date(now - hourMs)),
    ...(nextUpdate === null ? [] : [time(nextUpdate)]),
    ...(entries.length === 0 ? [] : [sequence(Buffer.concat(entries))]),
    ...(wishes.version1 ? [] : [context(0, sequence(...extensions))]),
  )
  return sequence(tbs, algorithm.identifier, bitString(algorithm.sign(tbs)))
}

/** DER of one extension, for those that wishes have no word for. */
export function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(isCritical ? [boolean(true)] : []), octetString(value))
}

/** Value of cRLDistributionPoints or freshestCRL, for `extensions` of a certificate. */
export function distributionPoints(...points: readonly PointWish[]): Buffer {
  return sequence(
    ...points.map(({ names, reasons, crlIssuer }) =>
      sequence(
        ...(names === undefined ? [] : [context(0, context(0, ...names.map(generalName)))]),
        ...(reasons === undefined ? [] : [contextPrimitive(1, reasonFlags(reasons))]),
        ...(crlIssuer === undefined ? [] : [context(2, generalName({ directory: crlIssuer }))]),
      ),
    ),
  )
}

export function serialOf(certificate: Buffer): bigint {
  return BigInt(`0x${new X509Certificate(certificate).serialNumber}`)
}

function entryOf({ serial, revokedAt, reason, invalidSince, ...rest }: EntryWish, now: number): Buffer {
  const extensions = [
    ...(reason === undefined ? [] : [extension('2.5.29.21', false, enumerated(reasonNames.indexOf(reason)))]),
    ...(invalidSince === undefined ? [] : [extension('2.5.29.24', false, generalizedTime(invalidSince))]),
    ...(rest.certificateIssuer === undefined
      ? []
      : [extension('2.5.29.29', true, sequence(generalName({ directory: rest.certificateIssuer })))]),
    ...(rest.extensions ?? []),
  ]
  return sequence(
    integer(serial),
    time(revokedAt ?? new Date(now - 2 * hourMs)),
    ...(extensions.length === 0 ? [] : [sequence(...extensions)]),
  )
}

function crlExtensions(issuer: Issued, wishes: CrlWishes): Buffer[] {
  const { number = 7n, deltaBase, issuingPoint, freshestUrls } = wishes
  return [
    extension('2.5.29.35', false, sequence(contextPrimitive(0, issuer.subjectKeyId))),
    ...(number === null ? [] : [extension('2.5.29.20', false, integer(number))]),
    ...(deltaBase === undefined ? [] : [extension('2.5.29.27', true, integer(deltaBase))]),
    ...(issuingPoint === undefined ? [] : [extension('2.5.29.28', true, issuingPointOf(issuingPoint))]),
    ...(freshestUrls === undefined
      ? []
      : [
          extension(
            '2.5.29.46',
            false,
            distributionPoints(...freshestUrls.map((uri) => ({ names: [{ uri }] }))),
          ),
        ]),
    ...(wishes.extensions ?? []),
  ]
}

function issuingPointOf(wish: IssuingPointWish): Buffer {
  const yes = Buffer.from([0xff])
  return sequence(
    ...(wish.names === undefined ? [] : [context(0, context(0, ...wish.names.map(generalName)))]),
    ...(wish.onlyUsers ? [contextPrimitive(1, yes)] : []),
    ...(wish.onlyAuthorities ? [contextPrimitive(2, yes)] : []),
    ...(wish.onlyReasons === undefined ? [] : [contextPrimitive(3, reasonFlags(wish.onlyReasons))]),
    ...(wish.indirect ? [contextPrimitive(4, yes)] : []),
    ...(wish.onlyAttributes ? [contextPrimitive(5, yes)] : []),
  )
}

/** Content of the BIT STRING, for an implicit tag. */
function reasonFlags(reasons: readonly (typeof flagNames)[number][]): Buffer {
  return namedBits(reasons.map((reason) => flagNames.indexOf(reason))).subarray(2)
}
