import { createHash, webcrypto } from 'node:crypto'
import * as asn1js from 'asn1js'
import * as pkijs from 'pkijs'
import type { Issued } from '../pki/pki.ts'

type Hash = 'SHA-1' | 'SHA-256' | 'SHA-384' | 'SHA-512'

export interface Signing {
  readonly signers: readonly Issued[]
  readonly hash?: Hash
  readonly isPss?: boolean
  readonly isOpaque?: boolean
}

/** A SignedData as PKI.js makes it: its signed attributes stand, and are signed, in the order they were given. */
export async function pkijsSigned(
  content: Buffer,
  { signers, hash = 'SHA-256', ...how }: Signing,
): Promise<Buffer> {
  const digest = createHash(hash.replace('-', '').toLowerCase()).update(content).digest()
  const attribute = (type: string, value: asn1js.AsnType) => new pkijs.Attribute({ type, values: [value] })
  const data = new pkijs.SignedData({
    version: 1,
    encapContentInfo: new pkijs.EncapsulatedContentInfo({
      eContentType: '1.2.840.113549.1.7.1',
      ...(how.isOpaque ? { eContent: new asn1js.OctetString({ valueHex: arrayBuffer(content) }) } : {}),
    }),
    signerInfos: signers.map(({ certificate }) => {
      const read = pkijs.Certificate.fromBER(certificate)
      return new pkijs.SignerInfo({
        version: 1,
        sid: new pkijs.IssuerAndSerialNumber({ issuer: read.issuer, serialNumber: read.serialNumber }),
        signedAttrs: new pkijs.SignedAndUnsignedAttributes({
          type: 0,
          attributes: [
            attribute('1.2.840.113549.1.9.4', new asn1js.OctetString({ valueHex: arrayBuffer(digest) })),
            attribute('1.2.840.113549.1.9.5', new asn1js.UTCTime({ valueDate: new Date() })),
            attribute('1.2.840.113549.1.9.3', new asn1js.ObjectIdentifier({ value: '1.2.840.113549.1.7.1' })),
          ],
        }),
      })
    }),
    certificates: signers.map(({ certificate }) => pkijs.Certificate.fromBER(certificate)),
  })
  for (const [index, { privateKey }] of signers.entries()) {
    const curve = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' }
    const algorithm =
      privateKey.asymmetricKeyType === 'ec'
        ? {
            name: 'ECDSA',
            namedCurve: curve[privateKey.asymmetricKeyDetails!.namedCurve as keyof typeof curve],
          }
        : { name: how.isPss ? 'RSA-PSS' : 'RSASSA-PKCS1-v1_5', hash }
    const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' })
    const key = await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, true, ['sign'])
    await data.sign(key, index, hash, arrayBuffer(content))
  }
  return der('1.2.840.113549.1.7.2', data.toSchema(true))
}

export interface Enveloping {
  readonly recipients: readonly Issued[]
  readonly hash?: Hash
  readonly bits?: 128 | 192 | 256
}

/** An EnvelopedData as PKI.js makes it: OAEP to RSA keys; ECDH with user keying material to EC keys. */
export async function pkijsEnveloped(
  plain: Buffer,
  { recipients, hash = 'SHA-256', bits = 256 }: Enveloping,
): Promise<Buffer> {
  const data = new pkijs.EnvelopedData()
  for (const { certificate } of recipients)
    data.addRecipientByCertificate(pkijs.Certificate.fromBER(certificate), {
      oaepHashAlgorithm: hash,
      kdfAlgorithm: hash,
      kekEncryptionLength: bits,
    })
  await data.encrypt({ name: 'AES-CBC', length: bits }, arrayBuffer(plain))
  return der('1.2.840.113549.1.7.3', data.toSchema())
}

function der(contentType: string, content: asn1js.AsnType): Buffer {
  return Buffer.from(new pkijs.ContentInfo({ contentType, content }).toSchema().toBER(false))
}

function arrayBuffer(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer
}
