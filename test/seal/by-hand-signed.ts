import { createHash, sign, X509Certificate } from 'node:crypto'
import { context, integer, nothing, octetString, oid, sequence, set, time } from '../pki/der.ts'
import type { Issued } from '../pki/pki.ts'
import { issuerOf } from './by-hand-envelope.ts'

const sha256 = '2.16.840.1.101.3.4.2.1'

/**
 * A detached SignedData by RSA and EC keys with SHA-256, written here from RFC 5652 with none of our own code; it carries the
 * certificates of the signers and what is `beside` them.
 */
export function handSigned(
  content: Buffer,
  signers: readonly Issued[],
  { beside = [], at = new Date() }: { beside?: readonly Buffer[]; at?: Date } = {},
): Buffer {
  const attribute = (type: string, value: Buffer) => sequence(oid(type), set(value))
  const digest = createHash('sha256').update(content).digest()
  const attributes = set(
    attribute('1.2.840.113549.1.9.3', oid('1.2.840.113549.1.7.1')),
    attribute('1.2.840.113549.1.9.5', time(at)),
    attribute('1.2.840.113549.1.9.4', octetString(digest)),
  )
  const infos = signers.map(({ certificate, privateKey }) => {
    const { serialNumber } = new X509Certificate(certificate)
    const asContext = Buffer.from(attributes)
    asContext[0] = 0xa0
    return sequence(
      integer(1),
      sequence(issuerOf(certificate), integer(BigInt(`0x${serialNumber}`))),
      sequence(oid(sha256)),
      asContext,
      privateKey.asymmetricKeyType === 'rsa'
        ? sequence(oid('1.2.840.113549.1.1.1'), nothing())
        : sequence(oid('1.2.840.10045.4.3.2')),
      octetString(sign('sha256', attributes, privateKey)),
    )
  })
  const carried = [...signers.map(({ certificate }) => certificate), ...beside]
  return sequence(
    oid('1.2.840.113549.1.7.2'),
    context(
      0,
      sequence(
        integer(1),
        set(sequence(oid(sha256))),
        sequence(oid('1.2.840.113549.1.7.1')),
        context(0, ...carried),
        set(...infos),
      ),
    ),
  )
}
