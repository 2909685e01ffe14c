import type { NextHop } from './next-hops.ts'
import type { Route } from './route.ts'
import type { SmtpPatience } from './smtp-patience.ts'
import { openSession, type Opening, type SmtpSession } from './smtp-session.ts'

export interface PoolLimits {
  /** Connections at once to one next hop; Postfix’s default for one destination is 20, small HISPs allow few. */
  readonly connectionsPerHopMax: number
  /** An unused connection is kept this long, in milliseconds; receivers usually allow 5 minutes. */
  readonly idleMsMax: number
  /** Then the connection is replaced. */
  readonly mailsPerConnectionMax: number
}

export const poolLimitsByDefault: PoolLimits = {
  connectionsPerHopMax: 4,
  idleMsMax: 15_000,
  mailsPerConnectionMax: 100,
}

/** Sessions per next hop and route: a bounded number, reused only after a transaction that ended with a 2xx. */
export interface SessionPool {
  /**
   * Lends a session to `use` and takes it back. A session that lay idle may be dead without our knowing: `use` says so with
   * `again: true` (allowed only while nothing of the mail was decided) and gets a fresh one.
   */
  lend<T>(hop: NextHop, route: Route, use: (opening: Opening) => Promise<Lent<T>>): Promise<T>
  /** Closes the idle sessions; those lent are closed when they come back. */
  close(): void
}

interface Lent<T> {
  readonly again: boolean
  readonly value: T
}

interface Berth {
  readonly idle: { readonly session: SmtpSession; readonly mails: number; readonly timer: NodeJS.Timeout }[]
  readonly waiting: (() => void)[]
  lent: number
}

export function makeSessionPool(ehloName: string, patience: SmtpPatience, limits: PoolLimits): SessionPool {
  const berths = new Map<string, Berth>()
  let closed = false

  async function lend<T>(
    hop: NextHop,
    route: Route,
    use: (opening: Opening) => Promise<Lent<T>>,
  ): Promise<T> {
    const key = JSON.stringify([hop, route])
    const berth = berths.get(key) ?? { idle: [], waiting: [], lent: 0 }
    berths.set(key, berth)
    if (berth.lent >= limits.connectionsPerHopMax)
      await new Promise<void>((resolve) => berth.waiting.push(resolve))
    else berth.lent++
    try {
      for (let mails = 1; ;) {
        const idle = takeIdle(berth)
        const opening: Opening =
          idle === undefined
            ? await openSession(hop, route, ehloName, patience)
            : { opened: true, session: idle.session }
        mails = (idle?.mails ?? 0) + 1
        const { again, value } = await use(opening)
        if (opening.opened) giveBack(berth, opening.session, mails)
        if (!again || idle === undefined) return value
      }
    } finally {
      // The place passes to the next in line, else it becomes free.
      const next = berth.waiting.shift()
      if (next === undefined) berth.lent--
      else next()
      if (berth.lent === 0 && berth.idle.length === 0) berths.delete(key)
    }
  }

  function takeIdle(berth: Berth): { session: SmtpSession; mails: number } | undefined {
    for (let idle = berth.idle.pop(); idle !== undefined; idle = berth.idle.pop()) {
      clearTimeout(idle.timer)
      if (idle.session.isUsable()) return idle
    }
    return undefined
  }

  function giveBack(berth: Berth, session: SmtpSession, mails: number): void {
    if (!session.isUsable()) return
    if (closed || mails >= limits.mailsPerConnectionMax) return session.quit()
    const idle = {
      session,
      mails,
      timer: setTimeout(() => {
        berth.idle.splice(berth.idle.indexOf(idle), 1)
        session.quit()
      }, limits.idleMsMax),
    }
    berth.idle.push(idle)
  }

  return {
    lend,
    close() {
      closed = true
      for (const berth of berths.values())
        for (const { session, timer } of berth.idle.splice(0)) {
          clearTimeout(timer)
          session.quit()
        }
    },
  }
}
