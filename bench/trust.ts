import { X509Certificate } from 'node:crypto'
import { parseArgs } from 'node:util'
import { readDirectAddress } from '../src/domain/direct-address.ts'
import { readCertificate, type Certificate } from '../src/trust/certificate.ts'
import { validateChain } from '../src/trust/validate-chain.ts'
import { issueFor, makeRoot, pemOf, type Authority, type KeyType } from '../test/pki/pki.ts'

/** One line of the result: a verdict against the signature checks of the same chain alone, in turns within one run. */
export interface TrustFigure {
  readonly chain: string
  readonly anchors: number
  readonly perSecond: number
  readonly floorPerSecond: number
  /** Time of a verdict by the time of the floor. */
  readonly timesFloor: number
}

const address = 'ellen.ross@direct.somephr.example'
const rounds = 7

/**
 * Verdicts per second on certificates already read, as they are when several transmissions go to one domain; and, in the
 * first line, the reading of certificates never seen before, against node:crypto’s own.
 *
 * The floor is `X509Certificate.verify` for each link of the path: what no validator can do without.
 */
export function trust({ isQuick = false } = {}): TrustFigure[] {
  const roundMs = isQuick ? 60 : 300
  const at = new Date()
  const figures: TrustFigure[] = [reading(roundMs)]
  for (const keyType of ['rsa2048', 'ec256'] as const)
    for (const authorities of [1, 2, 3])
      for (const anchorCount of authorities === 2 ? [1, 300] : [1])
        figures.push(verdicts(keyType, authorities, anchorCount, at, roundMs))
  return figures
}

function verdicts(
  keyType: KeyType,
  authorities: number,
  anchorCount: number,
  at: Date,
  roundMs: number,
): TrustFigure {
  const line: Authority[] = [makeRoot({ keyType })]
  while (line.length < authorities) line.push(line.at(-1)!.issueAuthority({ keyType }))
  const leaf = read(issueFor(line.at(-1)!, address, { keyType }).certificate)
  const [root, ...between] = line.map(({ certificate }) => read(certificate))
  const anchors = [root!]
  while (anchors.length < anchorCount) anchors.unshift(read(makeRoot({ keyType: 'ec256' }).certificate))
  const trusted = anchors.map((certificate) => ({ certificate }))
  const parsed = readDirectAddress(address)
  if (!parsed.valid) throw new Error(parsed.because)
  const question = { at, purpose: 'sign', address: parsed.address } as const
  const ask = () => {
    const verdict = validateChain(leaf, between, trusted, question)
    if (!verdict.trusted) throw new Error('the chain of the benchmark is not trusted')
  }
  const path = [leaf, ...between.reverse(), root!].map(({ der }) => new X509Certificate(der))
  const keys = path.map(({ publicKey }) => publicKey)
  const floor = () => {
    for (const [index, certificate] of path.slice(0, -1).entries())
      if (!certificate.verify(keys[index + 1]!)) throw new Error('a link of the benchmark does not verify')
  }
  return {
    chain: `${keyType}, ${authorities + 1} certificates`,
    anchors: anchorCount,
    ...inTurns(ask, floor, roundMs),
  }
}

/** Fresh bytes each time, since what was read once is kept. */
function reading(roundMs: number): TrustFigure {
  const { certificate } = issueFor(makeRoot({ keyType: 'ec256' }), address, { keyType: 'rsa2048' })
  let serial = 0
  // In the middle of the serial number, which nobody checks while reading.
  const serialAt = certificate.indexOf(Buffer.from([0x02, 0x10])) + 6
  const fresh = () => {
    certificate.writeUInt32BE(serial++, serialAt)
    return certificate
  }
  const ours = () => void read(fresh())
  const floor = () => void new X509Certificate(fresh()).publicKey
  return { chain: 'reading one certificate', anchors: 0, ...inTurns(ours, floor, roundMs) }
}

function inTurns(ours: () => void, floor: () => void, roundMs: number) {
  const rates = { ours: [] as number[], floor: [] as number[] }
  for (let round = 0; round <= rounds; round++) {
    const [one, other] = [ratePerSecond(ours, roundMs), ratePerSecond(floor, roundMs)]
    // The first round warms both up.
    if (round === 0) continue
    rates.ours.push(one)
    rates.floor.push(other)
  }
  const [perSecond, floorPerSecond] = [median(rates.ours), median(rates.floor)]
  return { perSecond, floorPerSecond, timesFloor: floorPerSecond / perSecond }
}

function ratePerSecond(work: () => void, forMs: number): number {
  const begun = performance.now()
  let done = 0
  let elapsed = 0
  while (elapsed < forMs) {
    for (let n = 0; n < 20; n++) work()
    done += 20
    elapsed = performance.now() - begun
  }
  return (done * 1000) / elapsed
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!
}

function read(der: Buffer): Certificate {
  const result = readCertificate(der)
  if (!result.readable) throw new Error(`${result.because}\n${pemOf(der)}`)
  return result.certificate
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' } } })
  const columns = [28, 8, 12, 12, 8]
  const row = (...cells: readonly (string | number)[]) =>
    process.stdout.write(`${cells.map((cell, n) => String(cell).padStart(columns[n]!)).join('')}\n`)
  row('chain', 'anchors', 'per second', 'floor', '× floor')
  for (const { chain, anchors, perSecond, floorPerSecond, timesFloor } of trust({
    isQuick: values.quick === true,
  }))
    row(chain, anchors, Math.round(perSecond), Math.round(floorPerSecond), timesFloor.toFixed(2))
}
