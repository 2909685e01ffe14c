import { setTimeout as pauseFor } from 'node:timers/promises'
import { Client, type FhirResource } from 'fhir-kit-client'
import { Failed, type FailureCode } from '../domain/failure.ts'
import { boundedFetch, NoAnswer, type HttpAnswer } from './bounded-fetch.ts'
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

export type SearchParameters = Readonly<Record<string, string>>

/** Whatever goes wrong is thrown as Failed `fhir-unavailable` | `fhir-refused`, without PHI. */
export interface FhirServer {
  readonly name: string
  /** Undefined where the server does not have it (404, 410). */
  read(type: string, id: string): Promise<FhirResource | undefined>
  /** Resources of that type, in the server’s order, up to {@link searchPagesMax} pages. */
  search(type: string, parameters: SearchParameters): Promise<FhirResource[]>
  /**
   * A type-level operation that answers with a searchset. Undefined where the server does not know it (400, 404, 405,
   * 422, 501).
   *
   * @param input query parameters (GET), or a Parameters resource (POST)
   */
  operation(
    type: string,
    name: string,
    input: SearchParameters | FhirResource,
  ): Promise<FhirResource[] | undefined>
  /**
   * The bytes behind an attachment’s URL, as they are. Relative to the base URL, on its origin, or on one of
   * `attachmentOrigins`; nowhere else.
   *
   * @throws Failed also `document-missing` (404, 410), `document-refused` (larger than `bytesMax`)
   */
  bytes(url: string, bytesMax: number): Promise<{ readonly bytes: Buffer; readonly mediaType: string }>
}

/** Pages of one search; patients with more current summaries than fit here have the newest on the first page. */
const searchPagesMax = 5
/** One JSON answer: a page of DocumentReferences, some with their documents inside. */
const resourceBytesMax = 48 * 1024 * 1024
const redirectsMax = 3
const attemptsMax = 3
const firstPauseMs = 500
/** A server that wants a longer pause is asked again by the pipeline instead. */
const pauseMsMax = 10_000

/** R4 §2.24.0.1 `id`: nothing in it can leave the path segment it is put into. */
const idSyntax = /^[A-Za-z0-9\-.]{1,64}$/
const typeSyntax = /^[A-Z][A-Za-z]{1,63}$/
const operationSyntax = /^\$[a-z][a-z-]{1,40}$/

/**
 * A FHIR R4 server, asked politely and believed cautiously. fhir-kit-client forms the requests; everything it sends goes
 * through one door that keeps credentials on their origin, follows redirects only there, bounds time and size, and
 * repeats what may be repeated (GET on 429, 502, 503, 504 or no answer).
 */
export function fhirServer(setting: FhirServerSetting, ports: FhirServerPorts = {}): FhirServer {
  const base = readBaseUrl(setting)
  const door = openDoor(setting, base, ports)
  const client = new Client({ baseUrl: base.href })
  client.httpClient.request = async (method, url, options, body) =>
    readResource(
      setting.name,
      await door.ask({
        method,
        url: new URL(url, base),
        headers: {
          accept: 'application/fhir+json',
          ...(options?.headers ?? {}),
        },
        body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
        bytesMax: resourceBytesMax,
        whenTooLarge: 'fhir-refused',
      }),
    )

  return {
    name: setting.name,

    async read(type, id) {
      check(setting, typeSyntax.test(type) && isId(id), 'a reference')
      try {
        const resource = await client.read({ resourceType: type, id })
        check(setting, resource.resourceType === type && resource['id'] === id, 'the resource')
        return resource
      } catch (error) {
        if (isAnswer(error, [404, 410])) return undefined
        throw error
      }
    },

    async search(type, parameters) {
      check(setting, typeSyntax.test(type), 'a resource type')
      const first = await client.search({ resourceType: type, searchParams: { ...parameters } })
      return allPages(first, type)
    },

    async operation(type, name, input) {
      check(setting, typeSyntax.test(type) && operationSyntax.test(name), 'an operation')
      const isPost = 'resourceType' in input
      try {
        const answer = await client.operation({
          resourceType: type,
          name,
          method: isPost ? 'POST' : 'GET',
          input: isPost ? (input as FhirResource) : { ...(input as Record<string, string>) },
        })
        return await allPages(answer, type)
      } catch (error) {
        if (isAnswer(error, [400, 404, 405, 422, 501])) return undefined
        throw error
      }
    },

    async bytes(url, bytesMax) {
      const where = attachmentUrl(setting, base, url)
      const answer = await door.ask({
        method: 'GET',
        url: where,
        // R4 §2.27.4: a FHIR media type gets the Binary resource, anything else the content as it is.
        headers: { accept: 'application/xml, text/xml;q=0.9, */*;q=0.5' },
        body: undefined,
        bytesMax,
        whenTooLarge: 'document-refused',
      })
      if (answer.status === 404 || answer.status === 410)
        throw new Failed(
          'document-missing',
          `${setting.name} lists a document but answers ${answer.status} for its content`,
        )
      if (answer.status !== 200) throw refusal(setting.name, answer)
      return { bytes: answer.bytes, mediaType: answer.mediaType }
    },
  }

  async function allPages(first: FhirResource, type: string): Promise<FhirResource[]> {
    const found: FhirResource[] = []
    let page: FhirResource | undefined = first
    for (let pages = 1; page !== undefined; pages++) {
      if (page.resourceType !== 'Bundle')
        throw new Failed('fhir-refused', `${setting.name} answered a search with something that is no Bundle`)
      found.push(...resourcesOf(page, type))
      if (pages >= searchPagesMax || nextLink(page) === undefined) break
      page = await client.nextPage({ bundle: page as never })
    }
    return found
  }
}

