import { createCipheriv, type CipherGCM, type Cipheriv } from 'node:crypto'
import { der, derHead, derInteger, derOid, derSetOf } from '../lib/der.ts'
import { algorithmIdentifier, contentCipherOids, oid, type Algorithms } from './algorithms.ts'
import { recipientOf } from './encrypted-key.ts'
import type { RecipientCertificate } from './seal-order.ts'

/** Where fresh bytes come from: `node:crypto` randomBytes; tests hand in fixed ones. */
export type Random = (bytes: number) => Buffer

/**
 * An EnvelopedData (RFC 5652 §6), or with GCM an AuthEnvelopedData (RFC 5083), under way: the head first, then the
 * ciphertext of exactly the announced plaintext, then the end.
 */
export interface Envelope {
  /** RFC 8551 §3.2.2. */
  readonly smimeType: 'enveloped-data' | 'authEnveloped-data'
  /** DER of ContentInfo up to the first octet of the ciphertext; every length in it is definite. */
  readonly head: Buffer
  readonly cipher: Cipheriv
  /** Octets of everything, head and end included. */
  readonly bytes: number
  /** The last of the ciphertext, and the authentication tag where there is one. Once, after all plaintext. */
  end(): Buffer
}

const blockBytes = 16
/** RFC 5084 §3.2: the recommended length; and the whole tag, which is not the default of the structure. */
const gcmNonceBytes = 12
const gcmTagBytes = 16

/**
 * @param recipients a certificate that is there twice is encrypted to once; their order leaves no trace
 * @param plainBytes octets that will be encrypted, exactly
 * @throws Failed recipient-untrusted, naming the place of a certificate that cannot be encrypted to
 */
export function makeEnvelope(
  recipients: readonly RecipientCertificate[],
  plainBytes: number,
  { content, keyTransport }: Algorithms,
  random: Random,
): Envelope {
  const { oid: cipherOid, keyBytes, mode } = contentCipherOids[content]
  const isGcm = mode === 'gcm'
  const contentKey = random(keyBytes)
  const iv = random(isGcm ? gcmNonceBytes : blockBytes)
  const prepared = distinct(recipients, keyTransport).map((one, index) => ({
    ...one,
    recipient: recipientOf(one.certificate, index),
  }))
  const infos = derSetOf(
    0x31,
    prepared.map(({ recipient, keyTransport: ownTransport }) =>
      recipient.recipientInfo(contentKey, ownTransport),
    ),
  )
  // RFC 5652 §6.1: version 2 once a recipient is not of the key transport kind. RFC 5083 §2.1: always 0.
  const hasAgreement = prepared.some(({ recipient }) => recipient.usesAgreement)
  const version = derInteger(hasAgreement && !isGcm ? 2 : 0)
  const parameters = isGcm ? der(0x30, der(0x04, iv), derInteger(gcmTagBytes)) : der(0x04, iv)
  const cipherBytes = isGcm ? plainBytes : (Math.floor(plainBytes / blockBytes) + 1) * blockBytes
  const tagHead = derHead(0x04, gcmTagBytes)
  const tagAfter = isGcm ? tagHead.length + gcmTagBytes : 0
  const head = headsAround(cipherBytes, [
    { tag: 0x30, before: derOid(isGcm ? oid.authEnvelopedData : oid.envelopedData) },
    { tag: 0xa0 },
    { tag: 0x30, before: Buffer.concat([version, infos]), bytesAfter: tagAfter },
    { tag: 0x30, before: Buffer.concat([derOid(oid.data), algorithmIdentifier(cipherOid, parameters)]) },
    { tag: 0x80 },
  ])
  const cipher = createCipheriv(content, contentKey, iv)
  return {
    smimeType: isGcm ? 'authEnveloped-data' : 'enveloped-data',
    head,
    cipher,
    bytes: head.length + cipherBytes + tagAfter,
    end: () =>
      isGcm ? Buffer.concat([cipher.final(), tagHead, (cipher as CipherGCM).getAuthTag()]) : cipher.final(),
  }
}

/** Each certificate once, with the key transport of its first mention. */
function distinct(recipients: readonly RecipientCertificate[], keyTransport: Algorithms['keyTransport']) {
  const found = new Map<string, { certificate: Buffer; keyTransport: Algorithms['keyTransport'] }>()
  for (const one of recipients) {
    const wish = Buffer.isBuffer(one) ? { certificate: one, keyTransport } : one
    const key = wish.certificate.toString('latin1')
    if (!found.has(key)) found.set(key, wish)
  }
  return [...found.values()]
}

/** Nested values, outermost first, whose innermost content of `bytes` octets follows later, and more after it. */
function headsAround(
  bytes: number,
  levels: readonly { tag: number; before?: Buffer; bytesAfter?: number }[],
): Buffer {
  let inner: Buffer = Buffer.alloc(0)
  let after = 0
  for (const { tag, before = Buffer.alloc(0), bytesAfter = 0 } of [...levels].reverse()) {
    after += bytesAfter
    const content = before.length + inner.length + bytes + after
    inner = Buffer.concat([derHead(tag, content), before, inner])
  }
  return inner
}
