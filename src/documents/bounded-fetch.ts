/** One HTTP answer, read to its end. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: Headers
  /** Lower case, without parameters; empty where the server names none. */
  readonly mediaType: string
  readonly bytes: Buffer
}

export interface FetchBounds {
  /** From the first byte we send to the last we read. */
  readonly timeoutMs: number
  /** Of the answer, after content decoding. */
  readonly bytesMax: number
  readonly signal?: AbortSignal | undefined
}

/** No answer within the bounds. `because` names neither the path nor the query: both may identify a patient. */
export class NoAnswer extends Error {
  readonly kind: 'unreachable' | 'too-slow' | 'too-large'
  readonly because: string

  constructor(kind: NoAnswer['kind'], because: string, cause?: unknown) {
    super(`${kind}: ${because}`, { cause })
    this.name = 'NoAnswer'
    this.kind = kind
    this.because = because
  }
}

/**
 * `fetch` with a deadline over headers and body, a cap on the body, and redirects handed back instead of followed.
 *
 * @throws NoAnswer
 */
export async function boundedFetch(url: URL, init: RequestInit, bounds: FetchBounds): Promise<HttpAnswer> {
  const deadline = AbortSignal.timeout(bounds.timeoutMs)
  const signal = bounds.signal === undefined ? deadline : AbortSignal.any([deadline, bounds.signal])
  try {
    const response = await fetch(url, { ...init, redirect: 'manual', signal })
    return {
      status: response.status,
      headers: response.headers,
      mediaType: (response.headers.get('content-type') ?? '').split(';')[0]!.trim().toLowerCase(),
      bytes: await readBody(response, bounds.bytesMax),
    }
  } catch (error) {
    if (error instanceof NoAnswer) throw error
    if (deadline.aborted)
      throw new NoAnswer('too-slow', `${url.host} did not answer within ${bounds.timeoutMs} ms`, error)
    if (bounds.signal?.aborted === true) throw new NoAnswer('unreachable', 'we are stopping', error)
    throw new NoAnswer('unreachable', `${url.host} could not be reached (${networkReason(error)})`, error)
  }
}

async function readBody(response: Response, bytesMax: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Leaving the loop by throwing cancels the body, and with it the connection.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > bytesMax) throw new NoAnswer('too-large', `the answer is larger than ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes)
}

/** The system’s error code (ECONNREFUSED, CERT_HAS_EXPIRED …); messages may quote what was asked. */
function networkReason(error: unknown): string {
  let current = error as { code?: unknown; cause?: unknown } | null | undefined
  for (let depth = 0; typeof current === 'object' && current !== null && depth < 5; depth++) {
    if (typeof current.code === 'string' && /^[A-Z0-9_]{1,64}$/.test(current.code)) return current.code
    current = current.cause as typeof current
  }
  return 'connection failed'
}
