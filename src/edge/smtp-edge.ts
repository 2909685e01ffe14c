import type { Edge, Handover, RecipientSubmission, Submission, SubmissionOutcome } from './edge.ts'
import { nextHopsOfDomain, nextHopsOfRoute, type MailExchangerSettings, type NextHops } from './next-hops.ts'
import { readRoutes, routeFor, type Route, type RouteSettings } from './route.ts'
import { makeSessionPool, poolLimitsByDefault, type PoolLimits } from './session-pool.ts'
import { patienceByDefault, type SmtpPatience } from './smtp-patience.ts'
import type { Transaction } from './smtp-transaction.ts'

export interface SmtpEdgeSettings {
  /** `sta`: routes, else MX. `smtp`: routes only, so `*` must be among them. */
  readonly type: 'sta' | 'smtp'
  /** What we call ourselves in EHLO: a host name, or the data holder’s Direct domain. */
  readonly name: string
  readonly routes?: readonly RouteSettings[]
  /** How mail exchangers are found, and how they are spoken to. */
  readonly mx?: MailExchangerSettings & Pick<RouteSettings, 'starttls' | 'verify' | 'ca'>
  readonly patience?: Partial<SmtpPatience>
  readonly pool?: Partial<PoolLimits>
}

/**
 * The edge that speaks SMTP. Throws at once where the settings are impossible, naming every problem.
 *
 * TLS 1.2 or newer by STARTTLS is required unless a route says otherwise. Certificates of mail exchangers found through MX
 * are not verified unless `mx.verify` is set: plain DNS could name any host anyway (RFC 7672 §1.3.1), and what protects a
 * Direct message is its S/MIME envelope; TLS here hides who writes to whom. Configured host names are verified.
 *
 * @example
 * const edge = makeSmtpEdge({ type: 'sta', name: 'direct.ashby.example',
 *   routes: [{ domain: 'direct.somephr.example', url: 'smtp://127.0.0.1:2626' }] })
 */
export function makeSmtpEdge(settings: SmtpEdgeSettings): Edge {
  const reading = readRoutes(settings.routes ?? [])
  if (!reading.valid) throw new Error(reading.problems.join('\n'))
  const { routes } = reading
  if (settings.type === 'smtp' && !routes.has('*'))
    throw new Error('edge.type smtp needs a route for *: the HISP that takes everything')
  const pool = makeSessionPool(
    settings.name,
    { ...patienceByDefault, ...settings.patience },
    { ...poolLimitsByDefault, ...settings.pool },
  )
  const underWay = new Set<Promise<unknown>>()
  let closing = false

  async function submit(handover: Handover): Promise<Submission> {
    const recipients = [...new Set(handover.envelope.to)]
    // Parsed before they were stored: anything else here would be a command of its own in the SMTP dialogue.
    for (const address of [handover.envelope.from, ...recipients])
      if (!/^[\x21-\x7e]*$/.test(address) || /[<>]/.test(address))
        throw new Error('an envelope address has a character that SMTP cannot carry')
    const outcomes = new Map<string, SubmissionOutcome>()
    for (const group of groups(recipients)) {
      const delivered = closing
        ? everyone(group.recipients, { outcome: 'unreachable', because: 'bluepost is stopping' })
        : await deliver(group, handover)
      for (const [recipient, outcome] of delivered) outcomes.set(recipient, outcome)
    }
    return {
      recipients: handover.envelope.to.map((recipient): RecipientSubmission => ({
        recipient,
        ...outcomes.get(recipient)!,
      })),
    }
  }

  /** One transaction per configured route, or per recipient domain. */
  function groups(recipients: readonly string[]): Group[] {
    const byHop = new Map<Route | string, Group>()
    for (const recipient of recipients) {
      const domain = recipient.slice(recipient.lastIndexOf('@') + 1).toLowerCase()
      const route = routeFor(routes, domain)
      const key = route ?? domain
      const group = byHop.get(key) ?? { recipients: [], route, domain }
      group.recipients.push(recipient)
      byHop.set(key, group)
    }
    return [...byHop.values()]
  }

  async function deliver(group: Group, handover: Handover): Promise<ReadonlyMap<string, SubmissionOutcome>> {
    const nextHops: NextHops =
      group.route === undefined
        ? await nextHopsOfDomain(group.domain, settings.mx ?? {})
        : await nextHopsOfRoute(group.route)
    if (nextHops.found === undefined)
      return everyone(group.recipients, { outcome: 'unreachable', because: nextHops.because })
    if (!nextHops.found)
      return everyone(group.recipients, {
        outcome: 'refused',
        code: nextHops.code,
        reply: nextHops.reply,
        nextHop: group.domain,
      })
    const failures: SubmissionOutcome[] = []
    for (const hop of nextHops.hops) {
      const route = group.route ?? mailExchangerRoute(hop.host, hop.port)
      const attempt = await pool.lend<SubmissionOutcome | Transaction>(hop, route, async (opening) => {
        if (!opening.opened) return { again: false, value: opening.outcome }
        const transaction = await opening.session.send({
          from: handover.envelope.from,
          to: group.recipients,
          bytes: handover.bytes,
          open: handover.open,
          beforeData: handover.beforeData,
        })
        return { again: transaction.lost !== undefined, value: transaction }
      })
      if ('outcome' in attempt) failures.push(attempt)
      else if (attempt.lost === undefined) return attempt.outcomes
      else failures.push(attempt.lost)
    }
    return everyone(group.recipients, mostHopeful(failures))
  }

  function mailExchangerRoute(host: string, port: number): Route {
    const { starttls = 'required', verify = false, ca } = settings.mx ?? {}
    return { host, port, implicitTls: false, starttls, verify, ...(ca === undefined ? {} : { ca }) }
  }

  return {
    type: settings.type,
    submit(handover) {
      const submission = submit(handover)
      underWay.add(submission)
      const done = (): boolean => underWay.delete(submission)
      submission.then(done, done)
      return submission
    },
    async close() {
      closing = true
      await Promise.allSettled(underWay)
      pool.close()
    },
  }
}

interface Group {
  readonly recipients: string[]
  readonly route: Route | undefined
  readonly domain: string
}

function everyone(
  recipients: readonly string[],
  outcome: SubmissionOutcome,
): ReadonlyMap<string, SubmissionOutcome> {
  return new Map(recipients.map((recipient) => [recipient, outcome]))
}

/** No host took part: permanent only if every single one said so, else the reason that says most. */
function mostHopeful(failures: readonly SubmissionOutcome[]): SubmissionOutcome {
  for (const outcome of ['deferred', 'insecure', 'unreachable'] as const) {
    const found = failures.find((failure) => failure.outcome === outcome)
    if (found !== undefined) return found
  }
  return failures[0]!
}
