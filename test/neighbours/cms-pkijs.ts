import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  sign as signBytes,
  X509Certificate,
} from 'node:crypto'
import * as asn1js from 'asn1js'
import * as pkijs from 'pkijs'
import type { Cms, KeyPair, KeyTransport } from './cms.ts'

const oids = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  envelopedData: '1.2.840.113549.1.7.3',
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingTime: '1.2.840.113549.1.9.5',
  rsaEncryption: '1.2.840.113549.1.1.1',
  rsaOaep: '1.2.840.113549.1.1.7',
  mgf1: '1.2.840.113549.1.1.8',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
  sha256WithRsa: '1.2.840.113549.1.1.11',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  aes128Cbc: '2.16.840.1.101.3.4.1.2',
  aes192Cbc: '2.16.840.1.101.3.4.1.22',
  aes256Cbc: '2.16.840.1.101.3.4.1.42',
}
const ciphers: Record<string, string> = {
  [oids.aes128Cbc]: 'aes-128-cbc',
  [oids.aes192Cbc]: 'aes-192-cbc',
  [oids.aes256Cbc]: 'aes-256-cbc',
}
const digests: Record<string, string> = {
  [oids.sha1]: 'sha1',
  [oids.sha256]: 'sha256',
  [oids.sha384]: 'sha384',
  [oids.sha512]: 'sha512',
}
const pathLengthMax = 8

/** CMS by pkijs, for machines without an `openssl` binary. */
export function pkijsCms(): Cms {
  pkijs.setEngine('node', new pkijs.CryptoEngine({ name: 'node', crypto: globalThis.crypto }))
  return {
    by: 'pkijs',
    decrypt: async (enveloped, keys) => decrypt(enveloped, keys),
    verify,
    sign: async (content, signer) => sign(content, signer),
    encrypt: async (content, recipients, transport) => encrypt(content, recipients, transport),
  }
}

function decrypt(enveloped: Buffer, keys: readonly KeyPair[]): Buffer {
  const data = new pkijs.EnvelopedData({ schema: contentOf(enveloped, oids.envelopedData) })
  const { contentEncryptionAlgorithm } = data.encryptedContentInfo
  const cipher = ciphers[contentEncryptionAlgorithm.algorithmId]
  if (cipher === undefined)
    throw new Error(`content encryption ${contentEncryptionAlgorithm.algorithmId} is not known here`)
  for (const { value } of data.recipientInfos) {
    if (!(value instanceof pkijs.KeyTransRecipientInfo)) continue
    const rid: unknown = value.rid
    if (!(rid instanceof pkijs.IssuerAndSerialNumber)) continue
    const pair = keys.find(({ certificate }) => {
      const own = certificateOf(certificate)
      return own.serialNumber.isEqual(rid.serialNumber) && own.issuer.isEqual(rid.issuer)
    })
    if (pair === undefined) continue
    const key = privateDecrypt(
      { key: pair.privateKey, ...paddingOf(value.keyEncryptionAlgorithm) },
      value.encryptedKey.valueBlock.valueHexView,
    )
    const iv = (contentEncryptionAlgorithm.algorithmParams as asn1js.OctetString).valueBlock.valueHexView
    const decipher = createDecipheriv(cipher, key, iv)
    const encrypted = Buffer.from(data.encryptedContentInfo.getEncryptedContent())
    return Buffer.concat([decipher.update(encrypted), decipher.final()])
  }
  throw new Error('the envelope is not for any key of this HISP')
}

/** RSAES-OAEP-params: both hashes default to SHA-1 and are then left out (RFC 8017 A.2.1). */
function paddingOf(algorithm: pkijs.AlgorithmIdentifier) {
  if (algorithm.algorithmId === oids.rsaEncryption) return { padding: constants.RSA_PKCS1_PADDING }
  if (algorithm.algorithmId !== oids.rsaOaep)
    throw new Error(`key transport ${algorithm.algorithmId} is not known here`)
  const parameters = new pkijs.RSAESOAEPParams({ schema: algorithm.algorithmParams })
  const hash = digests[parameters.hashAlgorithm.algorithmId]
  if (hash === undefined) throw new Error('the OAEP hash is not known here')
  return { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash }
}

