import { createHash } from 'node:crypto'
import { derContent, derNumber, derRaw, expectDer, readDer, DerError, type DerValue } from '../lib/der.ts'
import { readExtensions, type Extensions } from './extensions.ts'
import { readName, type Name } from './name.ts'
import { readPublicKey, type PublicKey } from './public-key.ts'
import { readSignatureAlgorithm, type SignatureAlgorithm } from './signature-algorithm.ts'
import { readBitString, readTime, strictly, strictMembers } from './strict-der.ts'

/** An X.509 certificate (RFC 5280 §4.1), read once; nothing in it is judged. */
export interface Certificate extends Extensions {
  readonly der: Buffer
  /** SHA-256 over the DER, lower-case hexadecimal. */
  readonly fingerprint: string
  readonly version: number
  /** Hexadecimal, as encoded. */
  readonly serialNumber: string
  readonly issuer: Name
  readonly subject: Name
  readonly notBefore: Date
  readonly notAfter: Date
  /** DER of the SubjectPublicKeyInfo. */
  readonly publicKeyInfo: Buffer
  readonly publicKey: PublicKey
  /** The bytes that are signed. */
  readonly tbs: Buffer
  readonly signatureAlgorithm: SignatureAlgorithm
  readonly signature: Buffer
}

export type CertificateReading =
  | { readonly readable: true; readonly certificate: Certificate }
  | { readonly readable: false; readonly because: string }

/** Certificates of Direct are 1 to 3 kB; one in DNS cannot be larger than a message there. */
const certificateOctetsMax = 65_535
/** Certificates kept parsed; about 10 kB each. */
const certificatesKeptMax = 2_000

const kept = new Map<string, Certificate>()

/**
 * Reads a certificate. What is kept is found again by fingerprint, so reading the same bytes twice costs one hash.
 *
 * Strict where leniency would let two readers see two things: DER lengths, one algorithm in both places, no extension
 * twice, no known extension that is malformed, nothing after the end.
 *
 * @param der bytes from anywhere; copied
 */
export function readCertificate(der: Buffer): CertificateReading {
  if (der.length > certificateOctetsMax)
    return { readable: false, because: `longer than ${certificateOctetsMax} octets` }
  const fingerprint = createHash('sha256').update(der).digest('hex')
  const known = kept.get(fingerprint)
  if (known !== undefined) return { readable: true, certificate: known }
  try {
    const certificate = parse(Buffer.from(der), fingerprint)
    kept.set(fingerprint, certificate)
    for (const oldest of kept.keys()) {
      if (kept.size <= certificatesKeptMax) break
      kept.delete(oldest)
    }
    return { readable: true, certificate }
  } catch (error) {
    if (!(error instanceof DerError)) throw error
    return { readable: false, because: error.message }
  }
}

function parse(der: Buffer, fingerprint: string): Certificate {
  const whole = strictly(readDer(der))
  if (whole.end !== der.length) throw new DerError('something follows the certificate', whole.end)
  const [tbs, algorithm, signature, beyond] = strictMembers(expectDer(whole, 0x30, 'the certificate'))
  if (beyond !== undefined) throw new DerError('a fourth member of the certificate', beyond.start)
  const parts = strictMembers(expectDer(tbs, 0x30, 'tbsCertificate'))

  let next = 0
  const version = parts[0]?.tag === 0xa0 ? readVersion(parts[next++]!) : 1
  const serial = expectDer(parts[next++], 0x02, 'serialNumber')
  if (serial.end === serial.contentStart) throw new DerError('serialNumber is empty', serial.start)
  const signedWith = expectDer(parts[next++], 0x30, 'signature')
  const issuer = readName(expectDer(parts[next++], 0x30, 'issuer'))
  const [notBefore, notAfter, later] = strictMembers(expectDer(parts[next++], 0x30, 'validity')).map(readTime)
  if (notBefore === undefined || notAfter === undefined || later !== undefined)
    throw new DerError('validity is not two times', whole.start)
  const subject = readName(expectDer(parts[next++], 0x30, 'subject'))
  const publicKeyInfo = derRaw(expectDer(parts[next++], 0x30, 'subjectPublicKeyInfo'))
  // issuerUniqueID and subjectUniqueID (RFC 5280 §4.1.2.8): allowed, never used.
  if (parts[next]?.tag === 0x81) next++
  if (parts[next]?.tag === 0x82) next++
  const extensionsAt = parts[next]?.tag === 0xa3 ? parts[next++] : undefined
  if (parts[next] !== undefined) throw new DerError('an unknown member of tbsCertificate', parts[next]!.start)
  if (extensionsAt !== undefined && version !== 3)
    throw new DerError('extensions in a certificate that is not version 3', extensionsAt.start)

  const outer = derRaw(expectDer(algorithm, 0x30, 'signatureAlgorithm'))
  if (!outer.equals(derRaw(signedWith))) throw new DerError('two different signature algorithms', whole.start)

  return {
    der,
    fingerprint,
    version,
    serialNumber: derContent(serial).toString('hex'),
    issuer,
    subject,
    notBefore,
    notAfter,
    publicKeyInfo,
    publicKey: readPublicKey(publicKeyInfo),
    tbs: derRaw(tbs!),
    signatureAlgorithm: readSignatureAlgorithm(signedWith),
    signature: readSignature(expectDer(signature, 0x03, 'signatureValue')),
    ...readExtensions(extensionsAt),
  }
}

function readVersion(value: DerValue): number {
  const [number, beyond] = strictMembers(value)
  if (number === undefined || beyond !== undefined) throw new DerError('version is malformed', value.start)
  const version = derNumber(number, 'version') + 1
  if (version > 3) throw new DerError(`version ${version} does not exist`, value.start)
  return version
}

function readSignature(value: DerValue): Buffer {
  const { octets, unusedBits } = readBitString(value)
  if (unusedBits !== 0) throw new DerError('a signature of odd bits', value.start)
  return octets
}
