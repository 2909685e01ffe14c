import { describe, expect, test } from '@jest/globals'
import { readDirectAddress } from '../../src/domain/direct-address.ts'
import { readCertificate, type Certificate } from '../../src/trust/certificate.ts'
import { judgeCertificates } from '../../src/trust/judge-certificates.ts'
import { everyChain } from '../pki/chains/every-chain.ts'

/** What cannot be read never becomes an issuer. */
function readable(ders: readonly Buffer[]): Certificate[] {
  return ders.flatMap((der) => {
    const reading = readCertificate(der)
    return reading.readable ? [reading.certificate] : []
  })
}

for (const { about, cases } of everyChain)
  describe(about, () => {
    test.each(cases.map((one) => [one.what, one.expected, one] as const))(
      '%s: %s',
      async (_what, expected, given) => {
        const address = readDirectAddress(given.address)
        if (!address.valid) throw new Error(address.because)
        const anchors = readable(given.anchors).map((certificate) => ({
          certificate,
          source: 'given',
          ...(given.policies === undefined ? {} : { policies: given.policies }),
        }))
        const { trusted, refused } = await judgeCertificates(
          [given.leaf],
          readable(given.pool),
          { anchors: { anchorsFor: () => anchors } },
          {
            address: address.address,
            localDomain: 'direct.ashby.example',
            direction: given.purpose === 'sign' ? 'incoming' : 'outgoing',
            purpose: given.purpose,
            at: given.at,
          },
        )
        const verdict = trusted[0]?.verdict ?? refused[0]!.verdict
        expect(verdict.trusted ? 'trusted' : `${verdict.code}: ${verdict.because}`).toMatch(
          new RegExp(`^${expected}\\b`),
        )
      },
    )
  })
