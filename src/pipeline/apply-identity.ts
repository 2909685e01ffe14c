import type { Authorization } from '../domain/authorization.ts'
import { strongIdentifiers } from '../domain/identity.ts'
import type { IdentityChange } from '../domain/identity-change.ts'
import type { Identifier } from '../domain/patient.ts'
import { isSamePerson } from '../matching/match.ts'
import { appendAudit, type AuditEntry } from '../store/audit.ts'
import { addIdentifiers, lockAuthorizationsOf } from '../store/authorizations.ts'
import type { Query } from '../store/query.ts'
import { holdStories, storyKey, unsentOf } from '../store/stories.ts'
import { unsentAbout } from '../store/visit-numbers.ts'
import { lockTransmission, recordOccurrence } from '../store/transmissions.ts'
import type { DecidePorts } from './decide.ts'
import { engineEntry } from './engine-entry.ts'
import { renumber } from './renumber-visit.ts'

export interface IdentityMessage {
  readonly id: string
  readonly channel: string
  /** Of the visit numbers. */
  readonly scope: string
  readonly changes: readonly IdentityChange[]
}

/**
 * Merges, moves, links and deletions of records. An authorization goes on under the identifiers that its patient goes by
 * now, and late messages under the old ones still find it; it never comes to cover a person it did not cover before. Where
 * that cannot be told, what has not left is held for a person.
 *
 * @returns what was done, for the message’s story; carries no PHI
 */
export async function applyIdentity(
  { aliases, blindKey }: Pick<DecidePorts, 'aliases' | 'blindKey'>,
  query: Query,
  message: IdentityMessage,
  at: Date,
): Promise<string> {
  const told: string[] = []
  for (const change of message.changes) {
    switch (change.type) {
      case 'merge':
        told.push(await merge(query, message, change, aliases, at))
        break
      case 'move': {
        const keys = change.visits.map((visit) => storyKey(blindKey, message.scope, `encounter ${visit}`))
        told.push(await move(query, message, strong(change.from, aliases), keys, at))
        break
      }
      case 'renumber': {
        const [from, into] = [change.from, change.into].map((visit) =>
          storyKey(blindKey, message.scope, `encounter ${visit}`),
        )
        const joined = await renumber(query, from!, into!, at)
        told.push(
          `a visit goes by another number${joined === 0 ? '' : `, ${counted(joined, 'transmission')} joined`}`,
        )
        break
      }
      case 'delete': {
        const because =
          'the source deleted the record of this patient: withdraw, or release if it was not her record'
        const held = await holdOf(
          query,
          message,
          strong(change.record, aliases),
          'record-deleted',
          because,
          at,
        )
        told.push(`record deleted, ${counted(held, 'transmission')} held`)
        break
      }
      case 'link':
        // A link says that two records may be of one person; what one of them permits is not extended to the other.
        told.push('a link between records, which widens no authorization')
    }
  }
  return `identity: ${told.join('; ')}`
}

function strong(identifiers: readonly Identifier[], aliases: ReadonlyMap<string, string>): Identifier[] {
  return strongIdentifiers(identifiers, aliases)
}

async function merge(
  query: Query,
  message: IdentityMessage,
  change: IdentityChange & { type: 'merge' },
  aliases: ReadonlyMap<string, string>,
  at: Date,
): Promise<string> {
  const into = strong(change.into, aliases)
  // Only within one authority: a number of another one is not the successor of this one.
  const pairs = strong(change.from, aliases).flatMap((from) => {
    const successor = into.find(({ system }) => system === from.system)
    return successor === undefined || successor.value === from.value ? [] : [{ from, into: successor }]
  })
  if (pairs.length === 0)
    return 'a merge that names no two identifiers of one known authority: nothing was changed'
  const concerned = await lockAuthorizationsOf(
    query,
    pairs.flatMap((pair) => [pair.from, pair.into]),
  )
  const after: Authorization[] = []
  const audit: AuditEntry[] = []
  for (const authorization of concerned) {
    const its = pairs.filter((pair) => has(authorization, pair.from) || has(authorization, pair.into))
    const because = `the source merged two records of the patient (message ${message.id})`
    const added = its.flatMap((pair) => [pair.from, pair.into])
    const changed = await addIdentifiers(query, authorization.id, added, because, at)
    after.push(changed ?? authorization)
    if (changed !== undefined)
      audit.push(
        engineEntry(
          at,
          'authorization-changed',
          `authorization:${authorization.id}`,
          { because, version: changed.version },
          authorization.id,
        ),
      )
  }
  await appendAudit(query, audit)
  const claims = after.filter(({ revokedAt }) => revokedAt === undefined)
  const isDisputed = claims.some((one) =>
    claims.some((other) => other !== one && !isSamePerson(one, other, { aliases })),
  )
  const moved = `merge, ${counted(audit.length, 'authorization')} under both identifiers now`
  if (!isDisputed) return moved
  // Matching holds whatever comes from now on (`ambiguous`); this holds what was on its way.
  const because =
    'the source merged the records of two different people who both asked for transmission: compare them, revoke the wrong request, then release or withdraw'
  let held = 0
  for (const { id } of claims)
    held += await hold(query, message, await unsentOf(query, id, null), 'ambiguous', because, at)
  return `${moved}; they describe different people, ${counted(held, 'transmission')} held`
}

/** A visit, an account or identifiers were written down for the wrong patient. */
async function move(
  query: Query,
  message: IdentityMessage,
  from: readonly Identifier[],
  visits: readonly Buffer[],
  at: Date,
): Promise<string> {
  const because =
    'the source moved this visit to another patient: withdraw it, and replay its message where the other one asked for it'
  await holdStories(query, visits, [])
  // Without the number of the patient it was taken from, the visit alone says whose transmissions they are.
  if (from.length === 0)
    return `a move, ${counted(await hold(query, message, await unsentAbout(query, visits), 'visit-moved', because, at), 'transmission')} held`
  let held = 0
  for (const { id } of await lockAuthorizationsOf(query, from)) {
    // Identifiers that move say nothing about which visits were meant: then all of them wait.
    const ids = await unsentOf(query, id, visits.length === 0 ? null : visits)
    held += await hold(query, message, ids, 'visit-moved', because, at)
  }
  return `a move, ${counted(held, 'transmission')} held`
}

async function holdOf(
  query: Query,
  message: IdentityMessage,
  identifiers: readonly Identifier[],
  code: string,
  because: string,
  at: Date,
): Promise<number> {
  let held = 0
  for (const { id } of await lockAuthorizationsOf(query, identifiers))
    held += await hold(query, message, await unsentOf(query, id, null), code, because, at)
  return held
}

async function hold(
  query: Query,
  message: IdentityMessage,
  ids: readonly string[],
  code: string,
  because: string,
  at: Date,
): Promise<number> {
  let held = 0
  const audit: AuditEntry[] = []
  for (const id of ids) {
    const transmission = await lockTransmission(query, id)
    if (transmission === undefined) continue
    const { advance } = await recordOccurrence(query, transmission, { what: 'held' }, at, { code, because })
    if (advance.outcome !== 'moved') continue
    held++
    const detail = { code, because, message: message.id }
    audit.push(
      engineEntry(at, 'transmission-held', `transmission:${id}`, detail, transmission.authorizationId),
    )
  }
  await appendAudit(query, audit)
  return held
}

function has({ patient }: Authorization, { system, value }: Identifier): boolean {
  return patient.identifiers.some((one) => one.system === system && one.value === value)
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
