import type { CertAnswer, CertRecord } from '../lib/dns-cert.ts'
import { fitsDns } from '../lib/dns-name.ts'
import type { GuardedFetch } from '../lib/guarded-fetch.ts'
import { pkcs7Certificates } from '../lib/pkcs7-certificates.ts'
import type { AnswerCache } from './answer-cache.ts'
import { counted, nothing, type Look, type Seen } from './look.ts'
import { readableOnes } from './readable-certificate.ts'

export interface DnsPorts {
  /** {@link import('../lib/dns-cert.ts').resolveCert} with its servers. */
  readonly resolveCert: (name: string) => Promise<CertAnswer>
  /** For records that name a place instead of holding a certificate; without it they are skipped. */
  readonly fetch?: GuardedFetch
  readonly cache?: AnswerCache<CertAnswer>
}

/** Looks for CERT records under a name (Certificate Discovery IG §2.1, steps 1 and 2). */
export async function lookInDns(name: string, ports: DnsPorts, at: Date): Promise<Look> {
  const asked = `CERT ${name}`
  if (!fitsDns(name))
    return nothing({ outcome: 'skipped', detail: `${asked}: longer than a DNS name can be` })
  const kept = ports.cache?.get(name, at)
  const answer = kept?.answer ?? (await ports.resolveCert(name))
  if (kept === undefined) ports.cache?.put(name, answer, at)
  if (answer.outcome === 'failed') {
    const because = `${asked}: ${answer.because}`
    return { outcome: 'open', because, seen: [{ outcome: 'failed', detail: because }] }
  }
  const age = kept === undefined ? '' : `, kept, good for ${kept.secondsLeft} s more`
  const source = `from ${answer.server}${age}`
  if (answer.outcome === 'absent') {
    const what = answer.kind === 'nxdomain' ? 'no such name' : 'no such record'
    return nothing({ outcome: 'nothing', detail: `${asked}: ${what} (${source})` })
  }
  const reading = await readRecords(answer.records, ports.fetch)
  const seen: Seen[] = reading.left.map((detail) => ({ outcome: 'skipped', detail: `${asked}: ${detail}` }))
  const { certificates } = reading
  if (certificates.length > 0) {
    const via = answer.via.toUpperCase()
    seen.push({ outcome: 'found', detail: `${asked}: ${counted(certificates)} over ${via} (${source})` })
    return { outcome: 'found', certificates, seen }
  }
  if (reading.open !== undefined) {
    const because = `${asked}: ${reading.open}`
    return { outcome: 'open', because, seen: [...seen, { outcome: 'failed', detail: because }] }
  }
  return nothing(...seen, { outcome: 'nothing', detail: `${asked}: no readable certificate (${source})` })
}

/** RFC 4398 §2.1. */
const certTypes: Readonly<Record<number, string>> = {
  2: 'SPKI',
  3: 'PGP',
  4: 'IPKIX',
  5: 'ISPKI',
  6: 'IPGP',
  7: 'ACPKIX',
  8: 'IACPKIX',
  253: 'URI',
  254: 'OID',
}
const typePkix = 1
/** IPKIX and URI hold the place of a certificate instead of the certificate. */
const typesByReference: readonly number[] = [4, 253]
/** A DNS answer may hold hundreds of records; each place costs its owner nothing and us a connection. */
const placesMax = 4
const placeBytesMax = 64 * 1024
const placeTimeoutMs = 10_000

interface Records {
  readonly certificates: readonly Buffer[]
  /** What was passed over, and why. */
  readonly left: readonly string[]
  /** A place that gave no answer now: with nothing else found, the question is open. */
  readonly open?: string
}

async function readRecords(
  records: readonly CertRecord[],
  fetch: GuardedFetch | undefined,
): Promise<Records> {
  const ders: Buffer[] = []
  const left: string[] = []
  let open: string | undefined
  let places = 0
  for (const { type, data } of records) {
    if (type === typePkix) {
      ders.push(data)
      continue
    }
    if (!typesByReference.includes(type)) {
      left.push(
        type === 254
          ? 'a record of type OID holds private data; it cannot be fetched'
          : `a record of type ${certTypes[type] ?? type} is no X.509 certificate`,
      )
      continue
    }
    if (fetch === undefined || ++places > placesMax) {
      left.push(`a record of type ${certTypes[type]} names a place; it was not fetched`)
      continue
    }
    const place = await fetchPlace(data, fetch)
    if ('ders' in place) ders.push(...place.ders)
    else if (place.isOpen) open ??= place.because
    else left.push(place.because)
  }
  const { certificates, unreadable } = readableOnes(ders)
  if (unreadable > 0)
    left.push(
      `${unreadable === 1 ? '1 record is' : `${unreadable} records are`} not readable as a certificate`,
    )
  return { certificates, left, ...(open === undefined ? {} : { open }) }
}

async function fetchPlace(
  data: Buffer,
  fetch: GuardedFetch,
): Promise<{ ders: readonly Buffer[] } | { because: string; isOpen: boolean }> {
  // RFC 4398 §2.1: a URI record is ended by a NUL, behind which private data may follow.
  const end = data.indexOf(0)
  const url = data.toString('latin1', 0, end < 0 ? data.length : end)
  const shown = url.replace(/[^\x21-\x7e]/g, '?').slice(0, 200)
  const answer = await fetch(url, { bytesMax: placeBytesMax, timeoutMs: placeTimeoutMs })
  if (answer.outcome !== 'fetched')
    return { because: `${shown}: ${answer.because}`, isOpen: answer.outcome === 'failed' }
  if (answer.status !== 200)
    return { because: `${shown} answered ${answer.status}`, isOpen: answer.status >= 500 }
  const ders = certificatesAt(answer.body)
  return ders.length > 0 ? { ders } : { because: `${shown} holds no certificate`, isOpen: false }
}

/** DER, PEM or certs-only PKCS#7. */
function certificatesAt(body: Buffer): readonly Buffer[] {
  const pem = [
    ...body.toString('latin1').matchAll(/-----BEGIN (CERTIFICATE|PKCS7)-----([^-]*)-----END \1-----/g),
  ].map(([, , text = '']) => Buffer.from(text, 'base64'))
  return (pem.length > 0 ? pem : [body]).flatMap((bytes) => {
    const { certificates } = readableOnes([bytes])
    if (certificates.length > 0) return certificates
    try {
      return pkcs7Certificates(bytes)
    } catch {
      return []
    }
  })
}
