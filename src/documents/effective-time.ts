import { readTimestamp, type TimePrecision } from '../lib/hl7v2-time.ts'

/** A moment as precisely as it was written: somewhere from `earliest` to `latest`. */
export interface EffectiveTime {
  readonly earliest: Date
  readonly latest: Date
}

/** What each precision leaves open, at most. */
const openMs: Record<TimePrecision, number> = {
  year: 366 * 86_400_000,
  month: 31 * 86_400_000,
  day: 86_400_000,
  hour: 3_600_000,
  minute: 60_000,
  second: 1000,
  fraction: 1,
}

/**
 * The effectiveTime of a document (HL7 TS). Of 401 certified ones 118 name no zone, 32 only a day, some a zone without
 * minutes (`-08`). Undefined for what is no such moment: letters, 27 digits, February 30th.
 *
 * @param timezone IANA name (`America/Chicago`), for those without a zone of their own
 * @example readEffectiveTime('20150722', 'UTC') // { earliest: 2015-07-22T00:00:00.000Z, latest: 2015-07-22T23:59:59.999Z }
 */
export function readEffectiveTime(text: string, timezone: string): EffectiveTime | undefined {
  const reading = readTimestamp(text.trim().replace(/([+-]\d{2})(?::(\d{2}))?$/, zoneWithMinutes), timezone)
  if (!reading.valid) return undefined
  return {
    earliest: reading.at,
    latest: new Date(reading.at.getTime() + openMs[reading.precision] - 1),
  }
}

function zoneWithMinutes(_: string, hours: string, minutes: string | undefined): string {
  return hours + (minutes ?? '00')
}
