import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { nextNthNight, nthNight, readCalendarSpan } from '../../src/lib/calendar-span.ts'

const day = (at: Date, zone: string) => new Intl.DateTimeFormat('en-CA', { timeZone: zone }).format(at)
const zones = ['America/New_York', 'Pacific/Auckland', 'UTC', 'America/Santiago', 'Asia/Kathmandu'] as const

test.each([
  ['P1M', { months: 1, days: 0 }],
  ['P1Y6M', { months: 18, days: 0 }],
  ['P2W', { months: 0, days: 14 }],
  ['P1M10D', { months: 1, days: 10 }],
  ['P10Y', { months: 120, days: 0 }],
])('%s', (text, span) => expect(readCalendarSpan(text)).toEqual(span))

test.each(['', 'P', 'P0M', 'PT1H', 'P1DT1H', 'P11Y', 'P99999D', '1M', 'P1.5M', '-P1M', 'P1D1M'])(
  '“%s” is none',
  (text) => expect(readCalendarSpan(text)).toBeUndefined(),
)

test('the last of a month stays the last, and is not lost on the way', () => {
  const from = new Date('2027-01-31T17:00:00Z')
  const days = [1, 2, 3, 4, 13].map((n) =>
    day(nthNight(from, { months: 1, days: 0 }, n, 'America/New_York', 0.5), 'America/New_York'),
  )
  expect(days).toEqual(['2027-02-28', '2027-03-31', '2027-04-30', '2027-05-31', '2028-02-29'])
})

test('the night is by the clocks of the zone, also where they change', () => {
  const nights = [1, 2].map((n) =>
    nthNight(
      new Date('2027-03-12T12:00:00Z'),
      { months: 0, days: 1 },
      n,
      'America/New_York',
      0.5,
    ).toISOString(),
  )
  // Three o’clock, before and after 2027-03-14.
  expect(nights).toEqual(['2027-03-13T08:00:00.000Z', '2027-03-14T07:00:00.000Z'])
})

test('property: nights come in order, between one and five o’clock, and the next one is the first after now', () => {
  const span = fc
    .record({ months: fc.integer({ min: 0, max: 30 }), days: fc.integer({ min: 0, max: 40 }) })
    .filter(({ months, days }) => months + days > 0)
  const moment = fc.date({ min: new Date('2024-01-01'), max: new Date('2060-01-01'), noInvalidDate: true })
  fc.assert(
    fc.property(
      span,
      moment,
      moment,
      fc.constantFrom(...zones),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (each, a, b, zone, share) => {
        const [from, after] = a < b ? [a, b] : [b, a]
        const next = nextNthNight(from, each, after, zone, share)
        expect(next.getTime()).toBeGreaterThan(after.getTime())
        let n = 1
        while (nthNight(from, each, n, zone, share) <= after) n++
        expect(next).toEqual(nthNight(from, each, n, zone, share))
        expect(nthNight(from, each, n + 1, zone, share).getTime()).toBeGreaterThan(next.getTime())
        const hour = Number(
          new Intl.DateTimeFormat('en-GB', { timeZone: zone, hour: '2-digit', hour12: false }).format(next),
        )
        expect(hour).toBeGreaterThanOrEqual(1)
        expect(hour).toBeLessThan(6)
      },
    ),
    { numRuns: 60 },
  )
})
