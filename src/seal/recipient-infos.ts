import {
  derChildren,
  DerError,
  derMembers,
  derNumber,
  derOctets,
  expectDer,
  type DerValue,
} from '../lib/der.ts'
import { knownCertificate } from './known-certificates.ts'
import { certificatesNamed } from './named-certificate.ts'
import type { OpeningPolicy } from './opening-policy.ts'
import type { OwnKey } from './own-key.ts'
import { agreed, transported, type Unwrapping } from './unwrap-key.ts'

/** Recipients of one message; lists of 100 exist. */
const recipientInfosMax = 1000

/** A RecipientInfo that is for a key of ours, and how the content key comes out of it; or why it does not. */
export type Match = { readonly key: OwnKey } & Unwrapping

/** What is for us among the recipients, in the order of the message, and how many there are at all. */
export function matchesIn(
  infos: DerValue,
  keys: readonly OwnKey[],
  policy: OpeningPolicy,
): { matches: Match[]; recipients: number } {
  const own = keys.map((key) => ({ ...knownCertificate(key.certificate), key }))
  const matches: Match[] = []
  let recipients = 0
  const count = (info: DerValue) => {
    if (++recipients > recipientInfosMax) throw new DerError('too many recipients', info.start)
  }
  // A serial number alone may fit several keys of ours; the right one shows by opening.
  const oursFor = (identifier: DerValue | undefined) =>
    identifier ? certificatesNamed(identifier, own).map(({ key }) => key) : []

  for (const info of derMembers(infos)) {
    if (info.tag === 0x30) {
      count(info)
      const [, identifier, algorithm, encryptedKey] = derChildren(info)
      for (const key of oursFor(identifier)) {
        const wrapped = derOctets(octets(encryptedKey))
        const unwrapping = transported(key, expectDer(algorithm, 0x30, 'the key transport'), wrapped, policy)
        matches.push({ key, ...unwrapping })
      }
    } else if (info.tag === 0xa1) {
      const [version, originator, ...rest] = derChildren(info)
      derNumber(expectDer(version, 0x02, 'the version'))
      const ukm = rest[0]?.tag === 0xa1 ? derOctets(octets(derChildren(rest.shift()!)[0])) : undefined
      const [algorithm, encryptedKeys] = rest
      for (const one of derMembers(expectDer(encryptedKeys, 0x30, 'the encrypted keys'))) {
        count(one)
        const [identifier, encryptedKey] = derChildren(one)
        for (const key of oursFor(identifier))
          matches.push({
            key,
            ...agreed(key, {
              algorithm: expectDer(algorithm, 0x30, 'the key agreement'),
              originator: expectDer(originator, 0xa0, 'the originator'),
              ukm,
              wrapped: derOctets(octets(encryptedKey)),
            }),
          })
      }
    } else count(info) // Password, key-encryption-key and other recipients (RFC 5652 §6.2.3 to 5) cannot be us.
  }
  return { matches, recipients }
}

function octets(value: DerValue | undefined): DerValue {
  if (value === undefined || (value.tag & ~0x20) !== 0x04)
    throw new DerError('an encrypted key that is not octets', value?.start ?? 0)
  return value
}
