import { discover, type Discovery } from '../discovery/discover.ts'
import { readDirectAddress, type DirectAddress } from '../domain/direct-address.ts'
import { failureOf } from '../domain/failure.ts'
import type { RevocationFinding, TraceStep, TrustVerdict } from '../domain/trust-verdict.ts'
import { certificatesOf, type Partners } from '../partners.ts'
import { readCertificate, type Certificate } from '../trust/certificate.ts'
import { judgeCertificates } from '../trust/judge-certificates.ts'
import { certsOwn } from './certs-own.ts'
import { print, printJson, settingsFor, theOne, Usage, type Command } from './command.ts'
import { partnersNow } from './partners-now.ts'
import { paint, stepInWords } from './trace-words.ts'

export const certs: Command = {
  usage: `bluepost certs ellen.ross@direct.somephr.example

Looks the certificates of one Direct address up, as a transmission would, and judges each against the anchors of
bluepost.yaml: every step, what was asked, what came back, and why. Sends nothing and stores nothing.
Exit 0 when a message could be encrypted to the address now, 1 when not.

bluepost certs --own

Looks up what the world finds for the data holder’s own address, and whether answers encrypted to it can be opened.
Exit 0 when every certificate found is a current one of ours.`,
  options: { own: { type: 'boolean' } },
  async run(call) {
    if (call.values['own'] === true) return certsOwn(call)
    const word = theOne(call, 'Direct address')
    const reading = readDirectAddress(word)
    if (!reading.valid) throw new Usage(`“${word}” is not a Direct address: ${reading.because}`)
    const settings = settingsFor(call)
    const { partners } = await partnersNow(settings, new Date())
    const trustProblems = partners.problems.filter((problem) => problem.startsWith('trust.'))
    const answer = await lookUp(
      reading.address,
      settings.dataHolder?.address.domain.toLowerCase() ?? '',
      partners,
      new Date(),
    )
    if (call.isJson) printJson({ ...answer, problems: trustProblems })
    else print(tell(answer, trustProblems))
    return answer.usable ? 0 : 1
  },
}

interface Answer {
  readonly address: string
  readonly at: Date
  /** Could a message be encrypted to it now? */
  readonly usable: boolean
  readonly conclusion: string
  readonly steps: readonly TraceStep[]
  readonly certificates: readonly Found[]
}

interface Found {
  /** Absent when the bytes are no readable certificate. */
  readonly certificate?: {
    readonly subject: string
    readonly issuer: string
    readonly serialNumber: string
    readonly sha256: string
    readonly notBefore: Date
    readonly notAfter: Date
    readonly key: string
    readonly keyUsage: readonly string[] | 'any'
    readonly names: readonly string[]
  }
  readonly verdict: TrustVerdict
  /** Subjects of the path, leaf first. */
  readonly path: readonly string[]
}

async function lookUp(
  address: DirectAddress,
  localDomain: string,
  { discovery: ports, trust, anchorSet }: Pick<Partners, 'discovery' | 'trust' | 'anchorSet'>,
  at: Date,
): Promise<Answer> {
  const discovery = await discover(address, ports, at)
  const asked = { address: address.text, at }
  if (discovery.outcome !== 'found')
    return { ...asked, usable: false, ...notFound(discovery), steps: discovery.trace, certificates: [] }
  const afterMs = discovery.trace.at(-1)?.afterMs ?? 0
  const judged = await judgeCertificates(discovery.certificates, [], trust, {
    address,
    localDomain,
    direction: 'outgoing',
    purpose: 'encrypt',
    at,
    afterMs,
  })
  const usable = judged.trusted.length > 0
  const known = new Map(certificatesOf(anchorSet).map((anchor) => [anchor.fingerprint, anchor.subject.text]))
  for (const der of discovery.certificates) {
    const reading = readCertificate(der)
    if (reading.readable) known.set(reading.certificate.fingerprint, reading.certificate.subject.text)
  }
  return {
    ...asked,
    usable,
    conclusion: usable
      ? `A message to ${address.text} would be encrypted to ${counted(judged.trusted.length)}.`
      : `Nothing can be sent to ${address.text}: ${judged.because}.`,
    steps: [...discovery.trace, ...judged.trace],
    certificates: [...judged.trusted, ...judged.refused].map(({ certificate, verdict }) => ({
      ...(certificate === undefined ? {} : { certificate: described(certificate) }),
      verdict,
      path: verdict.path.map((fingerprint) => known.get(fingerprint) ?? fingerprint),
    })),
  }
}

