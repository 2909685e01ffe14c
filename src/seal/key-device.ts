import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { Failed } from '../domain/failure.ts'
import type { KeyHolder } from './own-key.ts'

export interface KeyDevice {
  /** `unix:/absolute/path` of a socket, or an https URL. */
  readonly at: string
  /** How the device calls the key. */
  readonly key: string
  readonly token?: string
  /** PEM: who vouches for the device’s certificate, and what we show it ourselves. */
  readonly tls?: { readonly ca?: string; readonly certificate?: string; readonly privateKey?: string }
  /** For the whole of one question and its answer. */
  readonly timeoutMs: number
}

const answerBytesMax = 64 * 1024

/**
 * A private key in a device behind a socket or a web server: `POST …/sign`, `/decrypt`, `/agree`, JSON in and out. The
 * protocol stands in docs/security.md, “Keys that never leave a device”. What is signed are the
 * signed attributes (RFC 5652 §5.3): a digest, a time, no part of a record.
 *
 * @throws Failed key-unavailable where the device does not answer, or not as agreed. Only of `decrypt` and `agree`, 422
 *   means that the ciphertext is none: an Error, as of any key
 */
export function deviceKeyHolder(device: KeyDevice, type: 'rsa' | 'ec'): KeyHolder {
  return {
    type,
    sign: (hash, bytes) => ask(device, 'sign', { hash, bytes: Buffer.from(bytes).toString('base64') }),
    decrypt: (encryptedKey, padding) =>
      ask(device, 'decrypt', { padding, encryptedKey: Buffer.from(encryptedKey).toString('base64') }),
    agree: (peer) =>
      ask(device, 'agree', {
        publicKey: peer.export({ format: 'der', type: 'spki' }).toString('base64'),
      }),
  }
}

async function ask(device: KeyDevice, operation: string, question: object): Promise<Buffer> {
  const { status, body } = await exchanged(device, operation, { key: device.key, ...question })
  if (status === 422 && operation !== 'sign') throw new Error('the device cannot open it')
  if (status !== 200) throw unavailable(device, `answered ${status} to ${operation}${remedyOf(status)}`)
  const result = resultIn(body)
  if (result === undefined) throw unavailable(device, `answered ${operation} without a result in base64`)
  return result
}

function exchanged(
  device: KeyDevice,
  operation: string,
  question: object,
): Promise<{ status: number; body: string }> {
  const asked = Buffer.from(JSON.stringify(question))
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>()
  const fail = (because: string) => reject(unavailable(device, because))
  const options = {
    method: 'POST',
    agent: false as const,
    headers: {
      'Content-Type': 'application/json',
      'Content-Length': asked.length,
      ...(device.token === undefined ? {} : { Authorization: `Bearer ${device.token}` }),
    },
    signal: AbortSignal.timeout(device.timeoutMs),
  }
  const hear = (response: IncomingMessage) => {
    const chunks: Buffer[] = []
    let bytes = 0
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > answerBytesMax) {
        fail('answered more than a key operation can')
        response.destroy()
      } else chunks.push(chunk)
    })
    response.on('end', () =>
      resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
    )
    response.on('error', () => fail('broke off its answer'))
  }
  const sent = device.at.startsWith('unix:')
    ? httpRequest({ ...options, socketPath: device.at.slice(5), path: `/${operation}` }, hear)
    : httpsRequest(
        `${device.at.replace(/\/$/, '')}/${operation}`,
        { ...options, ca: device.tls?.ca, cert: device.tls?.certificate, key: device.tls?.privateKey },
        hear,
      )
  sent.on('error', (error: NodeJS.ErrnoException) =>
    fail(
      error.name === 'AbortError' || error.name === 'TimeoutError'
        ? `did not answer ${operation} within ${device.timeoutMs} ms`
        : `cannot be reached (${error.code ?? error.name})`,
    ),
  )
  sent.end(asked)
  return promise
}

function remedyOf(status: number): string {
  if (status === 404) return ': check `key:`, the name of the key in the device'
  if (status === 401 || status === 403) return ': check `token:` or clientCertificate'
  return ''
}

/** Strict: Buffer.from would read nonsense as something. */
function resultIn(body: string): Buffer | undefined {
  try {
    const { result } = JSON.parse(body) as { result?: unknown }
    if (typeof result !== 'string' || result === '') return undefined
    const bytes = Buffer.from(result, 'base64')
    return bytes.toString('base64') === result ? bytes : undefined
  } catch {
    return undefined
  }
}

function unavailable({ at, key }: KeyDevice, what: string): Failed {
  return new Failed('key-unavailable', `the device ${at} with the key “${key}” ${what}`)
}
