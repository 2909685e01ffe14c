import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'

/** A payer that exports (FHIR Bulk Data Access), on the loopback, and answers as the test at hand wants. */
export interface BulkNeighbour {
  readonly origin: string
  /** `origin` with `/fhir`. */
  readonly base: string
  readonly asked: readonly BulkAsked[]
  /** What exports are made of, from now on. */
  readonly has: Stock
  readonly behaves: Behaviour
  /** Addresses of files given so far are good no longer. */
  expireFiles(): void
  /** Has it an export that was neither removed nor forgotten? */
  readonly jobs: ReadonlyMap<string, Job>
  close(): Promise<void>
}

export interface BulkAsked {
  readonly method: string
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
}

interface Stock {
  resources: Record<string, unknown>[]
  patients: Record<string, unknown>[]
  /** `Type/id` */
  deleted: string[]
  errors: Record<string, unknown>[]
  /** Claims that are made as they are sent, one a step of time; also found by a search, page by page. */
  endless:
    | { readonly count: number; readonly fromMs: number; readonly stepMs: number; line(nth: number): string }
    | undefined
}

interface Behaviour {
  now: () => Date
  /** How often it says 202 before an export is ready. */
  pending: number
  retryAfter: string | undefined
  progress: string | undefined
  linesPerFile: number
  gzip: 'none' | 'header' | 'bare'
  counts: boolean
  requiresAccessToken: boolean
  /** Where the manifest says that the files are. */
  filesAt: string | undefined
  /** Needs `Bearer` and this. */
  token: string | undefined
  /** Answers this instead; asked for every question. */
  answer: (
    asked: BulkAsked,
  ) => { status: number; headers?: Record<string, string>; body?: string } | 'nothing' | undefined
  /** Breaks a file off: `end` as if it were whole, `reset` the connection. */
  cut: (path: string) => { readonly bytes: number; readonly how: 'end' | 'reset' } | undefined
  /** Called at this line of an endless file, which then stands still. */
  standstill: { readonly line: number; readonly then: () => void } | undefined
}

interface Job {
  readonly since: string
  readonly types: readonly string[]
  readonly transactionTime: string
  readonly files: readonly { list: 'output' | 'deleted' | 'error'; type: string; lines: readonly string[] }[]
  polls: number
}

