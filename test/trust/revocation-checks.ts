import type { GuardedFetch } from '../../src/lib/guarded-fetch.ts'
import { readCertificate, type Certificate } from '../../src/trust/certificate.ts'
import { makeRevocation, type RevocationOptions, type RevocationStatus } from '../../src/trust/revocation.ts'
import { pemOf, type Issued } from '../pki/pki.ts'

export function certificateOf(given: Issued | Buffer): Certificate {
  const der = Buffer.isBuffer(given) ? given : given.certificate
  const reading = readCertificate(der)
  if (!reading.readable) throw new Error(`${reading.because}\n${pemOf(der)}`)
  return reading.certificate
}

/** What a place answers: bytes, a status, or nothing at all; a function is asked anew each time. */
type Place = Buffer | number | 'silent' | ((body: Buffer | undefined) => Buffer | number | 'silent')

/** A world of places by URL, and a record of who was asked. What is not in it answers 404. */
export function aWorld(places: Record<string, Place>) {
  const asked: string[] = []
  const fetch: GuardedFetch = (url, order) => {
    asked.push(url)
    const place = places[url] ?? 404
    const answer =
      typeof place === 'function'
        ? place(order.body === undefined ? undefined : Buffer.from(order.body))
        : place
    if (answer === 'silent') return Promise.resolve({ outcome: 'failed', because: 'no connection' })
    const [status, body] = typeof answer === 'number' ? [answer, Buffer.alloc(0)] : [200, answer]
    return Promise.resolve({ outcome: 'fetched', status, headers: new Map(), body })
  }
  return { fetch, asked, places }
}

/** One question, asked of a check that knows nothing yet. */
export function statusOf(
  places: Record<string, Place>,
  certificate: Issued | Buffer,
  issuer: Issued | Buffer,
  at: Date,
  options: Partial<RevocationOptions> = {},
  pool: readonly (Issued | Buffer)[] = [],
): Promise<RevocationStatus> {
  const check = makeRevocation({ fetch: aWorld(places).fetch, mode: 'hard-fail', graceMs: 0, ...options })
  return check(certificateOf(certificate), certificateOf(issuer), pool.map(certificateOf), at)
}
