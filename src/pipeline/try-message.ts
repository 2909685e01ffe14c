import type { Finding } from '../documents/gate.ts'
import type { Authorization } from '../domain/authorization.ts'
import type { ChannelPlan } from '../domain/channel.ts'
import { Failed, failureOf } from '../domain/failure.ts'
import type { TraceStep } from '../domain/trust-verdict.ts'
import type { TriggerEvent } from '../domain/trigger-event.ts'
import { evaluate, type Evaluation } from '../mapping/evaluate.ts'
import type { Verdict } from '../matching/match.ts'
import type { Query } from '../store/query.ts'
import { broughtBy } from './brought-documents.ts'
import { changesFollowed, matchEvents } from './decide.ts'
import { gatherDocuments, type GatherPorts } from './obtain-document.ts'
import { trustedRecipients, type RecipientPorts } from './recipients.ts'

/** What production would ask, to look at: nothing of it writes. */
export interface TryPorts extends GatherPorts, RecipientPorts {
  readonly query: Query
  /** Documents, certificates and trust are as they are now, whenever the message is said to have come. */
  readonly now: () => Date
}

/** One message on its way through a channel, as far as it gets. Values are PHI: for the person who has the message. */
export interface Tried {
  /** What becomes of it, with every step; absent where the channel follows it as a change of records. */
  readonly evaluation?: Evaluation
  /** Kinds of changes of records (merge, move, link, delete) that the channel follows before any filter. */
  readonly follows?: readonly string[]
  /** Absent where the message triggers nothing, or no database was asked. */
  readonly matching?: {
    readonly outcome: string
    readonly because: string
    readonly verdicts: readonly TriedVerdict[]
  }
}

export interface TriedVerdict extends Verdict {
  /** Absent where nothing would be fetched: the event takes something back, is held, or is not permitted. */
  readonly documents?: TriedDocuments
  readonly recipients?: readonly TriedRecipient[]
}

type Refused = { readonly code: string; readonly because: string; readonly advice: string }

export type TriedDocuments =
  | {
      readonly passed: true
      readonly documents: readonly {
        readonly role: string
        readonly source: string
        readonly bytes: number
        readonly mediaType: string
        readonly findings: readonly Finding[]
      }[]
    }
  | ({ readonly passed: false; readonly step?: number } & Refused)

export type TriedRecipient = { readonly destination: string; readonly trace: readonly TraceStep[] } & (
  | { readonly trusted: true; readonly certificates: readonly string[] }
  | ({ readonly trusted: false } & Refused)
)

/**
 * A message through a channel, with the functions that decide in earnest: filter and mapping with every value they see, then,
 * where a database is at hand, each authorization’s verdict, the documents and their gate, and trust in each destination.
 * Nothing is stored, fetched documents are dropped again, and nothing is sent.
 *
 * @param at the moment of receipt
 * @param ports absent: filter and mapping alone
 */
export async function tryMessage(
  plan: ChannelPlan,
  content: Buffer,
  at: Date,
  ports: TryPorts | undefined,
): Promise<Tried> {
  const changes = changesFollowed(plan, content)
  if (changes !== undefined) return { follows: changes.map(({ type }) => type) }
  const evaluation = evaluate(plan, content, at, { trace: true })
  if (evaluation.decision !== 'trigger' || ports === undefined) return { evaluation }
  const { event } = evaluation
  const [matched] = await matchEvents(ports.query, [event], ports.aliases, at)
  const { candidates, result } = matched!
  const verdicts: TriedVerdict[] = []
  for (const verdict of result.outcome === 'no-authorization' ? [] : result.verdicts) {
    const authorization = candidates.find(({ id }) => id === verdict.authorizationId)
    verdicts.push(
      verdict.outcome === 'matched' && event.cancels === undefined && authorization !== undefined
        ? await followed(ports, { plan, content, at, event }, verdict, authorization)
        : verdict,
    )
  }
  return { evaluation, matching: { outcome: result.outcome, because: result.because, verdicts } }
}

interface Trying {
  readonly plan: ChannelPlan
  readonly content: Buffer
  readonly at: Date
  readonly event: TriggerEvent
}

async function followed(
  ports: TryPorts,
  trying: Trying,
  verdict: Verdict,
  authorization: Authorization,
): Promise<TriedVerdict> {
  const documents = await tryDocuments(ports, trying, authorization)
  const recipients: TriedRecipient[] = []
  for (const destination of verdict.destinations) recipients.push(await tryRecipient(ports, destination))
  return { ...verdict, documents, recipients }
}

async function tryDocuments(
  ports: TryPorts,
  { plan, content, at, event }: Trying,
  authorization: Authorization,
): Promise<TriedDocuments> {
  try {
    const message = { id: 'tried', channel: plan.name, receivedAt: at, sender: senderOf(plan), content }
    const brought = broughtBy(ports, [message], authorization)
    const occasion = { cause: event.kind, occurredAt: event.occurredAt }
    const passed = await gatherDocuments(ports, occasion, authorization, brought, ports.now())
    return {
      passed: true,
      documents: passed.map(({ candidate: { role, source, bytes }, mediaType, findings }) => ({
        role,
        source,
        bytes: bytes.length,
        mediaType,
        findings,
      })),
    }
  } catch (error) {
    const step = ((error as Failed).detail as { step?: number } | undefined)?.step
    return { passed: false, ...refused(error), ...(step === undefined ? {} : { step }) }
  }
}

async function tryRecipient(ports: TryPorts, destination: string): Promise<TriedRecipient> {
  try {
    const { certificates, trace } = await trustedRecipients(ports, destination, ports.now())
    return {
      destination,
      trusted: true,
      certificates: certificates.map(({ subject }) => subject.text),
      trace,
    }
  } catch (error) {
    const because = refused(error)
    const trace = ((error as Failed).detail as { trace?: readonly TraceStep[] } | undefined)?.trace ?? []
    return { destination, trusted: false, ...because, trace }
  }
}

/** @throws whatever is no failure of an attempt */
function refused(error: unknown): Refused {
  if (!(error instanceof Failed)) throw error
  return { code: error.code, because: error.because, advice: failureOf(error.code).advice }
}

function senderOf({ source }: ChannelPlan): string {
  return 'server' in source ? source.server : 'try'
}
