import type { AuditEntry } from '../store/audit.ts'
import { sentOfEncounter, unsentOfEncounter } from '../store/decisions.ts'
import type { Query } from '../store/query.ts'
import { lockTransmission, recordOccurrence } from '../store/transmissions.ts'
import { engineEntry } from './engine-entry.ts'

/** A cancel takes back everything of the visit that has not left; what has left is told to the operator. */
export async function takeBack(
  query: Query,
  event: { readonly kind: string; readonly encounterKey: Buffer | null },
  at: Date,
): Promise<AuditEntry[]> {
  if (event.encounterKey === null) return []
  const because = `${event.kind} was taken back by the source`
  const entries: AuditEntry[] = []
  for (const id of await unsentOfEncounter(query, event.encounterKey, event.kind)) {
    const transmission = await lockTransmission(query, id)
    if (transmission === undefined) continue
    const { advance } = await recordOccurrence(query, transmission, { what: 'withdrawn' }, at, {
      code: 'taken-back',
      because,
    })
    if (advance.outcome === 'moved')
      entries.push(
        engineEntry(
          at,
          'transmission-withdrawn',
          `transmission:${id}`,
          { because },
          transmission.authorizationId,
        ),
      )
  }
  for (const id of await sentOfEncounter(query, event.encounterKey, event.kind))
    entries.push(engineEntry(at, 'transmission-withdrawn', `transmission:${id}`, { because, tooLate: true }))
  return entries
}
