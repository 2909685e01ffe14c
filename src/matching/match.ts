import { judge, type Authorization, type RefusalCode } from '../domain/authorization.ts'
import {
  compareIdentity,
  contradictingAuthority,
  strongIdentifiers,
  type DoubtCode,
  type NamedPerson,
} from '../domain/identity.ts'
import { isFamilyOf, sameBirthDate, type Identifier } from '../domain/patient.ts'
import type { TriggerEvent } from '../domain/trigger-event.ts'

export type VerdictOutcome = 'matched' | 'not-permitted' | 'held'
export type VerdictCode = 'matched' | 'ambiguous' | RefusalCode | DoubtCode

/** What was decided about one event and one authorization, with the reason; stored as it is. Carries no PHI. */
export interface Verdict {
  readonly authorizationId: string
  readonly version: number
  readonly outcome: VerdictOutcome
  readonly code: VerdictCode
  readonly because: string
  /**
   * Direct addresses. `matched`: where it goes. `held`: where it would go if a person released it. For a cancelling
   * event every destination of the authorization, since all of them may have work to withdraw.
   */
  readonly destinations: readonly string[]
}

export type MatchResult =
  | { readonly outcome: 'no-authorization'; readonly because: string }
  | {
      /** `matched` where any verdict is; else `held` where any is; else `not-permitted`. */
      readonly outcome: VerdictOutcome
      readonly because: string
      /** One per authorization that shares a strong identifier, ordered by authorization id. */
      readonly verdicts: readonly Verdict[]
    }

export interface MatchOptions {
  /** Authority spellings from the settings → canonical authority. */
  readonly aliases: ReadonlyMap<string, string>
}

/**
 * Whose authorizations does this event set in motion? Pure; the order of the candidates does not matter.
 *
 * An authorization is concerned where a strong identifier is exactly equal in the same authority. Whatever then speaks
 * against it (birth date, family name, a contradicting identifier, two different people with one identifier) holds it:
 * a wrong match is a breach, a missed one a delay. What the authorization does not permit anyway is not held but refused.
 *
 * A cancelling event is matched the same way but not judged: taking back is always permitted, and `matched` then means
 * “concerned”.
 */
export function match(
  event: TriggerEvent,
  candidates: readonly Authorization[],
  options: MatchOptions,
  at: Date,
): MatchResult {
  const person = personOf(event)
  const keys = strongIdentifiers(person.identifiers, options.aliases)
  if (keys.length === 0) return { outcome: 'no-authorization', because: withoutKeys(person) }

  const verdicts = [...new Map(candidates.map((candidate) => [candidate.id, candidate])).values()]
    .sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
    .flatMap((candidate) => {
      const verdict = verdictOn(event, person, candidate, options, at)
      return verdict === undefined ? [] : [{ candidate, verdict }]
    })
  if (verdicts.length === 0)
    return {
      outcome: 'no-authorization',
      because: `no authorization has any of the ${count(keys.length, 'identifier')} of the event that can make a match`,
    }
  return summary(holdDifferentPersons(verdicts, options))
}

/** The identifiers to look authorizations up by; empty where the event names none that may make a match. */
export function strongKeys(event: TriggerEvent, aliases: ReadonlyMap<string, string>): Identifier[] {
  return strongIdentifiers(event.patient.identifiers ?? [], aliases)
}

interface Judged {
  readonly candidate: Authorization
  readonly verdict: Verdict
}

function verdictOn(
  event: TriggerEvent,
  person: NamedPerson,
  candidate: Authorization,
  options: MatchOptions,
  at: Date,
): Verdict | undefined {
  const identity = compareIdentity(candidate.patient, person, options.aliases)
  if (!identity.same && identity.code === 'no-common-identifier') return undefined

  const permission =
    event.cancels !== undefined
      ? { destinations: candidate.destinations.map(({ address }) => address), refusal: undefined }
      : permissionFor(event, candidate, at)
  const verdict = {
    authorizationId: candidate.id,
    version: candidate.version,
    destinations: permission.destinations,
  }
  // Nothing could be sent, so there is nothing for a person to decide: not held, however doubtful the identity.
  if (permission.refusal !== undefined)
    return { ...verdict, outcome: 'not-permitted', ...permission.refusal, destinations: [] }
  if (!identity.same) return { ...verdict, outcome: 'held', code: identity.code, because: identity.because }
  return { ...verdict, outcome: 'matched', code: 'matched', because: identity.because }
}

