/** What DNS or LDAP said: something, decidedly nothing, or no answer at all. */
type Answer =
  { readonly outcome: 'answer' | 'absent'; readonly ttlSeconds: number } | { readonly outcome: 'failed' }

/** Definite answers, kept for as long as they say; questions left open are never kept. */
export interface AnswerCache<Kept extends Answer> {
  /** The answer and how long it is still good, if there is one at that time. */
  get(name: string, at: Date): { readonly answer: Kept; readonly secondsLeft: number } | undefined
  put(name: string, answer: Kept, at: Date): void
  /** Forgets one name, or everything. */
  forget(name?: string): void
}

const answersMaxDefault = 5_000
/** A certificate taken back by its publisher is gone after a day, whatever TTL it had. */
const positiveSecondsMax = 86_400
/** A patient who waits for a mailbox to be set up should not wait longer (RFC 2308 §5 allows hours). */
const negativeSecondsMax = 300

/**
 * A cache of answers by name. What lies in it has to be validated again at each use: dates and anchors move on.
 *
 * @param answersMax names kept; the one put in first goes first
 */
export function makeAnswerCache<Kept extends Answer>(
  answersMax: number = answersMaxDefault,
): AnswerCache<Kept> {
  const kept = new Map<string, { readonly answer: Kept; readonly untilMs: number }>()
  return {
    get(name, at) {
      const found = kept.get(name)
      if (found === undefined) return undefined
      const secondsLeft = (found.untilMs - at.getTime()) / 1000
      if (secondsLeft > 0) return { answer: found.answer, secondsLeft: Math.ceil(secondsLeft) }
      kept.delete(name)
      return undefined
    },
    put(name, answer, at) {
      if (answer.outcome === 'failed') return
      const secondsMax = answer.outcome === 'answer' ? positiveSecondsMax : negativeSecondsMax
      const seconds = Math.min(answer.ttlSeconds, secondsMax)
      kept.delete(name)
      if (seconds <= 0) return
      kept.set(name, { answer, untilMs: at.getTime() + seconds * 1000 })
      for (const oldest of kept.keys()) {
        if (kept.size <= answersMax) break
        kept.delete(oldest)
      }
    },
    forget(name) {
      if (name === undefined) kept.clear()
      else kept.delete(name)
    },
  }
}
