import { X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { open, type OwnKey } from '../../src/seal/open.ts'
import { readSignedData } from '../../src/seal/verify-signed.ts'
import { DerError, readDer } from '../../src/lib/der.ts'
import { handSigned } from './by-hand-signed.ts'
import { sealMessage } from '../../src/seal/sealing.ts'
import { anOrder, aTown, type Town } from './an-order.ts'
import { ownKey } from './own-keys.ts'

let town: Town
let keys: OwnKey[]
beforeAll(() => {
  town = aTown()
  keys = [town.phr, town.member('us@direct.ashby.example', { keyType: 'ec256' })].map(ownKey)
})

/** Bytes overwritten, cut out, doubled and put in. */
const change = fc.record({
  what: fc.constantFrom('set', 'cut', 'double', 'insert'),
  at: fc.nat(),
  length: fc.integer({ min: 1, max: 40 }),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 6 }),
})
type Change = typeof change extends fc.Arbitrary<infer Kind> ? Kind : never

function changed(bytes: Buffer, changes: readonly Change[]): Buffer {
  let result = Buffer.from(bytes)
  for (const { what, at, length, bytes: given } of changes) {
    if (result.length === 0) break
    const from = at % result.length
    const [before, part, after] = [
      result.subarray(0, from),
      result.subarray(from, from + length),
      result.subarray(from + length),
    ]
    if (what === 'set') result.set(given.subarray(0, result.length - from), from)
    else if (what === 'cut') result = Buffer.concat([before, after])
    else if (what === 'double') result = Buffer.concat([before, part, part, after])
    else result = Buffer.concat([before, Buffer.from(given), part, after])
  }
  return result
}

const changes = fc.array(change, { minLength: 1, maxLength: 6 })

describe('hostile bytes', () => {
  test('5,000 mutations of the DER of a message are answered with a value', async () => {
    const ecOnly = anOrder(town, { recipients: keys.map((key) => key.certificate) })
    const sealed = await sealMessage(Buffer.from('Subject: x\r\n\r\nbody\r\n'), ecOnly, [town.ashby])
    const start = sealed.indexOf('\r\n\r\n') + 4
    const head = sealed.subarray(0, start)
    const cms = Buffer.from(sealed.toString('latin1', start), 'base64')
    // The structure is at the front; changing ciphertext teaches nothing.
    const front = 900
    await fc.assert(
      fc.asyncProperty(changes, fc.boolean(), async (list, isPem) => {
        const bytes = Buffer.concat([changed(cms.subarray(0, front), list), cms.subarray(front)])
        const mail = Buffer.concat([
          head,
          Buffer.from(isPem ? bytes.toString('base64') : bytes.toString('base64url')),
        ])
        const read = await open(mail, { keys })
        expect(typeof read.opened).toBe('boolean')
      }),
      { numRuns: 5000 },
    )
  })

  test('3,000 mutations of the mail around it are answered with a value', async () => {
    const sealed = await sealMessage(Buffer.from('Subject: x\r\n\r\nbody\r\n'), anOrder(town), [town.ashby])
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const front = 600
        const mail = Buffer.concat([changed(sealed.subarray(0, front), list), sealed.subarray(front)])
        expect(typeof (await open(mail, { keys })).opened).toBe('boolean')
      }),
      { numRuns: 3000 },
    )
  })

  test('5,000 mutations of a signature: none vouches for other content or with another key', () => {
    const content = Buffer.from('Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nbody\r\n')
    const other = Buffer.from('Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nBody\r\n')
    const signers = [town.ashby, town.signer({ keyType: 'ec256' })]
    const publicKeyOf = (certificate: Buffer) =>
      new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'pem' })
    const publicKeys = signers.map((one) => publicKeyOf(one.certificate))
    const cms = handSigned(content, signers, { beside: [town.authority.certificate] })
    expect(readSignedData(readDer(cms), content).signers.map((one) => one.valid)).toEqual([true, true])
    fc.assert(
      fc.property(changes, fc.boolean(), (list, isOther) => {
        try {
          const read = readSignedData(readDer(changed(cms, list)), isOther ? other : content)
          const vouching = read.signers.filter((one) => one.valid)
          if (isOther) expect(vouching).toEqual([])
          for (const one of vouching) expect(publicKeys).toContain(publicKeyOf(one.certificate!))
        } catch (error) {
          if (!(error instanceof DerError)) throw error
        }
      }),
      { numRuns: 5000 },
    )
  })
})
