import { isIP } from 'node:net'

/** How to reach the next hop for one recipient domain, as configured under `edge.routes`. */
export interface RouteSettings {
  /** Domain of the recipient, or `*` for every other one. */
  readonly domain: string
  /** `smtp://host[:port]` (default port 25) or `smtps://host[:port]` (TLS from the first octet, default port 465). */
  readonly url: string
  /** `required` unless said otherwise. `opportunistic` and `none` let the envelope travel in clear text. */
  readonly starttls?: 'required' | 'opportunistic' | 'none'
  /**
   * Whether the certificate must verify for the host. Default: yes for a host name or with a login, no for an IP address, and
   * no where clear text would be taken too: refusing a TLS that anybody could have stripped protects nothing (RFC 7435 §3).
   */
  readonly verify?: boolean
  /** PEM certificates to verify against instead of the system’s. */
  readonly ca?: string
  /** A login is only ever sent over TLS. */
  readonly user?: string
  readonly password?: string
}

export interface Route {
  readonly host: string
  readonly port: number
  readonly implicitTls: boolean
  readonly starttls: 'required' | 'opportunistic' | 'none'
  readonly verify: boolean
  readonly ca?: string
  readonly login?: { readonly user: string; readonly pass: string }
}

export type RoutesReading =
  | { readonly valid: true; readonly routes: ReadonlyMap<string, Route> }
  /** Every problem at once, each naming the route it is in. */
  | { readonly valid: false; readonly problems: readonly string[] }

/**
 * Reads `edge.routes` into recipient domain (lower case) or `*` → next hop.
 *
 * @example readRoutes([{ domain: 'direct.somephr.example', url: 'smtp://127.0.0.1:2626' }])
 */
export function readRoutes(settings: readonly RouteSettings[]): RoutesReading {
  const routes = new Map<string, Route>()
  const problems: string[] = []
  for (const setting of settings) {
    const reading = readRoute(setting)
    const domain = setting.domain.toLowerCase()
    const problem =
      typeof reading === 'string'
        ? reading
        : domain !== '*' && !/^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(domain)
          ? 'the name must be a recipient domain or *'
          : routes.has(domain)
            ? 'the domain has two routes'
            : undefined
    if (problem !== undefined) problems.push(`edge.routes["${setting.domain}"]: ${problem}`)
    else if (typeof reading !== 'string') routes.set(domain, reading)
  }
  return problems.length === 0 ? { valid: true, routes } : { valid: false, problems }
}

/** The route for a recipient domain: its own, else `*`, else none (MX). */
export function routeFor(routes: ReadonlyMap<string, Route>, domain: string): Route | undefined {
  return routes.get(domain.toLowerCase()) ?? routes.get('*')
}

function readRoute({ url: text, user, password, ca, ...setting }: RouteSettings): Route | string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'smtp:' && url.protocol !== 'smtps:') || url.hostname === '')
    return 'the URL must look like smtp://host:port or smtps://host:port'
  if (url.username !== '' || url.password !== '')
    return 'no credentials in the URL; use `user` and `password` (env:NAME or file:PATH)'
  if ((url.pathname !== '' && url.pathname !== '/') || url.search !== '' || url.hash !== '')
    return 'the URL ends after the port'
  if ((user === undefined) !== (password === undefined)) return '`user` and `password` go together'
  const implicitTls = url.protocol === 'smtps:'
  const starttls = setting.starttls ?? 'required'
  if (implicitTls && starttls !== 'required') return '`starttls` has no meaning with smtps://'
  if (user !== undefined && starttls !== 'required')
    return 'a login needs TLS: leave out `starttls`, or use smtps://'
  if (setting.verify === true && starttls !== 'required')
    return '`verify` needs TLS: leave out `starttls`, or leave out `verify`'
  // new URL keeps the brackets of an IPv6 literal.
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return {
    host,
    port: url.port === '' ? (implicitTls ? 465 : 25) : Number(url.port),
    implicitTls,
    starttls,
    verify: setting.verify ?? (starttls === 'required' && (isIP(host) === 0 || user !== undefined)),
    ...(ca === undefined ? {} : { ca }),
    ...(user === undefined || password === undefined ? {} : { login: { user, pass: password } }),
  }
}
