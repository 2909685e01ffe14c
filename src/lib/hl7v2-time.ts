export type TimePrecision = 'year' | 'month' | 'day' | 'hour' | 'minute' | 'second' | 'fraction'

/** Where a time without a zone belongs: minutes east of UTC (as MSH-7 states), or an IANA name (as the channel states). */
export type Zone = number | string

export type TimestampReading =
  | {
      readonly valid: true
      /** The instant; of a time without hours, the start of that day (month, year) in its zone. */
      readonly at: Date
      readonly precision: TimePrecision
      readonly hadZone: boolean
    }
  | { readonly valid: false; readonly because: string }

export type DateReading =
  { readonly valid: true; readonly date: string } | { readonly valid: false; readonly because: string }

const pattern =
  /^(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,9}))?)?)?)?)?)?(?:([+-])(\d{2})(\d{2}))?$/

/** No living patient and no event of a feed is older; later years are typing errors. */
const yearMin = 1850
const yearMax = 2199

/**
 * Reads YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ] (HL7 v2.5.1 ch. 2A.22, DTM). Refuses what no calendar has; the
 * reason never quotes the value.
 *
 * A time without a zone is read in `zone`: the one of MSH-7 where it states one (ch. 2.15.9.7), else the channel’s, else
 * UTC. A time that a change of clocks skips is read as the hour after it, one that occurs twice as the first.
 *
 * @example readTimestamp('20260302113000-0500')  // { valid: true, at: 2026-03-02T16:30:00Z, precision: 'second', hadZone: true }
 */
export function readTimestamp(text: string, zone: Zone = 'UTC'): TimestampReading {
  const found = pattern.exec(text.trim())
  if (found === null) return { valid: false, because: 'it is not of the form YYYYMMDDHHMMSS±ZZZZ' }
  const [, yyyy, mm, dd, hh, mi, ss, fraction, sign, zoneHours, zoneMinutes] = found
  const [year, month, day] = [Number(yyyy), Number(mm ?? 1), Number(dd ?? 1)]
  const [hour, minute, second] = [Number(hh ?? 0), Number(mi ?? 0), Number(ss ?? 0)]
  const impossible = impossibleDate(year, month, day)
  if (impossible !== undefined) return { valid: false, because: impossible }
  if (hour > 23 || minute > 59 || second > 59) return { valid: false, because: 'no clock shows that time' }
  const millisecond = fraction === undefined ? 0 : Math.floor(Number(`0.${fraction}`) * 1000)
  const wall = Date.UTC(year, month - 1, day, hour, minute, second, millisecond)
  const precision: TimePrecision =
    fraction !== undefined
      ? 'fraction'
      : ss !== undefined
        ? 'second'
        : mi !== undefined
          ? 'minute'
          : hh !== undefined
            ? 'hour'
            : dd !== undefined
              ? 'day'
              : mm !== undefined
                ? 'month'
                : 'year'
  if (sign !== undefined) {
    const minutes = Number(zoneHours) * 60 + Number(zoneMinutes)
    if (minutes > zoneMinutesMax || Number(zoneMinutes) > 59)
      return { valid: false, because: 'no time zone has that offset' }
    return {
      valid: true,
      at: new Date(wall - (sign === '-' ? -minutes : minutes) * 60_000),
      precision,
      hadZone: true,
    }
  }
  return { valid: true, at: new Date(instantOf(wall, zone)), precision, hadZone: false }
}

/** Kiribati is 14 hours ahead of UTC. */
const zoneMinutesMax = 14 * 60

/**
 * Reads a date and keeps its precision: `YYYY`, `YYYY-MM` or `YYYY-MM-DD`. A time behind the date is not looked at.
 *
 * @example readDate('19560814')  // { valid: true, date: '1956-08-14' }
 */
export function readDate(text: string): DateReading {
  const found = pattern.exec(text.trim())
  if (found === null) return { valid: false, because: 'it is not of the form YYYYMMDD' }
  const [, year, month, day] = found
  const impossible = impossibleDate(Number(year), Number(month ?? 1), Number(day ?? 1))
  if (impossible !== undefined) return { valid: false, because: impossible }
  return { valid: true, date: [year, month, day].filter((part) => part !== undefined).join('-') }
}

/** The offset that a timestamp states, in minutes east of UTC; undefined where it states none. */
export function zoneOf(text: string | undefined): number | undefined {
  const found = /[+-](\d{2})(\d{2})$/.exec(text?.trim() ?? '')
  if (found === null) return undefined
  const minutes = Number(found[1]) * 60 + Number(found[2])
  if (minutes > zoneMinutesMax || Number(found[2]) > 59) return undefined
  return text!.trim().at(-5) === '-' ? -minutes : minutes
}

/** True where the name is one of the IANA time zone database, such as America/New_York. */
export function isTimeZone(name: string): boolean {
  try {
    formatOf(name)
    return true
  } catch {
    return false
  }
}

function impossibleDate(year: number, month: number, day: number): string | undefined {
  if (year < yearMin || year > yearMax) return `the year lies outside ${yearMin}–${yearMax}`
  if (month < 1 || month > 12) return 'no calendar has that month'
  const days = month === 2 ? (isLeap(year) ? 29 : 28) : [4, 6, 9, 11].includes(month) ? 30 : 31
  return day < 1 || day > days ? 'no calendar has that day' : undefined
}

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
}

/** Wall clock, as if it were UTC, to the instant. */
function instantOf(wall: number, zone: Zone): number {
  if (typeof zone === 'number') return wall - zone * 60_000
  if (zone === 'UTC') return wall
  // The offset before a change of clocks is that of the day before; after it, that of the day after.
  const before = offsetOf(zone, wall - dayMs)
  const after = offsetOf(zone, wall + dayMs)
  const early = wall - before
  if (offsetOf(zone, early) === before) return early
  const late = wall - after
  // Skipped by the change: read with the offset from before, which lands after the gap.
  return offsetOf(zone, late) === after ? late : early
}

const dayMs = 24 * 60 * 60 * 1000

/** Clocks change on the quarter hour at most; within one, the offset is the same. */
const offsetStepMs = 15 * 60 * 1000
const knownOffsetsMax = 5_000
const knownOffsets = new Map<string, number>()

/** Milliseconds that a zone’s clocks are ahead of UTC at an instant. */
function offsetOf(zone: string, instant: number): number {
  const step = Math.floor(instant / offsetStepMs)
  const key = `${zone} ${step}`
  const known = knownOffsets.get(key)
  if (known !== undefined) return known
  const parts = new Map(
    formatOf(zone)
      .formatToParts(step * offsetStepMs)
      .map(({ type, value }) => [type, value]),
  )
  const number = (type: Intl.DateTimeFormatPartTypes): number => Number(parts.get(type))
  const wall = Date.UTC(
    number('year'),
    number('month') - 1,
    number('day'),
    number('hour'),
    number('minute'),
    number('second'),
  )
  const offset = wall - step * offsetStepMs
  if (knownOffsets.size >= knownOffsetsMax) knownOffsets.clear()
  knownOffsets.set(key, offset)
  return offset
}

const formats = new Map<string, Intl.DateTimeFormat>()

function formatOf(zone: string): Intl.DateTimeFormat {
  let format = formats.get(zone)
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
    formats.set(zone, format)
  }
  return format
}
