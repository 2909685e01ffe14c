import {
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  pbkdf2Sync,
  timingSafeEqual,
  type KeyObject,
} from 'node:crypto'
import * as asn1js from 'asn1js'
import * as pkijs from 'pkijs'
import { derive, purposes } from './key-derivation.ts'

export type Pkcs12Reading =
  | {
      readonly readable: true
      /** Private keys in the order of the file; those of a kind node:crypto does not know are left out. */
      readonly privateKeys: readonly KeyObject[]
      /** DER, in the order of the file. */
      readonly certificates: readonly Buffer[]
    }
  | { readonly readable: false; readonly because: string; readonly remedy: string }

/** What makes the file unreadable, in words, and what helps. */
class Unreadable extends Error {
  readonly remedy: string

  constructor(because: string, remedy: string) {
    super(because)
    this.remedy = remedy
  }
}

/** The octets are not the structure that stands there in RFC 7292. */
class Malformed extends Error {}

const fileOctetsMax = 4 * 1024 * 1024
/** Bags of one file; a chain with its key has five. */
const bagsMax = 1_000
/** ASN.1 values of one structure; a bag with its attributes has about 20. */
const valuesMax = 50_000
/** Rounds of a key derivation; OpenSSL writes 2,048, careful people 1,000,000. */
const iterationsMax = 10_000_000

// openssl pkcs12 -export reads its input twice, so a pipe between the two does not do.
const renew =
  'write it anew with today’s algorithms: openssl pkcs12 -legacy -in OLD.p12 -nodes -out both.pem && openssl pkcs12 -export -in both.pem -out NEW.p12, then delete both.pem'
const exportAgain =
  'export certificate and key again: openssl pkcs12 -export -inkey key.pem -in cert.pem -out NEW.p12'

/**
 * Reads a PKCS #12 file (RFC 7292) in password mode: its integrity first, then its bags, encrypted with PBES2 and AES, or
 * with the PBE of PKCS #12 and three-key 3DES as Windows writes it. RC2 and single DES are refused: no OpenSSL of today
 * can read them without its legacy provider.
 *
 * @param passphrase what both the integrity and the privacy of the file were made with
 */
export function readPkcs12(file: Buffer, passphrase: string): Pkcs12Reading {
  try {
    if (file.length > fileOctetsMax)
      throw new Unreadable(`it is longer than ${fileOctetsMax} octets`, 'name the PKCS #12 file of one key')
    return { readable: true, ...contentsOf(file, passphrase) }
  } catch (error) {
    if (error instanceof Unreadable) return { readable: false, because: error.message, remedy: error.remedy }
    if (!(error instanceof Malformed)) throw error
    const isPem = file.includes('-----BEGIN ')
    return isPem
      ? {
          readable: false,
          because: 'it is PEM, not PKCS #12',
          remedy: 'write `certificate:` and `privateKey:` instead of `pkcs12:`',
        }
      : { readable: false, because: `it is not PKCS #12 (${error.message})`, remedy: exportAgain }
  }
}

function contentsOf(file: Buffer, passphrase: string): { privateKeys: KeyObject[]; certificates: Buffer[] } {
  const { version, authSafe, macData } = partsOf(parsed(file, 'the PFX'), pkijs.PFX.schema(), 'the PFX')
  if (numberOf(version, 'the version') !== 3)
    throw new Unreadable('it is not PKCS #12 version 3', exportAgain)
  const content = dataIn(
    read(pkijs.ContentInfo, authSafe, 'the authenticated safe'),
    'the authenticated safe',
  )
  if (macData === undefined)
    throw new Unreadable('it has no check of its integrity by passphrase (MAC)', exportAgain)
  checkIntegrity(macData, content, passphrase)

  const found = { privateKeys: [] as KeyObject[], certificates: [] as Buffer[] }
  const budget = { bags: bagsMax }
  const safes = read(pkijs.AuthenticatedSafe, parsed(content, 'the authenticated safe'), 'the safes')
  for (const safe of safes.safeContents)
    readSafe(parsed(contentOfSafe(safe, passphrase), 'a safe'), passphrase, found, budget)
  return found
}

