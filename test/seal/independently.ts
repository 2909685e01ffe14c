import { constants, createPrivateKey, createPublicKey, privateDecrypt, type KeyObject } from 'node:crypto'
import * as pkijs from 'pkijs'

/**
 * Opens a sealed message with PKI.js and regular expressions: nothing of ours in the way. Slow, and small messages only.
 */
export async function openIndependently(
  sealed: Buffer,
  recipient: { certificate: Buffer; privateKey: KeyObject },
) {
  const engine = new KeyTransportEngine({ name: 'node', crypto: globalThis.crypto as never })
  const [outerHead, outerBody] = cut(sealed)
  const envelope = contentOf(Buffer.from(outerBody.toString('latin1'), 'base64'))
  const enveloped = new pkijs.EnvelopedData({ schema: envelope })
  const wanted = pkijs.Certificate.fromBER(recipient.certificate)
  const index = enveloped.recipientInfos.findIndex((one) => {
    const value = one.value as pkijs.KeyTransRecipientInfo
    return (
      value.rid instanceof pkijs.IssuerAndSerialNumber && value.rid.serialNumber.isEqual(wanted.serialNumber)
    )
  })
  const pkcs8 = recipient.privateKey.export({ type: 'pkcs8', format: 'der' })
  const entity = Buffer.from(
    await enveloped.decrypt(
      index,
      { recipientCertificate: wanted, recipientPrivateKey: arrayBuffer(pkcs8) },
      engine,
    ),
  )
  const { head: signedHead, content: signedPart, signature } = halvesOfSigned(entity)
  const signedData = new pkijs.SignedData({ schema: contentOf(signature) })
  const verified: boolean[] = []
  for (const signer of signedData.signerInfos.keys())
    verified.push(
      await signedData
        .verify({ signer, data: arrayBuffer(signedPart), checkChain: false })
        .catch(() => false),
    )
  const [wrapHead, message] = cut(signedPart)
  return { outerHead, entity, signedHead, wrapHead, message, enveloped, signedData, verified }
}

/** A multipart/signed taken apart: the first part with its headers, as it was hashed, and the DER of the signature. */
export function halvesOfSigned(entity: Buffer): { head: string; content: Buffer; signature: Buffer } {
  const [head, body] = cut(entity)
  const boundary = /boundary="([^"]+)"/.exec(head)![1]!
  const delimiter = `--${boundary}\r\n`
  const start = body.indexOf(delimiter) + delimiter.length
  const end = body.indexOf(`\r\n--${boundary}`, start)
  const second = body.subarray(
    body.indexOf(delimiter, end) + delimiter.length,
    body.indexOf(`\r\n--${boundary}--`, end),
  )
  return {
    head,
    content: body.subarray(start, end),
    signature: Buffer.from(cut(second)[1].toString('latin1'), 'base64'),
  }
}

/** PKI.js has no PKCS#1 v1.5 key transport. */
class KeyTransportEngine extends pkijs.CryptoEngine {
  override async importKey(
    ...given: Parameters<pkijs.CryptoEngine['importKey']>
  ): ReturnType<pkijs.CryptoEngine['importKey']> {
    const [format, data, algorithm] = given as unknown as [string, ArrayBuffer, { name: string }]
    if (algorithm.name !== 'RSAES-PKCS1-v1_5') return super.importKey(...given)
    const der = Buffer.from(data)
    const key =
      format === 'spki'
        ? createPublicKey({ key: der, format: 'der', type: 'spki' })
        : createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    return { algorithm: { name: algorithm.name }, type: 'private', key } as never
  }

  override async decrypt(...given: Parameters<pkijs.CryptoEngine['decrypt']>): Promise<ArrayBuffer> {
    const [algorithm, key, data] = given as unknown as [{ name: string }, { key: KeyObject }, ArrayBuffer]
    if (algorithm.name !== 'RSAES-PKCS1-v1_5') return super.decrypt(...given)
    return arrayBuffer(
      privateDecrypt({ key: key.key, padding: constants.RSA_PKCS1_PADDING }, Buffer.from(data)),
    )
  }
}

/** Head and body of a MIME entity, at its first empty line. */
function cut(entity: Buffer): [string, Buffer] {
  const at = entity.indexOf('\r\n\r\n')
  return [entity.toString('latin1', 0, at + 2), entity.subarray(at + 4)]
}

/** Decoded bodies of the parts of the inner multipart/mixed. */
export function partsOf(message: Buffer): { head: string; content: Buffer }[] {
  const [head, body] = cut(message)
  const boundary = /boundary="([^"]+)"/.exec(head)![1]!
  return body
    .toString('latin1')
    .split(`--${boundary}`)
    .slice(1, -1)
    .map((text) => {
      const [partHead, content] = cut(Buffer.from(text.slice(2, -2), 'latin1'))
      const isBase64 = partHead.includes('Transfer-Encoding: base64')
      return {
        head: partHead,
        content: isBase64 ? Buffer.from(content.toString('latin1'), 'base64') : content,
      }
    })
}

function contentOf(der: Buffer): unknown {
  return pkijs.ContentInfo.fromBER(arrayBuffer(der)).content
}

function arrayBuffer(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer
}