/** True where the text can stand as an id in a FHIR URL. */
export function isId(text: string): boolean {
  // “.” and “..” fit the syntax and would walk the path.
  return idSyntax.test(text) && !/^\.+$/.test(text)
}

interface Question {
  readonly method: string
  readonly url: URL
  readonly headers: Record<string, string>
  readonly body: string | undefined
  readonly bytesMax: number
  readonly whenTooLarge: FailureCode
}

/** The only way out to a FHIR server. */
function openDoor(setting: FhirServerSetting, base: URL, ports: FhirServerPorts) {
  const { name, timeoutMs } = setting
  const pause = ports.pause ?? ((ms: number) => pauseFor(ms, undefined, { signal: ports.signal }))
  const now = ports.now ?? (() => new Date())
  const credentials = credentialsOf(setting, ports)

  async function once(question: Question): Promise<HttpAnswer> {
    let { url } = question
    for (let hops = 0; ; hops++) {
      const isOurs = url.origin === base.origin
      if (!isOurs && !setting.attachmentOrigins.includes(url.origin))
        throw new Failed(
          'fhir-refused',
          `${name} points to ${url.origin}, which is not the server we were told to ask (${base.origin}): behind a proxy, correct the server’s own base URL; for attachments, list it under attachmentOrigins`,
        )
      const answer = await boundedFetch(
        url,
        {
          method: question.method,
          headers: {
            ...question.headers,
            'user-agent': 'bluepost',
            ...(isOurs ? await credentials.headers() : {}),
          },
          ...(question.body === undefined ? {} : { body: question.body }),
        },
        { timeoutMs, bytesMax: question.bytesMax, signal: ports.signal },
      )
      const location = answer.headers.get('location')
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === null) return answer
      if (question.method !== 'GET' || hops >= redirectsMax || !URL.canParse(location, url.href))
        throw new Failed('fhir-refused', `${name} answers ${answer.status} with a redirect we do not follow`)
      const target = new URL(location, url)
      if (target.origin !== url.origin)
        throw new Failed(
          'fhir-refused',
          `${name} redirects to another host (${target.origin}); if that is where the server is now, correct its baseUrl`,
        )
      url = target
    }
  }

  async function ask(question: Question): Promise<HttpAnswer> {
    let hasNewCredentials = false
    for (let attempt = 1; ; attempt++) {
      const isLast = question.method !== 'GET' || attempt >= attemptsMax
      let pauseMs = firstPauseMs * 4 ** (attempt - 1)
      try {
        const answer = await once(question)
        if (answer.status === 401 && !hasNewCredentials && credentials.renew()) {
          hasNewCredentials = true
          attempt--
          continue
        }
        if (![429, 502, 503, 504].includes(answer.status)) return answer
        const wantedMs = retryAfterMs(answer.headers.get('retry-after'), now())
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
      await pause(pauseMs)
    }
  }

  return { ask }
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

function readBaseUrl({ name, baseUrl }: FhirServerSetting): URL {
  const base = new URL(`${baseUrl.replace(/\/+$/, '')}/`)
  if (!/^https?:$/.test(base.protocol) || base.username !== '' || base.search !== '' || base.hash !== '')
    throw new Error(`fhirServers.${name}.baseUrl must be http(s)://host/path, credentials go under auth`)
  return base
}

/** R4 Attachment.url: absolute, or relative to the base. Relative ones stay below it. */
function attachmentUrl({ name }: FhirServerSetting, base: URL, url: string): URL {
  const isAbsolute = /^[A-Za-z][A-Za-z0-9+.-]*:|^\/\//.test(url)
  if (!URL.canParse(url, base.href))
    throw new Failed('document-refused', `${name} names a document by an unreadable URL`)
  const where = new URL(url, base)
  if (!/^https?:$/.test(where.protocol) || where.username !== '')
    throw new Failed('document-refused', `${name} names a document by a URL that is not plain http(s)`)
  if (!isAbsolute && (!where.pathname.startsWith(base.pathname) || /%2f|%5c|%2e|\\/i.test(url)))
    throw new Failed(
      'document-refused',
      `${name} names a document by a relative URL that leaves the server’s base`,
    )
  return where
}

function readResource(name: string, answer: HttpAnswer): FhirResource {
  if (answer.status < 200 || answer.status > 299) throw refusal(name, answer)
  const resource = parseResource(answer.bytes)
  if (resource === undefined)
    throw new Failed(
      'fhir-refused',
      `${name} answered ${answer.status} with ${answer.mediaType === '' ? 'something' : printable(answer.mediaType)} that is not a FHIR resource: a login or error page? Check its baseUrl`,
      { detail: { status: answer.status } },
    )
  if (resource.resourceType === 'OperationOutcome')
    throw new Failed(
      'fhir-refused',
      `${name} answered ${answer.status} with an OperationOutcome${issueCodes(resource)}`,
      { detail: { status: answer.status } },
    )
  return resource
}

/** What the status means for us; the server’s own words may quote the patient and are left out, but for issue codes. */
function refusal(name: string, answer: HttpAnswer): Failed {
  const { status } = answer
  const outcome = parseResource(answer.bytes)
  const because = `${name} answered ${status}${outcome === undefined ? '' : issueCodes(outcome)}`
  const advice =
    status === 401
      ? ': our credentials are not accepted'
      : status === 403
        ? ': our credentials do not cover this; check the scopes'
        : ''
  return new Failed(
    status === 408 || status === 425 || (status >= 500 && status !== 501)
      ? 'fhir-unavailable'
      : 'fhir-refused',
    because + advice,
    { detail: { status } },
  )
}

function isAnswer(error: unknown, statuses: readonly number[]): boolean {
  if (!(error instanceof Failed) || typeof error.detail !== 'object' || error.detail === null) return false
  return 'status' in error.detail && statuses.includes(error.detail.status as number)
}

function parseResource(bytes: Buffer): FhirResource | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8').replace(/^\uFEFF/, ''))
    if (typeof value !== 'object' || value === null || !('resourceType' in value)) return undefined
    return typeof value.resourceType === 'string' ? (value as FhirResource) : undefined
  } catch {
    return undefined
  }
}

