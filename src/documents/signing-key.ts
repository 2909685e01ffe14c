import { createHash, createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'

/** The keys of one client, as they stand in the settings. */
interface ClientKeys {
  readonly clientId: string
  readonly key: string
  readonly keyId?: string
  readonly nextKey?: string
}

/** What assertions are signed with (SMART App Launch, “Asymmetric authentication”). */
export interface SigningKey {
  readonly privateKey: KeyObject
  readonly algorithm: 'RS384' | 'ES384'
  readonly keyId: string
}

/** @throws Error where the key cannot sign RS384 or ES384; it does not quote the key */
export function readSigningKey({ key, keyId }: Pick<ClientKeys, 'key' | 'keyId'>): SigningKey {
  const isJwk = key.trimStart().startsWith('{')
  const jwk = isJwk ? (JSON.parse(key) as Record<string, unknown>) : undefined
  const privateKey = jwk === undefined ? createPrivateKey(key) : createPrivateKey({ key: jwk, format: 'jwk' })
  const kid = keyId ?? (typeof jwk?.['kid'] === 'string' ? jwk['kid'] : thumbprint(publicJwk(privateKey)))
  if (privateKey.asymmetricKeyType === 'rsa') return { privateKey, algorithm: 'RS384', keyId: kid }
  if (privateKey.asymmetricKeyDetails?.namedCurve === 'secp384r1')
    return { privateKey, algorithm: 'ES384', keyId: kid }
  throw new Error('smart-backend needs an RSA key (RS384) or an EC key on P-384 (ES384)')
}

/** A key as servers are shown it (RFC 7517): public members alone. */
export type PublishedKey = Readonly<Record<string, string>>

/**
 * The public keys of all clients, each once; the next ones, too.
 *
 * @throws Error that names the client of a key that cannot sign
 */
export function publishedKeys(clients: readonly ClientKeys[]): PublishedKey[] {
  const published = new Map<string, PublishedKey>()
  for (const { clientId, key, keyId, nextKey } of clients) {
    const named = keyId === undefined ? { key } : { key, keyId }
    for (const one of nextKey === undefined ? [named] : [named, { key: nextKey }]) {
      const { privateKey, algorithm, keyId: kid } = readableKey(one, clientId)
      published.set(kid, { ...publicJwk(privateKey), kid, alg: algorithm, use: 'sig' })
    }
  }
  return [...published.values()]
}

function readableKey(one: Pick<ClientKeys, 'key' | 'keyId'>, clientId: string): SigningKey {
  try {
    return readSigningKey(one)
  } catch (cause) {
    throw new Error(
      `a key of the FHIR client “${clientId}” cannot be used: give an RSA or P-384 private key, as PEM or JWK`,
      { cause },
    )
  }
}

function publicJwk(privateKey: KeyObject): Record<string, string> {
  const jwk: JsonWebKey = createPublicKey(privateKey).export({ format: 'jwk' })
  const members = privateKey.asymmetricKeyType === 'rsa' ? ['e', 'kty', 'n'] : ['crv', 'kty', 'x', 'y']
  return Object.fromEntries(members.map((name) => [name, String(jwk[name])]))
}

/** RFC 7638 §3: of the required members, in the order of their names. */
function thumbprint(jwk: Record<string, string>): string {
  return createHash('sha256').update(JSON.stringify(jwk)).digest('base64url')
}
