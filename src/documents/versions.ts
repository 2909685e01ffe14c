/** One version of a document, as far as it can be told from another. */
export interface DocumentVersion {
  /** Hexadecimal. */
  readonly sha256: string
  /** LOINC; null where it is no C-CDA. */
  readonly code: string | null
  /** The span that effectiveTime may mean: a day, where it says no more. */
  readonly effectiveTime: Date | null
  readonly effectiveUntil: Date | null
  readonly setId: string | null
  readonly versionNumber: string | null
}

export type VersionVerdict =
  | { readonly verdict: 'newer' }
  | { readonly verdict: 'same' }
  | { readonly verdict: 'older'; readonly because: string }

/**
 * What a document is to the one that was sent last to the same destination (CDA R2 §4.2.3.1 setId, versionNumber). The same
 * bytes are the same document. Of one set the version number decides; without one, and between sets, the time does, as far
 * as it certainly says so.
 */
export function compareVersions(document: DocumentVersion, last: DocumentVersion): VersionVerdict {
  if (document.sha256 === last.sha256) return { verdict: 'same' }
  if (document.setId !== null && document.setId === last.setId) {
    const [ours, theirs] = [versionOf(document), versionOf(last)]
    if (ours !== undefined && theirs !== undefined && ours !== theirs)
      return ours > theirs
        ? { verdict: 'newer' }
        : older(`it is version ${ours} of a document of which version ${theirs} was sent already`)
  } else if (document.code === null || document.code !== last.code) return { verdict: 'newer' }
  const until = document.effectiveUntil ?? document.effectiveTime
  return until !== null && last.effectiveTime !== null && until < last.effectiveTime
    ? older(
        `it was made ${until.toISOString()}, before the one that was sent last (${last.effectiveTime.toISOString()})`,
      )
    : { verdict: 'newer' }
}

/** HL7 v3 INT; anything else says nothing. */
function versionOf({ versionNumber }: DocumentVersion): bigint | undefined {
  return versionNumber !== null && /^\d{1,40}$/.test(versionNumber) ? BigInt(versionNumber) : undefined
}

function older(because: string): VersionVerdict {
  return { verdict: 'older', because }
}
