import { derChildren, derContent, derOctets, derRaw, type DerValue } from '../lib/der.ts'
import type { CmsCertificate } from './certificate.ts'

/**
 * The certificates that a SignerIdentifier, RecipientIdentifier or KeyAgreeRecipientIdentifier (RFC 5652 §5.3, §6.2.1,
 * §6.2.2) means, those it names exactly first. Which one is right shows when its key fits: nothing is trusted for being
 * named.
 */
export function certificatesNamed<One extends CmsCertificate>(
  identifier: DerValue,
  certificates: readonly One[],
): One[] {
  if (identifier.tag === 0x30) {
    const [issuer, serial] = derChildren(identifier)
    if (issuer === undefined || serial?.tag !== 0x02) return []
    const sameSerial = certificates.filter((one) => isSameInteger(derContent(serial), one.serial))
    const exactly = sameSerial.filter((one) => derRaw(issuer).equals(one.issuer))
    // QUIRK: writers that keep names as text encode them anew, with string types of their own.
    return [...exactly, ...sameSerial.filter((one) => !exactly.includes(one))]
  }
  if ((identifier.tag & ~0x20) !== 0x80) return []
  // Bare, or as the first member of a RecipientKeyIdentifier.
  const keyIdentifier = identifier.constructed ? derChildren(identifier)[0] : identifier
  if (keyIdentifier === undefined) return []
  const wanted = derOctets(keyIdentifier)
  return certificates.filter((one) => one.subjectKeyIdentifier?.equals(wanted))
}

/** @param encoded the INTEGER with tag and length */
function isSameInteger(content: Buffer, encoded: Buffer): boolean {
  const own = encoded.subarray(encoded[1]! < 0x80 ? 2 : 2 + (encoded[1]! & 0x7f))
  return withoutPadding(content).equals(withoutPadding(own))
}

/** BER writers put zeros in front. */
function withoutPadding(content: Buffer): Buffer {
  let from = 0
  while (from < content.length - 1 && content[from] === 0) from++
  return content.subarray(from)
}
