import { expect, jest, test } from '@jest/globals'
import { askCrl } from '../../src/trust/crl-status.ts'
import { readCrl, verifyCrl, type VerifiedCrl } from '../../src/trust/crl.ts'
import { allReasons } from '../../src/trust/distribution-points.ts'
import { readOcspReply } from '../../src/trust/ocsp-reply.ts'
import { askOcspReply } from '../../src/trust/ocsp-status.ts'
import { makeCrl, serialOf } from '../pki/crl.ts'
import { makeOcspReply } from '../pki/ocsp.ts'
import { makeRoot } from '../pki/pki.ts'
import { ago, at, crlUrl, dayMs, otherUrl } from '../pki/revocations/crl-case.ts'
import { certificateOf } from './revocation-checks.ts'

/** RSA, since an RSA signature is verified in no time and has one form only. */
const issuer = makeRoot()
const delegate = issuer.issue({ extendedKeyUsage: ['1.3.6.1.5.5.7.3.9'], keyUsage: ['digitalSignature'] })
const issued = issuer.issue({ keyType: 'ec256', crlUrls: [crlUrl], ocspUrls: ['http://ocsp.example/'] })
const [certificate, authority] = [certificateOf(issued), certificateOf(issuer)]
const serial = serialOf(issued.certificate)
const point = certificate.crlDistributionPoints[0]!

const runs = 100_000
// Five seconds each on an idle machine; others may be at work.
jest.setTimeout(300_000)

const others = Array.from({ length: 20 }, (_, n) => ({
  serial: BigInt(n) + 7n,
  ...(n % 3 === 0 ? { reason: 'superseded' as const } : {}),
  ...(n % 5 === 0 ? { invalidSince: ago(dayMs) } : {}),
}))

test('100,000 lists with octets changed, cut, doubled or moved: never good, never an exception', () => {
  const originals = [
    makeCrl(issuer, { revoked: others }),
    makeCrl(issuer, { revoked: [...others, { serial }], freshestUrls: [otherUrl] }),
    makeCrl(issuer, {
      revoked: others,
      issuingPoint: { names: [{ uri: crlUrl }, { directory: { CN: 'One' } }], onlyUsers: true },
    }),
    makeCrl(issuer, {
      issuingPoint: { indirect: true },
      revoked: [{ serial: 5n, certificateIssuer: issuer.subjectName }, ...others],
    }),
    makeCrl(issuer, { revoked: [{ serial, reason: 'certificateHold' }], number: 3n }),
  ]
  const complete = verified(originals[4]!)
  const asked = (bytes: Buffer) => {
    const reading = readCrl(bytes)
    if (!reading.readable) return { says: 'unreadable', tbs: undefined }
    // As it would be, were the signature right: the entries are walked and asked, whatever they are.
    const verification = verifyCrl(reading.crl, authority)
    const crl = verification.verified ? verification.crl : undefined
    if (crl === undefined) return { says: 'refused', tbs: reading.crl.tbs }
    const question = { certificate, issuer: authority, point, at, graceMs: 0 }
    const joined = askCrl(complete, crl, question)
    expect(joined.says).not.toBe('not-revoked')
    return { says: askCrl(crl, undefined, question).says, tbs: reading.crl.tbs }
  }
  const signed = originals.map((list) => asked(list).tbs!)
  expect(asked(originals[0]!).says).toBe('not-revoked')
  expect(asked(originals[1]!).says).toBe('revoked')
  const random = pseudoRandom(20_250_101)
  let good = 0
  for (let run = 0; run < runs; run++) {
    const which = run % originals.length
    const changed = mutate(originals[which]!, originals[random(originals.length)]!, random)
    const { says, tbs } = asked(changed)
    if (says !== 'not-revoked' && says !== 'revoked') continue
    // What is still believed is what was signed, octet for octet.
    expect(signed.some((original) => original.equals(tbs!))).toBe(true)
    good++
  }
  // Mutations that leave everything as it was happen, or the test would not see what it says.
  expect(good).toBeGreaterThan(0)
})

