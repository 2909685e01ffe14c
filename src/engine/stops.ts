import { errorTrace, type Log } from '../lib/log.ts'

/** What was started, in order, and how to stop it: last in, first out. */
export interface Stops {
  add(what: string, stop: () => Promise<unknown>): void
  /** Stops everything; one that fails does not keep the others from it. */
  stopAll(): Promise<void>
}

/** How long a listener lets go on what is under way. */
export const drainMsMax = 20_000

export function makeStops(log: Log): Stops {
  const started: { what: string; stop: () => Promise<unknown> }[] = []
  return {
    add: (what, stop) => void started.push({ what, stop }),
    async stopAll() {
      for (let last = started.pop(); last !== undefined; last = started.pop()) {
        const { what, stop } = last
        await stop().catch((error: unknown) =>
          log.error(`stopping ${what} failed`, { error: errorTrace(error) }),
        )
      }
    },
  }
}
