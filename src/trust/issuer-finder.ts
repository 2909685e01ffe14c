import { DerError } from '../lib/der.ts'
import type { GuardedFetch } from '../lib/guarded-fetch.ts'
import { pkcs7Certificates } from '../lib/pkcs7-certificates.ts'
import { certificatesIn } from './anchors.ts'
import { readCertificate, type Certificate } from './certificate.ts'

/** What a certificate’s own word about its issuer led to. Candidates only: nothing fetched is trusted for being fetched. */
export interface FoundIssuers {
  readonly certificates: readonly Certificate[]
  /** A line for the trace per place that was asked. */
  readonly told: readonly { readonly isFound: boolean; readonly text: string }[]
}

/** Fetches who may have issued a certificate from the places that it names (AIA caIssuers, RFC 5280 §4.2.2.1). */
export type IssuerFinder = (certificate: Certificate, at: Date) => Promise<FoundIssuers>

const placesMax = 3
const octetsMax = 64 * 1024
const timeoutMs = 10_000
/** Certificates per place; bundles of whole communities belong into the trust settings. */
const certificatesMax = 20
const keptMs = 3_600_000
const failureKeptMs = 300_000
const placesKeptMax = 500

interface Place {
  readonly untilMs: number
  readonly found: Promise<readonly Certificate[] | string>
}

/** One for the whole process: places are asked once an hour, those that fail every five minutes. */
export function makeIssuerFinder(fetch: GuardedFetch): IssuerFinder {
  const kept = new Map<string, Place>()

  function ask(url: string, at: Date): Place['found'] {
    const known = kept.get(url)
    if (known !== undefined && known.untilMs > at.getTime()) return known.found
    const found = fetchIssuers(url, fetch)
    kept.delete(url)
    kept.set(url, { untilMs: at.getTime() + keptMs, found })
    for (const oldest of kept.keys()) {
      if (kept.size <= placesKeptMax) break
      kept.delete(oldest)
    }
    void found.then((answer) => {
      if (typeof answer === 'string' && kept.get(url)?.found === found)
        kept.set(url, { untilMs: at.getTime() + failureKeptMs, found })
    })
    return found
  }

  return async ({ authorityInfoAccess }, at) => {
    const certificates: Certificate[] = []
    const told: { isFound: boolean; text: string }[] = []
    // Directories as issuers’ places (ldap:) died out; they are not asked.
    const urls = authorityInfoAccess.caIssuers.filter((url) => /^https?:/i.test(url)).slice(0, placesMax)
    for (const url of urls) {
      const answer = await ask(url, at)
      const shown = url.replace(/[^\x21-\x7e]/g, '?').slice(0, 200)
      if (typeof answer === 'string') told.push({ isFound: false, text: `issuer at ${shown}: ${answer}` })
      else {
        certificates.push(...answer)
        const subjects = answer.map(({ subject }) => `“${subject.text}”`).join(', ')
        told.push({ isFound: true, text: `issuer at ${shown}: ${subjects}` })
      }
    }
    return { certificates, told }
  }
}

/** @returns why there is none, where there is none */
async function fetchIssuers(url: string, fetch: GuardedFetch): Promise<readonly Certificate[] | string> {
  const answer = await fetch(url, { bytesMax: octetsMax, timeoutMs })
  if (answer.outcome !== 'fetched') return answer.because
  if (answer.status !== 200) return `answered ${answer.status}`
  const certificates = dersIn(answer.body)
    .slice(0, certificatesMax)
    .flatMap((der) => {
      const reading = readCertificate(der)
      return reading.readable ? [reading.certificate] : []
    })
  return certificates.length > 0 ? certificates : 'holds no readable certificate'
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
