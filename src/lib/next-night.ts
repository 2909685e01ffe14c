import { readTimestamp } from './hl7v2-time.ts'

const hourMs = 3_600_000
/** From one to five o’clock, when hospitals and directories have least to do. */
const nightStartsMs = hourMs
const nightMs = 4 * hourMs
/** What was done this evening is not done again at one. */
const restMs = 6 * hourMs

/**
 * A moment in the next night of a time zone that is at least six hours away.
 *
 * @param share 0 to 1: where in the night
 */
export function nextNight(at: Date, zone: string, share: number): Date {
  for (let day = 0; ; day++) {
    const date = new Intl.DateTimeFormat('en-CA', { timeZone: zone }).format(
      new Date(at.getTime() + day * 24 * hourMs),
    )
    const night = nightOf(date, zone, share)
    if (night.getTime() >= at.getTime() + restMs) return night
  }
}

/**
 * A moment between one and five o’clock of a day.
 *
 * @param date YYYY-MM-DD
 * @param share 0 to 1: where in the night
 */
export function nightOf(date: string, zone: string, share: number): Date {
  const sinceMidnightMs = nightStartsMs + Math.floor((share * nightMs) / 1000) * 1000
  const time = new Date(sinceMidnightMs).toISOString().slice(11, 19).replaceAll(':', '')
  const reading = readTimestamp(`${date.replaceAll('-', '')}${time}`, zone)
  if (!reading.valid) throw new Error(`the clocks of ${zone} have no ${time} on ${date}`)
  return reading.at
}
