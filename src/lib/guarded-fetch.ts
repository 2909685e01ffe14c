import http from 'node:http'
import https from 'node:https'
import type { LookupFunction } from 'node:net'
import { resolveOutbound, type OutboundOptions, type ResolvedAddress } from './outbound-guard.ts'

export interface FetchOrder {
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** Octets of the body of the answer. */
  readonly bytesMax: number
  /** For everything together, redirects included. */
  readonly timeoutMs: number
}

export type FetchAnswer =
  | {
      readonly outcome: 'fetched'
      readonly status: number
      /** Names in lower case. */
      readonly headers: ReadonlyMap<string, string>
      readonly body: Buffer
    }
  /** Asking again does not help: the URL is not allowed, or what it gives is too large. */
  | { readonly outcome: 'refused'; readonly because: string }
  /** Asking again may help: no connection, no answer in time, cut off. */
  | { readonly outcome: 'failed'; readonly because: string }

/** Any HTTP status is `fetched`; the caller judges it. Never throws. */
export type GuardedFetch = (url: string, order: FetchOrder) => Promise<FetchAnswer>

export interface GuardedFetchOptions extends OutboundOptions {
  /** Roots for https instead of those of the system; PEM. */
  readonly ca?: readonly string[]
  /** Default: both. */
  readonly protocols?: readonly ('http:' | 'https:')[]
}

const redirectsMax = 3
const urlCharactersMax = 2048
const redirectStatuses = [301, 302, 303, 307, 308]

/**
 * Fetches what a URL that somebody else wrote names, without letting it reach our own network: each host is resolved once,
 * its addresses are checked, and the connection goes to the address that was checked, so that a name which changes its mind
 * (DNS rebinding) gains nothing. The same for each redirect.
 */
export function makeGuardedFetch(options: GuardedFetchOptions): GuardedFetch {
  const { protocols = ['http:', 'https:'] } = options
  const secure = new https.Agent({
    keepAlive: false,
    ...(options.ca === undefined ? {} : { ca: [...options.ca] }),
  })
  const plain = new http.Agent({ keepAlive: false })

  return async (text, order) => {
    const deadline = AbortSignal.timeout(order.timeoutMs)
    let url = readUrl(text, protocols)
    let current: FetchOrder = order
    for (let hops = 0; ; hops++) {
      if (typeof url === 'string') return { outcome: 'refused', because: url }
      const host = await beforeDeadline(resolveOutbound(url.hostname, options), deadline)
      if (host === undefined) return late(url, order)
      if (host.outcome !== 'allowed') return host
      const agent = url.protocol === 'https:' ? secure : plain
      const answer = await once(url, host.addresses, agent, current, deadline)
      if (answer.outcome !== 'fetched' || !redirectStatuses.includes(answer.status)) return answer
      const location = answer.headers.get('location')
      if (location === undefined) return answer
      if (hops === redirectsMax)
        return { outcome: 'refused', because: `${url.host} redirects more than ${redirectsMax} times` }
      const from: URL = url
      url = URL.canParse(location, from.href)
        ? readUrl(new URL(location, from).href, protocols)
        : 'a redirect without a URL'
      if (typeof url !== 'string' && from.protocol === 'https:' && url.protocol === 'http:')
        return { outcome: 'refused', because: `${from.host} redirects from https to http` }
      // RFC 9110 §15.4: 307 and 308 keep the method.
      if (answer.status < 307) {
        const { body: _, ...rest } = current
        current = { ...rest, method: 'GET' }
      }
    }
  }
}

function readUrl(text: string, protocols: readonly string[]): URL | string {
  if (text.length > urlCharactersMax) return `the URL has more than ${urlCharactersMax} characters`
  if (!URL.canParse(text)) return 'it is no URL'
  const url = new URL(text)
  if (!protocols.includes(url.protocol)) return `${url.protocol}// is not asked; only ${protocols.join(', ')}`
  if (url.username !== '' || url.password !== '') return 'the URL has a user name or password in it'
  return url
}

function once(
  url: URL,
  addresses: readonly ResolvedAddress[],
  agent: http.Agent,
  order: FetchOrder,
  deadline: AbortSignal,
): Promise<FetchAnswer> {
  const { method = 'GET', headers = {}, body, bytesMax } = order
  // Whatever is asked for, it is the checked addresses that are given.
  const pinned: LookupFunction = (_host, { all }, done) => {
    if (all === true) done(null, [...addresses])
    else done(null, addresses[0]!.address, addresses[0]!.family)
  }
  return new Promise((resolve) => {
    const failed = (because: string) => resolve({ outcome: 'failed', because: `${url.host}: ${because}` })
    const request = (url.protocol === 'https:' ? https : http).request(
      url,
      {
        method,
        agent,
        lookup: pinned,
        signal: deadline,
        headers: {
          ...headers,
          ...(body === undefined ? {} : { 'content-length': String(body.length) }),
          'accept-encoding': 'identity',
          connection: 'close',
        },
      },
      (response) => {
        const tooLarge = () => {
          request.destroy()
          resolve({ outcome: 'refused', because: `${url.host} gives more than ${bytesMax} octets` })
        }
        const told = Number(response.headers['content-length'] ?? 0)
        if (told > bytesMax) return tooLarge()
        const chunks: Buffer[] = []
        let bytes = 0
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes > bytesMax) return tooLarge()
          chunks.push(chunk)
        })
        response.once('error', (error) => failed(wordsOf(error, deadline, order)))
        response.once('end', () => {
          if (!response.complete) return failed('the answer was cut off')
          resolve({
            outcome: 'fetched',
            status: response.statusCode ?? 0,
            headers: headersOf(response),
            body: Buffer.concat(chunks),
          })
        })
      },
    )
    request.once('error', (error) => failed(wordsOf(error, deadline, order)))
    request.end(body)
  })
}

function headersOf({ headers }: http.IncomingMessage): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value] as const],
    ),
  )
}

function wordsOf(error: Error, deadline: AbortSignal, { timeoutMs }: FetchOrder): string {
  if (deadline.aborted) return `no answer within ${timeoutMs} ms`
  return (error as NodeJS.ErrnoException).code ?? 'the connection failed'
}

const late = (url: URL, { timeoutMs }: FetchOrder): FetchAnswer => ({
  outcome: 'failed',
  because: `${url.host}: no answer within ${timeoutMs} ms`,
})

async function beforeDeadline<Value>(
  work: Promise<Value>,
  deadline: AbortSignal,
): Promise<Value | undefined> {
  if (deadline.aborted) return undefined
  const over = Promise.withResolvers<undefined>()
  const stop = () => over.resolve(undefined)
  deadline.addEventListener('abort', stop, { once: true })
  try {
    return await Promise.race([work, over.promise])
  } finally {
    deadline.removeEventListener('abort', stop)
  }
}
