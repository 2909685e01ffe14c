import { readWishes } from '../store/channel-wishes.ts'
import { failureOf, isFailureCode } from '../domain/failure.ts'
import { threeFacts, type Fact, type ThreeFacts } from '../domain/three-facts.ts'
import type { Disposition } from '../domain/transmission.ts'
import { readAttempts } from '../store/deliveries.ts'
import type { Query } from '../store/query.ts'
import { readOccurrences } from '../store/occurrences.ts'
import { readTransmission } from '../store/transmissions.ts'
import {
  listMessages,
  listTransmissions,
  readDocuments,
  readEvent,
  readMessage,
  readNotifications,
  readVerdicts,
  type MessageView,
} from '../store/views.ts'
import { noticesIn } from './notices.ts'

/** The answer to “why was it, or was it not, sent?”: sentences for a person, and the facts they come from. */
export interface Explanation {
  readonly subject: string
  readonly sentences: readonly string[]
  readonly facts: Readonly<Record<string, unknown>>
}

/**
 * Explains a message (its number, or its control id) or a transmission (its id), from stored reasons only.
 *
 * @returns one explanation per message that has the control id; empty where nothing has this name
 */
export async function explain(query: Query, name: string): Promise<Explanation[]> {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(name)) {
    const explanation = await explainTransmission(query, name)
    return explanation === undefined ? [] : [explanation]
  }
  const byNumber = /^\d{1,18}$/.test(name) ? await readMessage(query, name) : undefined
  const messages =
    byNumber === undefined ? await listMessages(query, { controlId: name, limit: 20 }) : [byNumber]
  return Promise.all(messages.map((message) => explainMessage(query, message)))
}

async function explainMessage(query: Query, message: MessageView): Promise<Explanation> {
  const event = await readEvent(query, message.id)
  const paused =
    message.state === 'received'
      ? (await readWishes(query)).find(
          ({ channel, wish }) => channel === message.channel && wish === 'paused',
        )
      : undefined
  const verdicts = event === undefined ? [] : await readVerdicts(query, event.id)
  const transmissions = await listTransmissions(query, { receivedMessage: message.id, limit: 100 })
  const stories = await Promise.all(transmissions.map(({ id }) => explainTransmission(query, id)))
  const sentences = [
    `Message ${message.id} (control id ${printable(message.controlId)}) came in on channel ${message.channel} at ${time(message.receivedAt)} from ${message.peer}, ${message.bytes} bytes.`,
  ]
  if (message.flags.includes('control-id-reused'))
    sentences.push(
      'Its control id had been used before by a message with other content; it was processed as a message of its own.',
    )
  if (message.state === 'received')
    sentences.push(
      paused === undefined
        ? 'It is stored and acknowledged, and has not been decided yet.'
        : `It is stored and acknowledged, and waits: channel ${message.channel} is paused since ${time(paused.at)} by ${paused.actor}.`,
    )
  if (message.state === 'filtered') sentences.push(`It sets nothing in motion: ${message.because}.`)
  if (message.state === 'quarantined')
    sentences.push(
      `It is in quarantine: ${message.because}. Correct the cause, then replay it, or release all that wait for the same: bluepost quarantine.`,
    )
  if (event !== undefined) {
    sentences.push(
      `It says: ${event.kind}${event.cancels ? ', taken back' : ''}, at ${time(event.occurredAt)}.`,
    )
    if (event.outcome === 'no-authorization') sentences.push(`Nothing was sent: ${event.because}.`)
    if (event.outcome === 'cancelled') sentences.push(`Nothing was sent: ${event.because}.`)
    for (const verdict of verdicts)
      sentences.push(
        `Authorization ${verdict.authorizationId} (version ${verdict.authorizationVersion}): ${verdict.outcome}, ${verdict.because}.`,
      )
    if (event.outcome === 'matched' && transmissions.length === 0)
      sentences.push(
        'An earlier message about the same event of the same visit had started the transmission already.',
      )
  }
  for (const story of stories) if (story !== undefined) sentences.push(...story.sentences)
  return {
    subject: `message ${message.id}`,
    sentences,
    facts: { message, event: event ?? null, verdicts, transmissions },
  }
}

