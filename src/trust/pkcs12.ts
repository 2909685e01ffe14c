import {
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  pbkdf2Sync,
  timingSafeEqual,
  type KeyObject,
} from 'node:crypto'
import {
  derChildren,
  derContent,
  derNumber,
  derOctets,
  derOidText,
  derRaw,
  DerError,
  expectDer,
  readDer,
  type DerValue,
} from '../lib/der.ts'

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
    if (!(error instanceof DerError)) throw error
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
  const [version, authSafe, mac] = derChildren(expectDer(readDer(file), 0x30, 'the PFX'))
  if (version === undefined || derNumber(version, 'the version') !== 3)
    throw new Unreadable('it is not PKCS #12 version 3', exportAgain)
  const safes = derOctets(dataIn(authSafe, 'the authenticated safe'))
  if (mac === undefined)
    throw new Unreadable('it has no check of its integrity by passphrase (MAC)', exportAgain)
  checkIntegrity(mac, safes, passphrase)

  const found = { privateKeys: [] as KeyObject[], certificates: [] as Buffer[] }
  const budget = { bags: bagsMax }
  for (const safe of derChildren(expectDer(readDer(safes), 0x30, 'the safes')))
    readSafe(derChildren(readDer(contentOfSafe(safe, passphrase))), passphrase, found, budget)
  return found
}

const dataOid = '1.2.840.113549.1.7.1'
const encryptedDataOid = '1.2.840.113549.1.7.6'

/** The [0] content of a ContentInfo of type data. */
function dataIn(contentInfo: DerValue | undefined, what: string): DerValue {
  const [type, content] = derChildren(expectDer(contentInfo, 0x30, what))
  if (type === undefined || derOidText(type) !== dataOid)
    throw new Unreadable(`${what} is encrypted for a certificate, not with a passphrase`, exportAgain)
  const [octets] = derChildren(expectDer(content, 0xa0, what))
  if (octets === undefined) throw new DerError(`${what} is empty`, contentInfo!.start)
  return octets
}

function contentOfSafe(safe: DerValue, passphrase: string): Buffer {
  const [type, content] = derChildren(expectDer(safe, 0x30, 'a safe'))
  if (type !== undefined && derOidText(type) === encryptedDataOid) {
    const [encrypted] = derChildren(expectDer(content, 0xa0, 'an encrypted safe'))
    const [, info] = derChildren(expectDer(encrypted, 0x30, 'EncryptedData'))
    const [, algorithm, octets] = derChildren(expectDer(info, 0x30, 'EncryptedContentInfo'))
    if (octets === undefined) throw new DerError('an encrypted safe is empty', safe.start)
    return decrypt(expectDer(algorithm, 0x30, 'the encryption algorithm'), derOctets(octets), passphrase)
  }
  return derOctets(dataIn(safe, 'a safe'))
}

const bags = {
  key: '1.2.840.113549.1.12.10.1.1',
  shroudedKey: '1.2.840.113549.1.12.10.1.2',
  certificate: '1.2.840.113549.1.12.10.1.3',
  safeContents: '1.2.840.113549.1.12.10.1.6',
}
const x509CertificateOid = '1.2.840.113549.1.9.22.1'

