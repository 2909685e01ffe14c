import { createHash, type KeyObject } from 'node:crypto'
import {
  bitString,
  context,
  contextPrimitive,
  enumerated,
  generalizedTime,
  integer,
  nothing,
  octetString,
  oid,
  sequence,
} from './der.ts'
import { extension } from './crl.ts'
import { membersOf } from './der-reading.ts'
import type { Issued } from './pki.ts'
import { signatureAlgorithm } from './signature.ts'
import type { CertificateWishes } from './wishes.ts'

export interface OcspQuestionRead {
  /** DER of the CertID, to be sent back as it came. */
  readonly certId: Buffer
  readonly serial: bigint
  readonly nonce?: Buffer
}

/** What a responder shall say. Every default is in order; every field can be set so that it is not. */
export interface OcspWishes {
  readonly status?: 'good' | 'revoked' | 'unknown'
  readonly revokedAt?: Date
  readonly reason?: number
  readonly thisUpdate?: Date
  readonly nextUpdate?: Date | null
  readonly producedAt?: Date
  readonly nonce?: Buffer | null
  /** Instead of successful (0). */
  readonly responseStatus?: number
  readonly certIdHash?: 'sha1' | 'sha256'
  readonly serial?: bigint
  /** Whose certificate the reply is about, where it is not the issuer’s. */
  readonly certIdIssuer?: Issued
  readonly nameBy?: 'name' | 'key'
  /** Who signs; default: the issuer. With its certificate in the reply unless `enclosed` says otherwise. */
  readonly responder?: Issued
  readonly enclosed?: readonly Buffer[]
  readonly signWith?: KeyObject
  readonly signatureDigest?: NonNullable<CertificateWishes['signatureDigest']>
  /** DER of further extensions. */
  readonly extensions?: readonly Buffer[]
  readonly singleExtensions?: readonly Buffer[]
}

const hourMs = 3_600_000
const hashOids = { sha1: '1.3.14.3.2.26', sha256: '2.16.840.1.101.3.4.2.1' } as const

/** RFC 6960 §4.1.1. */
export function readOcspQuestion(request: Buffer): OcspQuestionRead {
  const [tbs] = membersOf(membersOf(request)[0]!.content)
  const [list, ...others] = membersOf(tbs!.content)
  const [certId] = membersOf(membersOf(list!.content)[0]!.content)
  const serial = BigInt(`0x${membersOf(certId!.content)[3]!.content.toString('hex')}`)
  const extensions = others.find(({ tag }) => tag === 0xa2)
  const [only] = extensions === undefined ? [] : membersOf(membersOf(extensions.content)[0]!.content)
  const nonce =
    only === undefined ? undefined : membersOf(membersOf(only.content).at(-1)!.content)[0]!.content
  return { certId: certId!.whole, serial, ...(nonce === undefined ? {} : { nonce }) }
}

/** DER of a CertID. */
export function certIdOf(issuer: Issued, serial: bigint, hash: 'sha1' | 'sha256' = 'sha1'): Buffer {
  return sequence(
    sequence(oid(hashOids[hash]), nothing()),
    octetString(createHash(hash).update(issuer.subjectName).digest()),
    octetString(createHash(hash).update(keyBits(issuer)).digest()),
    integer(serial),
  )
}

/** DER of an OCSPResponse about one certificate of this authority. */
export function makeOcspReply(issuer: Issued, serial: bigint, wishes: OcspWishes = {}): Buffer {
  if (wishes.responseStatus !== undefined && wishes.responseStatus !== 0)
    return sequence(enumerated(wishes.responseStatus))
  const now = Date.now()
  const responder = wishes.responder ?? issuer
  const algorithm = signatureAlgorithm(wishes.signWith ?? responder.privateKey, wishes)
  const thisUpdate = wishes.thisUpdate ?? new Date(now - hourMs)
  const nextUpdate = wishes.nextUpdate === undefined ? new Date(now + 12 * hourMs) : wishes.nextUpdate
  const extensions = [
    ...(wishes.nonce ? [extension('1.3.6.1.5.5.7.48.1.2', false, octetString(wishes.nonce))] : []),
    ...(wishes.extensions ?? []),
  ]
  const single = sequence(
    certIdOf(wishes.certIdIssuer ?? issuer, wishes.serial ?? serial, wishes.certIdHash),
    statusOf(wishes, now),
    generalizedTime(thisUpdate),
    ...(nextUpdate === null ? [] : [context(0, generalizedTime(nextUpdate))]),
    ...(wishes.singleExtensions === undefined ? [] : [context(1, sequence(...wishes.singleExtensions))]),
  )
  const data = sequence(
    wishes.nameBy === 'key'
      ? context(2, octetString(createHash('sha1').update(keyBits(responder)).digest()))
      : context(1, responder.subjectName),
    generalizedTime(wishes.producedAt ?? thisUpdate),
    sequence(single),
    ...(extensions.length === 0 ? [] : [context(1, sequence(...extensions))]),
  )
  const enclosed = wishes.enclosed ?? (wishes.responder === undefined ? [] : [wishes.responder.certificate])
  const basic = sequence(
    data,
    algorithm.identifier,
    bitString(algorithm.sign(data)),
    ...(enclosed.length === 0 ? [] : [context(0, sequence(...enclosed))]),
  )
  return sequence(enumerated(0), context(0, sequence(oid('1.3.6.1.5.5.7.48.1.1'), octetString(basic))))
}

function statusOf({ status = 'good', revokedAt, reason }: OcspWishes, now: number): Buffer {
  if (status === 'good') return contextPrimitive(0, Buffer.alloc(0))
  if (status === 'unknown') return contextPrimitive(2, Buffer.alloc(0))
  return context(
    1,
    generalizedTime(revokedAt ?? new Date(now - 2 * hourMs)),
    ...(reason === undefined ? [] : [context(0, enumerated(reason))]),
  )
}

/** The subjectPublicKey of its certificate, without tag, length and unused bits. */
function keyBits({ certificate }: Issued): Buffer {
  const parts = membersOf(membersOf(membersOf(certificate)[0]!.content)[0]!.content)
  const info = parts.filter(({ tag }) => tag === 0x30).at(4)!
  return membersOf(info.content)[1]!.content.subarray(1)
}
