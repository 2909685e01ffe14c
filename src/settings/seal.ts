import { optional, type Section } from './section.ts'

/** How messages are encrypted for one domain of recipients. */
export interface SealAlgorithms {
  /** For RSA keys; EC keys are always agreed with. */
  readonly keyTransport: 'pkcs1' | 'oaep-sha256' | 'oaep-sha1'
  readonly content: (typeof contentCiphers)[number]
}

export interface SealSettings {
  readonly threads: number
  /** One message per destination, or one to all destinations of an authorization. */
  readonly envelope: 'single' | 'shared'
  readonly usual: SealAlgorithms
  /** Domain in lower case → what was agreed with its HISP. */
  readonly domains: ReadonlyMap<string, Partial<SealAlgorithms>>
}

const keyTransports = ['pkcs1', 'oaep-sha256', 'oaep-sha1'] as const
const contentCiphers = ['aes-256-cbc', 'aes-192-cbc', 'aes-128-cbc', 'aes-256-gcm', 'aes-128-gcm'] as const
/** Every receiver must read CBC; GCM is for domains that agreed to it (RFC 8551 §2.7 knows it, few agents do). */
const contentCiphersForAll = ['aes-256-cbc', 'aes-192-cbc', 'aes-128-cbc'] as const

export function readSeal(root: Section): SealSettings {
  const section = root.section('seal', [
    'threads',
    'keyTransport',
    'contentEncryption',
    'envelope',
    'domains',
  ])
  const domains = (section?.entries('domains') ?? []).flatMap(
    ([domain, value]): [string, Partial<SealAlgorithms>][] => {
      if (!value.isSection()) {
        value.problem(
          `what is agreed with ${domain} is no section`,
          'write `direct.peer.example: { keyTransport: oaep-sha256 }`',
        )
        return []
      }
      const agreed = value.asSection(['keyTransport', 'contentEncryption'])
      return [
        [
          domain.toLowerCase(),
          {
            ...optional('keyTransport', agreed.oneOf('keyTransport', keyTransports)),
            ...optional('content', agreed.oneOf('contentEncryption', contentCiphers)),
          },
        ],
      ]
    },
  )
  return {
    threads: section?.integer('threads', 1, 64) ?? 2,
    envelope: section?.oneOf('envelope', ['single', 'shared']) ?? 'single',
    usual: {
      // Every peer that was tried reads PKCS#1 v1.5; OAEP is for those that agreed to it.
      keyTransport: section?.oneOf('keyTransport', keyTransports) ?? 'pkcs1',
      content: section?.oneOf('contentEncryption', contentCiphersForAll) ?? 'aes-256-cbc',
    },
    domains: new Map(domains),
  }
}

/** What a message to an address is sealed with. */
export function sealAlgorithmsFor({ usual, domains }: SealSettings, address: string): SealAlgorithms {
  const domain = address.slice(address.lastIndexOf('@') + 1).toLowerCase()
  return { ...usual, ...domains.get(domain) }
}
