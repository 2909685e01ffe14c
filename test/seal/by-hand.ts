import { createHash, sign, X509Certificate } from 'node:crypto'
import { der, derInteger, derNull, derOid } from '../../src/lib/der.ts'
import { open } from '../../src/seal/open.ts'
import { integer } from '../pki/der.ts'
import { aTown, type Town } from './an-order.ts'
import { handEnveloped, issuerOf } from './by-hand-envelope.ts'
import { ownKey } from './own-keys.ts'

export const town: Town = aTown()

export const keysOf = (...ours: { certificate: Buffer; privateKey: Town['phr']['privateKey'] }[]) => ({
  keys: ours.map(ownKey),
})
export const message = Buffer.from('From: a@b.example\r\nSubject: Processed\r\n\r\nbody\r\n')

/** A message around any plaintext, encrypted to Ellen's PHR. */
export function enveloped(
  plain: Buffer,
  contentTypeLine = 'application/pkcs7-mime; smime-type=enveloped-data',
): Buffer {
  return mail(handEnveloped(plain, town.phr), contentTypeLine)
}

export function mail(cms: Buffer, contentTypeLine = 'application/pkcs7-mime'): Buffer {
  return Buffer.from(
    `From: a@b.example\r\nContent-Type: ${contentTypeLine}\r\nContent-Transfer-Encoding: base64\r\n\r\n` +
      cms.toString('base64').replaceAll(/.{1,76}/g, '$&\r\n'),
  )
}

/** The plaintext entity of a sealed message, to be broken and sealed up again. */
export function entityOf(
  sign: (content: Buffer) => Buffer,
  content: Buffer,
  type = 'multipart/signed',
): Buffer {
  return Buffer.concat([
    Buffer.from(`Content-Type: ${type}; boundary=b\r\n\r\n--b\r\n`),
    content,
    Buffer.from(
      '\r\n--b\r\nContent-Type: application/x-pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n',
    ),
    Buffer.from(sign(content).toString('base64')),
    Buffer.from('\r\n--b--\r\n'),
  ])
}

export interface SignatureWishes {
  digestOid?: string
  digestName?: string
  attributes?: (content: Buffer) => Buffer[]
  withoutAttributes?: boolean
  opaque?: boolean
  certificates?: Buffer[]
  signatureAlgorithm?: Buffer
  signWith?: (toSign: Buffer) => Buffer
  contentOid?: string
}

export const sha256Oid = '2.16.840.1.101.3.4.2.1'
const attribute = (type: string, ...values: Buffer[]) => der(0x30, derOid(type), der(0x31, ...values))
export const contentTypeOf = (dotted: string) => attribute('1.2.840.113549.1.9.3', derOid(dotted))
export const digestAttribute = (content: Buffer, name = 'sha256') =>
  attribute('1.2.840.113549.1.9.4', der(0x04, createHash(name).update(content).digest()))

/** A SignerInfo made by hand, in any shape a peer might send. */
export function signerInfoOf(signer: Town['ashby'], wishes: SignatureWishes = {}) {
  return (content: Buffer): Buffer => {
    const digestName = wishes.digestName ?? 'sha256'
    const contentOid = wishes.contentOid ?? '1.2.840.113549.1.7.1'
    const attributes = wishes.attributes?.(content) ?? [
      digestAttribute(content, digestName),
      contentTypeOf(contentOid),
    ]
    const toSign = wishes.withoutAttributes ? content : der(0x31, ...attributes)
    const signature = wishes.signWith?.(toSign) ?? sign(digestName, toSign, signer.privateKey)
    const issuer = issuerOf(signer.certificate)
    const serial = integer(BigInt(`0x${new X509Certificate(signer.certificate).serialNumber}`))
    return der(
      0x30,
      derInteger(1),
      der(0x30, issuer, serial),
      der(0x30, derOid(wishes.digestOid ?? sha256Oid), derNull),
      ...(wishes.withoutAttributes ? [] : [der(0xa0, ...attributes)]),
      wishes.signatureAlgorithm ?? der(0x30, derOid('1.2.840.113549.1.1.1'), derNull),
      der(0x04, signature),
    )
  }
}

/** A SignedData around one such SignerInfo, and others beside it. */
export function signedBy(
  signer: Town['ashby'],
  wishes: SignatureWishes = {},
  ...beside: ((content: Buffer) => Buffer)[]
) {
  return (content: Buffer): Buffer => {
    const contentOid = wishes.contentOid ?? '1.2.840.113549.1.7.1'
    const infos = [signerInfoOf(signer, wishes), ...beside].map((info) => info(content))
    const carried = wishes.opaque ? [der(0xa0, der(0x04, content))] : []
    return der(
      0x30,
      derOid('1.2.840.113549.1.7.2'),
      der(
        0xa0,
        der(
          0x30,
          derInteger(1),
          der(0x31),
          der(0x30, derOid(contentOid), ...carried),
          der(0xa0, ...(wishes.certificates ?? [signer.certificate])),
          der(0x31, ...infos),
        ),
      ),
    )
  }
}

export const wrapped = Buffer.concat([Buffer.from('Content-Type: message/rfc822\r\n\r\n'), message])

export async function opened(raw: Buffer, ...ours: Parameters<typeof keysOf>) {
  const read = await open(raw, keysOf(...(ours.length > 0 ? ours : [town.phr])))
  if (!read.opened) throw new Error(`${read.refusal}: ${read.because}`)
  return read
}

export async function refusal(raw: Buffer, ...ours: Parameters<typeof keysOf>) {
  const read = await open(raw, keysOf(...(ours.length > 0 ? ours : [town.phr])))
  return read.opened ? 'opened' : read.refusal
}