/** One BER value; what an OCTET STRING holds is left to whoever knows what it is. */
function parsed(octets: Buffer, what: string): asn1js.AsnType {
  const options = { maxNodes: valuesMax, parseEmbedded: false }
  const { offset, result } = wellFormed(what, () => asn1js.fromBER(octets, options))
  if (offset === -1) throw new Malformed(`${what} is cut off, or no BER`)
  return result
}

/** Whatever the packages stumble over lies in the file; their words name their own classes. */
function wellFormed<Found>(what: string, find: () => Found): Found {
  try {
    return find()
  } catch (cause) {
    throw new Malformed(`${what} has another structure`, { cause })
  }
}

/** A value by its class in pkijs. */
function read<Structure>(
  structure: new (parameters: { schema: asn1js.BaseBlock }) => Structure,
  value: unknown,
  what: string,
): Structure {
  // Without a value, pkijs answers with an empty structure.
  if (!(value instanceof asn1js.BaseBlock)) throw new Malformed(`${what} is missing`)
  return wellFormed(what, () => new structure({ schema: value }))
}

/**
 * The parts of a value under the names of its schema in pkijs, where its class in pkijs loses some: it makes 0 of every
 * number of four octets, and refuses a whole safe for one bag or certificate that it does not know.
 */
function partsOf(value: unknown, schema: asn1js.AsnSchemaType, what: string): Record<string, unknown> {
  if (!(value instanceof asn1js.BaseBlock)) throw new Malformed(`${what} is missing`)
  const { verified, result } = wellFormed(what, () => asn1js.compareSchema(value, value, schema))
  if (!verified) throw new Malformed(`${what} has another structure`)
  return result
}

function numberOf(value: unknown, what: string): number {
  if (!(value instanceof asn1js.Integer)) throw new Malformed(`${what} is missing`)
  return wellFormed(what, () => Number(value.toBigInt()))
}

/** The pieces of a constructed OCTET STRING (X.690 §8.7.3) are joined. */
function octetsOf(value: unknown, what: string): Buffer {
  const isOctets =
    value instanceof asn1js.BaseBlock && value.idBlock.tagClass === 1 && value.idBlock.tagNumber === 4
  if (isOctets && (value instanceof asn1js.OctetString || value instanceof asn1js.Constructed))
    if (value.idBlock.isConstructed)
      return Buffer.concat(value.valueBlock.value.map((piece) => octetsOf(piece, what)))
  if (isOctets && (value instanceof asn1js.OctetString || value instanceof asn1js.Primitive))
    return Buffer.from(value.valueBlock.valueHexView)
  throw new Malformed(`${what} is no OCTET STRING`)
}

function dataIn({ contentType, content }: pkijs.ContentInfo, what: string): Buffer {
  if (contentType !== pkijs.ContentInfo.DATA)
    throw new Unreadable(`${what} is encrypted for a certificate, not with a passphrase`, exportAgain)
  return octetsOf(content, what)
}

function contentOfSafe(safe: pkijs.ContentInfo, passphrase: string): Buffer {
  if (safe.contentType !== pkijs.ContentInfo.ENCRYPTED_DATA) return dataIn(safe, 'a safe')
  const { encryptedContentInfo } = read(pkijs.EncryptedData, safe.content, 'an encrypted safe')
  const { contentEncryptionAlgorithm, encryptedContent } = encryptedContentInfo
  return decrypt(contentEncryptionAlgorithm, octetsOf(encryptedContent, 'an encrypted safe'), passphrase)
}

const bags = {
  key: '1.2.840.113549.1.12.10.1.1',
  shroudedKey: '1.2.840.113549.1.12.10.1.2',
  certificate: '1.2.840.113549.1.12.10.1.3',
  safeContents: '1.2.840.113549.1.12.10.1.6',
}
const x509CertificateOid = '1.2.840.113549.1.9.22.1'

