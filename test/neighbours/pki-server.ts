import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { context, integer, oid, sequence, set } from '../pki/der.ts'
import { certIdOf, makeOcspReply, readOcspQuestion, type OcspWishes } from '../pki/ocsp.ts'
import type { Issued } from '../pki/pki.ts'

/** What lies under a path. */
export type PkiPlace =
  | { readonly is: 'crl' | 'cer' | 'p7c'; readonly bytes: Buffer }
  /** A live responder of this authority; `about` says what of a serial number, good where it says nothing. */
  | {
      readonly is: 'ocsp'
      readonly authority: Issued
      readonly about?: (serial: bigint) => OcspWishes | undefined
    }

/** How a path misbehaves instead. */
export type PkiFault =
  | { readonly how: 'status'; readonly status: number }
  /** Takes the question and never answers. */
  | { readonly how: 'silence' }
  /** Closes in the middle of the body it promised. */
  | { readonly how: 'cut-off' }
  /** A page for people, as text/html with 200. */
  | { readonly how: 'wrong-type' }
  /** Sends octets for as long as somebody takes them; no length is told before. */
  | { readonly how: 'huge' }
  /** Tells a length of gigabytes before the first octet. */
  | { readonly how: 'huge-promise' }
  /** To another path of this server, or to any URL. */
  | { readonly how: 'redirect'; readonly to: string }
  /** One octet at a time, this many milliseconds apart. */
  | { readonly how: 'slow'; readonly everyMs: number }

export interface PkiServer {
  readonly port: number
  url(path: string): string
  put(path: string, place: PkiPlace): void
  /** Until `heal`, or for so many requests. */
  misbehave(path: string, fault: PkiFault, times?: number): void
  heal(path?: string): void
  /** `GET /root.crl`, oldest first. */
  readonly asked: readonly string[]
  close(): Promise<void>
}

const types = {
  crl: 'application/pkix-crl',
  cer: 'application/pkix-cert',
  p7c: 'application/pkcs7-mime',
} as const

/**
 * What an authority has on the web: revocation lists, a live OCSP responder, its certificates for AIA. Plain HTTP, as RFC
 * 5280 §8 advises, on the loopback.
 */
export async function servePki({ host = '127.0.0.1', port = 0 } = {}): Promise<PkiServer> {
  const places = new Map<string, PkiPlace>()
  const faults = new Map<string, { fault: PkiFault; times: number }>()
  const asked: string[] = []

  const server = createServer((request, response) => {
    const path = pathOf(request)
    asked.push(`${request.method} ${path}`)
    const trouble = faults.get(path)
    if (trouble !== undefined) {
      if (--trouble.times <= 0) faults.delete(path)
      misbehaving(trouble.fault, response, bytesOf(places.get(path)))
      return
    }
    answer(places, path, request, response).catch(() => response.writeHead(400).end())
  })
  server.listen(port, host)
  await once(server, 'listening')
  const { port: bound } = server.address() as AddressInfo
  return {
    port: bound,
    url: (path) => `http://${host}:${bound}${path}`,
    put: (path, place) => void places.set(path, place),
    misbehave: (path, fault, times = Infinity) => void faults.set(path, { fault, times }),
    heal: (path) => void (path === undefined ? faults.clear() : faults.delete(path)),
    asked,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** certs-only CMS (RFC 5751 §3.9): what caIssuers may point at (RFC 5280 §4.2.2.1). */
export function certsOnly(...certificates: readonly Buffer[]): Buffer {
  const signedData = sequence(
    integer(1),
    set(),
    sequence(oid('1.2.840.113549.1.7.1')),
    context(0, ...certificates),
    set(),
  )
  return sequence(oid('1.2.840.113549.1.7.2'), context(0, signedData))
}

async function answer(
  places: ReadonlyMap<string, PkiPlace>,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const place = places.get(path) ?? placeAbove(places, path)
  if (place === undefined) {
    response.writeHead(404).end()
  } else if (place.is === 'ocsp') {
    const question =
      request.method === 'POST'
        ? await bodyOf(request)
        : Buffer.from(decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)), 'base64')
    response.writeHead(200, { 'content-type': 'application/ocsp-response' })
    response.end(respond(place, question))
  } else response.writeHead(200, { 'content-type': types[place.is] }).end(place.bytes)
}

/** RFC 6960 §A.1: a question by GET is appended to the responder’s URL. */
function placeAbove(places: ReadonlyMap<string, PkiPlace>, path: string): PkiPlace | undefined {
  const above = places.get(path.slice(0, path.lastIndexOf('/') + 1))
  return above?.is === 'ocsp' ? above : undefined
}

function respond({ authority, about }: PkiPlace & { is: 'ocsp' }, request: Buffer): Buffer {
  const { certId, serial, nonce } = readOcspQuestion(request)
  if (!certId.equals(certIdOf(authority, serial)) && !certId.equals(certIdOf(authority, serial, 'sha256')))
    return makeOcspReply(authority, serial, { responseStatus: 6 })
  return makeOcspReply(authority, serial, { ...(nonce === undefined ? {} : { nonce }), ...about?.(serial) })
}

function misbehaving(fault: PkiFault, response: ServerResponse, bytes: Buffer): void {
  const type = { 'content-type': 'application/octet-stream' }
  if (fault.how === 'status') response.writeHead(fault.status).end()
  else if (fault.how === 'wrong-type')
    response
      .writeHead(200, { 'content-type': 'text/html' })
      .end('<html><body>Welcome to our authority</body></html>')
  else if (fault.how === 'redirect') response.writeHead(302, { location: fault.to }).end()
  else if (fault.how === 'huge-promise')
    response.writeHead(200, { ...type, 'content-length': 8_000_000_000 }).write(Buffer.alloc(65_536, 0x30))
  else if (fault.how === 'cut-off') {
    response.writeHead(200, { ...type, 'content-length': bytes.length })
    response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy())
  } else if (fault.how === 'huge') pourInto(response.writeHead(200, type))
  else if (fault.how === 'slow') dripInto(response.writeHead(200, type), bytes, fault.everyMs)
}

function pourInto(response: ServerResponse): void {
  const drop = Buffer.alloc(65_536, 0x30)
  const pour = () => {
    while (!response.destroyed && response.write(drop));
  }
  response.on('drain', pour)
  pour()
}

function dripInto(response: ServerResponse, bytes: Buffer, everyMs: number): void {
  let at = 0
  const timer = setInterval(() => {
    if (at >= bytes.length) response.end()
    else response.write(bytes.subarray(at, ++at))
  }, everyMs)
  response.once('close', () => clearInterval(timer))
}

function bytesOf(place: PkiPlace | undefined): Buffer {
  return place === undefined || place.is === 'ocsp' ? Buffer.alloc(1000, 0x30) : place.bytes
}

function pathOf({ url = '/' }: IncomingMessage): string {
  return url.split('?')[0]!
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