async function verify(content: Buffer, signature: Buffer, roots: readonly string[]): Promise<string[]> {
  const data = new pkijs.SignedData({ schema: contentOf(signature, oids.signedData) })
  const included = (data.certificates ?? []).filter((item) => item instanceof pkijs.Certificate)
  if (data.signerInfos.length === 0) throw new Error('nobody signed this')
  const signers: string[] = []
  for (let n = 0; n < data.signerInfos.length; n++) {
    const sid: unknown = data.signerInfos[n]?.sid
    const certificate = included.find(
      (candidate) =>
        sid instanceof pkijs.IssuerAndSerialNumber &&
        candidate.serialNumber.isEqual(sid.serialNumber) &&
        candidate.issuer.isEqual(sid.issuer),
    )
    if (certificate === undefined) throw new Error('the signer’s certificate is not included')
    const good = await data.verify({ signer: n, data: arrayBuffer(content), checkChain: false })
    if (!good) throw new Error('the signature does not match the content')
    const leaf = new X509Certificate(Buffer.from(certificate.toSchema().toBER(false)))
    checkPath(
      leaf,
      included.map((item) => new X509Certificate(Buffer.from(item.toSchema().toBER(false)))),
      roots.map((pem) => new X509Certificate(pem)),
    )
    signers.push(leaf.toString())
  }
  return signers
}

function checkPath(leaf: X509Certificate, pool: X509Certificate[], roots: X509Certificate[]): void {
  let at = leaf
  for (let length = 0; length < pathLengthMax; length++) {
    if (Date.parse(at.validTo) < Date.now() || Date.parse(at.validFrom) > Date.now())
      throw new Error(`a certificate of the path is not valid now: ${at.subject}`)
    if (roots.some((root) => root.fingerprint256 === at.fingerprint256)) return
    const isIssuer = (candidate: X509Certificate) =>
      candidate.ca && at.checkIssued(candidate) && at.verify(candidate.publicKey)
    if (roots.some(isIssuer)) return
    const next = pool.find(isIssuer)
    if (next === undefined) break
    at = next
  }
  throw new Error(`no path from ${leaf.subject} to a root of this HISP`)
}

function sign(content: Buffer, signer: KeyPair): Buffer {
  const certificate = certificateOf(signer.certificate)
  const key = createPrivateKey(signer.privateKey)
  const attributes = [
    new pkijs.Attribute({
      type: oids.contentType,
      values: [new asn1js.ObjectIdentifier({ value: oids.data })],
    }),
    new pkijs.Attribute({ type: oids.signingTime, values: [new asn1js.UTCTime({ valueDate: new Date() })] }),
    new pkijs.Attribute({
      type: oids.messageDigest,
      values: [
        new asn1js.OctetString({ valueHex: arrayBuffer(createHash('sha256').update(content).digest()) }),
      ],
    }),
  ]
    .map((attribute) => ({ attribute, der: Buffer.from(attribute.toSchema().toBER(false)) }))
    .sort((a, b) => Buffer.compare(a.der, b.der)) // SET OF is sorted in DER (X.690 §11.6)
  // The signature is over the attributes as SET OF, not with the [0] they are sent under (RFC 5652 §5.4).
  const set = new asn1js.Set({ value: attributes.map(({ attribute }) => attribute.toSchema()) })
  const info = new pkijs.SignerInfo({
    version: 1,
    sid: new pkijs.IssuerAndSerialNumber({
      issuer: certificate.issuer,
      serialNumber: certificate.serialNumber,
    }),
    digestAlgorithm: new pkijs.AlgorithmIdentifier({ algorithmId: oids.sha256 }),
    signatureAlgorithm: new pkijs.AlgorithmIdentifier({
      algorithmId: key.asymmetricKeyType === 'ec' ? oids.ecdsaWithSha256 : oids.sha256WithRsa,
    }),
    signedAttrs: new pkijs.SignedAndUnsignedAttributes({
      type: 0,
      attributes: attributes.map(({ attribute }) => attribute),
    }),
    signature: new asn1js.OctetString({
      valueHex: arrayBuffer(signBytes('sha256', Buffer.from(set.toBER(false)), key)),
    }),
  })
  const data = new pkijs.SignedData({
    version: 1,
    digestAlgorithms: [new pkijs.AlgorithmIdentifier({ algorithmId: oids.sha256 })],
    encapContentInfo: new pkijs.EncapsulatedContentInfo({ eContentType: oids.data }),
    certificates: [certificate],
    signerInfos: [info],
  })
  return der(new pkijs.ContentInfo({ contentType: oids.signedData, content: data.toSchema(true) }))
}

