import { DerError, derChildren, derMembers, derOidText, derRaw, readDer } from './der.ts'

const signedData = '1.2.840.113549.1.7.2'
const certificatesMax = 1000

/**
 * The certificates that a PKCS#7 or CMS SignedData carries (RFC 5652 §5.1), DER or BER, each as it stands there: “certs-only”
 * messages of directories and of AIA (RFC 8551 §3.8, RFC 5280 §4.2.2.1). Signatures are not looked at, so they are worth as
 * much as certificates from anybody.
 *
 * @throws DerError where it is no SignedData
 */
export function pkcs7Certificates(bytes: Buffer): Buffer[] {
  const [type, content] = derChildren(readDer(bytes))
  if (type === undefined || derOidText(type) !== signedData)
    throw new DerError('it is no PKCS#7 SignedData', 0)
  const inner = content === undefined ? undefined : derChildren(content)[0]
  if (inner === undefined) throw new DerError('the SignedData has no content', 0)
  const found: Buffer[] = []
  // version, digestAlgorithms, encapContentInfo, then certificates [0]
  for (const part of derChildren(inner)) {
    if (part.tag !== 0xa0) continue
    for (const member of derMembers(part)) {
      if (member.tag !== 0x30) continue
      if (found.length === certificatesMax)
        throw new DerError(`more than ${certificatesMax} certificates`, member.start)
      found.push(derRaw(member))
    }
  }
  return found
}
