import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FhirServerSetting } from '../../src/documents/fhir-door.ts'

export interface Asked {
  readonly method: string
  /** With its query, as it came over the wire. */
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

export type Answer = (asked: Asked, response: http.ServerResponse, nth: number) => void

export interface AnsweringServer {
  readonly origin: string
  /** `origin` with `/fhir`. */
  readonly base: string
  /** Everything asked so far, oldest first. */
  readonly asked: readonly Asked[]
  /** From now on questions are answered so, and `asked` is empty again. */
  answer(how: Answer): void
  close(): Promise<void>
}

/** An HTTP server on the loopback that answers as the test at hand wants. */
export async function startAnswering(): Promise<AnsweringServer> {
  const asked: Asked[] = []
  let answer: Answer = (_, response) => void response.writeHead(500).end()
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('error', () => {})
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const question: Asked = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      }
      asked.push(question)
      answer(question, response, asked.length)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    origin,
    base: `${origin}/fhir`,
    asked,
    answer(how) {
      asked.length = 0
      answer = how
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

export function json(response: http.ServerResponse, body: object, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/fhir+json' }).end(JSON.stringify(body))
}

export function bundle(resources: readonly object[], next?: string): object {
  return {
    resourceType: 'Bundle',
    type: 'searchset',
    ...(next === undefined ? {} : { link: [{ relation: 'next', url: next }] }),
    entry: resources.map((resource) => ({ resource, search: { mode: 'match' } })),
  }
}

export function aSetting(baseUrl: string, changes: Partial<FhirServerSetting> = {}): FhirServerSetting {
  return {
    name: 'clinic',
    baseUrl,
    auth: { type: 'none' },
    timeoutMs: 5000,
    attachmentOrigins: [],
    ...changes,
  }
}
