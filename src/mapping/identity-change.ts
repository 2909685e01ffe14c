import type { IdentityChange } from '../domain/identity-change.ts'
import type { Identifier } from '../domain/patient.ts'
import type { Hl7Message } from '../lib/hl7v2.ts'
import type { Hl7Segment } from '../lib/hl7v2-segment.ts'
import { assignerAt, type Input } from './input.ts'

/** Merges of patients, and changes of a patient’s identifier: the old one “would never be referenced in future”. */
const merges = new Set(['A18', 'A30', 'A34', 'A36', 'A39', 'A40', 'A46', 'A47', 'A49', 'A51'])
/** Numbers of accounts and visits that are given up: where the old one stands in MRG, and the new one. */
const renumberings = new Map([
  ['A41', { old: 3, now: 'PID-18.1' }],
  ['A42', { old: 5, now: 'PV1-19.1' }],
  ['A49', { old: 3, now: 'PID-18.1' }],
  ['A50', { old: 5, now: 'PV1-19.1' }],
  ['A51', { old: 6, now: 'PV1-50.1' }],
])
const moves = new Set(['A43', 'A44', 'A45'])
const links = new Set(['A24', 'A37'])

const inHeader = /^[^\r\n]{0,400}ADT[^\r\n]{1,4}(A18|A24|A29|A3[0-9]|A4[0-9]|A5[01])/
const headerOctets = 500

/** A first look, without reading the message: most are no such message. */
export function mayChangeIdentity(content: Buffer): boolean {
  return inHeader.test(content.toString('latin1', 0, headerOctets).trimStart())
}

/**
 * What an ADT message says about whose records are whose, group by group: PID and MRG repeat in ADT_A39 and its like
 * (HL7 v2.5.1 ch. 3.3.40). Undefined where the message is about something else, or a test (MSH-11 other than P).
 */
export function identityChangesIn(input: Input): readonly IdentityChange[] | undefined {
  if (input.type !== 'hl7v2') return undefined
  const { message } = input
  if (message.first('MSH-9.1') !== 'ADT' || message.first('MSH-11.1') !== 'P') return undefined
  const event = message.first('MSH-9.2') ?? ''
  if (links.has(event)) return [{ type: 'link' }]
  if (event === 'A29') {
    const record = identifiersIn(message.segment('PID'), 3, input)
    return record.length === 0 ? undefined : [{ type: 'delete', record }]
  }
  const renumbering = renumberings.get(event)
  if (!merges.has(event) && !moves.has(event) && renumbering === undefined) return undefined
  const changes = groupsOf(message).flatMap(({ pid, mrg }): IdentityChange[] => {
    const from = identifiersIn(mrg, 1, input)
    if (moves.has(event)) {
      const visits = visitsOf(event, message, mrg)
      return from.length === 0 && visits.length === 0 ? [] : [{ type: 'move', from, visits }]
    }
    const old = renumbering && mrg.value(renumbering.old)?.trim()
    const into = renumbering && message.first(renumbering.now)?.trim()
    return [
      ...(merges.has(event) && from.length > 0
        ? [{ type: 'merge' as const, from, into: identifiersIn(pid, 3, input) }]
        : []),
      ...(old && into && old !== into ? [{ type: 'renumber' as const, from: old, into }] : []),
    ]
  })
  return changes.length === 0 ? undefined : changes
}

/** Each PID with the MRG behind it. */
function groupsOf(message: Hl7Message): { pid: Hl7Segment; mrg: Hl7Segment }[] {
  const groups: { pid: Hl7Segment; mrg: Hl7Segment }[] = []
  let pid: Hl7Segment | undefined
  for (const segment of message.segments()) {
    if (segment.name === 'PID') pid = segment
    if (segment.name !== 'MRG' || pid === undefined) continue
    groups.push({ pid, mrg: segment })
    pid = undefined
  }
  return groups
}

/** The visits that a move concerns: MRG-5 and PV1-19 of an A45, MRG-3 (accounts) of an A44; of an A43, none by name. */
function visitsOf(event: string, message: Hl7Message, mrg: Hl7Segment): string[] {
  const named =
    event === 'A45'
      ? [mrg.value(5), message.first('PV1-19.1')]
      : event === 'A44'
        ? [mrg.value(3), message.first('PID-18.1')]
        : []
  return [...new Set(named.filter((visit) => visit !== undefined).map((visit) => visit.trim()))]
}

function identifiersIn(segment: Hl7Segment | undefined, field: number, input: Input): Identifier[] {
  if (segment === undefined || input.type !== 'hl7v2') return []
  return segment.repetitions(field).flatMap((part): Identifier[] => {
    const value = part.value('1')?.trim()
    const system = assignerAt({ ...input, part }, { type: 'repetition', text: '4', path: { component: 4 } })
    const type = part.value('5')?.trim()
    if (value === undefined || value === '' || system === undefined) return []
    return [{ system, value, ...(type !== undefined && type !== '' && { type }) }]
  })
}
