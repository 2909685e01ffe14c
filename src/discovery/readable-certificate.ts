import { X509Certificate } from 'node:crypto'

/** Is this the DER of one certificate, as far as reading it goes? Only what is readable counts as found. */
function isCertificate(der: Buffer): boolean {
  // node:crypto would take PEM, too.
  if (der[0] !== 0x30) return false
  try {
    return new X509Certificate(der).raw.equals(der)
  } catch {
    return false
  }
}

/** Each readable one once, in order; and how many were not readable. */
export function readableOnes(ders: readonly Buffer[]): { certificates: Buffer[]; unreadable: number } {
  const readable = ders.filter(isCertificate)
  const certificates = readable.filter((der, index) => readable.findIndex((one) => one.equals(der)) === index)
  return { certificates, unreadable: ders.length - readable.length }
}
