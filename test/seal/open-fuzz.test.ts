import { X509Certificate } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { DerError, readDer } from '../../src/lib/der.ts'
import { open } from '../../src/seal/open.ts'
import { readSignedData } from '../../src/seal/verify-signed.ts'
import { aTown } from './an-order.ts'
import { handEnveloped } from './by-hand-envelope.ts'
import { handSigned } from './by-hand-signed.ts'
import { oldPolicy } from './old-policy.ts'
import { mutator } from './mutate.ts'
import { ownKey } from './own-keys.ts'

const town = aTown()
const ours = town.member('us@direct.ashby.example', { keyType: 'ec256' })
const signers = [town.signer({ keyType: 'ec256' }), town.ashby]
const keys = [ownKey(ours), ownKey(town.phr)]
const message = Buffer.from('From: a@b.example\r\nSubject: Processed\r\n\r\nbody\r\n')
const content = Buffer.concat([Buffer.from('Content-Type: message/rfc822\r\n\r\n'), message])
const other = Buffer.concat([content.subarray(0, -3), Buffer.from('!\r\n')])

const publicKeys = new Map<string, string>()
function publicKeyOf(certificate: Buffer): string {
  const key = certificate.toString('latin1')
  const known =
    publicKeys.get(key) ??
    new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' }).toString('hex')
  publicKeys.set(key, known)
  return known
}
const good = new Set(signers.map((one) => publicKeyOf(one.certificate)))
const signedDataOf = (by: typeof signers, what = content) =>
  handSigned(what, by, { beside: [town.authority.certificate] })

/** multipart/signed, and what is put around it. */
const entity = Buffer.concat([
  Buffer.from('Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n'),
  content,
  Buffer.from('\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\n'),
  signedDataOf([signers[0]!]),
  Buffer.from('\r\n--b--\r\n'),
])
const head = Buffer.from('Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: binary\r\n\r\n')

/** Seeds are printed with a failure; a minute more of them finds the rest. */
const seed = 20261124

describe('100,000 mutated messages: no crash, no memory without end, never verified for other content', () => {
  test('60,000 signatures', () => {
    const bases = [signedDataOf([signers[0]!]), signedDataOf(signers)]
    const strangers = [
      town.phr.certificate,
      signedDataOf([town.signer()], Buffer.from('else')),
      Buffer.from('0500', 'hex'),
    ]
    let read = 0
    let vouching = 0
    for (let run = 0; run < 60_000; run++) {
      const { mutated, draw } = mutator(seed + run * 7919, strangers)
      // The second, with two signers, costs twice as much.
      const bytes = mutated(bases[run % 4 === 0 ? 1 : 0]!)
      const isOther = draw(3) === 0
      try {
        const { signers: found } = readSignedData(readDer(bytes), isOther ? other : content, oldPolicy)
        read++
        for (const one of found)
          if (one.valid) {
            vouching++
            if (isOther || !good.has(publicKeyOf(one.certificate!)))
              throw new Error(`vouched for in run ${run}`)
          }
      } catch (error) {
        if (!(error instanceof DerError)) throw new Error(`run ${run}`, { cause: error })
      }
    }
    // Mutations that only break the outermost length would test nothing.
    expect(read).toBeGreaterThan(10_000)
    expect(vouching).toBeGreaterThan(1_000)
  }, 60_000)

  test('40,000 envelopes, in CBC and GCM, to RSA and EC keys', async () => {
    const bases = [
      handEnveloped(entity, ours, { cipher: 'aes-256-gcm' }),
      handEnveloped(entity, ours, { cipher: 'aes-128-cbc', ukm: Buffer.from('keying material') }),
      handEnveloped(entity, town.phr),
    ]
    const strangers = [town.phr.certificate, bases[0]!, Buffer.from('0500', 'hex')]
    const before = process.memoryUsage().rss
    const outcomes = new Map<string, number>()
    for (let run = 0; run < 40_000; run++) {
      const { mutated } = mutator(seed + run * 104_729, strangers)
      // RSA costs most, and is the same behind every structure.
      const base = bases[run % 8 === 0 ? 2 : run % 2]!
      const opened = await open(Buffer.concat([head, mutated(base)]), { keys, policy: oldPolicy })
      const outcome = opened.opened ? 'opened' : opened.refusal
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      if (!opened.opened) continue
      for (const one of opened.signers)
        if (one.valid && !(opened.message.equals(message) && good.has(publicKeyOf(one.certificate!))))
          throw new Error(`vouched for in run ${run}`)
    }
    // Every kind of end was reached, many times: the mutations go deep.
    for (const kind of ['opened', 'malformed', 'no-key', 'algorithm-refused', 'undecryptable'])
      expect([kind, (outcomes.get(kind) ?? 0) > 200]).toEqual([kind, true])
    expect(process.memoryUsage().rss - before).toBeLessThan(600_000_000)
  }, 60_000)

  test.each(['aes-256-gcm', 'aes-256-cbc'] as const)(
    'a bit in every octet of a message in %s',
    async (cipher) => {
      const base = handEnveloped(entity, ours, { cipher })
      const survived: number[] = []
      for (let octet = 0; octet < base.length; octet++) {
        const flipped = Buffer.from(base)
        flipped[octet]! ^= 1 << (octet % 8)
        const opened = await open(Buffer.concat([head, flipped]), { keys })
        if (!opened.opened || !opened.signers.some((one) => one.valid)) continue
        expect(opened.message.equals(message)).toBe(true)
        survived.push(octet)
      }
      // The sender’s issuer name (the serial number is enough), versions, types told by their place; without GCM also the
      // certificates carried, which are checked by whoever trusts them.
      expect(survived.length).toBeLessThan(cipher === 'aes-256-gcm' ? 120 : base.length / 2)
      expect(survived.length).toBeGreaterThan(0)
    },
    60_000,
  )
})
