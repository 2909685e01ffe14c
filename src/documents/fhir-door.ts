import { setTimeout as pauseFor } from 'node:timers/promises'
import { Failed, type FailureCode } from '../domain/failure.ts'
import { boundedFetch, NoAnswer, type HttpAnswer } from './bounded-fetch.ts'
import { openStream, type StreamedAnswer } from './streamed-answer.ts'
import { smartBackend, type SmartBackendSetting, type TokenSource } from './smart-backend.ts'

/** One entry of `fhirServers` in the settings. */
export interface FhirServerSetting {
  readonly name: string
  /** `https://host/fhir`, without query; no slash at the end needed. */
  readonly baseUrl: string
  readonly auth:
    | { readonly type: 'none' }
    | { readonly type: 'basic'; readonly user: string; readonly password: string }
    | { readonly type: 'bearer'; readonly token: string }
    | ({ readonly type: 'smart-backend' } & SmartBackendSetting)
  /** One attempt, from the first byte sent to the last one read. */
  readonly timeoutMs: number
  /** Other origins (`https://host:port`) that attachments may be fetched from; without our credentials. */
  readonly attachmentOrigins: readonly string[]
}

export interface FhirServerPorts {
  readonly now?: () => Date
  /** Waits between attempts. */
  readonly pause?: (ms: number) => Promise<unknown>
  /** Ends everything underway when the process stops. */
  readonly signal?: AbortSignal
}

const redirectsMax = 3
const attemptsMax = 3
const firstPauseMs = 500
/** A server that wants a longer pause is asked again by the pipeline instead. */
const pauseMsMax = 10_000

interface Destination {
  readonly method: string
  readonly url: URL
  readonly headers: Record<string, string>
  /** Where our credentials go: to the server’s own origin (default), to other allowed ones too, or nowhere. */
  readonly credentials?: 'own' | 'allowed' | 'none'
  /** Redirects stay on their origin (default), or may lead to another allowed one: files often lie with somebody else. */
  readonly redirects?: 'own' | 'allowed'
}

interface Question extends Destination {
  readonly body: string | undefined
  readonly bytesMax: number
  readonly whenTooLarge: FailureCode
  /** Default for GET: {@link attemptsMax}. */
  readonly attempts?: 1
}

export type FhirDoor = ReturnType<typeof openDoor>

