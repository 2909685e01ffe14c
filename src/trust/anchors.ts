import { readCertificate, type Certificate } from './certificate.ts'

/** A key and a name that are trusted because the configuration says so (RFC 5280 §6.1.1 d). */
export interface TrustAnchor {
  readonly certificate: Certificate
  /** File or name of the trust bundle that it came from. */
  readonly source: string
  /** The chain must be valid for one of these certificate policies; absent: policies do not matter. */
  readonly policies?: readonly string[]
}

/** Whom an installation trusts. Asked at each use: what it answers follows files and bundles as they change. */
export interface AnchorSet {
  /**
   * @param direction `outgoing`: we encrypt to others; `incoming`: others sign to us
   * @param localDomain of the data holder’s own address, lower case
   */
  anchorsFor(direction: 'outgoing' | 'incoming', localDomain: string): readonly TrustAnchor[]
}

/** Anchors from one place, and what they count for. */
export interface AnchorGroup {
  readonly anchors: readonly TrustAnchor[]
  readonly direction: 'both' | 'incoming' | 'outgoing'
  /** Lower case; absent: every domain of ours. */
  readonly domain?: string
}

/** Anchors that come and go while the process runs. */
export interface ChangingAnchors extends AnchorSet {
  readonly groups: readonly AnchorGroup[]
  /** From the next question on these are the anchors: all of them at once, or none of the change. */
  change(groups: readonly AnchorGroup[]): void
}

export function changingAnchors(first: readonly AnchorGroup[]): ChangingAnchors {
  let groups = first
  const chosen = new Map<string, readonly TrustAnchor[]>()
  return {
    get groups() {
      return groups
    },
    change(next) {
      groups = next
      chosen.clear()
    },
    anchorsFor(direction, localDomain) {
      const key = `${direction} ${localDomain}`
      const known = chosen.get(key)
      if (known !== undefined) return known
      const anchors = groups
        .filter((group) => group.direction === 'both' || group.direction === direction)
        .filter(({ domain }) => domain === undefined || domain === localDomain)
        .flatMap((group) => group.anchors)
      // Domains of our own are few; what else is asked for must not fill the memory.
      if (chosen.size < 100) chosen.set(key, anchors)
      return anchors
    },
  }
}

/** The same anchors for every domain and direction, without a policy. */
export function fixedAnchors(certificates: readonly Certificate[], source = 'given'): AnchorSet {
  const anchors = certificates.map((certificate) => ({ certificate, source }))
  return { anchorsFor: () => anchors }
}

export interface AnchorFile {
  /** Where it came from, as the operator wrote it. */
  readonly name: string
  readonly bytes: Buffer
}

export interface AnchorProblem {
  readonly file: string
  readonly because: string
}

export interface Anchors {
  /** Each once. Expired ones are among them, so that a refusal can name them. */
  readonly anchors: readonly Certificate[]
  readonly problems: readonly AnchorProblem[]
}

/** One bundle of the largest trust community has a few hundred. */
const fileOctetsMax = 16 * 1024 * 1024

/**
 * Reads trust anchors from PEM files (several certificates each) and DER files. One that cannot be read takes none of
 * the others with it; everything odd is named.
 *
 * @param at to name those that are expired or not yet valid
 */
export function readAnchors(files: readonly AnchorFile[], at: Date): Anchors {
  const anchors = new Map<string, Certificate>()
  const problems: AnchorProblem[] = []
  for (const { name, bytes } of files) {
    const { ders, problem } = certificatesIn(bytes)
    if (problem !== undefined) problems.push({ file: name, because: problem })
    for (const [index, der] of ders.entries()) {
      const which = ders.length === 1 ? 'the certificate' : `certificate ${index + 1} of ${ders.length}`
      const reading = readCertificate(der)
      if (!reading.readable) {
        problems.push({ file: name, because: `${which} cannot be read: ${reading.because}` })
        continue
      }
      const { certificate } = reading
      anchors.set(certificate.fingerprint, certificate)
      const when =
        at > certificate.notAfter ? 'expired on' : at < certificate.notBefore ? 'is valid only from' : ''
      const date = when === 'expired on' ? certificate.notAfter : certificate.notBefore
      if (when !== '')
        problems.push({ file: name, because: `“${certificate.subject.text}” ${when} ${date.toISOString()}` })
    }
  }
  return { anchors: [...anchors.values()], problems }
}

/** DER of every certificate in a PEM or DER file, and what is wrong with the file as a whole. */
export function certificatesIn(bytes: Buffer): {
  readonly ders: readonly Buffer[]
  readonly problem?: string
} {
  if (bytes.length > fileOctetsMax) return { ders: [], problem: `longer than ${fileOctetsMax} octets` }
  if (bytes[0] === 0x30 && bytes[1]! >= 0x80) return { ders: [bytes] }
  const text = bytes.toString('latin1')
  const blocks = [
    ...text.matchAll(/-----BEGIN (?:X509 )?CERTIFICATE-----([^-]*)-----END (?:X509 )?CERTIFICATE-----/g),
  ]
  const ders = blocks.map(([, body = '']) => Buffer.from(body, 'base64'))
  const begun = text.match(/-----BEGIN (?:X509 )?CERTIFICATE-----/g)?.length ?? 0
  if (begun === 0) {
    const other = /-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(text)?.[1]
    const problem = other === undefined ? 'neither PEM nor DER' : `holds ${other} and no CERTIFICATE`
    return { ders, problem }
  }
  return begun === ders.length
    ? { ders }
    : { ders, problem: `${begun - ders.length} of ${begun} certificates are cut off` }
}
