import {
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  pbkdf2Sync,
  timingSafeEqual,
  type KeyObject,
} from 'node:crypto'
import { Integer, OctetString, Sequence, type AsnType } from 'asn1js'
import {
  AuthenticatedSafe,
  CertBag,
  EncryptedData,
  PBES2Params,
  PBKDF2Params,
  PFX,
  PKCS8ShroudedKeyBag,
  PrivateKeyInfo,
  SafeContents,
  type AlgorithmIdentifier,
  type ContentInfo,
  type MacData,
} from 'pkijs'

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

/** The octets are not what the format says. */
class Malformed extends Error {}

const fileOctetsMax = 4 * 1024 * 1024
/** Bags of one file; a chain with its key has five. */
const bagsMax = 1_000
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
  const pfx = parsed('the PFX', () => PFX.fromBER(file))
  if (pfx.version !== 3) throw new Unreadable('it is not PKCS #12 version 3', exportAgain)
  const safes = dataIn(pfx.authSafe, 'the authenticated safe')
  if (pfx.macData === undefined)
    throw new Unreadable('it has no check of its integrity by passphrase (MAC)', exportAgain)
  checkIntegrity(pfx.macData, safes, passphrase)

  const found = { privateKeys: [] as KeyObject[], certificates: [] as Buffer[] }
  const budget = { bags: bagsMax }
  for (const safe of parsed('the safes', () => AuthenticatedSafe.fromBER(safes)).safeContents) {
    const contents = contentOfSafe(safe, passphrase)
    const bags = parsed('a safe', () => SafeContents.fromBER(contents))
    readSafe(bags, passphrase, found, budget)
  }
  return found
}

/** What pkijs reads, or a reason without its words, which name classes of its own. */
function parsed<Structure>(what: string, read: () => Structure): Structure {
  try {
    return read()
  } catch (cause) {
    throw new Malformed(`${what} cannot be read`, { cause })
  }
}

function octetsOf(value: AsnType | undefined, what: string): Buffer {
  if (!(value instanceof OctetString)) throw new Malformed(`${what} is no octet string`)
  return Buffer.from(value.getValue())
}

/** The content of a ContentInfo of type data. */
function dataIn({ contentType, content }: ContentInfo, what: string): Buffer {
  if (contentType !== dataOid)
    throw new Unreadable(`${what} is encrypted for a certificate, not with a passphrase`, exportAgain)
  return octetsOf(content as AsnType, what)
}

const dataOid = '1.2.840.113549.1.7.1'
const encryptedDataOid = '1.2.840.113549.1.7.6'

function contentOfSafe(safe: ContentInfo, passphrase: string): Buffer {
  if (safe.contentType !== encryptedDataOid) return dataIn(safe, 'a safe')
  const { encryptedContentInfo } = parsed(
    'an encrypted safe',
    () => new EncryptedData({ schema: safe.content }),
  )
  if (encryptedContentInfo.encryptedContent === undefined) throw new Malformed('an encrypted safe is empty')
  return decrypt(
    encryptedContentInfo.contentEncryptionAlgorithm,
    Buffer.from(encryptedContentInfo.getEncryptedContent()),
    passphrase,
  )
}

const x509CertificateOid = '1.2.840.113549.1.9.22.1'

