import type { Seen, TraceStep } from '../mapping/trace.ts'
import type { TriedRecipient, TriedVerdict } from '../pipeline/try-message.ts'
import type { TriedMessage } from './try-files.ts'

/**
 * The same trace with every text of the message in masks: letters become x, digits 9. Codes about the visit, what tables
 * and mappings say, and reasons stay: they are not the patient’s.
 */
export function masked(message: TriedMessage): TriedMessage {
  const { evaluation, matching } = message
  return {
    ...message,
    ...(evaluation !== undefined && {
      evaluation: {
        ...evaluation,
        trace: evaluation.trace.map(maskedStep),
        ...(evaluation.event !== undefined && { event: maskedEvent(evaluation.event, evaluation.trace) }),
      },
    }),
    ...(matching !== undefined && {
      matching: { ...matching, verdicts: matching.verdicts.map(maskedVerdict) },
    }),
  }
}

function mask(text: string): string {
  return text
    .replaceAll(/\p{Lu}/gu, 'X')
    .replaceAll(/\p{L}/gu, (letter) => (letter === 'X' ? 'X' : 'x'))
    .replaceAll(/\p{N}/gu, '9')
}

function maskedStep(step: TraceStep): TraceStep {
  return {
    ...step,
    saw: step.saw.map(maskedSeen),
    ...(step.value !== undefined && step.isFromMessage === true && { value: mask(step.value) }),
  }
}

function maskedSeen(seen: Seen): Seen {
  if (seen.saw === 'value')
    return seen.value === undefined || seen.isCode ? seen : { ...seen, value: mask(seen.value) }
  if (seen.saw === 'table') return seen.isCode ? seen : { ...seen, from: mask(seen.from) }
  return seen.saw === 'part' ? { ...seen, value: mask(seen.value) } : seen
}

/** What was looked up in a table, or is fixed in the mapping, is shown; everything else comes from the message. */
function maskedEvent(event: unknown, trace: readonly TraceStep[]): unknown {
  const ours = new Set(
    trace.filter((step) => step.outcome === 'gave' && step.isFromMessage === false).map(({ to }) => to),
  )
  const walk = (value: unknown, place: string): unknown => {
    if (ours.has(place)) return value
    if (typeof value === 'string') return mask(value)
    if (Array.isArray(value)) return value.map((one) => walk(one, place))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [key, walk(one, place === '' ? key : `${place}.${key}`)]),
    )
  }
  return walk(event, '')
}

/** An address may be somebody’s name; so may what was asked and found for it. */
function maskedVerdict(verdict: TriedVerdict): TriedVerdict {
  return {
    ...verdict,
    destinations: verdict.destinations.map(maskedAddress),
    ...(verdict.recipients !== undefined && { recipients: verdict.recipients.map(maskedRecipient) }),
  }
}

function maskedAddress(address: string): string {
  const at = address.lastIndexOf('@')
  return `${mask(address.slice(0, at))}${address.slice(at)}`
}

function maskedRecipient(recipient: TriedRecipient): TriedRecipient {
  const local = recipient.destination.slice(0, recipient.destination.lastIndexOf('@'))
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])${escaped(local)}(?![\\p{L}\\p{N}])`, 'giu')
  const scrub = (text: string): string => text.replaceAll(pattern, (found) => mask(found))
  return {
    ...recipient,
    destination: maskedAddress(recipient.destination),
    trace: recipient.trace.map((step) => ({ ...step, detail: scrub(step.detail) })),
    ...(recipient.trusted
      ? { certificates: recipient.certificates.map(scrub) }
      : { because: scrub(recipient.because) }),
  }
}

function escaped(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N}]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
}
