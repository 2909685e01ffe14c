import http from 'node:http'
import https from 'node:https'
import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { NoAnswer } from './bounded-fetch.ts'

/** An HTTP answer whose body is read while it comes. */
export interface StreamedAnswer {
  readonly status: number
  readonly headers: Headers
  /**
   * The body, unpacked (gzip, by its header or its first bytes). Leaving the loop ends the connection.
   *
   * @throws NoAnswer where it breaks off, stands still, or cannot be unpacked
   */
  chunks(): AsyncGenerator<Buffer>
  /** The body is of no interest. */
  discard(): void
}

export interface StreamBounds {
  /** For the headers, and for each piece of the body that we wait for. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * GET, without following redirects. `fetch` would not do: it takes a packed body that was cut off for a whole one.
 *
 * @throws NoAnswer
 */
export function openStream(
  url: URL,
  headers: Record<string, string>,
  { timeoutMs, signal }: StreamBounds,
): Promise<StreamedAnswer> {
  return new Promise((resolve, reject) => {
    const failed = (error: unknown) => reject(wordsOf(error, url, signal))
    const request = (url.protocol === 'https:' ? https : http).request(
      url,
      {
        method: 'GET',
        agent: false,
        headers: { ...headers, 'accept-encoding': 'gzip' },
        ...(signal === undefined ? {} : { signal }),
      },
      (response) => {
        clearTimeout(late)
        // Whoever reads the body meets the error there; nobody may be reading yet.
        response.on('error', () => {})
        resolve({
          status: response.statusCode ?? 0,
          headers: headersOf(response),
          chunks: () => unpacked(response, url, timeoutMs, signal),
          discard: () => void response.destroy(),
        })
      },
    )
    const late = setTimeout(() => {
      request.destroy(new NoAnswer('too-slow', `${url.host} did not answer within ${timeoutMs} ms`))
    }, timeoutMs)
    request.on('error', (error) => {
      clearTimeout(late)
      failed(error)
    })
    request.end()
  })
}

async function* unpacked(
  response: http.IncomingMessage,
  url: URL,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  const encoding = (response.headers['content-encoding'] ?? 'identity').trim().toLowerCase()
  if (!/^(identity|x-gzip|gzip)$/.test(encoding)) {
    response.destroy()
    throw new NoAnswer('unreachable', `${url.host} packs its answer in a way that was not asked for`)
  }
  const arriving = pieces(response, url, timeoutMs)
  try {
    const first = await arriving.next()
    if (first.done === true) return
    const rest = joined(first.value, arriving)
    // A gzip file may be given as what it is, without a word in the headers (RFC 1952 §2.3.1).
    const isPacked = first.value[0] === 0x1f && first.value[1] === 0x8b
    yield* isPacked || encoding !== 'identity' ? gunzip(rest) : rest
    if (!response.complete) throw new NoAnswer('unreachable', `${url.host} broke off its answer`)
  } catch (error) {
    throw wordsOf(error, url, signal)
  } finally {
    response.destroy()
  }
}

function gunzip(packed: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  return pipeline(Readable.from(packed), createGunzip({ chunkSize: 256 * 1024 }), () => {})
}

async function* joined(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield first
  yield* rest
}

/** Only while we wait for it does the time run: what we do with a piece may take as long as it takes. */
async function* pieces(
  response: http.IncomingMessage,
  url: URL,
  timeoutMs: number,
): AsyncGenerator<Buffer, undefined> {
  const iterator = (response as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  for (;;) {
    const late = setTimeout(
      () =>
        response.destroy(new NoAnswer('too-slow', `${url.host} sent nothing more within ${timeoutMs} ms`)),
      timeoutMs,
    )
    const next = await iterator.next().finally(() => clearTimeout(late))
    if (next.done === true) return undefined
    yield next.value
  }
}

function headersOf({ headers }: http.IncomingMessage): Headers {
  return new Headers(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined
        ? []
        : [[name, Array.isArray(value) ? value.join(', ') : value] as [string, string]],
    ),
  )
}

function wordsOf(error: unknown, url: URL, signal: AbortSignal | undefined): NoAnswer {
  if (error instanceof NoAnswer) return error
  if (signal?.aborted === true) return new NoAnswer('unreachable', 'we are stopping', error)
  const { code } = error as { code?: unknown }
  if (/^(Z_|ERR_STREAM_PREMATURE)/.test(String(code)))
    return new NoAnswer('unreachable', `${url.host} gave a packed file that is cut off or damaged`, error)
  const reason = typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : 'connection failed'
  return new NoAnswer('unreachable', `${url.host} broke off its answer (${reason})`, error)
}
