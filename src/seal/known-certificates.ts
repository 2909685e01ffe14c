import { createHash } from 'node:crypto'
import { readCertificate, type CmsCertificate } from './certificate.ts'

/** Certificates kept for the next message; one takes some 10 kB. The same authorities come with every message. */
const keptMax = 512
const kept = new Map<string, CmsCertificate>()

/**
 * Like {@link readCertificate}, and remembers: reading one takes longer than checking a signature with it.
 *
 * @throws Error where the bytes are not a certificate
 */
export function knownCertificate(der: Buffer): CmsCertificate {
  const key = createHash('sha256').update(der).digest('base64')
  const known = kept.get(key)
  if (known !== undefined) return known
  // What is kept must not hold on to the message it came in.
  const read = readCertificate(Buffer.from(der))
  if (kept.size >= keptMax) kept.delete(kept.keys().next().value!)
  kept.set(key, read)
  return read
}
