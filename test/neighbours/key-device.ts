import { constants, createPublicKey, diffieHellman, privateDecrypt, sign, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttps, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'

/** How it misbehaves instead of answering. */
export type DeviceFault =
  | { readonly how: 'silence' }
  | { readonly how: 'status'; readonly status: number }
  | { readonly how: 'body'; readonly body: string }
  | { readonly how: 'cut-off' }

export interface KeyDeviceServer {
  /** As `device:` of the settings takes it. */
  readonly at: string
  /** Operation and key of each question, in order. */
  readonly asked: readonly string[]
  fails(fault: DeviceFault | undefined): void
  close(): Promise<void>
}

/** A signer as docs/security.md describes it, with keys under labels, behind a socket or behind TLS. */
export async function startKeyDevice(options: {
  readonly keys: Readonly<Record<string, KeyObject>>
  /** Where to listen: path of a socket, or TLS on loopback. */
  readonly on: string | ServerOptions
  readonly token?: string
}): Promise<KeyDeviceServer> {
  const { keys, on, token } = options
  const asked: string[] = []
  let fault: DeviceFault | undefined
  const hear = async (request: IncomingMessage, response: ServerResponse) => {
    const operation = request.url!.split('/').at(-1)!
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const question = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string>
    asked.push(`${operation} ${question['key']}`)
    const answer = (status: number, body: object | string) =>
      response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body))
    if (fault?.how === 'silence') return
    if (fault?.how === 'cut-off') return request.socket.destroy()
    if (fault?.how === 'status') return answer(fault.status, { error: 'as told' })
    if (fault?.how === 'body') return answer(200, fault.body)
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`)
      return answer(401, { error: 'who asks?' })
    const key = keys[question['key']!]
    if (key === undefined) return answer(404, { error: 'no such key' })
    try {
      return answer(200, { result: operate(key, operation, question).toString('base64') })
    } catch {
      return answer(422, { error: 'nothing comes out' })
    }
  }
  const server =
    typeof on === 'string'
      ? createHttp((request, response) => void hear(request, response))
      : createHttps(on, (request, response) => void hear(request, response))
  if (typeof on === 'string') server.listen(on)
  else server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    at:
      typeof on === 'string'
        ? `unix:${on}`
        : `https://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    asked,
    fails: (next) => void (fault = next),
    close: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

function operate(key: KeyObject, operation: string, question: Record<string, string>): Buffer {
  const octets = (name: string) => Buffer.from(question[name]!, 'base64')
  if (operation === 'sign') return sign(question['hash'], octets('bytes'), key)
  if (operation === 'agree')
    return diffieHellman({
      privateKey: key,
      publicKey: createPublicKey({ key: octets('publicKey'), format: 'der', type: 'spki' }),
    })
  const [scheme, oaepHash] = question['padding']!.split('-')
  return privateDecrypt(
    scheme === 'pkcs1'
      ? { key, padding: constants.RSA_PKCS1_PADDING }
      : { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash },
    octets('encryptedKey'),
  )
}
