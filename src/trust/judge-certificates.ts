import type { DirectAddress } from '../domain/direct-address.ts'
import type { CertificatePurpose, TraceStep, TrustVerdict } from '../domain/trust-verdict.ts'
import { readCertificate, type Certificate } from './certificate.ts'
import { tellingness } from './flaws.ts'
import { validateChain } from './validate-chain.ts'

export interface Judgement {
  /** Every one that may be used, in the order given: all of them get the message. */
  readonly trusted: readonly {
    readonly certificate: Certificate
    readonly verdict: TrustVerdict & { trusted: true }
  }[]
  readonly refused: readonly {
    /** Absent when the bytes are no readable certificate. */
    readonly certificate?: Certificate
    readonly verdict: TrustVerdict & { trusted: false }
  }[]
  readonly trace: readonly TraceStep[]
  /** For a person, when nothing is trusted: the most telling reason, and how many others there are. Otherwise empty. */
  readonly because: string
}

/**
 * Judges each certificate that was found for an address. Those found serve as possible intermediates for each other.
 *
 * @param ders DER as found
 * @param pool further untrusted certificates that may lie in between
 * @param afterMs the moment of the look-up that the trace shall show; judging takes no time worth telling
 */
export function judgeCertificates(
  ders: readonly Buffer[],
  pool: readonly Certificate[],
  anchors: readonly Certificate[],
  address: DirectAddress,
  purpose: CertificatePurpose,
  at: Date,
  afterMs = 0,
): Judgement {
  const trusted: Judgement['trusted'][number][] = []
  const refused: Judgement['refused'][number][] = []
  const trace: TraceStep[] = []
  const readings = ders.map(readCertificate)
  const found = readings.flatMap((reading) => (reading.readable ? [reading.certificate] : []))
  const others = [...pool, ...found]
  for (const reading of readings) {
    const tell = (outcome: 'trusted' | 'refused', detail: string) =>
      trace.push({ afterMs, step: 'trust', outcome, detail })
    if (!reading.readable) {
      const verdict = { trusted: false, code: 'unreadable', because: reading.because, path: [] } as const
      refused.push({ verdict })
      tell('refused', `unreadable: ${reading.because}`)
      continue
    }
    const { certificate } = reading
    const verdict = validateChain(certificate, others, anchors, { at, purpose, address })
    const who = `“${certificate.subject.text}” (SHA-256 ${certificate.fingerprint.slice(0, 16)}…)`
    if (verdict.trusted) {
      trusted.push({ certificate, verdict })
      const anchor = verdict.path.at(-1)!.slice(0, 16)
      const links = verdict.path.length
      tell('trusted', `${who}: ${verdict.binding}-bound, ${links} certificates up to anchor ${anchor}…`)
    } else {
      refused.push({ certificate, verdict })
      tell('refused', `${who}: ${verdict.code}: ${verdict.because}`)
    }
  }
  return { trusted, refused, trace, because: trusted.length > 0 ? '' : reasonOf(refused) }
}

function reasonOf(refused: Judgement['refused']): string {
  const [best, ...others] = [...refused].sort(
    (a, b) => tellingness(b.verdict.code) - tellingness(a.verdict.code),
  )
  if (best === undefined) return 'there is no certificate to judge'
  const { because } = best.verdict
  const subject = best.certificate?.subject.text
  const about = subject === undefined || because.includes(subject) ? '' : `“${subject}”: `
  const more =
    others.length === 0
      ? ''
      : ` (and ${others.length === 1 ? '1 further certificate is' : `${others.length} further certificates are`} refused)`
  return `${about}${because}${more}`
}
