import { constants, verify } from 'node:crypto'
import type { Certificate } from './certificate.ts'

/** What X.509 signs: certificates, revocation lists, OCSP replies. */
export type Signed = Pick<Certificate, 'tbs' | 'signatureAlgorithm' | 'signature'>

/** Does this signature come from the key of that certificate? Nothing else is judged. */
export function isSignedBy(child: Signed, issuer: Pick<Certificate, 'publicKey'>): boolean {
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
