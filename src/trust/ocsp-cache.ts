import type { GuardedFetch } from '../lib/guarded-fetch.ts'
import type { Certificate } from './certificate.ts'
import { once } from './crl-cache.ts'
import { askAgainAt } from './freshness.ts'
import { ocspReplyOctetsMax } from './ocsp-reply.ts'
import { writeOcspRequest } from './ocsp-request.ts'
import { askOcspReply, type OcspAnswer } from './ocsp-status.ts'

/** What a responder said last, and why it says no more. */
export interface HeldOcspAnswer {
  /** The last answer that said something; its nextUpdate may be over. */
  readonly answer?: Exclude<OcspAnswer, { says: 'nothing' }>
  readonly because?: string
}

interface Kept extends HeldOcspAnswer {
  readonly askAgainAt: Date
}

/** Responders answer for days; a certificate revoked an hour ago is one we want to know of. */
const keepMsMax = 3_600_000
const fetchMsMax = 8_000
const answersKeptMax = 10_000
const respondersKeptMax = 1_000

/**
 * OCSP answers by responder and certificate, kept until their nextUpdate (an hour at most, 5 minutes at least). A responder
 * that cannot be reached is left alone for 5 minutes, whatever certificate is in question.
 *
 * @param nonce 32 random octets for each question
 */
export function makeOcspCache({
  fetch,
  nonce,
}: {
  readonly fetch: GuardedFetch
  readonly nonce: () => Buffer
}) {
  const kept = new Map<string, Kept>()
  const silent = new Map<string, { readonly because: string; readonly askAgainAt: Date }>()
  const asked = new Map<string, Promise<HeldOcspAnswer>>()

  return async function ocspAt(
    url: string,
    certificate: Certificate,
    issuer: Certificate,
    pool: readonly Certificate[],
    at: Date,
  ): Promise<HeldOcspAnswer> {
    const key = `${certificate.fingerprint} ${issuer.fingerprint} ${url}`
    const found = kept.get(key)
    if (found !== undefined && at < found.askAgainAt) return found
    const silence = silent.get(url)
    if (silence !== undefined && at < silence.askAgainAt) return { ...found, because: silence.because }
    return once(asked, key, async () => {
      const question = { certificate, issuer, pool, nonce: nonce(), at }
      const reply = await replyOf(url, writeOcspRequest(certificate, issuer, question.nonce))
      const last = found?.answer === undefined ? {} : { answer: found.answer }
      const later = askAgainAt(at, undefined, keepMsMax)
      if (typeof reply === 'string') {
        remember(silent, url, { because: reply, askAgainAt: later }, respondersKeptMax)
        return { ...last, because: reply }
      }
      const answer = askOcspReply(reply, question)
      if (answer.says === 'nothing')
        return remember(kept, key, { ...last, because: answer.because, askAgainAt: later }, answersKeptMax)
      const nextUpdate = answer.says === 'revoked' ? undefined : answer.nextUpdate
      return remember(
        kept,
        key,
        { answer, askAgainAt: askAgainAt(at, nextUpdate, keepMsMax) },
        answersKeptMax,
      )
    })
  }

  /** By POST: the GET form of RFC 6960 §A.1 is for short requests that caches may answer, and ours carry a nonce. */
  async function replyOf(url: string, request: Buffer): Promise<Buffer | string> {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/ocsp-request', accept: 'application/ocsp-response' },
      body: request,
      bytesMax: ocspReplyOctetsMax,
      timeoutMs: fetchMsMax,
    })
    if (answer.outcome !== 'fetched') return answer.because
    return answer.status === 200 ? answer.body : `the responder answers ${answer.status}`
  }
}

function remember<Value>(map: Map<string, Value>, key: string, value: Value, sizeMax: number): Value {
  map.delete(key)
  map.set(key, value)
  for (const oldest of map.keys()) {
    if (map.size <= sizeMax) break
    map.delete(oldest)
  }
  return value
}