function notFound(discovery: Exclude<Discovery, { outcome: 'found' }>): { conclusion: string } {
  return {
    conclusion:
      discovery.outcome === 'absent'
        ? failureOf('recipient-no-certificate').advice
        : `${discovery.because}. ${failureOf('discovery-unavailable').advice}`,
  }
}

function counted(certificates: number): string {
  return certificates === 1 ? '1 certificate' : `${certificates} certificates`
}

function described(certificate: Certificate): NonNullable<Found['certificate']> {
  const { publicKey, altNames } = certificate
  return {
    subject: certificate.subject.text,
    issuer: certificate.issuer.text,
    serialNumber: certificate.serialNumber,
    sha256: certificate.fingerprint,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    key:
      publicKey.kind === 'rsa'
        ? `RSA ${publicKey.bits}`
        : publicKey.kind === 'ec'
          ? `EC ${publicKey.curve}`
          : publicKey.because,
    keyUsage: certificate.keyUsage === undefined ? 'any' : [...certificate.keyUsage],
    // Anybody may publish a certificate; what a terminal obeys does not reach it.
    names: altNames.flatMap((name) =>
      name.kind === 'email' || name.kind === 'domain' || name.kind === 'uri'
        ? [`${name.kind} ${name.text.replace(/[^ -~]/g, '?')}`]
        : [],
    ),
  }
}

function tell(answer: Answer, problems: readonly string[]): string {
  const lines = [
    paint('bold', `${answer.address} on ${answer.at.toISOString()}`),
    '',
    ...answer.steps.map(stepInWords),
  ]
  for (const { certificate, verdict, path } of answer.certificates) {
    if (certificate === undefined) continue
    const { keyUsage } = certificate
    lines.push(
      '',
      paint(verdict.trusted ? 'green' : 'red', certificate.subject),
      `  names   ${certificate.names.join(', ') || '(none)'}`,
      `  valid   ${certificate.notBefore.toISOString()} to ${certificate.notAfter.toISOString()}`,
      `  key     ${certificate.key}, ${keyUsage === 'any' ? 'any use' : keyUsage.join(' + ')}`,
      `  issuer  ${certificate.issuer}`,
      `  serial  ${certificate.serialNumber}`,
      `  SHA-256 ${certificate.sha256}`,
      verdict.trusted
        ? `  trusted ${verdict.binding}-bound: ${path.join(' ← ')} (anchor)`
        : `  refused ${verdict.code}: ${verdict.because}`,
      ...(verdict.trusted ? verdict.revocation.map((one, index) => revocationInWords(one, path[index])) : []),
    )
  }
  lines.push('', paint(answer.usable ? 'green' : 'red', answer.conclusion))
  if (problems.length > 0)
    lines.push('', 'The anchors of this installation:', ...problems.map((one) => `  ${one}`))
  return lines.join('\n')
}

function revocationInWords(finding: RevocationFinding, subject = 'it'): string {
  const { status, source, asOf, isStale } = finding
  const words = {
    good: 'not revoked',
    unknown: 'nobody can tell',
    'not-published': 'names nobody who could tell',
  }
  const of = asOf === undefined ? '' : `, as of ${asOf.toISOString()}${isStale === true ? ' (stale)' : ''}`
  return `  ${subject}: ${words[status]}${source === undefined ? '' : ` (${source}${of})`}`
}
