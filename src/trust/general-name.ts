import { derContent, DerError, expectDer, type DerValue } from '../lib/der.ts'
import { readName, type Name } from './name.ts'
import { strictMembers } from './strict-der.ts'

/** A GeneralName (RFC 5280 §4.2.1.6). Texts are IA5: one octet, one character. */
export type GeneralName =
  | { readonly kind: 'email' | 'domain' | 'uri'; readonly text: string }
  | { readonly kind: 'directory'; readonly name: Name }
  /** 4 or 16 octets; in name constraints twice as many, with the mask. */
  | { readonly kind: 'ip'; readonly octets: Buffer }
  /** otherName, x400Address, ediPartyName, registeredID: known by tag only. */
  | { readonly kind: 'other'; readonly tag: number }

/** RFC 5280 §4.2.1.10. */
export interface NameConstraints {
  readonly permitted: readonly GeneralName[]
  readonly excluded: readonly GeneralName[]
  /** A subtree with minimum or maximum, which nobody implements: nothing can be shown to lie inside. */
  readonly hasDistances: boolean
}

export function readGeneralName(value: DerValue): GeneralName {
  switch (value.tag) {
    case 0x81:
      return { kind: 'email', text: derContent(value).toString('latin1') }
    case 0x82:
      return { kind: 'domain', text: derContent(value).toString('latin1') }
    case 0x86:
      return { kind: 'uri', text: derContent(value).toString('latin1') }
    case 0x87:
      return { kind: 'ip', octets: derContent(value) }
    case 0xa4: {
      const [name, beyond] = strictMembers(value)
      if (name === undefined || beyond !== undefined)
        throw new DerError('a directoryName is malformed', value.start)
      return { kind: 'directory', name: readName(name) }
    }
    case 0xa0:
    case 0xa3:
    case 0xa5:
    case 0x88:
      return { kind: 'other', tag: value.tag }
    default:
      throw new DerError('a GeneralName of unknown kind', value.start)
  }
}

export function readNameConstraints(value: DerValue): NameConstraints {
  const read = { permitted: [] as GeneralName[], excluded: [] as GeneralName[], hasDistances: false }
  const parts = strictMembers(expectDer(value, 0x30, 'nameConstraints'))
  if (parts.length === 0) throw new DerError('nameConstraints is empty', value.start)
  for (const part of parts) {
    if (part.tag !== 0xa0 && part.tag !== 0xa1) throw new DerError('nameConstraints is malformed', part.start)
    for (const subtree of strictMembers(part)) {
      const [base, ...distances] = strictMembers(expectDer(subtree, 0x30, 'a subtree of nameConstraints'))
      if (base === undefined) throw new DerError('a subtree of nameConstraints is empty', subtree.start)
      read[part.tag === 0xa0 ? 'permitted' : 'excluded'].push(readGeneralName(base))
      // minimum 0 is the default and is not written in DER.
      if (distances.length > 0) read.hasDistances = true
    }
  }
  return read
}