function permissionFor(event: TriggerEvent, candidate: Authorization, at: Date) {
  // Without any destination the judgement still says which comes first: revoked, expired, or nowhere to send.
  const addresses = candidate.destinations.length === 0 ? [''] : candidate.destinations.map((d) => d.address)
  const judged = addresses.map((destination) => ({
    destination,
    judgement: judge(candidate, { cause: event.kind, occurredAt: event.occurredAt, destination }, at),
  }))
  const destinations = judged
    .filter(({ judgement }) => judgement.permitted)
    .map(({ destination }) => destination)
  const refused = judged[0]?.judgement
  return {
    destinations,
    refusal:
      destinations.length === 0 && refused?.permitted === false
        ? { code: refused.code, because: refused.because }
        : undefined,
  }
}

/** One identifier, two different people: somebody’s record is wrong, and nobody may receive it until it is known whose. */
function holdDifferentPersons(judged: readonly Judged[], options: MatchOptions): Verdict[] {
  const matched = judged.filter(({ verdict }) => verdict.outcome === 'matched')
  // Whoever claims the identifier counts, also where birth date or name already speak against her or this trigger is not
  // hers. An authorization that is over claims nothing any more: revoking the wrong one settles it.
  const claims = judged.filter(({ verdict }) => verdict.code !== 'revoked' && verdict.code !== 'expired')
  const isAmbiguous = matched.some(({ candidate }) =>
    claims.some(
      (other) => other.candidate !== candidate && !isSamePerson(candidate, other.candidate, options),
    ),
  )
  return judged.map(({ verdict }) =>
    isAmbiguous && verdict.outcome === 'matched'
      ? {
          ...verdict,
          outcome: 'held',
          code: 'ambiguous',
          because: `${claims.length} authorizations have an identifier of this event but describe different people: compare their patients, revoke the wrong one, then release or withdraw`,
        }
      : verdict,
  )
}

/** Whether two authorizations describe one person, as far as they say. */
export function isSamePerson(a: Authorization, b: Authorization, { aliases }: MatchOptions): boolean {
  return (
    sameBirthDate(a.patient.birthDate, b.patient.birthDate) === true &&
    (isFamilyOf(a.patient.family, b.patient) === true || isFamilyOf(b.patient.family, a.patient) === true) &&
    // Twins share name and birth date; an event that carries the identifiers of both is about neither for certain.
    contradictingAuthority(
      strongIdentifiers(a.patient.identifiers, aliases),
      strongIdentifiers(b.patient.identifiers, aliases),
    ) === undefined
  )
}

function summary(verdicts: readonly Verdict[]): MatchResult {
  const telling = (['matched', 'held', 'not-permitted'] as const)
    .map((outcome) => verdicts.filter((verdict) => verdict.outcome === outcome))
    .find((group) => group.length > 0)!
  const { outcome, because } = telling[0]!
  return {
    outcome,
    because:
      verdicts.length === 1
        ? because
        : `${telling.length} of ${count(verdicts.length, 'authorization')} with this identifier: ${because}`,
    verdicts,
  }
}

function personOf({ patient }: TriggerEvent): NamedPerson {
  return {
    identifiers: patient.identifiers ?? [],
    families: patient.family === undefined ? [] : [patient.family],
    ...(patient.birthDate === undefined ? {} : { birthDate: patient.birthDate }),
  }
}

function withoutKeys({ identifiers }: NamedPerson): string {
  if (identifiers.length === 0) return 'the event names no patient identifier'
  return `none of the ${count(identifiers.length, 'patient identifier')} of the event can make a match: each is of a weak kind (account, visit, social security number …), a filler such as “Unknown”, or of an authority the settings do not name`
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`
}
