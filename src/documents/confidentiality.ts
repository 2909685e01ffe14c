import type { Finding } from './gate.ts'

/** What is done with what a document says of itself, per source: some vendors stamp every document, some none. */
export interface ConfidentialityPolicy {
  /** R in the header; `send` for a source that stamps it on everything. A label on one part is never a stamp. */
  readonly restricted: 'hold' | 'send'
  /** No confidentialityCode, or a nullFlavor in its place. */
  readonly missing: 'hold' | 'send'
  /** A code that is not in HL7 v3 Confidentiality: it may mean anything. */
  readonly unknown: 'hold' | 'send'
}

/** Held is what says that it is restricted, or says something nobody understands. */
export const usualConfidentiality: ConfidentialityPolicy = {
  restricted: 'hold',
  missing: 'send',
  unknown: 'hold',
}

/** The labels of one document. */
export interface Labels {
  /** The code of the header, or its nullFlavor; undefined where there is neither. */
  readonly whole: string | undefined
  /** Codes on sections and entries, once each. */
  readonly parts: readonly string[]
}

export type LabelVerdict =
  { readonly held: false; readonly finding?: Finding } | { readonly held: true; readonly because: string }

type Meaning = 'open' | 'missing' | 'unknown' | 'restricted' | 'very-restricted'

/** HL7 v3 Confidentiality 2.16.840.1.113883.5.25; the older sensitivity and business codes of CDA R2 are not in it. */
const meanings = new Map<string, Meaning>([
  ...['N', 'M', 'L', 'U'].map((code) => [code, 'open'] as const),
  ['R', 'restricted'],
  ['V', 'very-restricted'],
  // MSK is not among them: there is a label, and it is being kept from us.
  ...['NI', 'UNK', 'NASK', 'NAV', 'ASKU', 'NA', 'OTH', 'NP', 'NINF', 'PINF'].map(
    (flavor) => [flavor, 'missing'] as const,
  ),
])

/**
 * May a document with these labels leave? The strictest one wins, wherever it stands (HL7 DS4P: a section or an entry may
 * be restricted where the header is not). What the authorization covers is never held for its label.
 */
export function judgeConfidentiality(
  labels: Labels,
  policy: ConfidentialityPolicy,
  sensitiveData: 'excluded' | 'included',
): LabelVerdict {
  const whole = labels.whole === undefined ? 'missing' : meaningOf(labels.whole)
  // A part without a label has that of the whole.
  const parts = labels.parts.map(meaningOf).filter((meaning) => meaning !== 'missing')
  const reason = reasonOf(whole, parts, policy)
  if (reason !== undefined)
    return sensitiveData === 'included'
      ? { held: false, finding: { code: 'restricted', because: `${reason}; the authorization covers that` } }
      : {
          held: true,
          because: `${reason}, and the authorization does not cover sensitive data`,
        }
  if (whole === 'missing')
    return finding('confidentiality', 'the document does not say how confidential it is')
  if (whole === 'restricted')
    return finding('restricted', 'marked as restricted, which the settings take for a stamp of this source')
  if (whole === 'unknown' || parts.includes('unknown'))
    return finding('confidentiality', 'a confidentiality code is unknown, which the settings let pass')
  return { held: false }
}

function reasonOf(
  whole: Meaning,
  parts: readonly Meaning[],
  policy: ConfidentialityPolicy,
): string | undefined {
  if (whole === 'very-restricted') return 'the document is marked as very restricted'
  if (parts.includes('very-restricted')) return 'a part of the document is marked as very restricted'
  if (whole === 'restricted' && policy.restricted === 'hold') return 'the document is marked as restricted'
  if (parts.includes('restricted')) return 'a part of the document is marked as restricted'
  if (policy.unknown === 'hold') {
    if (whole === 'unknown')
      return 'the document is marked with an unknown confidentiality code, which is taken for restricted'
    if (parts.includes('unknown'))
      return 'a part of the document is marked with an unknown confidentiality code, which is taken for restricted'
  }
  if (whole === 'missing' && policy.missing === 'hold')
    return 'the document does not say how confidential it is, which is taken for restricted'
  return undefined
}

function meaningOf(code: string): Meaning {
  return meanings.get(code) ?? 'unknown'
}

function finding(code: string, because: string): LabelVerdict {
  return { held: false, finding: { code, because } }
}
