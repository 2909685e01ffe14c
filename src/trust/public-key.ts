import { createPublicKey, type KeyObject } from 'node:crypto'

export type PublicKey =
  | { readonly kind: 'rsa'; readonly key: KeyObject; readonly bits: number; readonly exponent: bigint }
  | { readonly kind: 'ec'; readonly key: KeyObject; readonly curve: string }
  | { readonly kind: 'unsupported'; readonly because: string }

/** @param info DER of a SubjectPublicKeyInfo */
export function readPublicKey(info: Buffer): PublicKey {
  let key: KeyObject
  try {
    key = createPublicKey({ key: info, format: 'der', type: 'spki' })
  } catch {
    return { kind: 'unsupported', because: 'a public key that cannot be read' }
  }
  const details = key.asymmetricKeyDetails
  if (key.asymmetricKeyType === 'rsa')
    return { kind: 'rsa', key, bits: details?.modulusLength ?? 0, exponent: details?.publicExponent ?? 0n }
  if (key.asymmetricKeyType === 'ec')
    return { kind: 'ec', key, curve: details?.namedCurve ?? 'with parameters of its own' }
  return { kind: 'unsupported', because: `a key of type ${key.asymmetricKeyType}` }
}
