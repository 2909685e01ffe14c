/** How long to wait for the recipient’s side, each in milliseconds from the first hand-over. */
export interface AnswerTimes {
  /** T1: until the recipient’s HISP must have said processed. */
  readonly processedWithinMs: number
  /** T2: until it must have said dispatched, where that was asked for. */
  readonly deliveredWithinMs: number
}

/** “In most HISPs, this timeout is 60 minutes” (DirectTrust accreditation test guide). */
export const answerTimesByDefault: AnswerTimes = {
  processedWithinMs: 60 * 60_000,
  deliveredWithinMs: 60 * 60_000,
}

/**
 * When the awaited notification falls due. Both times count from the first hand-over, and no later event resets them, neither
 * a resend nor a processed MDN (the RI’s DecayingTimeoutCondition).
 *
 * @param times with `firstSentAt`: when the bytes may have left for the first time, an ambiguous attempt included
 */
export function answerDueAt(
  { firstSentAt, processedWithinMs, deliveredWithinMs }: AnswerTimes & { readonly firstSentAt: Date },
  awaiting: 'processed' | 'delivered',
): Date {
  // A T2 below T1 would fall due before the step it follows.
  const waitMs = awaiting === 'processed' ? processedWithinMs : Math.max(processedWithinMs, deliveredWithinMs)
  return new Date(firstSentAt.getTime() + waitMs)
}
