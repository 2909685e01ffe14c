/** How far the clocks of authorities may be ahead of ours. */
export const clockSkewMs = 5 * 60_000

/** How soon after an answer, or after none, the same place is asked again: a dead responder must not slow each message. */
const askAgainMsMin = 5 * 60_000

/** Until when an answer that is good until `nextUpdate` is not asked for again. */
export function askAgainAt(at: Date, nextUpdate: Date | undefined, keepMsMax: number): Date {
  const msLeft = nextUpdate === undefined ? 0 : nextUpdate.getTime() - at.getTime()
  return new Date(at.getTime() + Math.max(askAgainMsMin, Math.min(msLeft, keepMsMax)))
}
