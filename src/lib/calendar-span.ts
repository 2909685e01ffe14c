import { nightOf } from './next-night.ts'

/** A span of the calendar: months of their own lengths, and days. */
export interface CalendarSpan {
  readonly months: number
  readonly days: number
}

/** Ten years: longer spans are typing errors. */
const daysMax = 3_660

/**
 * Reads an ISO 8601-1:2019 §5.5.2.4 duration of whole years, months, weeks and days: `P1M`, `P2W`, `P1Y6M`, `P90D`. Undefined where
 * it is not one, is no time at all, has hours, or is longer than ten years.
 */
export function readCalendarSpan(text: string): CalendarSpan | undefined {
  const parts = /^P(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,4})D)?$/.exec(text.trim())
  if (parts === null) return undefined
  const [years, months, weeks, days] = parts.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
  ]
  const span = { months: 12 * years + months, days: 7 * weeks + days }
  const length = span.months * 31 + span.days
  return length > 0 && span.months * 30.5 + span.days <= daysMax ? span : undefined
}

/**
 * The nth night after the one of `from`: in the time zone, so many spans later by the calendar. Spans count from `from` and not from
 * each other: monthly from January 31 is February 28, then March 31.
 *
 * @param share 0 to 1: where in the night
 */
export function nthNight(from: Date, span: CalendarSpan, n: number, zone: string, share: number): Date {
  const [year, month, day] = new Intl.DateTimeFormat('en-CA', { timeZone: zone })
    .format(from)
    .split('-')
    .map(Number) as [number, number, number]
  const months = year * 12 + (month - 1) + span.months * n
  const [toYear, toMonth] = [Math.floor(months / 12), months % 12]
  // Day 0 is the last one of the month before.
  const lastDay = new Date(Date.UTC(toYear, toMonth + 1, 0)).getUTCDate()
  const date = new Date(Date.UTC(toYear, toMonth, Math.min(day, lastDay) + span.days * n))
  return nightOf(date.toISOString().slice(0, 10), zone, share)
}

/** The first of these nights that is later than `after`: however many were missed, one comes next. */
export function nextNthNight(from: Date, span: CalendarSpan, after: Date, zone: string, share: number): Date {
  const longestMs = (span.months * 31 + span.days) * 86_400_000
  const passed = Math.floor((after.getTime() - from.getTime()) / longestMs)
  for (let n = Math.max(1, passed - 1); ; n++) {
    const night = nthNight(from, span, n, zone, share)
    if (night > after) return night
  }
}