function encrypt(content: Buffer, recipients: readonly string[], transport: KeyTransport): Buffer {
  const key = randomBytes(32)
  const iv = randomBytes(16)
  const cipher = createCipheriv('aes-256-cbc', key, iv)
  const encrypted = Buffer.concat([cipher.update(content), cipher.final()])
  const data = new pkijs.EnvelopedData({
    version: 0,
    recipientInfos: recipients.map((pem) => {
      const certificate = certificateOf(pem)
      return new pkijs.RecipientInfo({
        variant: 1,
        value: new pkijs.KeyTransRecipientInfo({
          version: 0,
          rid: new pkijs.IssuerAndSerialNumber({
            issuer: certificate.issuer,
            serialNumber: certificate.serialNumber,
          }),
          keyEncryptionAlgorithm: transportAlgorithm(transport),
          encryptedKey: new asn1js.OctetString({
            valueHex: arrayBuffer(
              publicEncrypt({ key: new X509Certificate(pem).publicKey, ...transportPadding[transport] }, key),
            ),
          }),
        }),
      })
    }),
    encryptedContentInfo: new pkijs.EncryptedContentInfo({
      contentType: oids.data,
      contentEncryptionAlgorithm: new pkijs.AlgorithmIdentifier({
        algorithmId: oids.aes256Cbc,
        algorithmParams: new asn1js.OctetString({ valueHex: arrayBuffer(iv) }),
      }),
      encryptedContent: new asn1js.OctetString({ valueHex: arrayBuffer(encrypted) }),
    }),
  })
  return der(new pkijs.ContentInfo({ contentType: oids.envelopedData, content: data.toSchema() }))
}

const transportPadding = {
  pkcs1: { padding: constants.RSA_PKCS1_PADDING },
  'oaep-sha1': { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' },
  'oaep-sha256': { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
}

function transportAlgorithm(transport: KeyTransport): pkijs.AlgorithmIdentifier {
  if (transport === 'pkcs1')
    return new pkijs.AlgorithmIdentifier({
      algorithmId: oids.rsaEncryption,
      algorithmParams: new asn1js.Null(),
    })
  if (transport === 'oaep-sha1')
    return new pkijs.AlgorithmIdentifier({
      algorithmId: oids.rsaOaep,
      algorithmParams: new asn1js.Sequence({ value: [] }),
    })
  const sha256 = new pkijs.AlgorithmIdentifier({
    algorithmId: oids.sha256,
    algorithmParams: new asn1js.Null(),
  })
  const parameters = new pkijs.RSAESOAEPParams({
    hashAlgorithm: sha256,
    maskGenAlgorithm: new pkijs.AlgorithmIdentifier({
      algorithmId: oids.mgf1,
      algorithmParams: sha256.toSchema(),
    }),
  })
  return new pkijs.AlgorithmIdentifier({ algorithmId: oids.rsaOaep, algorithmParams: parameters.toSchema() })
}

function contentOf(bytes: Buffer, type: string): unknown {
  // pkijs’ own fromBER stops at 16 MiB and 10,000 nodes.
  const { result, offset } = asn1js.fromBER(bytes, { maxNodes: 1e6, maxContentLength: 1e9 })
  if (offset < 0) throw new Error('this is not CMS')
  const info = new pkijs.ContentInfo({ schema: result })
  if (info.contentType !== type) throw new Error(`this is CMS of type ${info.contentType}, not ${type}`)
  return info.content
}

function certificateOf(pem: string): pkijs.Certificate {
  return pkijs.Certificate.fromBER(new X509Certificate(pem).raw)
}

function der(info: pkijs.ContentInfo): Buffer {
  return Buffer.from(info.toSchema().toBER(false))
}

function arrayBuffer(bytes: Buffer): ArrayBuffer {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer
}
