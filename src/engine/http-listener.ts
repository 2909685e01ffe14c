import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http, { type RequestListener } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { isLoopback, placeOf } from '../settings/endpoint.ts'
import type { Settings } from '../settings.ts'
import { drainMsMax, type Stops } from './stops.ts'

/** A whole request must be in by then; 64 kB of JSON take no longer on any line. */
const requestMsMax = 30_000
const headersMsMax = 10_000

/**
 * Serves `app` where the settings say.
 *
 * @returns the URL
 * @throws Error in words for the operator, where it could be reached by others without TLS or login
 */
export async function serveHttp(
  settings: Pick<Settings, 'listen' | 'access'>,
  app: RequestListener,
  stops: Stops,
): Promise<string> {
  const { http: on, httpTls } = settings.listen
  requireSafe(settings)
  const server =
    httpTls === undefined
      ? http.createServer(app)
      : https.createServer(
          {
            cert: readFileSync(httpTls.certificate),
            key: httpTls.privateKey,
            minVersion: 'TLSv1.2',
            // Asked of everybody, demanded where servers notify: people log in by other means.
            ...(httpTls.clientCa === undefined
              ? {}
              : { ca: readFileSync(httpTls.clientCa), requestCert: true, rejectUnauthorized: false }),
          },
          app,
        )
  server.requestTimeout = requestMsMax
  server.headersTimeout = headersMsMax
  server.listen(on.port, on.host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    throw new Error(
      `HTTP cannot listen on ${placeOf(on)} (${(cause as NodeJS.ErrnoException).code ?? 'refused'}): end what uses it, or set listen.http`,
      { cause },
    )
  }
  stops.add('HTTP', async () => {
    const closed = once(server, 'close')
    server.close()
    server.closeIdleConnections()
    setTimeout(() => server.closeAllConnections(), drainMsMax).unref()
    await closed
  })
  const { address: host, port } = server.address() as AddressInfo
  return `${httpTls === undefined ? 'http' : 'https'}://${placeOf({ host, port })}`
}

/** Elsewhere than on loopback, records travel by TLS and everybody says who they are. */
function requireSafe({ listen: { http: on, httpTls }, access }: Pick<Settings, 'listen' | 'access'>): void {
  if (isLoopback(on.host)) return
  if (httpTls === undefined)
    throw new Error(
      `listen.http is ${placeOf(on)}, which others can reach, without TLS: set listen.httpTls, or listen on 127.0.0.1 behind a proxy that has it`,
    )
  if (access.keys.length === 0 && access.oidc === undefined)
    throw new Error(
      'listen.http can be reached by others, but nobody has access: set access.keys or access.oidc',
    )
}
