/** A Direct address, split at its @. `text` keeps the spelling the patient gave; compare with {@link isSameAddress}. */
export interface DirectAddress {
  readonly local: string
  readonly domain: string
  readonly text: string
}

export type DirectAddressReading =
  | { readonly valid: true; readonly address: DirectAddress }
  | { readonly valid: false; readonly because: string }

/** RFC 5321 §4.5.3.1: octets of a local part, and of a path (256) without its angle brackets. RFC 1035 §2.3.4: of a label. */
const localOctetsMax = 64
const addressOctetsMax = 254
const labelOctetsMax = 63

/**
 * Reads a Direct address: an RFC 5322 addr-spec in dot-atom form on a dedicated health domain (Applicability Statement
 * §1.1). Quoted local parts, address literals and non-ASCII are refused: neither DNS names for certificates nor
 * rfc822Name (IA5String) can carry them.
 *
 * @example readDirectAddress('ellen.ross@direct.somephr.example')
 *          // { valid: true, address: { local: 'ellen.ross', domain: 'direct.somephr.example', text: … } }
 */
export function readDirectAddress(text: string): DirectAddressReading {
  const trimmed = text.trim()
  const at = trimmed.lastIndexOf('@')
  if (at < 1) return { valid: false, because: 'a Direct address looks like name@direct.example.org' }
  const local = trimmed.slice(0, at)
  const domain = trimmed.slice(at + 1)
  if (local.length > localOctetsMax)
    return { valid: false, because: `the part before @ is longer than ${localOctetsMax} characters` }
  if (trimmed.length > addressOctetsMax)
    return { valid: false, because: `it is longer than ${addressOctetsMax} characters` }
  if (!/^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/.test(local))
    return { valid: false, because: 'the part before @ has a character that a Direct address cannot have' }
  const labels = domain.split('.')
  if (labels.length < 2) return { valid: false, because: 'the domain needs at least one dot' }
  for (const label of labels)
    if (label.length > labelOctetsMax || !/^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$/.test(label))
      return { valid: false, because: 'the domain is not a host name' }
  if (/^[0-9]+$/.test(labels.at(-1)!)) return { valid: false, because: 'the domain is not a host name' }
  return { valid: true, address: { local, domain, text: trimmed } }
}

/**
 * Local parts are compared without regard to case, too: certificates and peers spell them in any case
 * (accreditation cases HappyPathAllCapsLocalPart, HappyPathLowerCaseLocalPart).
 */
export function isSameAddress(a: string, b: string): boolean {
  return a.trim().toLowerCase() === b.trim().toLowerCase()
}
