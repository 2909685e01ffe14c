import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { isTimeZone, readDate, readTimestamp, zoneOf, type Zone } from '../../src/lib/hl7v2-time.ts'

function instant(text: string, zone?: Zone): string {
  const reading = zone === undefined ? readTimestamp(text) : readTimestamp(text, zone)
  return reading.valid ? reading.at.toISOString() : `refused: ${reading.because}`
}

describe('a timestamp is read as precisely as it is written', () => {
  test.each([
    ['2026', 'year', '2026-01-01T00:00:00.000Z'],
    ['202603', 'month', '2026-03-01T00:00:00.000Z'],
    ['20260302', 'day', '2026-03-02T00:00:00.000Z'],
    ['2026030211', 'hour', '2026-03-02T11:00:00.000Z'],
    ['202603021130', 'minute', '2026-03-02T11:30:00.000Z'],
    ['20260302113015', 'second', '2026-03-02T11:30:15.000Z'],
    ['20260302113015.1234', 'fraction', '2026-03-02T11:30:15.123Z'],
  ])('%s', (text, precision, at) => {
    expect(instant(text)).toBe(at)
    expect(readTimestamp(text)).toMatchObject({ valid: true, precision, hadZone: false })
  })

  test('blanks around it do not count', () => {
    expect(instant(' 20260302 ')).toBe('2026-03-02T00:00:00.000Z')
  })
})

describe('the zone of a time', () => {
  test.each([
    ['20260302113000-0500', '2026-03-02T16:30:00.000Z'],
    ['20260302113000+0530', '2026-03-02T06:00:00.000Z'],
    ['20260302113000+0000', '2026-03-02T11:30:00.000Z'],
    ['20260302-0500', '2026-03-02T05:00:00.000Z'],
    ['20260302113000+1400', '2026-03-01T21:30:00.000Z'],
  ])('is the one it states: %s', (text, at) => {
    expect(instant(text, 'America/New_York')).toBe(at)
  })

  test('is else the one of the message, in minutes', () => {
    expect(instant('20260302113000', -300)).toBe('2026-03-02T16:30:00.000Z')
  })

  test.each([
    ['20260302113000', 'America/New_York', '2026-03-02T16:30:00.000Z'],
    ['20260702113000', 'America/New_York', '2026-07-02T15:30:00.000Z'],
    ['20260702', 'Europe/Berlin', '2026-07-01T22:00:00.000Z'],
    ['20260302113000', 'Asia/Kolkata', '2026-03-02T06:00:00.000Z'],
    ['20260302113000', 'Australia/Lord_Howe', '2026-03-02T00:30:00.000Z'],
  ])('is else the one of the channel, in summer and in winter: %s %s', (text, zone, at) => {
    expect(instant(text, zone)).toBe(at)
  })

  test('the hour that the spring change skips is read as the hour after it', () => {
    // New York, 8 March 2026: 01:59:59 EST is followed by 03:00:00 EDT.
    expect(instant('20260308013000', 'America/New_York')).toBe('2026-03-08T06:30:00.000Z')
    expect(instant('20260308023000', 'America/New_York')).toBe('2026-03-08T07:30:00.000Z')
    expect(instant('20260308033000', 'America/New_York')).toBe('2026-03-08T07:30:00.000Z')
  })

  test('the hour that the autumn change repeats is read as the first of the two', () => {
    // New York, 1 November 2026: 01:59:59 EDT is followed by 01:00:00 EST.
    expect(instant('20261101013000', 'America/New_York')).toBe('2026-11-01T05:30:00.000Z')
    expect(instant('20261101023000', 'America/New_York')).toBe('2026-11-01T07:30:00.000Z')
  })

  test('MSH-7 states one for the whole message, or none', () => {
    expect([zoneOf('20260302113000-0500'), zoneOf('202603021130+0530')]).toEqual([-300, 330])
    expect([zoneOf('20260302113000'), zoneOf(undefined), zoneOf('2026+9999')]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })

  test('of a channel is a name of the IANA database', () => {
    expect(isTimeZone('America/New_York')).toBe(true)
    expect(isTimeZone('Eastern')).toBe(false)
  })

  test('every instant written in a zone is read back, but for those that occur twice', () => {
    const zones = fc.constantFrom(
      'America/New_York',
      'Europe/Berlin',
      'Pacific/Auckland',
      'America/St_Johns',
      'UTC',
    )
    fc.assert(
      fc.property(
        zones,
        fc.date({ min: new Date('1990-01-01'), max: new Date('2090-01-01'), noInvalidDate: true }),
        (zone, at) => {
          at.setMilliseconds(0)
          const wall = new Intl.DateTimeFormat('sv-SE', {
            timeZone: zone,
            dateStyle: 'short',
            timeStyle: 'medium',
          })
          const written = wall.format(at).replace(/\D/g, '')
          const reading = readTimestamp(written, zone)
          expect(reading.valid && wall.format(reading.at).replace(/\D/g, '')).toBe(written)
        },
      ),
      { numRuns: 2_000 },
    )
  })
})

describe('what no calendar or clock shows is refused, without quoting it', () => {
  test.each([
    ['20260230', 'no calendar has that day'],
    ['20250229', 'no calendar has that day'],
    ['20261301', 'no calendar has that month'],
    ['20260300', 'no calendar has that day'],
    ['2026030224', 'no clock shows that time'],
    ['202603021160', 'no clock shows that time'],
    ['18000101', 'the year lies outside 1850–2199'],
    ['20260302113000+1500', 'no time zone has that offset'],
    ['20260302113000+0560', 'no time zone has that offset'],
    ['196203520', 'it is not of the form YYYYMMDDHHMMSS±ZZZZ'],
    ['2026-03-02', 'it is not of the form YYYYMMDDHHMMSS±ZZZZ'],
    ['yesterday', 'it is not of the form YYYYMMDDHHMMSS±ZZZZ'],
    ['', 'it is not of the form YYYYMMDDHHMMSS±ZZZZ'],
  ])('%s', (text, because) => {
    expect(readTimestamp(text)).toEqual({ valid: false, because })
  })

  test('29 February exists where it does', () => {
    expect([instant('20240229'), instant('20000229')].every((at) => !at.startsWith('refused'))).toBe(true)
    expect(instant('21000229')).toContain('refused')
  })

  test('whatever the text, there is a time or a reason', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9.+-]{0,30}$/)), (text) => {
        const reading = readTimestamp(text, 'Europe/Berlin')
        expect(reading.valid ? Number.isNaN(reading.at.getTime()) : reading.because === '').toBe(false)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('a date keeps its precision', () => {
  test.each([
    ['19560814', '1956-08-14'],
    ['195608', '1956-08'],
    ['1956', '1956'],
    ['19560814093000-0500', '1956-08-14'],
  ])('%s', (text, date) => {
    expect(readDate(text)).toEqual({ valid: true, date })
  })

  test.each(['195613', '19560230', '14.08.1956', ''])('“%s” is none', (text) => {
    expect(readDate(text).valid).toBe(false)
  })
})
