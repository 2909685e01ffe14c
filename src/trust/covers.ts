import type { DirectAddress } from '../domain/direct-address.ts'
import type { Binding } from '../domain/trust-verdict.ts'
import type { Certificate } from './certificate.ts'

export type Coverage =
  | { readonly covered: true; readonly binding: Binding }
  | { readonly covered: false; readonly because: string }

/** Names of a refused certificate shown to people. */
const shownNamesMax = 4

/**
 * Does this certificate speak for this Direct address? By an rfc822Name equal to it, or by a dNSName equal to its domain
 * (Applicability Statement §4): without case, no wildcards, no subdomains. A sub-address (`bob+tag@`) is covered by the
 * certificate of the address without its tag, under which it is published, too.
 *
 * An address in the subject alone does not count; and where an rfc822Name counts, an emailAddress in the subject must
 * not say otherwise (DCDT).
 */
export function covers(certificate: Certificate, address: DirectAddress): Coverage {
  const domain = address.domain.toLowerCase()
  const local = address.local.toLowerCase()
  const plus = local.indexOf('+')
  const spellings = [`${local}@${domain}`, ...(plus > 0 ? [`${local.slice(0, plus)}@${domain}`] : [])]
  const isSpelling = (text: string) => spellings.includes(text.toLowerCase())

  const { altNames, subject } = certificate
  if (altNames.some((name) => name.kind === 'email' && isSpelling(name.text))) {
    const contrary = subject.emails.find((email) => !isSpelling(email))
    return contrary === undefined
      ? { covered: true, binding: 'address' }
      : { covered: false, because: 'its subject carries the address of somebody else (emailAddress)' }
  }
  if (altNames.some((name) => name.kind === 'domain' && name.text.toLowerCase() === domain))
    return { covered: true, binding: 'domain' }
  if (subject.emails.some(isSpelling))
    return { covered: false, because: 'it has the address in its subject only, not as a subjectAltName' }
  const named = altNames.flatMap((name) =>
    name.kind === 'email' || name.kind === 'domain' ? [name.text] : [],
  )
  const shown = named.slice(0, shownNamesMax).map((text) => text.slice(0, 100).replace(/[^ -~]/g, '?'))
  if (named.length > shown.length) shown.push('…')
  return {
    covered: false,
    because:
      named.length === 0
        ? 'it names neither an address nor a domain'
        : `it is for ${shown.join(', ')}, not for ${address.text} or ${address.domain}`,
  }
}
