import { createHash, timingSafeEqual } from 'node:crypto'
import type { Request, RequestHandler } from 'express'
import { createRemoteJWKSet, jwtVerify, type JWTVerifyGetKey } from 'jose'
import { Answer } from './problem.ts'

export type Role = 'patient' | 'provider' | 'analyst' | 'operator' | 'auditor'

/** Who is asking. `actor` stands in the audit. */
export interface Caller {
  readonly actor: string
  readonly roles: ReadonlySet<Role>
}

export interface AccessRules {
  readonly keys: readonly { readonly name: string; readonly role: Role; readonly key: string }[]
  readonly oidc?: { readonly issuer: string; readonly audience: string }
  /** Nobody configured any access and we listen on loopback only: whoever is on this machine may do everything. */
  readonly openOnLoopback: boolean
}

const everyRole: readonly Role[] = ['patient', 'provider', 'analyst', 'operator', 'auditor']

/** Finds out who asks, by API key or OIDC bearer token, and puts it beside the request; refuses everybody else. */
export function identify(rules: AccessRules): RequestHandler {
  const keys = rules.keys.map((key) => ({ ...key, digest: digestOf(key.key) }))
  const oidc = rules.oidc === undefined ? undefined : verifierFor(rules.oidc)
  return (request, _response, next) => {
    callerOf(request).then((caller) => {
      callers.set(request, caller)
      next()
    }, next)
  }

  async function callerOf(request: Request): Promise<Caller> {
    const token = tokenIn(request)
    if (token === undefined) {
      if (rules.openOnLoopback && isFromThisMachine(request))
        return { actor: 'local', roles: new Set(everyRole) }
      throw new Answer({
        status: 401,
        title: 'Who are you?',
        detail: 'Send an API key or an access token: Authorization: Bearer …',
      })
    }
    const digest = digestOf(token)
    // Every key is compared, in constant time each: how long it takes says nothing about any of them.
    const known = keys.filter((key) => timingSafeEqual(key.digest, digest))[0]
    if (known !== undefined) return { actor: `key:${known.name}`, roles: new Set([known.role]) }
    const caller = await oidc?.(token)
    if (caller === undefined) throw new Answer({ status: 401, title: 'This key or token is not known here' })
    return caller
  }
}

/** Lets the roles through and nobody else. */
export function only(...roles: readonly Role[]): RequestHandler {
  return (request, _response, next) => {
    const caller = callerFor(request)
    if (roles.some((role) => caller.roles.has(role))) return next()
    next(
      new Answer({
        status: 403,
        title: 'Not with this role',
        detail: `This needs one of: ${roles.join(', ')}.`,
      }),
    )
  }
}

export function callerFor(request: Request): Caller {
  const caller = callers.get(request)
  if (caller === undefined) throw new Error('a route is reached without access control')
  return caller
}

const callers = new WeakMap<Request, Caller>()

function tokenIn(request: Request): string | undefined {
  const bearer = /^Bearer\s+(\S+)$/i.exec(request.get('authorization') ?? '')
  return bearer?.[1] ?? request.get('x-api-key')
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/**
 * A page in a browser on this machine reaches loopback, too: by a name of its own that resolves here (DNS rebinding), or
 * by a form. The first shows in Host, the second in Origin.
 */
function isFromThisMachine(request: Request): boolean {
  const host = (request.get('host') ?? '').replace(/:\d+$/, '').toLowerCase()
  const isLocalName = host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)
  const origin = request.get('origin')
  return isLocalName && (origin === undefined || origin === `${request.protocol}://${request.get('host')}`)
}

/** Roles come from the token’s `roles` claim, or from scopes such as `bluepost:operator`. */
function verifierFor({ issuer, audience }: { issuer: string; audience: string }) {
  let keySet: Promise<JWTVerifyGetKey> | undefined
  return async (token: string): Promise<Caller | undefined> => {
    keySet ??= discoverKeys(issuer).catch((error: unknown) => {
      keySet = undefined
      throw error
    })
    try {
      const { payload } = await jwtVerify(token, await keySet, {
        issuer,
        audience,
        requiredClaims: ['sub', 'exp'],
      })
      const named = Array.isArray(payload['roles'])
        ? payload['roles']
        : String(payload['scope'] ?? '').split(' ')
      const roles = everyRole.filter((role) => named.includes(role) || named.includes(`bluepost:${role}`))
      return { actor: `oidc:${payload.sub}`, roles: new Set(roles) }
    } catch {
      return undefined
    }
  }
}

/** OpenID Connect Discovery 1.0 §4. */
async function discoverKeys(issuer: string): Promise<JWTVerifyGetKey> {
  const response = await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, {
    signal: AbortSignal.timeout(discoveryMsMax),
    redirect: 'error',
  })
  const { jwks_uri: keysUrl } = (await response.json()) as { jwks_uri?: unknown }
  if (typeof keysUrl !== 'string' || !URL.canParse(keysUrl))
    throw new Error('the identity provider publishes no jwks_uri')
  return createRemoteJWKSet(new URL(keysUrl))
}

const discoveryMsMax = 5000
