import { discover } from '../discovery/discover.ts'
import type { Binding } from '../domain/trust-verdict.ts'
import { readPartners } from '../partners.ts'
import { readCertificate } from '../trust/certificate.ts'
import { covers } from '../trust/covers.ts'
import { Findings, print, printJson, settingsFor, type Call } from './command.ts'
import { paint, stepInWords } from './trace-words.ts'

interface Published {
  readonly name: string
  readonly sha256?: string
  readonly binding?: Binding
  readonly problem?: string
}

/**
 * Our own publication as others see it (DCDT hosting tests H1–H4: DNS or LDAP, for the address or for the domain): every
 * certificate found has to be a current one of ours, or what is encrypted to it is lost.
 */
export async function certsOwn(call: Call): Promise<number> {
  const settings = settingsFor(call)
  const { dataHolder } = settings
  if (dataHolder === undefined)
    throw new Findings('there is no own address to look up; set `dataHolder` in bluepost.yaml')
  const { address } = dataHolder
  const at = new Date()
  const { discovery: ports, keyRing } = readPartners(settings, at)
  const found = await discover(address, ports, at)
  const ours = keyRing.ownKeys(at).map(({ certificate }) => certificate)
  const certificates = (found.outcome === 'found' ? found.certificates : []).map((der): Published => {
    const reading = readCertificate(der)
    if (!reading.readable) return { name: 'unreadable', problem: reading.because }
    const { subject, fingerprint, notBefore, notAfter } = reading.certificate
    const coverage = covers(reading.certificate, address)
    const problem = !ours.some((own) => own.equals(der))
      ? 'it is not among `keys`: what others encrypt to it cannot be opened. Take it out of DNS and LDAP, or add its key'
      : at < notBefore || at > notAfter
        ? `it is valid from ${notBefore.toISOString()} to ${notAfter.toISOString()}: others refuse it. Publish a current one`
        : coverage.covered
          ? undefined
          : `${coverage.because}: others refuse it`
    return {
      name: subject.text,
      sha256: fingerprint,
      ...(coverage.covered ? { binding: coverage.binding } : {}),
      ...(problem === undefined ? {} : { problem }),
    }
  })
  const problem =
    found.outcome === 'found'
      ? undefined
      : found.outcome === 'absent'
        ? 'the world finds no certificate: publish that of `keys` as a CERT record, or in LDAP'
        : `${found.because}: ask the servers of your own domain`
  const isGood = problem === undefined && certificates.every((one) => one.problem === undefined)
  const answer = { address: address.text, at, good: isGood, problem, steps: found.trace, certificates }
  if (call.isJson) printJson(answer)
  else
    print(
      [
        paint('bold', `${address.text} on ${at.toISOString()}, as others find it`),
        '',
        ...found.trace.map(stepInWords),
        '',
        ...certificates.map((one) =>
          one.problem === undefined
            ? paint('green', `${one.name}: ours and current, ${one.binding}-bound`)
            : paint('red', `${one.name}: ${one.problem}`),
        ),
        ...(problem === undefined ? [] : [paint('red', problem)]),
      ].join('\n'),
    )
  return isGood ? 0 : 1
}