function issueCodes(outcome: FhirResource): string {
  const issues = Array.isArray(outcome['issue']) ? (outcome['issue'] as { code?: unknown }[]) : []
  const codes = issues
    .map((issue) => issue?.code)
    .filter((code) => typeof code === 'string' && /^[a-z-]{1,30}$/.test(code))
  return codes.length === 0 ? '' : ` (${[...new Set(codes)].slice(0, 3).join(', ')})`
}

function resourcesOf(bundle: FhirResource, type: string): FhirResource[] {
  const entries = Array.isArray(bundle['entry']) ? (bundle['entry'] as unknown[]) : []
  return entries.flatMap((entry) => {
    const { resource, search } = (entry ?? {}) as { resource?: FhirResource; search?: { mode?: unknown } }
    return resource?.resourceType === type && search?.mode !== 'include' ? [resource] : []
  })
}

function nextLink(bundle: FhirResource): string | undefined {
  const links = Array.isArray(bundle['link'])
    ? (bundle['link'] as { relation?: unknown; url?: unknown }[])
    : []
  const url = links.find((link) => link?.relation === 'next')?.url
  return typeof url === 'string' ? url : undefined
}

/** RFC 9110 §10.2.3: seconds or an HTTP date. */
function retryAfterMs(header: string | null, at: Date): number | undefined {
  if (header === null) return undefined
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? undefined : Math.max(0, date - at.getTime())
}

function printable(mediaType: string): string {
  return /^[a-z0-9.+-]{1,60}\/[a-z0-9.+-]{1,60}$/.test(mediaType) ? mediaType : 'something'
}

function check({ name }: FhirServerSetting, isFine: boolean, what: string): void {
  if (!isFine) throw new Failed('fhir-refused', `${name} gave us ${what} that is not well-formed FHIR`)
}