function readSafe(
  { safeBags }: SafeContents,
  passphrase: string,
  into: { privateKeys: KeyObject[]; certificates: Buffer[] },
  budget: { bags: number },
): void {
  for (const { bagValue } of safeBags) {
    if (--budget.bags < 0) throw new Unreadable(`it holds more than ${bagsMax} entries`, exportAgain)
    if (bagValue instanceof PKCS8ShroudedKeyBag) {
      const encrypted = octetsOf(bagValue.encryptedData, 'a shrouded key')
      addKey(decrypt(bagValue.encryptionAlgorithm, encrypted, passphrase), into.privateKeys)
    } else if (bagValue instanceof PrivateKeyInfo)
      addKey(Buffer.from(bagValue.toSchema().toBER()), into.privateKeys)
    else if (bagValue instanceof CertBag) {
      if (bagValue.certId === x509CertificateOid)
        into.certificates.push(octetsOf(bagValue.certValue as AsnType, 'a certificate bag'))
    } else if (bagValue instanceof SafeContents) readSafe(bagValue, passphrase, into, budget)
  }
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

/** RFC 7292 §4. */
function checkIntegrity(
  { mac, macSalt, iterations = 1 }: MacData,
  content: Buffer,
  passphrase: string,
): void {
  const oid = mac.digestAlgorithm.algorithmId
  const digest = digests[oid]
  if (digest === undefined) throw new Unreadable(`its integrity uses an unknown digest (${oid})`, exportAgain)
  const keyOctets = createHash(digest).digest().length
  const salt = octetsOf(macSalt, 'the salt of the MAC')
  const key = derive(digest, purposes.mac, passphrase, salt, iterations, keyOctets)
  const made = createHmac(digest, key).update(content).digest()
  const wanted = octetsOf(mac.digest, 'the MAC')
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

function decrypt(
  { algorithmId, algorithmParams }: AlgorithmIdentifier,
  octets: Buffer,
  passphrase: string,
): Buffer {
  if (algorithmId === pbes2Oid) {
    const { keyDerivationFunc, encryptionScheme } = parsed(
      'PBES2',
      () => new PBES2Params({ schema: algorithmParams }),
    )
    const cipher = ciphers[encryptionScheme.algorithmId]
    if (cipher === undefined)
      throw new Unreadable('it is encrypted with a cipher other than AES-CBC and 3DES', renew)
    const iv = octetsOf(encryptionScheme.algorithmParams as AsnType, 'the IV of PBES2')
    return deciphered(cipher.name, pbkdf2(keyDerivationFunc, passphrase, cipher.keyOctets), iv, octets)
  }
  if (algorithmId === pbeSha1TripleDes) {
    const { salt, iterations } = pbeParameters(algorithmParams as AsnType)
    const derived = (purpose: number, length: number) =>
      derive('sha1', purpose, passphrase, salt, iterations, length)
    return deciphered('des-ede3-cbc', derived(purposes.key, 24), derived(purposes.iv, 8), octets)
  }
  throw new Unreadable(
    `it is encrypted with an outdated cipher (RC2 or DES; algorithm ${algorithmId})`,
    renew,
  )
}

/** RFC 7292 appendix C: pkcs-12PbeParams, which pkijs has no class for. */
function pbeParameters(parameters: AsnType | undefined): { salt: Buffer; iterations: number } {
  const [salt, iterations] = parameters instanceof Sequence ? parameters.valueBlock.value : []
  if (!(iterations instanceof Integer)) throw new Malformed('the parameters of the PBE are incomplete')
  return { salt: octetsOf(salt, 'the salt of the PBE'), iterations: iterations.valueBlock.valueDec }
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
function pbkdf2(derivation: AlgorithmIdentifier, passphrase: string, length: number): Buffer {
  if (derivation.algorithmId !== pbkdf2Oid)
    throw new Unreadable('its key is derived by something other than PBKDF2', renew)
  const { salt, iterationCount, prf } = parsed(
    'PBKDF2',
    () => new PBKDF2Params({ schema: derivation.algorithmParams }),
  )
  const hmac = prf === undefined ? 'sha1' : hmacs[prf.algorithmId]
  if (hmac === undefined) throw new Unreadable('its key is derived with an unknown HMAC', renew)
  const iterations = bounded(iterationCount)
  return pbkdf2Sync(passphrase, octetsOf(salt as AsnType, 'the salt'), iterations, length, hmac)
}

function bounded(iterations: number): number {
  if (Number.isInteger(iterations) && iterations >= 1 && iterations <= iterationsMax) return iterations
  throw new Unreadable(`its key takes ${iterations} iterations; at most ${iterationsMax}`, exportAgain)
}

/** RFC 7292 appendix B.3. */
const purposes = { key: 1, iv: 2, mac: 3 }

/** The key derivation of PKCS #12 (RFC 7292 appendix B.2): octets for one purpose from passphrase and salt. */
function derive(
  digest: string,
  purpose: number,
  passphrase: string,
  salt: Buffer,
  iterations: number,
  length: number,
): Buffer {
  const block = digest === 'sha384' || digest === 'sha512' ? 128 : 64
  // Filling with nothing is refused by Buffer.alloc; of nothing it takes none.
  const filled = (octets: Buffer) =>
    octets.length === 0 ? octets : Buffer.alloc(Math.ceil(octets.length / block) * block, octets)
  // UTF-16, big endian, with its terminating zero.
  const spelled = Buffer.from(`${passphrase}\0`, 'utf16le').swap16()
  const diversifier = Buffer.alloc(block, purpose)
  let input: Buffer = Buffer.concat([filled(salt), filled(spelled)])
  const pieces: Buffer[] = []
  const rounds = bounded(iterations)
  let have = 0
  while (have < length) {
    let hash = createHash(digest).update(diversifier).update(input).digest()
    for (let round = 1; round < rounds; round++) hash = createHash(digest).update(hash).digest()
    pieces.push(hash)
    have += hash.length
    input = addedToBlocks(input, filled(hash).subarray(0, block), block)
  }
  return Buffer.concat(pieces).subarray(0, length)
}

/** Each block, as a big-endian number, becomes block + addend + 1. */
function addedToBlocks(input: Buffer, addend: Buffer, block: number): Buffer {
  const sum = Buffer.from(input)
  for (let start = 0; start < sum.length; start += block) {
    let carry = 1
    for (let index = block - 1; index >= 0; index--) {
      carry += sum[start + index]! + addend[index]!
      sum[start + index] = carry & 0xff
      carry >>= 8
    }
  }
  return sum
}
