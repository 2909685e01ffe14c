import { derOidText, DerError, expectDer, readDer, type DerValue } from '../lib/der.ts'
import { readBoolean, strictly, strictMembers } from './strict-der.ts'

/** One Extension of a certificate, a revocation list, an entry of one, or an OCSP reply (RFC 5280 §4.1). */
export interface ExtensionRead {
  readonly oid: string
  readonly critical: boolean
  /** The OCTET STRING. */
  readonly octets: DerValue
}

const extensionsMax = 100

/** @param list `Extensions`; none may be there twice (RFC 5280 §4.2) */
export function readExtensionList(list: DerValue): ExtensionRead[] {
  const extensions = strictMembers(expectDer(list, 0x30, 'extensions'))
  if (extensions.length > extensionsMax)
    throw new DerError(`more than ${extensionsMax} extensions`, list.start)
  const seen = new Set<string>()
  return extensions.map((extension) => {
    const [id, ...rest] = strictMembers(expectDer(extension, 0x30, 'an extension'))
    if (id === undefined) throw new DerError('an extension without a name', extension.start)
    const oid = derOidText(id)
    if (seen.has(oid)) throw new DerError(`the extension ${oid} is there twice`, extension.start)
    seen.add(oid)
    const critical = rest[0]?.tag === 0x01 ? readBoolean(rest.shift()!) : false
    const octets = expectDer(rest[0], 0x04, `the value of extension ${oid}`)
    if (rest.length !== 1) throw new DerError(`the extension ${oid} is malformed`, extension.start)
    return { oid, critical, octets }
  })
}

/** Extensions as they hang in a structure: the one member of an EXPLICIT tag. */
export function readTaggedExtensions(tagged: DerValue | undefined): ExtensionRead[] {
  if (tagged === undefined) return []
  const [list, beyond] = strictMembers(tagged)
  if (list === undefined || beyond !== undefined) throw new DerError('extensions are malformed', tagged.start)
  return readExtensionList(list)
}

/** What an extension holds, which must fill it. */
export function extensionValue({ oid, octets }: ExtensionRead): DerValue {
  const value = strictly(readDer(octets.source, octets.contentStart, octets.contentEnd))
  if (value.end !== octets.contentEnd) throw new DerError(`something follows in extension ${oid}`, value.end)
  return value
}
