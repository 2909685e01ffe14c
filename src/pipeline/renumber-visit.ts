import type { Query } from '../store/query.ts'
import { holdStories } from '../store/stories.ts'
import { mergeIntoOpen } from '../store/story-cancels.ts'
import { lockTransmission, recordOccurrence } from '../store/transmissions.ts'
import { renumberVisit } from '../store/visit-numbers.ts'

/**
 * A visit goes by another number from now on. Where both numbers had been told of before, the two visits are one: what they
 * have on their way is sent once.
 *
 * @returns how many transmissions became part of another one
 */
export async function renumber(query: Query, from: Buffer, into: Buffer, at: Date): Promise<number> {
  await holdStories(query, [from, into], [])
  let joined = 0
  for (const id of await renumberVisit(query, from, into, at)) {
    const transmission = await lockTransmission(query, id)
    const other = transmission && (await mergeIntoOpen(query, id, at))
    if (transmission === undefined || other === undefined) continue
    const { advance } = await recordOccurrence(query, transmission, { what: 'withdrawn' }, at, {
      code: 'joined',
      because: `it goes on as part of transmission ${other}: the source gave both visits one number`,
    })
    if (advance.outcome === 'moved') joined++
  }
  return joined
}