function readSafe(
  members: readonly DerValue[],
  passphrase: string,
  into: { privateKeys: KeyObject[]; certificates: Buffer[] },
  budget: { bags: number },
): void {
  for (const bag of members) {
    if (--budget.bags < 0) throw new Unreadable(`it holds more than ${bagsMax} entries`, exportAgain)
    const [type, tagged] = derChildren(expectDer(bag, 0x30, 'a bag'))
    const [value] = derChildren(expectDer(tagged, 0xa0, 'the value of a bag'))
    if (type === undefined || value === undefined) throw new DerError('a bag is empty', bag.start)
    const kind = derOidText(type)
    if (kind === bags.key) addKey(derRaw(value), into.privateKeys)
    else if (kind === bags.shroudedKey) {
      const [algorithm, octets] = derChildren(expectDer(value, 0x30, 'a shrouded key'))
      if (octets === undefined) throw new DerError('a shrouded key is empty', value.start)
      const key = decrypt(
        expectDer(algorithm, 0x30, 'the encryption algorithm'),
        derOctets(octets),
        passphrase,
      )
      addKey(key, into.privateKeys)
    } else if (kind === bags.certificate) {
      const [certType, content] = derChildren(expectDer(value, 0x30, 'a certificate bag'))
      if (certType === undefined || derOidText(certType) !== x509CertificateOid) continue
      const [octets] = derChildren(expectDer(content, 0xa0, 'a certificate bag'))
      if (octets === undefined) throw new DerError('a certificate bag is empty', value.start)
      into.certificates.push(Buffer.from(derOctets(octets)))
    } else if (kind === bags.safeContents) readSafe(derChildren(value), passphrase, into, budget)
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
const pbmac1Oid = '1.2.840.113549.1.5.14'

/** RFC 7292 §4 and, for PBMAC1, RFC 9579. */
function checkIntegrity(mac: DerValue, content: Buffer, passphrase: string): void {
  const [digestInfo, salt, rounds] = derChildren(expectDer(mac, 0x30, 'the MAC'))
  const [algorithm, expected] = derChildren(expectDer(digestInfo, 0x30, 'the MAC value'))
  const [id, parameters] = derChildren(expectDer(algorithm, 0x30, 'the MAC algorithm'))
  if (id === undefined || expected === undefined) throw new DerError('the MAC is incomplete', mac.start)
  const oid = derOidText(id)
  let made: Buffer
  if (oid === pbmac1Oid) {
    const [derivation, scheme] = derChildren(expectDer(parameters, 0x30, 'PBMAC1'))
    const [hmacId] = derChildren(expectDer(scheme, 0x30, 'the MAC of PBMAC1'))
    const hmac = hmacId === undefined ? undefined : hmacs[derOidText(hmacId)]
    if (hmac === undefined) throw new Unreadable('its integrity uses an unknown HMAC', exportAgain)
    const keyOctets = createHash(hmac).digest().length
    made = createHmac(hmac, pbkdf2(expectDer(derivation, 0x30, 'PBKDF2'), passphrase, keyOctets))
      .update(content)
      .digest()
  } else {
    const digest = digests[oid]
    if (digest === undefined || salt === undefined)
      throw new Unreadable(`its integrity uses an unknown digest (${oid})`, exportAgain)
    const iterations = rounds === undefined ? 1 : derNumber(rounds, 'the iterations of the MAC')
    const keyOctets = createHash(digest).digest().length
    const key = derive(digest, purposes.mac, passphrase, derContent(salt), iterations, keyOctets)
    made = createHmac(digest, key).update(content).digest()
  }
  const wanted = derContent(expected)
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

function decrypt(algorithm: DerValue, octets: Buffer, passphrase: string): Buffer {
  const [id, parameters] = derChildren(algorithm)
  if (id === undefined) throw new DerError('an empty AlgorithmIdentifier', algorithm.start)
  const oid = derOidText(id)
  if (oid === pbes2Oid) {
    const [derivation, scheme] = derChildren(expectDer(parameters, 0x30, 'PBES2'))
    const [cipherId, iv] = derChildren(expectDer(scheme, 0x30, 'the cipher of PBES2'))
    const cipher = cipherId === undefined ? undefined : ciphers[derOidText(cipherId)]
    if (cipher === undefined || iv === undefined)
      throw new Unreadable('it is encrypted with a cipher other than AES-CBC and 3DES', renew)
    const key = pbkdf2(expectDer(derivation, 0x30, 'PBKDF2'), passphrase, cipher.keyOctets)
    return deciphered(cipher.name, key, derContent(iv), octets)
  }
  if (oid === pbeSha1TripleDes) {
    const [salt, rounds] = derChildren(expectDer(parameters, 0x30, 'the parameters of the PBE'))
    if (salt === undefined || rounds === undefined)
      throw new DerError('the PBE is incomplete', algorithm.start)
    const iterations = derNumber(rounds, 'the iterations of the PBE')
    const derived = (purpose: number, length: number) =>
      derive('sha1', purpose, passphrase, derContent(salt), iterations, length)
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
function pbkdf2(identifier: DerValue, passphrase: string, length: number): Buffer {
  const [id, parameters] = derChildren(identifier)
  if (id === undefined || derOidText(id) !== pbkdf2Oid)
    throw new Unreadable('its key is derived by something other than PBKDF2', renew)
  const [salt, rounds, ...rest] = derChildren(expectDer(parameters, 0x30, 'the parameters of PBKDF2'))
  if (salt === undefined || rounds === undefined) throw new DerError('PBKDF2 is incomplete', identifier.start)
  const prf = rest.find(({ tag }) => tag === 0x30)
  const [prfId] = prf === undefined ? [] : derChildren(prf)
  const hmac = prfId === undefined ? 'sha1' : hmacs[derOidText(prfId)]
  if (hmac === undefined) throw new Unreadable('its key is derived with an unknown HMAC', renew)
  const iterations = bounded(derNumber(rounds, 'the iterations of PBKDF2'))
  return pbkdf2Sync(passphrase, derContent(expectDer(salt, 0x04, 'the salt')), iterations, length, hmac)
}

function bounded(iterations: number): number {
  if (iterations >= 1 && iterations <= iterationsMax) return iterations
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
