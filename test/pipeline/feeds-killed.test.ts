import { expect, test } from '@jest/globals'
import { runFeed } from '../../bench/feed-runs.ts'
import { aPayer } from './a-payer.ts'

/** `npm run bench -- feeds` does the same with 100,000. */
const entries = Number(process.env['BLUEPOST_FEED_ENTRIES'] ?? 6_000)
const growthBytesMax = 256 * 1024 * 1024

test.each(['export', 'poll'] as const)(
  'a reader that is killed in the middle loses nothing and keeps nothing twice, in bounded memory (%s)',
  async (kind) => {
    const town = await aPayer()
    const run = await runFeed(kind, entries, town).finally(town.close)
    expect(run.keptBefore).toBeGreaterThan(entries / 4)
    expect(run.keptBefore).toBeLessThan(entries)
    expect(run.kept).toBe(entries)
    expect(run.peakBytes - run.idleBytes).toBeLessThan(growthBytesMax)
    // The same export all along; what the reader had committed before it was killed was not read again.
    if (kind === 'export') expect(run.kickOffs).toBe(1)
  },
  300_000,
)