export async function startBulkServer(): Promise<BulkNeighbour> {
  const asked: BulkAsked[] = []
  const jobs = new Map<string, Job>()
  const has: Stock = { resources: [], patients: [], deleted: [], errors: [], endless: undefined }
  const behaves: Behaviour = {
    now: () => new Date(),
    pending: 0,
    retryAfter: undefined,
    progress: undefined,
    linesPerFile: 1000,
    gzip: 'none',
    counts: true,
    requiresAccessToken: true,
    filesAt: undefined,
    token: undefined,
    answer: () => undefined,
    cut: () => undefined,
    standstill: undefined,
  }
  let jobNumber = 0
  let signature = 1
  let oldestGood = 1

  const server = http.createServer((request, response) => {
    const one: BulkAsked = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
    }
    asked.push(one)
    request.resume()
    const told = behaves.answer(one)
    if (told === 'nothing') return
    if (told !== undefined) {
      response.writeHead(told.status, { 'content-type': 'application/fhir+json', ...told.headers })
      return void response.end(told.body ?? JSON.stringify(outcome('processing')))
    }
    answer(one, new URL(one.path, origin()), response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  function answer({ method, headers }: BulkAsked, url: URL, response: http.ServerResponse): void {
    const say = (status: number, body: object = outcome('processing'), more: Record<string, string> = {}) =>
      void response
        .writeHead(status, { 'content-type': 'application/fhir+json', ...more })
        .end(JSON.stringify(body))
    const isFile = url.pathname.startsWith('/files/')
    const isOpen = behaves.token === undefined || (isFile && !behaves.requiresAccessToken)
    if (!isOpen && headers.authorization !== `Bearer ${behaves.token}`) return say(401)
    const patient = /^\/fhir\/Patient\/([^/$]+)$/.exec(url.pathname)?.[1]
    if (patient !== undefined) {
      const found = has.patients.find(({ id }) => id === patient)
      return found === undefined ? say(404) : say(200, found)
    }
    if (url.pathname === '/fhir/ExplanationOfBenefit' && has.endless !== undefined)
      return say(200, page(url, has.endless), { 'content-type': 'application/fhir+json' })
    if (url.pathname === '/fhir/metadata')
      return say(200, { resourceType: 'CapabilityStatement', rest: [{ operation: [{ name: 'export' }] }] })
    if (url.pathname.endsWith('/$export')) {
      if (headers.prefer !== 'respond-async') return say(400)
      const id = String(++jobNumber)
      jobs.set(id, jobOf(url))
      return void response.writeHead(202, { 'content-location': `${origin()}/jobs/${id}` }).end()
    }
    const [, id = ''] = /^\/(?:jobs|files)\/(\d+)/.exec(url.pathname) ?? []
    const job = jobs.get(id)
    if (job === undefined) return say(404)
    if (isFile) return file(job, url, response)
    if (method === 'DELETE') {
      jobs.delete(id)
      return void response.writeHead(202).end()
    }
    if (job.polls++ < behaves.pending)
      return void response
        .writeHead(202, {
          ...(behaves.retryAfter === undefined ? {} : { 'retry-after': behaves.retryAfter }),
          ...(behaves.progress === undefined ? {} : { 'x-progress': behaves.progress }),
        })
        .end()
    say(200, manifestOf(id, job))
  }

  /** A page of what changed after `_lastUpdated=gt…`, in that order. */
  function page(url: URL, { count, fromMs, stepMs, line }: NonNullable<Stock['endless']>): object {
    const since = Date.parse((url.searchParams.get('_lastUpdated') ?? '').replace(/^gt/, ''))
    const begin = Math.max(0, Math.floor((since - fromMs) / stepMs) + 1)
    const size = Number(url.searchParams.get('_count'))
    const at = begin + Number(url.searchParams.get('offset') ?? 0)
    const end = Math.min(count, at + size)
    const next = new URL(url)
    next.searchParams.set('offset', String(end - begin))
    return {
      resourceType: 'Bundle',
      type: 'searchset',
      link: end < count ? [{ relation: 'next', url: next.href }] : [],
      entry: Array.from({ length: Math.max(0, end - at) }, (_, nth) => ({
        resource: JSON.parse(line(at + nth)) as object,
      })),
    }
  }

  function jobOf(url: URL): Job {
    const since = url.searchParams.get('_since') ?? ''
    const types = (url.searchParams.get('_type') ?? '').split(',')
    const isNew = ({ meta }: Record<string, unknown>) =>
      Date.parse((meta as { lastUpdated: string }).lastUpdated) > Date.parse(since)
    const wanted = [...has.resources, ...has.patients].filter(
      (one) => types.includes(String(one['resourceType'])) && isNew(one),
    )
    const files: Job['files'][number][] = []
    const add = (list: 'output' | 'deleted' | 'error', type: string, lines: readonly string[]) => {
      for (let at = 0; at < lines.length; at += behaves.linesPerFile)
        files.push({ list, type, lines: lines.slice(at, at + behaves.linesPerFile) })
    }
    // Patients last: a reader may not count on their order.
    for (const type of new Set(wanted.map((one) => String(one['resourceType']))))
      add(
        'output',
        type,
        wanted.filter((one) => one['resourceType'] === type).map((one) => JSON.stringify(one)),
      )
    if (has.endless !== undefined) files.push({ list: 'output', type: 'ExplanationOfBenefit', lines: [] })
    add(
      'deleted',
      'Bundle',
      has.deleted.map((resource) =>
        JSON.stringify({
          resourceType: 'Bundle',
          type: 'transaction',
          entry: [{ request: { method: 'DELETE', url: resource } }],
        }),
      ),
    )
    add(
      'error',
      'OperationOutcome',
      has.errors.map((one) => JSON.stringify(one)),
    )
    return { since, types, transactionTime: behaves.now().toISOString(), files, polls: 0 }
  }

  function manifestOf(id: string, { transactionTime, files }: Job): object {
    const signed = ++signature
    const listed = (list: string) =>
      files.flatMap((one, nth) =>
        one.list !== list
          ? []
          : [
              {
                type: one.type,
                url: `${behaves.filesAt ?? origin()}/files/${id}/${nth}?signature=${signed}`,
                ...(behaves.counts && { count: one.lines.length || has.endless?.count }),
              },
            ],
      )
    return {
      transactionTime,
      request: `${origin()}/fhir/$export`,
      requiresAccessToken: behaves.requiresAccessToken,
      output: listed('output'),
      deleted: listed('deleted'),
      error: listed('error'),
    }
  }

  function file(job: Job, url: URL, response: http.ServerResponse): void {
    if (Number(url.searchParams.get('signature')) < oldestGood) return void response.writeHead(403).end()
    const { lines } = job.files[Number(url.pathname.split('/')[3])]!
    if (lines.length === 0 && has.endless !== undefined) return void pour(response)
    const plain = Buffer.from(lines.map((line) => `${line}\n`).join(''))
    const bytes = behaves.gzip === 'none' ? plain : gzipSync(plain)
    const cut = behaves.cut(url.pathname)
    const given = cut === undefined ? bytes : bytes.subarray(0, cut.bytes)
    response.writeHead(200, {
      'content-type': behaves.gzip === 'bare' ? 'application/gzip' : 'application/fhir+ndjson',
      ...(behaves.gzip === 'header' ? { 'content-encoding': 'gzip' } : {}),
      'content-length': cut?.how === 'reset' ? bytes.length : given.length,
    })
    if (cut?.how === 'reset') response.write(given, () => response.destroy())
    else response.end(given)
  }

  /** As fast as it is read, and no faster. */
  async function pour(response: http.ServerResponse): Promise<void> {
    const { count, line } = has.endless!
    response.writeHead(200, { 'content-type': 'application/fhir+ndjson' })
    for (let nth = 0; nth < count; nth++) {
      if (nth === behaves.standstill?.line) {
        const { then } = behaves.standstill
        behaves.standstill = undefined
        then()
        return
      }
      if (response.destroyed) return
      if (!response.write(`${line(nth)}\n`))
        await new Promise<void>((resolve) => {
          const goOn = () => {
            response.off('drain', goOn)
            response.off('close', goOn)
            resolve()
          }
          response.on('drain', goOn)
          response.on('close', goOn)
        })
    }
    response.end()
  }

  return {
    get origin() {
      return origin()
    },
    get base() {
      return `${origin()}/fhir`
    },
    asked,
    has,
    behaves,
    jobs,
    expireFiles: () => void (oldestGood = signature + 1),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function outcome(code: string): object {
  return { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code }] }
}