test('the entries of 30,000 changed lists, taken as signed: no exception but of one kind, no endless walk', () => {
  const list = makeCrl(issuer, {
    issuingPoint: { indirect: true },
    revoked: [{ serial: 5n, certificateIssuer: issuer.subjectName }, ...others, { serial }],
  })
  const random = pseudoRandom(7)
  for (let run = 0; run < 30_000; run++) {
    const reading = readCrl(mutate(list, list, random))
    if (!reading.readable) continue
    const { crl } = reading
    const resigned = verifyCrl(
      { ...crl, ...signatureOf(list), issuer: authority.subject, unknownCritical: [] },
      authority,
    )
    if (!resigned.verified) {
      expect(resigned.because).toMatch(/not readable as BER/)
      continue
    }
    const question = {
      certificate,
      issuer: authority,
      point: { ...point, reasons: allReasons },
      at,
      graceMs: 0,
    }
    expect(['revoked', 'not-revoked', 'nothing']).toContain(askCrl(resigned.crl, undefined, question).says)
  }
})

test('100,000 OCSP replies with octets changed, cut, doubled or moved: never good, never an exception', () => {
  const nonce = Buffer.alloc(32, 7)
  const originals = [
    makeOcspReply(issuer, serial, { nonce }),
    makeOcspReply(issuer, serial, { nonce, responder: delegate }),
    makeOcspReply(issuer, serial, { responder: delegate, nameBy: 'key', certIdHash: 'sha256' }),
    makeOcspReply(issuer, serial, { nonce, status: 'revoked', reason: 1 }),
    makeOcspReply(issuer, serial, { responseStatus: 3 }),
  ]
  const question = { certificate, issuer: authority, nonce, pool: [], at }
  expect(originals.map((reply) => askOcspReply(reply, question).says)).toEqual([
    'not-revoked',
    'not-revoked',
    'not-revoked',
    'revoked',
    'nothing',
  ])
  const signed = originals.slice(0, 4).map(signedIn)
  const random = pseudoRandom(20_250_102)
  let good = 0
  for (let run = 0; run < runs; run++) {
    const changed = mutate(originals[run % originals.length]!, originals[random(originals.length)]!, random)
    if (askOcspReply(changed, question).says === 'nothing') continue
    expect(signed.some((original) => original.equals(signedIn(changed)))).toBe(true)
    good++
  }
  expect(good).toBeGreaterThan(0)
})

function verified(list: Buffer): VerifiedCrl {
  const reading = readCrl(list)
  if (!reading.readable) throw new Error(reading.because)
  const verification = verifyCrl(reading.crl, authority)
  if (!verification.verified) throw new Error(verification.because)
  return verification.crl
}

/** What an original list was signed with, to be put under changed entries: its bytes, and so its signature. */
function signatureOf(list: Buffer) {
  const { tbs, signature, signatureAlgorithm } = verified(list)
  return { tbs, signature, signatureAlgorithm }
}

function signedIn(reply: Buffer): Buffer {
  const reading = readOcspReply(reply)
  if (!reading.readable) throw new Error(reading.because)
  return reading.reply.tbs
}

/** One to three changes, each of a kind that parsers stumble over. */
function mutate(original: Buffer, other: Buffer, random: (below: number) => number): Buffer {
  let bytes: Buffer = Buffer.from(original)
  for (let change = 0; change <= random(3); change++) {
    const spot = random(bytes.length)
    const length = 1 + random(16)
    switch (random(8)) {
      case 0:
        bytes[spot]! ^= 1 << random(8)
        break
      case 1:
        bytes[spot] = random(256)
        break
      case 2:
        bytes = bytes.subarray(0, spot + 1)
        break
      case 3:
        bytes = Buffer.concat([
          bytes.subarray(0, spot),
          bytes.subarray(Math.min(spot + length, bytes.length - 1)),
        ])
        break
      case 4:
        bytes = Buffer.concat([
          bytes.subarray(0, spot),
          bytes.subarray(spot, spot + length),
          bytes.subarray(spot),
        ])
        break
      case 5: {
        const from = random(other.length)
        bytes = Buffer.concat([
          bytes.subarray(0, spot),
          other.subarray(from, from + length),
          bytes.subarray(Math.min(spot + length, bytes.length)),
        ])
        break
      }
      case 6:
        // Lengths: the places where readers disagree.
        bytes[spot] = [0x80, 0x81, 0x82, 0x84, 0x85, 0xff, 0x00, 0x7f][random(8)]!
        break
      default:
        bytes[spot] = [0x30, 0x31, 0x02, 0x05, 0xa0, 0xa1, 0x1f, 0x24][random(8)]!
    }
    if (bytes.length === 0) bytes = Buffer.from([0x30])
  }
  return bytes
}

/** mulberry32: the same runs on every machine. */
function pseudoRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}
