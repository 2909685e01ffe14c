import { Client, type FhirResource } from 'fhir-kit-client'
import { Failed } from '../domain/failure.ts'
import { isAnswer, nextLink, readResource, refusal, resourcesOf } from './fhir-answer.ts'
import {
  openDoor,
  readBaseUrl,
  type FhirDoor,
  type FhirServerPorts,
  type FhirServerSetting,
} from './fhir-door.ts'

export type SearchParameters = Readonly<Record<string, string>>

/** Whatever goes wrong is thrown as Failed `fhir-unavailable` | `fhir-refused`, without PHI. */
export interface FhirServer {
  readonly name: string
  /** Undefined where the server does not have it (404, 410). */
  read(type: string, id: string): Promise<FhirResource | undefined>
  /** Its CapabilityStatement (`metadata`): what it says it can do. */
  capabilities(): Promise<FhirResource>
  /** Resources of that type, in the server’s order, up to {@link searchPagesMax} pages. */
  search(type: string, parameters: SearchParameters): Promise<FhirResource[]>
  /**
   * All pages of a search, one after the other, as they are asked for.
   *
   * @param query such as `ExplanationOfBenefit?_lastUpdated=gt2026-01-01`
   */
  pages(query: string): AsyncIterable<FhirResource[]>
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
/** R4 §2.24.0.1 `id`: nothing in it can leave the path segment it is put into. */
const idSyntax = /^[A-Za-z0-9\-.]{1,64}$/
const typeSyntax = /^[A-Z][A-Za-z]{1,63}$/
const operationSyntax = /^\$[a-z][a-z-]{1,40}$/

/**
 * A FHIR R4 server, asked politely and believed cautiously. fhir-kit-client forms the requests; everything it sends goes
 * through one door that keeps credentials on their origin, follows redirects only there, bounds time and size, and
 * repeats what may be repeated (GET on 429, 502, 503, 504 or no answer).
 */
export function fhirServer(
  setting: FhirServerSetting,
  ports: FhirServerPorts = {},
  door: FhirDoor = openDoor(setting, readBaseUrl(setting), ports),
): FhirServer {
  const base = readBaseUrl(setting)
  const client = new Client({ baseUrl: base.href })
  client.httpClient.request = async (method, url, options, body) =>
    readResource(
      setting.name,
      await door.ask({
        method,
        url: below(base, url),
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

    capabilities: () => client.request('metadata'),

    async search(type, parameters) {
      check(setting, typeSyntax.test(type), 'a resource type')
      const first = await client.search({ resourceType: type, searchParams: { ...parameters } })
      return allPages(first, type)
    },

    async *pages(query) {
      const [type = '', parameters = ''] = query.split('?', 2)
      check(setting, typeSyntax.test(type), 'a resource type')
      const searchParams: Record<string, string[]> = {}
      for (const [name, value] of new URLSearchParams(parameters)) (searchParams[name] ??= []).push(value)
      let page: FhirResource | undefined = await client.search({ resourceType: type, searchParams })
      while (page !== undefined) {
        if (page.resourceType !== 'Bundle')
          throw new Failed(
            'fhir-refused',
            `${setting.name} answered a search with something that is no Bundle`,
          )
        yield resourcesOf(page, type)
        page = nextLink(page) === undefined ? undefined : await client.nextPage({ bundle: page as never })
      }
    },

    async operation(type, name, input) {
      check(setting, typeSyntax.test(type) && operationSyntax.test(name), 'an operation')
      const isPost = 'resourceType' in input
      try {
        const answer = await client.operation({
          resourceType: type,
          name,
          method: isPost ? 'POST' : 'GET',
          input: isPost ? input : { ...(input as Record<string, string>) },
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

/** fhir-kit-client writes operations as `/Type/$name`, which is meant from the base; a server’s next link may be `/fhir/…`. */
function below(base: URL, url: string): URL {
  const isFromBase = url.startsWith('/') && !url.startsWith('//') && !url.startsWith(base.pathname)
  return new URL(isFromBase ? url.slice(1) : url, base)
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

function check({ name }: FhirServerSetting, isFine: boolean, what: string): void {
  if (!isFine) throw new Failed('fhir-refused', `${name} gave us ${what} that is not well-formed FHIR`)
}