function readSafe(
  safe: unknown,
  passphrase: string,
  into: { privateKeys: KeyObject[]; certificates: Buffer[] },
  budget: { bags: number },
): void {
  const { members = [] } = partsOf(
    safe,
    pkijs.SafeContents.schema({ names: { safeBags: 'members' } }),
    'a safe',
  )
  for (const bag of members as unknown[]) {
    if (--budget.bags < 0) throw new Unreadable(`it holds more than ${bagsMax} entries`, exportAgain)
    const { bagId, bagValue } = partsOf(bag, pkijs.SafeBag.schema(), 'a bag')
    const kind = oidOf(bagId)
    if (kind === bags.key) addKey(rawOf(bagValue), into.privateKeys)
    else if (kind === bags.shroudedKey) {
      const shrouded = read(pkijs.PKCS8ShroudedKeyBag, bagValue, 'a shrouded key')
      const octets = octetsOf(shrouded.encryptedData, 'a shrouded key')
      addKey(decrypt(shrouded.encryptionAlgorithm, octets, passphrase), into.privateKeys)
    } else if (kind === bags.certificate) {
      const { id, value } = partsOf(bagValue, pkijs.CertBag.schema(), 'a certificate bag')
      if (oidOf(id) === x509CertificateOid) into.certificates.push(octetsOf(value, 'a certificate bag'))
    } else if (kind === bags.safeContents) readSafe(bagValue, passphrase, into, budget)
  }
}

/** As it lies in the file. */
function rawOf(value: unknown): Buffer {
  if (!(value instanceof asn1js.BaseBlock)) throw new Malformed('a key is missing')
  return Buffer.from(value.valueBeforeDecodeView)
}

function oidOf(value: unknown): string | undefined {
  return value instanceof asn1js.ObjectIdentifier ? value.getValue() : undefined
}

