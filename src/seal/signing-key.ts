import { KeyObject, sign, verify, X509Certificate } from 'node:crypto'
import { Failed } from '../domain/failure.ts'
import type { Digest } from './algorithms.ts'
import { curveOctets } from './certificate.ts'
import type { KeyHolder } from './own-key.ts'

/** A private key in memory, or one that only its holder can use. */
export type PrivateKey = KeyObject | KeyHolder

/** Signs, and knows before how long a signature can be. */
export interface SigningKey {
  readonly isRsa: boolean
  /** Octets of a signature: exactly so many with RSA, at most so many with ECDSA. */
  readonly signatureBytesMax: number
  /**
   * RSA PKCS#1 v1.5, or ECDSA in DER.
   *
   * @throws Failed sealing-interrupted where the key is in a device and that does not sign; or what the holder failed with
   */
  sign(digest: Digest, bytes: Buffer): Promise<Buffer>
}

/** A device signs within a second or two, over a network and busy, too. */
const deviceAnswersWithinMs = 30_000

/**
 * @param certificate in DER
 * @throws Error for a key that does not belong to its certificate, or is neither RSA nor EC on P-256, P-384, P-521
 */
export function signingKey(certificate: Buffer, privateKey: PrivateKey): SigningKey {
  const x509 = new X509Certificate(certificate)
  const { publicKey } = x509
  const isRsa = publicKey.asymmetricKeyType === 'rsa'
  const octets = curveOctets(publicKey)
  const belongs =
    privateKey instanceof KeyObject
      ? x509.checkPrivateKey(privateKey)
      : privateKey.type === (isRsa ? 'rsa' : publicKey.asymmetricKeyType)
  if (!belongs)
    throw new Error('a signing key does not belong to its certificate; configure the matching pair')
  if (!isRsa && octets === undefined)
    throw new Error('a signing key is neither RSA nor EC on P-256, P-384 or P-521; use one of these')
  const modulusBits = publicKey.asymmetricKeyDetails?.modulusLength ?? 0
  return {
    isRsa,
    signatureBytesMax: octets === undefined ? Math.ceil(modulusBits / 8) : ecdsaBytesMax(octets),
    sign: async (digest, bytes) =>
      privateKey instanceof KeyObject
        ? sign(digest, bytes, privateKey)
        : signedByDevice(privateKey, publicKey, digest, bytes),
  }
}

/** A signature by a wrong key would be refused everywhere, without a word: it is looked at before it leaves. */
async function signedByDevice(
  device: KeyHolder,
  publicKey: KeyObject,
  digest: Digest,
  bytes: Buffer,
): Promise<Buffer> {
  const signature = await answered(device.sign(digest, bytes))
  if (!verify(digest, bytes, publicKey, signature))
    throw new Failed(
      'sealing-interrupted',
      'the device with the signing key did not sign with the key of the certificate; check which key is configured',
    )
  return signature
}

async function answered(signing: Promise<Buffer>): Promise<Buffer> {
  const timeout = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => timeout.reject(new Error(`no answer within ${deviceAnswersWithinMs / 1000} s`)),
    deviceAnswersWithinMs,
  )
  try {
    return await Promise.race([signing, timeout.promise])
  } catch (cause) {
    if (cause instanceof Failed) throw cause
    const because = cause instanceof Error ? cause.message : String(cause)
    throw new Failed('sealing-interrupted', `the device with the signing key did not sign: ${because}`, {
      cause,
    })
  } finally {
    clearTimeout(timer)
  }
}

/** SEQUENCE of two INTEGERs of the curve's size, each with a leading zero where the curve order's top bit allows one. */
function ecdsaBytesMax(curveOctetCount: number): number {
  const content = 2 * (2 + curveOctetCount + (curveOctetCount === 66 ? 0 : 1))
  return content + (content < 0x80 ? 2 : 3)
}
