import { readDirectAddress, type DirectAddress } from '../domain/direct-address.ts'
import type { OpenedMessage } from '../seal/open.ts'
import { readCertificate, type Certificate } from '../trust/certificate.ts'
import { covers } from '../trust/covers.ts'
import { judgeCertificates } from '../trust/judge-certificates.ts'

export interface SpeakerPorts {
  readonly anchors: readonly Certificate[]
}

/** A trusted signer, and for whom its certificate lets it speak. */
export interface Speaker {
  /** An address, or a whole domain. */
  readonly name: string
  readonly certificate: Certificate
}

/** Names of its own under which one certificate is judged when it covers none of those asked about. */
const ownNamesMax = 4

/**
 * Every signer of an opened message whose signature verifies and whose certificate is trusted: those that cover one of
 * the voices under its name, the others under a name of their own, so that a refusal can say who did sign.
 */
export async function speakersOf(
  ports: SpeakerPorts,
  opened: OpenedMessage,
  voices: readonly string[],
  at: Date,
): Promise<Speaker[]> {
  const asked = voices.flatMap(addressOf)
  const pool = certificatesIn(opened.certificates)
  const signers = certificatesIn(
    opened.signers.flatMap(({ valid, certificate }) => (valid && certificate ? [certificate] : [])),
  )
  const speakers: Speaker[] = []
  for (const certificate of signers)
    for (const { name, address } of namesOf(certificate, asked)) {
      const { trusted } = await judgeCertificates([certificate.der], pool, ports.anchors, address, 'sign', at)
      if (trusted.length > 0) speakers.push({ name, certificate })
    }
  return speakers
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
