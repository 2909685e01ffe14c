import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { makeRoot, serverAuth } from '../pki/pki.ts'

/** How the server answers instead of giving its bundle. */
export type BundleFault =
  | { readonly how: 'status'; readonly status: number }
  /** Takes the question and never answers. */
  | { readonly how: 'silence' }
  /** Closes in the middle of what it promised. */
  | { readonly how: 'cut-off' }
  /** A page for people, with 200. */
  | { readonly how: 'wrong-type' }
  | { readonly how: 'redirect'; readonly to: string }
  /** Octets without end. */
  | { readonly how: 'huge' }

export interface BundleServer {
  readonly url: string
  readonly port: number
  /** PEM of the authority that vouches for the server. */
  readonly authority: string
  /** Published from now on; undefined: with neither ETag nor Last-Modified. */
  publish(bundle: Buffer, options?: { readonly isPlain?: boolean }): void
  misbehave(fault: BundleFault | undefined): void
  /** Status of each answer, oldest first. */
  readonly answered: readonly number[]
  close(): Promise<void>
}

/** Where a trust community publishes its bundle: https on the loopback, under an authority of its own. */
export async function serveBundle(first: Buffer): Promise<BundleServer> {
  const root = makeRoot({ keyType: 'ec256' })
  const server = root.issue({ keyType: 'ec256', domains: ['localhost'], extendedKeyUsage: [serverAuth] })
  let bundle = first
  let isPlain = false
  let fault: BundleFault | undefined
  const answered: number[] = []

  const https = createServer(
    { cert: server.certificatePem, key: server.privateKeyPem },
    (request, response) => {
      const say = (status: number, headers: Record<string, string> = {}) => {
        answered.push(status)
        return response.writeHead(status, headers)
      }
      switch (fault?.how) {
        case 'status':
          return say(fault.status).end()
        case 'silence':
          return
        case 'cut-off':
          say(200, { 'content-length': String(bundle.length) }).write(
            bundle.subarray(0, bundle.length >> 1),
            () => response.destroy(),
          )
          return
        case 'wrong-type':
          return say(200, { 'content-type': 'text/html' }).end('<!DOCTYPE html><title>Moved</title>')
        case 'redirect':
          return say(302, { location: fault.to }).end()
        case 'huge': {
          say(200)
          const piece = Buffer.alloc(65_536, 0x30)
          const more = () => {
            while (!response.destroyed && response.write(piece));
          }
          response.on('drain', more)
          return more()
        }
        case undefined:
      }
      const etag = `"${createHash('sha256').update(bundle).digest('hex').slice(0, 16)}"`
      if (!isPlain && request.headers['if-none-match'] === etag) return say(304, { etag }).end()
      return say(200, {
        'content-type': 'application/pkcs7-mime',
        ...(isPlain ? {} : { etag, 'last-modified': new Date(0).toUTCString() }),
      }).end(bundle)
    },
  )
  https.listen(0, 'localhost')
  await once(https, 'listening')
  const { port } = https.address() as AddressInfo
  return {
    url: `https://localhost:${port}/patient.p7b`,
    port,
    authority: root.certificatePem,
    publish(next, options = {}) {
      bundle = next
      isPlain = options.isPlain === true
    },
    misbehave(next) {
      fault = next
    },
    answered,
    async close() {
      https.closeAllConnections()
      https.close()
      await once(https, 'close')
    },
  }
}
