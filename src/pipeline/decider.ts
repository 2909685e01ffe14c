import { errorTrace, type Log } from '../lib/log.ts'
import { lanesWaiting } from '../store/decisions.ts'
import { isRowAtFault } from '../store/inbound-messages.ts'
import { queryOf } from '../store/query.ts'
import { decide, setAside, type Decided, type DecidePorts } from './decide.ts'

/** The safety net under the wake-ups: after a crash or a lost notification nothing waits longer than this. */
const lookAgainMs = 1000

/** Passes at a time in one process. More only take turns on the same rows of the database. */
const passesMax = 2

/** Lanes one pass takes on; the other pass of this process works on different ones. */
const lanesPerPassMax = 64

export interface Decider {
  /** These lanes have new messages, committed. */
  wake(lanes: Iterable<number>): void
  /** Finishes the passes under way and starts no more. */
  stop(): Promise<void>
}

/** Keeps deciding while there is something to decide; sleeps otherwise. */
export function startDecider(ports: DecidePorts, log: Log, onDecided: (decided: Decided) => void): Decider {
  const awake = new Set<number>()
  const running = new Set<Promise<void>>()
  let isStopped = false

  const lookAround = setInterval(() => {
    lanesWaiting(queryOf(ports.dataSource), ports.broken?.() ?? []).then(wake, (error: unknown) =>
      log.warn('cannot look for undecided messages', { error: errorTrace(error) }),
    )
  }, lookAgainMs)

  function wake(lanes: Iterable<number>): void {
    if (isStopped) return
    for (const lane of lanes) awake.add(lane)
    while (awake.size > 0 && running.size < passesMax) {
      const lanes = [...awake].slice(0, lanesPerPassMax)
      for (const lane of lanes) awake.delete(lane)
      const pass = work(lanes).finally(() => {
        running.delete(pass)
        wake([])
      })
      running.add(pass)
    }
  }

  async function work(lanes: readonly number[]): Promise<void> {
    try {
      for (let isDone = false; !isDone && !isStopped;) {
        const decided = await decide(ports, lanes)
        if (decided.messages > 0) onDecided(decided)
        else isDone = true
      }
    } catch (error) {
      // Rolled back whole: the messages are still there and the next look finds them.
      log.error('deciding failed and will be repeated', { error: errorTrace(error) })
      if (isMessageAtFault(error)) await oneByOne(lanes)
    }
  }

  /** One message must not keep a whole pass from being decided, again and again: it is found and set aside. */
  async function oneByOne(lanes: readonly number[]): Promise<void> {
    try {
      for (let isDone = false; !isDone && !isStopped;) {
        try {
          const decided = await decide(ports, lanes, 1)
          if (decided.messages > 0) onDecided(decided)
          else isDone = true
        } catch (error) {
          if (!isMessageAtFault(error)) throw error
          log.error('a message cannot be decided and is quarantined', { error: errorTrace(error) })
          await setAside(ports, lanes)
        }
      }
    } catch (error) {
      log.warn('deciding one by one was interrupted', { error: errorTrace(error) })
    }
  }

  return {
    wake,
    async stop() {
      isStopped = true
      clearInterval(lookAround)
      await Promise.all(running)
    },
  }
}

/** True where trying the same message again cannot help: the database refuses a value, or our own code stumbled. */
function isMessageAtFault(error: unknown): boolean {
  return isRowAtFault(error) || error instanceof TypeError || error instanceof RangeError
}
