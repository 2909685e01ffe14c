import { readDirectAddress, type DirectAddress } from '../domain/direct-address.ts'
import { isUndecided } from '../domain/trust-verdict.ts'
import type { OpenedMessage } from '../seal/open.ts'
import { readCertificate, type Certificate } from '../trust/certificate.ts'
import { covers } from '../trust/covers.ts'
import { judgeCertificates, type TrustPorts } from '../trust/judge-certificates.ts'

export interface SpeakerPorts {
  readonly trust: TrustPorts
  /** The domain of our own address. */
  readonly localDomain: string
}

/** A trusted signer, and for whom its certificate lets it speak. */
export interface Speaker {
  /** An address, or a whole domain. */
  readonly name: string
  readonly certificate: Certificate
}

/** Names of its own under which one certificate is judged when it covers none of those asked about. */
const ownNamesMax = 4

/** Those who are trusted; and where nobody is, whether somebody may be when the question is asked again. */
export interface Speakers {
  readonly trusted: readonly Speaker[]
  /** Whether a signer was revoked could not be found out, and nobody else signed: why. */
  readonly undecided?: string
}

/**
 * Every signer of an opened message whose signature verifies and whose certificate is trusted: those that cover one of
 * the voices under its name, the others under a name of their own, so that a refusal can say who did sign.
 */
export async function speakersOf(
  ports: SpeakerPorts,
  opened: OpenedMessage,
  voices: readonly string[],
  at: Date,
): Promise<Speakers> {
  const asked = voices.flatMap(addressOf)
  const pool = certificatesIn(opened.certificates)
  const signers = certificatesIn(
    opened.signers.flatMap(({ valid, certificate }) => (valid && certificate ? [certificate] : [])),
  )
  const speakers: Speaker[] = []
  let undecided: string | undefined
  for (const certificate of signers)
    for (const { name, address } of namesOf(certificate, asked)) {
      const { trusted, refused } = await judgeCertificates([certificate.der], pool, ports.trust, {
        address,
        localDomain: ports.localDomain,
        direction: 'incoming',
        purpose: 'sign',
        at,
      })
      if (trusted.length > 0) speakers.push({ name, certificate })
      for (const { verdict } of refused) if (isUndecided(verdict.code)) undecided ??= verdict.because
    }
  return speakers.length > 0 || undecided === undefined
    ? { trusted: speakers }
    : { trusted: speakers, undecided }
}

interface Name {
  readonly name: string
  /** What trust is judged for: an address that the name covers. */
  readonly address: DirectAddress
}

function namesOf(certificate: Certificate, asked: readonly DirectAddress[]): Name[] {
  const fitting = asked.flatMap((address): Name[] => {
    const coverage = covers(certificate, address)
    if (!coverage.covered) return []
    return [{ name: coverage.binding === 'domain' ? address.domain : address.text, address }]
  })
  if (fitting.length > 0) return fitting
  return certificate.altNames
    .flatMap((name): Name[] => {
      if (name.kind === 'email') return addressOf(name.text).map((address) => ({ name: name.text, address }))
      if (name.kind !== 'domain') return []
      return addressOf(`postmaster@${name.text}`).map((address) => ({ name: name.text, address }))
    })
    .slice(0, ownNamesMax)
}

function addressOf(text: string): DirectAddress[] {
  const reading = readDirectAddress(text)
  return reading.valid ? [reading.address] : []
}

function certificatesIn(ders: readonly Buffer[]): Certificate[] {
  return ders.flatMap((der) => {
    const reading = readCertificate(der)
    return reading.readable ? [reading.certificate] : []
  })
}
