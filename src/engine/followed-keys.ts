import type { KeyRing } from '../key-ring.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { anchorDaysLeft, certificatesOf } from '../partners.ts'
import type { ChangingAnchors } from '../trust/anchors.ts'
import type { Stops } from './stops.ts'

/** How soon a changed key file is looked at. */
const followMs = 10_000
/** An end that is nearer is spoken of once a day; one that is nearer than the second, as an error. */
export const expiryDays = { warning: 30, error: 7 }

/**
 * Looks after key files that change and certificates that end, for as long as the process runs. Says once what is wrong
 * with a new file (the last good one stays in use), and once a day what ends soon.
 */
export function followKeys(
  keyRing: KeyRing,
  anchorSet: ChangingAnchors,
  { log, metrics, stops }: { readonly log: Log; readonly metrics: Metrics; readonly stops: Stops },
): void {
  const signersNow = (at: Date) => keyRing.signers(at).map(({ fingerprint }) => fingerprint)
  let signing = signersNow(new Date()).join()
  let known = new Set(keyRing.problems(new Date()))
  let spokenOn = ''
  follow()
  const timer = setInterval(follow, followMs)
  timer.unref()
  stops.add('the keys', async () => clearInterval(timer))

  function follow(): void {
    const at = new Date()
    keyRing.reread(at)
    const signers = signersNow(at)
    if (signers.join() !== signing) log.info('other certificates sign from now on', { count: signers.length })
    signing = signers.join()
    const problems = new Set(keyRing.problems(at))
    for (const problem of problems) if (!known.has(problem)) log.error(problem, { code: 'key-problem' })
    known = problems
    const expiries = keyRing.expiries(at)
    // Soonest first: that one stays.
    for (const { use, daysLeft } of expiries.toReversed()) metrics.certificateDays.set({ use }, daysLeft)
    const today = at.toISOString().slice(0, 10)
    if (today === spokenOn) return
    spokenOn = today
    for (const { use, name, daysLeft } of expiries) warn(`${name} (${use})`, daysLeft)
    warn('trust: an anchor', anchorDaysLeft(certificatesOf(anchorSet), at) ?? Infinity)
  }

  function warn(what: string, daysLeft: number): void {
    if (daysLeft > expiryDays.warning) return
    const words = `${what} ${daysLeft < 0 ? `ended ${-daysLeft} days ago` : `ends in ${daysLeft} days`}: renew it`
    if (daysLeft > expiryDays.error) log.warn(words, { code: 'expires-soon' })
    else log.error(words, { code: 'expires-soon' })
  }
}
