import type { Authorization } from '../domain/authorization.ts'
import { isStrong, type Identifier } from '../domain/patient.ts'
import { patientKey, readBlindKey } from '../store/decisions.ts'
import { loadAuthorizations } from '../store/matching.ts'
import type { Query } from '../store/query.ts'
import { readChannelDay, readEngineDay, type ChannelDay } from '../store/days.ts'
import { authorizationIdsFor, eventsOfPatient, listTransmissions } from '../store/views.ts'
import { explain, explainTransmission, type Explanation } from './explain.ts'

/** One day of the data holder. */
export interface Day {
  /** YYYY-MM-DD */
  readonly name: string
  readonly from: Date
  readonly until: Date
}

/** An explanation, and the authorizations that were read for it: whose, the audit has to know. */
export interface PatientExplained {
  readonly explanations: readonly Explanation[]
  readonly authorizations: readonly Authorization[]
}

/**
 * Why something was, or was not, sent for a patient on a day. Where nothing was received, what speaks for and against each place at
 * which it may have been lost: her request, the channels, quarantine, the engine.
 *
 * @param identifier with the authority in its canonical spelling
 * @param channels that are enabled
 */
export async function explainPatient(
  query: Query,
  identifier: Identifier,
  day: Day,
  channels: readonly string[],
): Promise<PatientExplained> {
  const ids = await authorizationIdsFor(query, identifier.system, identifier.value)
  const authorizations = await loadAuthorizations(query, ids)
  const blindKey = await readBlindKey(query)
  // After a merge she is known by others, too.
  const known = [identifier, ...authorizations.flatMap(({ patient }) => patient.identifiers).filter(isStrong)]
  const keys = new Map(known.map((one) => [`${one.system}|${one.value}`, patientKey(blindKey, one)]))
  const events = await eventsOfPatient(query, [...keys.values()], day.from, day.until)
  const received = await Promise.all(events.map(({ messageId }) => explain(query, messageId)))
  const unasked = await withoutMessage(query, authorizations, day)
  const explanations = [...received.flat(), ...unasked]
  if (events.length > 0) return { explanations, authorizations }
  const sentences = [
    `Nothing was received about this patient on ${day.name} that says a trigger event happened${unasked.length === 0 ? ', so nothing was sent' : ''}.`,
    ...requestSentences(authorizations, identifier, day),
    ...channelSentences(await readChannelDay(query, channels, day.from, day.until), day),
    ...(await engineSentences(query, day)),
  ]
  return {
    explanations: [
      { subject: `patient on ${day.name}`, sentences, facts: { authorizations: ids, day: day.name } },
      ...explanations,
    ],
    authorizations,
  }
}

/** What no message started: the one push of a request, and what its interval made due. */
async function withoutMessage(
  query: Query,
  authorizations: readonly Authorization[],
  { from, until }: Day,
): Promise<Explanation[]> {
  const all = await Promise.all(
    authorizations.map(({ id }) => listTransmissions(query, { authorizationId: id, limit: 200 })),
  )
  const started = all
    .flat()
    .filter(
      ({ cause, createdAt }) =>
        (cause === 'request' || cause === 'interval') && createdAt >= from && createdAt < until,
    )
  const told = await Promise.all(started.map(({ id }) => explainTransmission(query, id)))
  return told.filter((one) => one !== undefined)
}

function requestSentences(
  authorizations: readonly Authorization[],
  identifier: Identifier,
  { name, from, until }: Day,
): string[] {
  if (!isStrong(identifier))
    return [
      'This kind of identifier never identifies a patient by itself: ask with a medical record or member number.',
    ]
  if (authorizations.length === 0)
    return [
      'No request is stored under this identifier: whatever happens to this patient, nothing is sent. Check the authority and the number with `bluepost authorizations`.',
    ]
  return authorizations.map(({ id, frequency, triggers, validFrom, validUntil, revokedAt }) => {
    const how =
      frequency.type === 'interval'
        ? `every ${frequency.every}`
        : frequency.type === 'once'
          ? 'once'
          : 'continuously'
    const on = triggers.length === 0 ? '' : ` on ${triggers.join(', ')}`
    const end = revokedAt ?? validUntil
    const standing =
      validFrom >= until
        ? `begins only at ${validFrom.toISOString()}`
        : end !== undefined && end <= from
          ? `had ended at ${end.toISOString()}${revokedAt === undefined ? '' : ', when it was revoked'}`
          : end !== undefined && end < until
            ? `ended on ${name}, at ${end.toISOString()}`
            : validFrom > from
              ? `began on ${name}, at ${validFrom.toISOString()}`
              : `was in force all of ${name}`
    return `Request ${id} (${how}${on}) ${standing}.`
  })
}

function channelSentences(days: readonly ChannelDay[], { name }: Day): string[] {
  if (days.length === 0) return ['No channel is enabled: nothing can be received. `bluepost check` says why.']
  const told = days.map(({ channel, received, first, last, quarantined, waiting, lastBefore }) => {
    if (received === 0)
      return `Channel ${channel} received nothing at all on ${name}; ${lastBefore === null ? 'nor in the 30 days before' : `the last message before came at ${lastBefore.toISOString()}`}. If its source was sending, look at the connection and at the sender’s queue.`
    const doubts = [
      ...(waiting === 0 ? [] : [`${waiting} of them are not decided yet`]),
      ...(quarantined === 0
        ? []
        : [
            `${quarantined} are in quarantine, and one of them may be about this patient: correct the cause, then replay`,
          ]),
    ]
    return `Channel ${channel} received ${received} messages on ${name}, from ${first!.toISOString()} to ${last!.toISOString()}${doubts.length === 0 ? ', and decided them all; none of them triggers for this patient: a message that is filtered is not kept under her name' : `; ${doubts.join('; ')}`}.`
  })
  return told
}

async function engineSentences(query: Query, { name, from, until }: Day): Promise<string[]> {
  const { stops, fragments } = await readEngineDay(query, from, until)
  return [
    ...stops.map(
      ({ stoppedAt, startedAt }) =>
        `The engine was stopped at ${stoppedAt.toISOString()} and ${startedAt === null ? 'was not started again that day' : `started again at ${startedAt.toISOString()}`}: senders kept what they had in their queues.`,
    ),
    ...(fragments === 0
      ? []
      : [
          `${fragments} pieces came on ${name} that are no messages (cut off, or no HL7); they are kept: GET /api/v1/fragments.`,
        ]),
  ]
}
