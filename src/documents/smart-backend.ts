import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import { Failed } from '../domain/failure.ts'
import { boundedFetch, NoAnswer } from './bounded-fetch.ts'
import { readSigningKey } from './signing-key.ts'

/** A client registered with the FHIR server’s authorization server, as it stands in the settings. */
export interface SmartBackendSetting {
  readonly clientId: string
  /** PEM (PKCS #8) or a JWK as JSON: RSA signs RS384, EC P-384 signs ES384; the client must support both kinds. */
  readonly key: string
  /** `kid` of the public key in our published JWKS. Default: that of the JWK, else its thumbprint (RFC 7638). */
  readonly keyId?: string
  /** The key that will be used next: published already, so that servers know it before it signs. Form as `key`. */
  readonly nextKey?: string
  /** Asked of `.well-known/smart-configuration` where absent. */
  readonly tokenUrl?: string
  readonly scope: string
}

/** Access tokens of one client, fetched when needed and shared until shortly before they expire. */
export interface TokenSource {
  token(): Promise<string>
  /** The server answered 401 to this token: the next call gets another one. */
  rejected(token: string): void
}

/** SMART Backend Services: an assertion lives at most five minutes. */
const assertionLifetimeS = 300
/** SMART Backend Services recommends `expires_in` ≤ 300; assumed where the server names none. */
const tokenLifetimeAssumedS = 300
/** A token is not used during its last seconds: the request has to arrive with it still valid. */
const expirySkewMs = 30_000
const answerBytesMax = 256 * 1024

/**
 * SMART App Launch, “Backend Services”: client_credentials with a `private_key_jwt` assertion (RFC 7523).
 *
 * @throws Failed (from `token`) `fhir-unavailable` | `fhir-refused`; Error at once where the key cannot sign
 */
export function smartBackend(
  setting: SmartBackendSetting,
  baseUrl: string,
  bounds: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  now: () => Date = () => new Date(),
): TokenSource {
  const key = readSigningKey(setting)
  let current: { token: string; usableUntilMs: number } | undefined
  let underway: Promise<string> | undefined

  async function fetchToken(): Promise<string> {
    const tokenUrl = await tokenUrlOf()
    const issuedAtS = Math.floor(now().getTime() / 1000)
    const assertion = await new SignJWT({})
      .setProtectedHeader({
        alg: key.algorithm,
        typ: 'JWT',
        kid: key.keyId,
      })
      .setIssuer(setting.clientId)
      .setSubject(setting.clientId)
      .setAudience(tokenUrl)
      .setIssuedAt(issuedAtS)
      .setExpirationTime(issuedAtS + assertionLifetimeS)
      .setJti(randomUUID())
      .sign(key.privateKey)
    const answer = await ask(new URL(tokenUrl), {
      method: 'POST',
      headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        scope: setting.scope,
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: assertion,
      }).toString(),
    })
    const token = answer['access_token']
    if (typeof token !== 'string' || token === '' || !/^[\x21-\x7e]+$/.test(token))
      throw new Failed('fhir-refused', 'the token endpoint answered without an access_token')
    const lifetimeS = Number(answer['expires_in'] ?? tokenLifetimeAssumedS)
    const lifetimeMs = (Number.isFinite(lifetimeS) ? lifetimeS : tokenLifetimeAssumedS) * 1000
    current = { token, usableUntilMs: now().getTime() + lifetimeMs - expirySkewMs }
    return token
  }

  async function tokenUrlOf(): Promise<string> {
    if (setting.tokenUrl !== undefined) return setting.tokenUrl
    const where = `${baseUrl.replace(/\/+$/, '')}/.well-known/smart-configuration`
    const answer = await ask(new URL(where), { headers: { accept: 'application/json' } })
    const url = answer['token_endpoint']
    if (typeof url !== 'string' || !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
      throw new Failed(
        'fhir-refused',
        'the server’s smart-configuration names no token_endpoint: set `tokenUrl`',
      )
    if (new URL(url).protocol === 'http:' && new URL(baseUrl).protocol === 'https:')
      throw new Failed(
        'fhir-refused',
        'the server’s smart-configuration names a token_endpoint without TLS: set `tokenUrl`',
      )
    return url
  }

  async function ask(url: URL, init: RequestInit): Promise<Record<string, unknown>> {
    const answer = await boundedFetch(url, init, { ...bounds, bytesMax: answerBytesMax }).catch((error) => {
      if (error instanceof NoAnswer)
        throw new Failed('fhir-unavailable', `no access token: ${error.because}`, { cause: error })
      throw error
    })
    const { status } = answer
    if (status === 429 || status >= 500)
      throw new Failed('fhir-unavailable', `no access token: ${url.host} answered ${status}`, {
        detail: { tokenStatus: status },
      })
    const content = readObject(answer.bytes)
    if (status !== 200 || content === undefined) {
      const reason = oauthError(content)
      throw new Failed(
        'fhir-refused',
        `no access token: ${url.host} answered ${status}${reason}. Check client id, key, key id and scope`,
        { detail: { tokenStatus: status } },
      )
    }
    return content
  }

  return {
    token() {
      if (current !== undefined && now().getTime() < current.usableUntilMs)
        return Promise.resolve(current.token)
      // Whoever asks meanwhile waits for the same answer: one token, not one per request.
      underway ??= fetchToken().finally(() => (underway = undefined))
      return underway
    },
    rejected(token) {
      if (current?.token === token) current = undefined
    },
  }
}

/** RFC 6749 §5.2 error codes are fixed words; descriptions may quote anything and are left out. */
function oauthError(content: Record<string, unknown> | undefined): string {
  const error = content?.['error']
  return typeof error === 'string' && /^[a-z_]{1,40}$/.test(error) ? ` (${error})` : ''
}

function readObject(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
