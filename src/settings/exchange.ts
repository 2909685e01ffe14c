import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RetryPlan } from '../domain/failure.ts'
import { optional, type Section } from './section.ts'

export interface RouteSetting {
  /** Domain of the recipient, lower case, or `*`. */
  readonly domain: string
  readonly url: string
  readonly starttls: 'required' | 'opportunistic' | 'none'
  /** Undefined: a host name is verified, an IP address is not. */
  readonly verify?: boolean
  /** PEM: what the next hop’s certificate is verified against, instead of the authorities everybody knows. */
  readonly ca?: string
  readonly user?: string
  readonly password?: string
}

export interface EdgeSettings {
  readonly type: 'sta' | 'smtp'
  readonly routes: readonly RouteSetting[]
  readonly retry: RetryPlan
  readonly connectionsMax: number
  readonly timeoutMs: number
}

export function readEdge(root: Section, path: (text: string) => string): EdgeSettings {
  const section = root.section('edge', ['type', 'routes', 'retry', 'connections', 'timeout'])
  const type = section?.oneOf('type', ['sta', 'smtp', 'xdr', 'rest']) ?? 'sta'
  if (type === 'xdr' || type === 'rest')
    section?.problem('type', `this version has no ${type} edge`, 'use sta, or smtp for an external HISP')
  const routes = (section?.entries('routes') ?? []).flatMap(([domain, value]): RouteSetting[] => {
    const options = value.isSection()
      ? value.asSection(['url', 'starttls', 'verify', 'ca', 'user', 'password'])
      : undefined
    const url = options === undefined ? value.string() : options.required('url', 'smtp://host:port')
    if (url === undefined) return []
    if (!/^smtps?:\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?\/?$/.test(url)) {
      value.problem(`“${url}” is not a next hop`, 'write smtp://host:port or smtps://host:port')
      return []
    }
    return [
      {
        domain: domain.toLowerCase(),
        url,
        starttls: options?.oneOf('starttls', ['required', 'opportunistic', 'none']) ?? 'required',
        ...optional('verify', options?.boolean('verify')),
        ...optional('ca', readAuthorities(options, path)),
        ...optional('user', options?.text('user')),
        ...optional('password', options?.secret('password', false)),
      },
    ]
  })
  if (type === 'smtp' && !routes.some(({ domain }) => domain === '*'))
    section?.problem(
      'routes',
      'an external HISP takes everything, but there is no route “*”',
      'add `"*": { url: smtps://hisp.example:465, user: …, password: env:HISP_PASSWORD }`',
    )
  return {
    type: type === 'smtp' ? 'smtp' : 'sta',
    routes,
    retry: readRetry(section, {
      firstDelayMs: 30_000,
      factor: 2,
      delayMsMax: 3_600_000,
      deadlineMs: 48 * 3_600_000,
    }),
    connectionsMax: section?.integer('connections', 1, 100) ?? 5,
    timeoutMs: section?.duration('timeout') ?? 120_000,
  }
}

function readAuthorities(options: Section | undefined, path: (text: string) => string): string | undefined {
  const file = options?.text('ca')
  if (file === undefined) return undefined
  try {
    const pem = readFileSync(path(file), 'utf8')
    new X509Certificate(pem)
    return pem
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    const because = code.startsWith('ERR_') ? 'it holds no certificate in PEM' : `it cannot be read (${code})`
    options?.problem(
      'ca',
      `names ${file}: ${because}`,
      'name a PEM file of the authority of your mail server',
    )
    return undefined
  }
}

export function readRetry(section: Section | undefined, standard: RetryPlan): RetryPlan {
  const retry = section?.section('retry', ['first', 'factor', 'max', 'deadline'])
  return {
    firstDelayMs: retry?.duration('first') ?? standard.firstDelayMs,
    factor: retry?.number('factor', 1, 10) ?? standard.factor,
    delayMsMax: retry?.duration('max') ?? standard.delayMsMax,
    deadlineMs: retry?.duration('deadline') ?? standard.deadlineMs,
  }
}
