import { constants, verify } from 'node:crypto'
import type { Certificate } from './certificate.ts'

/** Does this signature come from the key of that certificate? Nothing else is judged. */
export function isSignedBy(child: Certificate, issuer: Certificate): boolean {
  const { publicKey } = issuer
  const { signatureAlgorithm: algorithm } = child
  if (publicKey.kind === 'unsupported' || algorithm.kind === 'unsupported') return false
  if ((publicKey.kind === 'ec') !== (algorithm.kind === 'ecdsa')) return false
  try {
    return algorithm.kind === 'rsa-pss'
      ? verify(
          algorithm.digest,
          child.tbs,
          { key: publicKey.key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: algorithm.saltOctets },
          child.signature,
        )
      : verify(algorithm.digest, child.tbs, publicKey.key, child.signature)
  } catch {
    return false
  }
}
