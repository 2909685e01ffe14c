import { expect, test } from '@jest/globals'
import { nextNight } from '../../src/lib/next-night.ts'

const at = (text: string) => new Date(text)

test.each([
  ['in the morning, the night that follows', '2026-11-24T08:00:00Z', 'UTC', 0, '2026-11-25T01:00:00Z'],
  ['the middle of the night', '2026-11-24T08:00:00Z', 'UTC', 0.5, '2026-11-25T03:00:00Z'],
  ['six hours before it begins', '2026-11-24T19:00:00Z', 'UTC', 0, '2026-11-25T01:00:00Z'],
  ['later than that, not the same night', '2026-11-24T19:00:01Z', 'UTC', 0, '2026-11-26T01:00:00Z'],
  ['after its own look, the next night', '2026-11-25T03:00:00Z', 'UTC', 0.5, '2026-11-26T03:00:00Z'],
  ['where it is night later', '2026-11-24T12:00:00Z', 'America/New_York', 0, '2026-11-25T06:00:00Z'],
  [
    'an hour that the clocks skip',
    '2026-03-07T20:00:00Z',
    'America/New_York',
    0.3125,
    '2026-03-08T07:15:00Z',
  ],
  ['an hour that comes twice', '2026-10-31T20:00:00Z', 'America/New_York', 0.05, '2026-11-01T05:12:00Z'],
])('%s', (_, from, zone, share, expected) => {
  expect(nextNight(at(from), zone, share)).toEqual(at(expected))
})

test('once a night for each share, forever', () => {
  for (const zone of ['UTC', 'Europe/Vienna', 'Pacific/Auckland', 'Pacific/Apia', 'America/St_Johns'])
    for (const share of [0, 0.25, 0.999]) {
      let now = at('2026-01-01T12:00:00Z')
      for (let night = 0; night < 400; night++) {
        const next = nextNight(now, zone, share)
        const hours = (next.getTime() - now.getTime()) / 3_600_000
        expect(hours).toBeGreaterThanOrEqual(6)
        expect(hours).toBeLessThanOrEqual(31)
        now = next
      }
    }
})
