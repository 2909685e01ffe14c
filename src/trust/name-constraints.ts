import type { Certificate } from './certificate.ts'
import type { GeneralName, NameConstraints } from './general-name.ts'
import type { Name } from './name.ts'

/**
 * Why a certificate breaks the name constraints of an authority above it, if it does (RFC 5280 §4.2.1.10): *every* one
 * of its names has to lie in a permitted subtree of its kind, where there are any, and in no excluded one.
 *
 * Names are the alternative names, the subject itself, and every emailAddress in the subject.
 *
 * @param spend called once per comparison with 1; throws when the budget is used up
 */
export function nameViolation(
  certificate: Certificate,
  constraints: NameConstraints,
  spend: (comparisons: number) => void,
): string | undefined {
  if (constraints.hasDistances)
    return 'the constraint counts distances (minimum, maximum), which cannot be honoured'
  for (const name of namesOf(certificate)) {
    const inside = (subtree: GeneralName) => {
      spend(1)
      return isWithin(name, subtree)
    }
    const ofKind = (subtree: GeneralName) => isSameKind(subtree, name)
    if (constraints.excluded.some((subtree) => ofKind(subtree) && inside(subtree) !== false))
      return `${shown(name)} is excluded`
    const permitted = constraints.permitted.filter(ofKind)
    if (permitted.length > 0 && !permitted.some((subtree) => inside(subtree) === true))
      return `${shown(name)} is not among the permitted names`
  }
  return undefined
}

function namesOf({ altNames, subject }: Certificate): GeneralName[] {
  return [
    ...altNames,
    ...(subject.rdns.length > 0 ? [{ kind: 'directory' as const, name: subject }] : []),
    ...subject.emails.map((text) => ({ kind: 'email' as const, text })),
  ]
}

function isSameKind(a: GeneralName, b: GeneralName): boolean {
  return a.kind === 'other' ? b.kind === 'other' && a.tag === b.tag : a.kind === b.kind
}

function shown(name: GeneralName): string {
  if (name.kind === 'directory') return `the subject or directory name “${name.name.text}”`
  if (name.kind === 'ip') return 'an IP address'
  if (name.kind === 'other') return 'a name of another kind'
  return `“${name.text.slice(0, 100).replace(/[^ -~]/g, '?')}”`
}

/** `undefined`: cannot be decided, which refuses in both directions. */
function isWithin(name: GeneralName, subtree: GeneralName): boolean | undefined {
  if (name.kind === 'email' && subtree.kind === 'email') return isMailboxWithin(name.text, subtree.text)
  if (name.kind === 'domain' && subtree.kind === 'domain') return isDomainWithin(name.text, subtree.text)
  if (name.kind === 'uri' && subtree.kind === 'uri') return isUriWithin(name.text, subtree.text)
  if (name.kind === 'directory' && subtree.kind === 'directory') return isNameWithin(name.name, subtree.name)
  if (name.kind === 'ip' && subtree.kind === 'ip') return isAddressWithin(name.octets, subtree.octets)
  return undefined
}

/** A mailbox, all mailboxes of a host, or (with a leading dot) of every host below a domain. */
function isMailboxWithin(mailbox: string, subtree: string): boolean | undefined {
  const at = mailbox.lastIndexOf('@')
  if (at < 1) return undefined
  const wanted = subtree.toLowerCase()
  // Local parts without case, as Direct compares them everywhere.
  if (wanted.includes('@')) return mailbox.toLowerCase() === wanted
  return isHostWithin(mailbox.slice(at + 1), wanted)
}

/** `host.example` is that host alone; `.host.example` every host below it; empty is everything. */
function isHostWithin(host: string, subtree: string): boolean {
  const lower = host.toLowerCase()
  if (subtree === '') return true
  return subtree.startsWith('.')
    ? lower.endsWith(subtree) && lower.length > subtree.length
    : lower === subtree
}

/** The domain and everything below it; a leading dot, which the RFC does not know, means below only. */
function isDomainWithin(domain: string, subtree: string): boolean {
  const lower = domain.toLowerCase()
  const wanted = subtree.toLowerCase()
  if (wanted === '' || lower === wanted) return true
  return lower.endsWith(wanted.startsWith('.') ? wanted : `.${wanted}`)
}

function isUriWithin(uri: string, subtree: string): boolean | undefined {
  const host = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#:@[\]]+)(?::\d*)?(?:[/?#]|$)/.exec(uri)?.[1]
  // No host by name: must not be accepted where URIs are constrained (RFC 5280 §4.2.1.10).
  if (host === undefined || /^[\d.]+$/.test(host)) return undefined
  return isHostWithin(host, subtree.toLowerCase())
}

function isNameWithin(name: Name, subtree: Name): boolean {
  return subtree.rdns.every((rdn, index) => name.rdns[index] === rdn)
}

function isAddressWithin(address: Buffer, subtree: Buffer): boolean | undefined {
  if (subtree.length !== 8 && subtree.length !== 32) return undefined
  if (address.length * 2 !== subtree.length) return false
  return address.every((octet, index) => {
    const mask = subtree[address.length + index]!
    return (octet & mask) === (subtree[index]! & mask)
  })
}