/** The only way out to a FHIR server. */
export function openDoor(setting: FhirServerSetting, base: URL, ports: FhirServerPorts) {
  const { name, timeoutMs } = setting
  const pause = ports.pause ?? ((ms: number) => pauseFor(ms, undefined, { signal: ports.signal }))
  const now = ports.now ?? (() => new Date())
  const credentials = credentialsOf(setting, ports)

  /** Credentials stay on their origin, and redirects on theirs. */
  async function travel<Answer extends Pick<HttpAnswer, 'status' | 'headers'>>(
    { url: from, method, headers, credentials: scope = 'own', redirects = 'own' }: Destination,
    go: (url: URL, headers: Record<string, string>) => Promise<Answer>,
  ): Promise<Answer> {
    let url = from
    for (let hops = 0; ; hops++) {
      const isOurs = url.origin === base.origin
      if (!isOurs && !setting.attachmentOrigins.includes(url.origin))
        throw new Failed(
          'fhir-refused',
          `${name} points to ${url.origin}, which is not the server we were told to ask (${base.origin}): behind a proxy, correct the server’s own base URL; for attachments, list it under attachmentOrigins, for exports under fileOrigins of the channel`,
        )
      const isKnown = scope === 'allowed' ? hops === 0 || isOurs : scope === 'own' && isOurs
      const answer = await go(url, {
        ...headers,
        'user-agent': 'bluepost',
        ...(isKnown ? await credentials.headers() : {}),
      })
      const location = answer.headers.get('location')
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === null) return answer
      if (method !== 'GET' || hops >= redirectsMax || !URL.canParse(location, url.href))
        throw new Failed('fhir-refused', `${name} answers ${answer.status} with a redirect we do not follow`)
      const target = new URL(location, url)
      const mayMove = redirects === 'allowed' && setting.attachmentOrigins.includes(target.origin)
      if (target.origin !== url.origin && !mayMove)
        throw new Failed(
          'fhir-refused',
          `${name} redirects to another host (${target.origin}); if that is where the server is now, correct its baseUrl`,
        )
      url = target
    }
  }

  function once(question: Question): Promise<HttpAnswer> {
    const { method, body, bytesMax } = question
    return travel(question, (url, headers) =>
      boundedFetch(
        url,
        { method, headers, ...(body === undefined ? {} : { body }) },
        { timeoutMs, bytesMax, signal: ports.signal },
      ),
    )
  }

  /** One attempt at an answer that is read while it comes; whoever reads it meets {@link NoAnswer} where it breaks off. */
  async function stream(destination: Destination): Promise<StreamedAnswer> {
    for (let isRenewed = false; ; isRenewed = true) {
      const answer = await travel(destination, (url, headers) =>
        openStream(url, headers, { timeoutMs, signal: ports.signal }),
      ).catch((error: unknown) => {
        throw error instanceof NoAnswer
          ? new Failed('fhir-unavailable', `${name}: ${error.because}`, { cause: error })
          : error
      })
      const isWorthAnother = answer.status === 401 && !isRenewed && destination.credentials !== 'none'
      if (!isWorthAnother || !credentials.renew()) return answer
      answer.discard()
    }
  }

  async function ask(question: Question): Promise<HttpAnswer> {
    let hasNewCredentials = false
    for (let attempt = 1; ; attempt++) {
      const isLast = question.method !== 'GET' || attempt >= (question.attempts ?? attemptsMax)
      let pauseMs = firstPauseMs * 4 ** (attempt - 1)
      try {
        const answer = await once(question)
        if (answer.status === 401 && !hasNewCredentials && credentials.renew()) {
          hasNewCredentials = true
          attempt--
          continue
        }
        if (![429, 502, 503, 504].includes(answer.status)) return answer
        const wantedMs = retryAfterMs(answer.headers, now())
        pauseMs = wantedMs ?? pauseMs
        if (isLast || pauseMs > pauseMsMax)
          throw new Failed('fhir-unavailable', `${name} answered ${answer.status}`, {
            detail: {
              status: answer.status,
              ...(wantedMs === undefined ? {} : { retryAfterMs: wantedMs }),
            },
          })
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error
        if (error.kind === 'too-large')
          throw new Failed(question.whenTooLarge, `${name}: ${error.because}`, { cause: error })
        if (isLast || ports.signal?.aborted === true)
          throw new Failed('fhir-unavailable', `${name}: ${error.because}`, { cause: error })
      }
      try {
        await pause(pauseMs)
      } catch (error) {
        if (ports.signal?.aborted !== true) throw error
        throw new Failed('fhir-unavailable', `${name}: we are stopping`, { cause: error })
      }
    }
  }

  return { ask, stream }
}

function credentialsOf({ auth, baseUrl, timeoutMs }: FhirServerSetting, ports: FhirServerPorts) {
  const fixed = (headers: Record<string, string>) => ({
    headers: () => Promise.resolve(headers),
    renew: () => false,
  })
  switch (auth.type) {
    case 'none':
      return fixed({})
    case 'basic':
      return fixed({
        authorization: `Basic ${Buffer.from(`${auth.user}:${auth.password}`).toString('base64')}`,
      })
    case 'bearer':
      return fixed({ authorization: `Bearer ${auth.token}` })
    case 'smart-backend': {
      const tokens: TokenSource = smartBackend(auth, baseUrl, { timeoutMs, signal: ports.signal }, ports.now)
      let last: string | undefined
      return {
        async headers() {
          last = await tokens.token()
          return { authorization: `Bearer ${last}` }
        },
        /** After a 401: true where another token can be had. */
        renew() {
          if (last !== undefined) tokens.rejected(last)
          return true
        },
      }
    }
  }
}

/** RFC 9110 §10.2.3: seconds or an HTTP date. */
export function retryAfterMs(headers: Headers, at: Date): number | undefined {
  const header = headers.get('retry-after')
  if (header === null) return undefined
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? undefined : Math.max(0, date - at.getTime())
}

export function readBaseUrl({ name, baseUrl }: FhirServerSetting): URL {
  const base = new URL(`${baseUrl.replace(/\/+$/, '')}/`)
  if (!/^https?:$/.test(base.protocol) || base.username !== '' || base.search !== '' || base.hash !== '')
    throw new Error(`fhirServers.${name}.baseUrl must be http(s)://host/path, credentials go under auth`)
  return base
}
