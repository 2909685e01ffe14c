// node bench/revocation.ts [--quick]: revocation lists and OCSP replies, each beside what no program can do without.
import { createPublicKey, verify } from 'node:crypto'
import { parseArgs } from 'node:util'
import { readCertificate, type Certificate } from '../src/trust/certificate.ts'
import { readCrl, verifyCrl, type VerifiedCrl } from '../src/trust/crl.ts'
import { askCrl } from '../src/trust/crl-status.ts'
import { readOcspReply } from '../src/trust/ocsp-reply.ts'
import { askOcspReply } from '../src/trust/ocsp-status.ts'
import { makeCrl, serialOf } from '../test/pki/crl.ts'
import { makeOcspReply } from '../test/pki/ocsp.ts'
import { makeRoot, type Issued } from '../test/pki/pki.ts'

/** Milliseconds, the median of the rounds; the floor was measured in the same rounds. */
export interface RevocationFigure {
  readonly what: string
  readonly bytes: number
  readonly ms: number
  readonly floorMs?: number
}

const crlUrl = 'http://crl.example/a.crl'
const at = new Date()

/**
 * The floor is one `crypto.verify` over the bytes that are signed: SHA-256 and one RSA-2048 operation. A search in a list
 * that is open has none.
 */
export function revocation({ isQuick = false } = {}): RevocationFigure[] {
  const rounds = isQuick ? 7 : 25
  const issuer = makeRoot()
  const issued = issuer.issue({ crlUrls: [crlUrl] })
  const [certificate, authority] = [read(issued), read(issuer)]
  const figures: RevocationFigure[] = []
  for (const count of isQuick ? [1_000, 100_000] : [100, 1_000, 10_000, 100_000, 400_000])
    figures.push(...lists(count, issuer, certificate, authority, rounds))
  figures.push(reply(issuer, issued, certificate, authority, rounds * 40))
  return figures
}

function lists(
  count: number,
  issuer: Issued,
  certificate: Certificate,
  authority: Certificate,
  rounds: number,
): RevocationFigure[] {
  const revokedAt = new Date(at.getTime() - 86_400_000)
  const serials = Array.from({ length: count }, (_, n) => 2n ** 120n + BigInt(n) * 104_729n)
  const der = makeCrl(issuer, {
    revoked: serials.map((serial, n) => ({
      serial,
      revokedAt,
      ...(n % 2 ? { reason: 'superseded' as const } : {}),
    })),
  })
  const key = createPublicKey(issuer.privateKey)
  const { tbs, signature } = open(der, authority)
  const opening = inTurns(
    rounds,
    () => void ask(open(der, authority), certificate, authority),
    () => void verify('sha256', tbs, key, signature),
  )
  const opened = open(der, authority)
  const searches = 10_000
  const searching = median(
    Array.from({ length: rounds }, () =>
      msOf(() => {
        for (let n = 0; n < searches; n++) ask(opened, certificate, authority)
      }),
    ),
  )
  const named = `${count.toLocaleString('en-US')} entries`
  return [
    { what: `${named}: read, verify, search`, bytes: der.length, ...opening },
    { what: `${named}: search again, each`, bytes: der.length, ms: searching / searches },
  ]
}

function reply(
  issuer: Issued,
  issued: Issued,
  certificate: Certificate,
  authority: Certificate,
  rounds: number,
): RevocationFigure {
  const der = makeOcspReply(issuer, serialOf(issued.certificate))
  const key = createPublicKey(issuer.privateKey)
  const reading = readOcspReply(der)
  if (!reading.readable) throw new Error(reading.because)
  const { tbs, signature } = reading.reply
  const ours = () => {
    const { says } = askOcspReply(der, { certificate, issuer: authority, pool: [], at })
    if (says !== 'not-revoked') throw new Error(says)
  }
  return {
    what: 'an OCSP reply',
    bytes: der.length,
    ...inTurns(rounds, ours, () => void verify('sha256', tbs, key, signature)),
  }
}

function open(der: Buffer, authority: Certificate): VerifiedCrl {
  const reading = readCrl(der)
  if (!reading.readable) throw new Error(reading.because)
  const verification = verifyCrl(reading.crl, authority)
  if (!verification.verified) throw new Error(verification.because)
  return verification.crl
}

function ask(crl: VerifiedCrl, certificate: Certificate, issuer: Certificate): void {
  const point = certificate.crlDistributionPoints[0]!
  const { says } = askCrl(crl, undefined, { certificate, issuer, point, at, graceMs: 0 })
  if (says !== 'not-revoked') throw new Error(says)
}

/** The first round warms both up. */
function inTurns(rounds: number, ours: () => void, floor: () => void): { ms: number; floorMs: number } {
  const [times, floors]: [number[], number[]] = [[], []]
  for (let round = 0; round <= rounds; round++) {
    const [one, other] = [msOf(ours), msOf(floor)]
    if (round === 0) continue
    times.push(one)
    floors.push(other)
  }
  return { ms: median(times), floorMs: median(floors) }
}

function msOf(work: () => void): number {
  const begun = performance.now()
  work()
  return performance.now() - begun
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}

function read({ certificate }: Issued): Certificate {
  const reading = readCertificate(certificate)
  if (!reading.readable) throw new Error(reading.because)
  return reading.certificate
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' } } })
  const row = (what: string, ...cells: string[]) =>
    process.stdout.write(`${what.padEnd(40)}${cells.map((cell) => cell.padStart(12)).join('')}\n`)
  row('', 'kB', 'ms', 'floor ms', '× floor')
  for (const { what, bytes, ms, floorMs } of revocation({ isQuick: values.quick === true }))
    row(
      what,
      (bytes / 1000).toFixed(1),
      ms.toFixed(4),
      floorMs?.toFixed(4) ?? '',
      floorMs === undefined ? '' : (ms / floorMs).toFixed(1),
    )
}