/** Undefined where there is no such transmission. */
export async function explainTransmission(query: Query, id: string): Promise<Explanation | undefined> {
  const transmission = await readTransmission(query, id)
  if (transmission === undefined) return undefined
  const [occurrences, attempts, notifications, documents] = [
    await readOccurrences(query, id),
    await readAttempts(query, id),
    await readNotifications(query, id),
    await readDocuments(query, id),
  ]
  const sentences = [
    `Transmission ${id} to ${transmission.destination}, because of ${transmission.cause}, is ${transmission.state}${transmission.because === undefined ? '' : `: ${transmission.because}`}.`,
  ]
  if (transmission.code !== undefined && isFailureCode(transmission.code))
    sentences.push(failureOf(transmission.code).advice)
  if (transmission.ambiguous)
    sentences.push(
      'It may have arrived although no answer came; whatever is sent again is the same bytes with the same Message-ID.',
    )
  if (transmission.state === 'waiting' && transmission.dueAt !== undefined)
    sentences.push(`It waits until ${time(transmission.dueAt)}.`)
  for (const document of documents)
    sentences.push(
      `The document came from ${document.source}: ${document.bytes} bytes, SHA-256 ${document.sha256}.`,
    )
  const late = notifications.flatMap(({ effect, bound, disposition, at }) =>
    effect === 'late' && bound && disposition !== null
      ? [{ disposition: disposition as Disposition, at }]
      : [],
  )
  const knownFacts = threeFacts({ ...transmission, late })
  sentences.push(...factSentences(knownFacts))
  const notices = noticesIn(transmission, occurrences)
  if (transmission.state === 'failed' && notices.length > 0)
    sentences.push(`The failure notice to the sender’s side says ${notices.at(-1)!.status}.`)
  for (const one of notifications.filter((notification) => notification.effect !== 'moved'))
    sentences.push(
      `A notification of ${time(one.at)} (${one.disposition ?? 'no disposition'}) changed nothing: ${one.because}.`,
    )
  return {
    subject: `transmission ${id}`,
    sentences,
    facts: {
      transmission,
      threeFacts: knownFacts,
      notices,
      occurrences,
      attempts,
      notifications,
      documents,
    },
  }
}

/** Each fact in a sentence of its own; of what nothing has left for yet nothing is said. */
function factSentences({ acceptedByNextHop, processedByHisp, delivered }: ThreeFacts): string[] {
  const tell = (
    { is, at, isLate }: Fact,
    words: Readonly<Record<Exclude<Fact['is'], 'not-yet' | 'yes'>, string>> & {
      readonly yes: string
      readonly implied: string
    },
  ): string[] => {
    if (is === 'not-yet') return []
    if (is !== 'yes') return [words[is]]
    if (at === undefined) return [words.implied]
    return [`${words.yes} at ${time(at)}${isLate === true ? ', too late to count' : ''}.`]
  }
  return [
    ...tell(acceptedByNextHop, {
      yes: 'The next hop accepted it',
      implied: 'The next hop must have accepted it, since it was answered.',
      awaited: 'The next hop has it and has not answered.',
      no: 'The next hop did not accept it.',
      unknown: 'Whether the next hop accepted it is not known.',
      'not-asked': '',
    }),
    ...tell(processedByHisp, {
      yes: 'The recipient’s HISP confirmed it',
      implied: 'The recipient’s HISP must have processed it, since it was delivered.',
      awaited: 'Whether the recipient’s HISP processed it has not been said yet.',
      no: 'The recipient’s HISP did not process it.',
      unknown: 'The recipient’s HISP did not say whether it processed it.',
      'not-asked': '',
    }),
    ...tell(delivered, {
      yes: 'Its delivery was confirmed',
      implied: 'It was delivered.',
      awaited: 'Whether it was delivered has not been said yet.',
      no: 'It was not delivered.',
      unknown: 'Whether it was delivered was not said.',
      'not-asked': 'Whether it was delivered was not asked.',
    }),
  ]
}

function time(at: Date): string {
  return at.toISOString()
}

/** Control ids are the sender’s: nothing of them may steer a terminal. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}
