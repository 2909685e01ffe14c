import { DerError } from '../lib/der.ts'
import type { GuardedFetch } from '../lib/guarded-fetch.ts'
import { pkcs7Certificates } from '../lib/pkcs7-certificates.ts'
import { certificatesIn } from './anchors.ts'
import { readCertificate, type Certificate } from './certificate.ts'

/** What a certificate’s own word about its issuer led to. Candidates only: nothing fetched is trusted for being fetched. */
export interface FoundIssuers {
  readonly certificates: readonly Certificate[]
  /** A line for the trace per place that was asked. */
  readonly told: readonly { readonly text: string; readonly became: 'found' | 'nothing' | 'unavailable' }[]
}

/** Fetches who may have issued a certificate from the places that it names (AIA caIssuers, RFC 5280 §4.2.2.1). */
export type IssuerFinder = (certificate: Certificate, at: Date) => Promise<FoundIssuers>

const placesMax = 2
const octetsMax = 64 * 1024
const timeoutMs = 10_000
/** Certificates per place; bundles of whole communities belong into the trust settings. */
const certificatesMax = 20
const keptMs = 3_600_000
const failureKeptMs = 300_000
const placesKeptMax = 500

/** `unavailable`: asking again may help. */
type Answer =
  | { readonly became: 'found'; readonly certificates: readonly Certificate[] }
  | { readonly became: 'nothing' | 'unavailable'; readonly because: string }

interface Place {
  readonly untilMs: number
  readonly answer: Promise<Answer>
}

/** One for the whole process: places are asked once an hour, those that fail every five minutes. */
export function makeIssuerFinder(fetch: GuardedFetch): IssuerFinder {
  const kept = new Map<string, Place>()

  function ask(url: string, at: Date): Promise<Answer> {
    const known = kept.get(url)
    if (known !== undefined && known.untilMs > at.getTime()) return known.answer
    const answer = fetchIssuers(url, fetch)
    kept.delete(url)
    kept.set(url, { untilMs: at.getTime() + keptMs, answer })
    for (const oldest of kept.keys()) {
      if (kept.size <= placesKeptMax) break
      kept.delete(oldest)
    }
    void answer.then(({ became }) => {
      if (became !== 'found' && kept.get(url)?.answer === answer)
        kept.set(url, { untilMs: at.getTime() + failureKeptMs, answer })
    })
    return answer
  }

  return async ({ authorityInfoAccess }, at) => {
    const certificates: Certificate[] = []
    const told: FoundIssuers['told'][number][] = []
    // Directories as issuers’ places (ldap:) died out; they are not asked.
    const urls = authorityInfoAccess.caIssuers.filter((url) => /^https?:/i.test(url)).slice(0, placesMax)
    for (const url of urls) {
      const answer = await ask(url, at)
      const shown = url.replace(/[^\x21-\x7e]/g, '?').slice(0, 200)
      const { became } = answer
      if (became === 'found') certificates.push(...answer.certificates)
      const text =
        became === 'found'
          ? answer.certificates.map(({ subject }) => `“${subject.text}”`).join(', ')
          : answer.because
      told.push({ text: `issuer at ${shown}: ${text}`, became })
    }
    return { certificates, told }
  }
}

async function fetchIssuers(url: string, fetch: GuardedFetch): Promise<Answer> {
  const answer = await fetch(url, { bytesMax: octetsMax, timeoutMs })
  if (answer.outcome !== 'fetched')
    return { became: answer.outcome === 'failed' ? 'unavailable' : 'nothing', because: answer.because }
  const { status } = answer
  if (status !== 200)
    return {
      became: status >= 500 || status === 429 ? 'unavailable' : 'nothing',
      because: `answered ${status}`,
    }
  const certificates = dersIn(answer.body)
    .slice(0, certificatesMax)
    .flatMap((der) => {
      const reading = readCertificate(der)
      return reading.readable ? [reading.certificate] : []
    })
  return certificates.length > 0
    ? { became: 'found', certificates }
    : { became: 'nothing', because: 'holds no readable certificate' }
}

/** DER, PEM, or certs-only PKCS#7 in DER or BER. */
function dersIn(body: Buffer): readonly Buffer[] {
  try {
    return pkcs7Certificates(body)
  } catch (error) {
    if (!(error instanceof DerError)) throw error
    return certificatesIn(body).ders
  }
}
