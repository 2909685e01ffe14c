import { failureNotice, type FailureNotice } from '../domain/failure-notice.ts'
import { readOccurrences, type OccurrenceRow } from '../store/occurrences.ts'
import type { Query } from '../store/query.ts'
import { readTransmission, type Transmission } from '../store/transmissions.ts'
import { writeDsn } from '../tracking/write-dsn.ts'

/**
 * One notice per time the transmission failed, oldest first; a retry that fails again makes another. They are read from
 * what was written down when it failed, so they are as durable as the failure.
 */
export function noticesIn(
  transmission: Transmission,
  occurrences: readonly OccurrenceRow[],
): readonly FailureNotice[] {
  return occurrences
    .filter(({ from, to }) => to === 'failed' && from !== 'failed')
    .map((occurrence) => failureNotice(transmission, occurrence))
}

/** The newest failure of a transmission as an RFC 3464 document; undefined where it never failed or does not exist. */
export async function noticeDocument(query: Query, id: string, sender: string): Promise<Buffer | undefined> {
  const transmission = await readTransmission(query, id)
  if (transmission === undefined) return undefined
  const notices = noticesIn(transmission, await readOccurrences(query, id))
  const notice = notices.at(-1)
  return notice === undefined ? undefined : writeDsn(notice, sender, `failure-${notices.length}.${id}`)
}