function addKey(der: Buffer, into: KeyObject[]): void {
  try {
    into.push(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
  } catch {
    // A key of a kind that this OpenSSL does not know cannot be ours; whoever needs one says so.
  }
}

const digests: Readonly<Record<string, string>> = {
  '1.3.14.3.2.26': 'sha1',
  '2.16.840.1.101.3.4.2.4': 'sha224',
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
}
const hmacs: Readonly<Record<string, string>> = {
  '1.2.840.113549.2.7': 'sha1',
  '1.2.840.113549.2.8': 'sha224',
  '1.2.840.113549.2.9': 'sha256',
  '1.2.840.113549.2.10': 'sha384',
  '1.2.840.113549.2.11': 'sha512',
}
const pbkdf2Oid = '1.2.840.113549.1.5.12'
const pbes2Oid = '1.2.840.113549.1.5.13'
const pbmac1Oid = '1.2.840.113549.1.5.14'

/** RFC 7292 §4 and, for PBMAC1, RFC 9579. */
function checkIntegrity(macData: unknown, content: Buffer, passphrase: string): void {
  const { mac, macSalt, iterations } = partsOf(macData, pkijs.MacData.schema(), 'the MAC')
  const { digestAlgorithm, digest: expected } = read(pkijs.DigestInfo, mac, 'the MAC value')
  const oid = digestAlgorithm.algorithmId
  let made: Buffer
  if (oid === pbmac1Oid) {
    // PBMAC1-params (RFC 8018 appendix A.5) are two algorithms, as those of PBES2 are.
    const pbmac1 = read(pkijs.PBES2Params, digestAlgorithm.algorithmParams, 'PBMAC1')
    const hmac = hmacs[pbmac1.encryptionScheme.algorithmId]
    if (hmac === undefined) throw new Unreadable('its integrity uses an unknown HMAC', exportAgain)
    const keyOctets = createHash(hmac).digest().length
    made = createHmac(hmac, pbkdf2(pbmac1.keyDerivationFunc, passphrase, keyOctets))
      .update(content)
      .digest()
  } else {
    const digest = digests[oid]
    if (digest === undefined)
      throw new Unreadable(`its integrity uses an unknown digest (${oid})`, exportAgain)
    const rounds = iterations === undefined ? 1 : numberOf(iterations, 'the iterations of the MAC')
    const salt = octetsOf(macSalt, 'the salt of the MAC')
    const keyOctets = createHash(digest).digest().length
    const key = derive(digest, purposes.mac, passphrase, salt, bounded(rounds), keyOctets)
    made = createHmac(digest, key).update(content).digest()
  }
  const wanted = octetsOf(expected, 'the MAC value')
  if (made.length !== wanted.length || !timingSafeEqual(made, wanted))
    throw new Unreadable(
      'the passphrase is not the one it was written with, or the file was changed',
      'check `passphrase:`; openssl pkcs12 -info -noout -in FILE tells whether it fits',
    )
}

const ciphers: Readonly<Record<string, { name: string; keyOctets: number }>> = {
  '2.16.840.1.101.3.4.1.2': { name: 'aes-128-cbc', keyOctets: 16 },
  '2.16.840.1.101.3.4.1.22': { name: 'aes-192-cbc', keyOctets: 24 },
  '2.16.840.1.101.3.4.1.42': { name: 'aes-256-cbc', keyOctets: 32 },
  '1.2.840.113549.3.7': { name: 'des-ede3-cbc', keyOctets: 24 },
}
const pbeSha1TripleDes = '1.2.840.113549.1.12.1.3'

function decrypt(algorithm: pkijs.AlgorithmIdentifier, octets: Buffer, passphrase: string): Buffer {
  const { algorithmId: oid, algorithmParams: parameters } = algorithm
  if (oid === pbes2Oid) {
    const { keyDerivationFunc, encryptionScheme } = read(pkijs.PBES2Params, parameters, 'PBES2')
    const cipher = ciphers[encryptionScheme.algorithmId]
    if (cipher === undefined)
      throw new Unreadable('it is encrypted with a cipher other than AES-CBC and 3DES', renew)
    const iv = octetsOf(encryptionScheme.algorithmParams, 'the initialization vector')
    return deciphered(cipher.name, pbkdf2(keyDerivationFunc, passphrase, cipher.keyOctets), iv, octets)
  }
  if (oid === pbeSha1TripleDes) {
    // pkcs-12PbeParams (RFC 7292 appendix C) are salt and iterations, with which those of PBKDF2 begin.
    const { salt, iterations } = derivationOf(parameters, 'the parameters of the PBE')
    const derived = (purpose: number, length: number) =>
      derive('sha1', purpose, passphrase, salt, bounded(iterations), length)
    return deciphered('des-ede3-cbc', derived(purposes.key, 24), derived(purposes.iv, 8), octets)
  }
  throw new Unreadable(`it is encrypted with an outdated cipher (RC2 or DES; algorithm ${oid})`, renew)
}

function deciphered(name: string, key: Buffer, iv: Buffer, octets: Buffer): Buffer {
  try {
    const decipher = createDecipheriv(name, key, iv)
    return Buffer.concat([decipher.update(octets), decipher.final()])
  } catch {
    throw new Unreadable('its content was encrypted with another passphrase than its integrity', exportAgain)
  }
}

/** RFC 8018 §5.2; the passphrase in UTF-8. */
function pbkdf2(algorithm: pkijs.AlgorithmIdentifier, passphrase: string, length: number): Buffer {
  if (algorithm.algorithmId !== pbkdf2Oid)
    throw new Unreadable('its key is derived by something other than PBKDF2', renew)
  const { salt, iterations, prf } = derivationOf(algorithm.algorithmParams, 'the parameters of PBKDF2')
  const hmac =
    prf === undefined ? 'sha1' : hmacs[read(pkijs.AlgorithmIdentifier, prf, 'the HMAC').algorithmId]
  if (hmac === undefined) throw new Unreadable('its key is derived with an unknown HMAC', renew)
  return pbkdf2Sync(passphrase, salt, bounded(iterations), length, hmac)
}

function derivationOf(value: unknown, what: string): { salt: Buffer; iterations: number; prf: unknown } {
  const names = {
    saltPrimitive: 'salt',
    iterationCount: 'iterations',
    prf: { names: { blockName: 'prf', optional: true } },
  }
  const { salt, iterations, prf } = partsOf(value, pkijs.PBKDF2Params.schema({ names }), what)
  return { salt: octetsOf(salt, what), iterations: numberOf(iterations, what), prf }
}

function bounded(iterations: number): number {
  if (iterations >= 1 && iterations <= iterationsMax) return iterations
  throw new Unreadable(`its key takes ${iterations} iterations; at most ${iterationsMax}`, exportAgain)
}
