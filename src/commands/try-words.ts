import type { Seen, TraceStep } from '../mapping/trace.ts'
import type { TriedDocuments, TriedRecipient, TriedVerdict } from '../pipeline/try-message.ts'
import { fromHere } from './channel-files.ts'
import { shown } from './shown.ts'
import { paint, stepInWords } from './trace-words.ts'
import type { TriedMessage } from './try-files.ts'

type Evaluation = NonNullable<TriedMessage['evaluation']>

/** The whole way of one message, for a person. */
export function tell(message: TriedMessage, mapping: string, noDatabase: string | undefined): string {
  const { acknowledged, evaluation, follows, matching, note } = message
  const lines: string[] = []
  if (acknowledged !== undefined) lines.push(`The sender is answered ${acknowledged}.`)
  if (note !== undefined) lines.push(note)
  if (follows !== undefined)
    lines.push(
      '',
      `It changes whose records are whose (${follows.join(', ')}): that is followed, and nothing is sent.`,
    )
  if (evaluation === undefined) return lines.join('\n')
  lines.push('', paint('bold', 'Filter'), ...stepsOf(evaluation, 'filter'))
  if (evaluation.trace.some(({ step }) => step === 'row'))
    lines.push('', paint('bold', `Mapping ${mapping}`), ...stepsOf(evaluation, 'row'))
  lines.push('', ...decisionOf(evaluation))
  if (evaluation.event === undefined) return lines.join('\n')
  lines.push('', paint('bold', 'Authorizations'))
  if (matching === undefined) lines.push(`  not asked: ${noDatabase ?? 'there is no database'}`)
  else if (matching.verdicts.length === 0) lines.push(`  ${paint('yellow', 'none')}: ${matching.because}`)
  else for (const verdict of matching.verdicts) lines.push(...verdictInWords(verdict))
  return lines.join('\n')
}

function decisionOf({ decision, code, because, event }: Evaluation): string[] {
  if (decision === 'filtered') return [`${paint('yellow', 'Filtered')}: ${because}`]
  if (decision === 'quarantined') return [`${paint('red', 'Quarantined')}: ${because}  [${code}]`]
  return [paint('green', 'Trigger event'), ...eventLines(event, '')]
}

function eventLines(value: unknown, place: string): string[] {
  if (Array.isArray(value)) return value.flatMap((one, index) => eventLines(one, `${place}[${index + 1}]`))
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).flatMap(([key, one]) =>
      eventLines(one, place === '' ? key : `${place}.${key}`),
    )
  return [`  ${place.padEnd(32)}  ${shown(String(value))}`]
}

const marks = {
  passed: ['green', '✓'],
  gave: ['green', '✓'],
  stopped: ['red', '✗'],
  'gave nothing': ['yellow', '·'],
  'not asked': ['gray', '–'],
  'not needed': ['gray', '–'],
} as const

function stepsOf({ trace }: Evaluation, wanted: TraceStep['step']): string[] {
  const steps = trace.filter(({ step }) => step === wanted)
  const width = Math.max(...steps.map(({ at }) => fromHere(at).length))
  return steps.flatMap((step) => {
    const [colour, mark] = marks[step.outcome]
    const outcome = step.outcome === 'passed' || step.outcome === 'gave' ? '' : `  ${step.outcome}`
    const because = step.because === undefined ? '' : `: ${step.because}`
    const to = step.to === undefined ? '' : `${step.to} ← `
    const head = `  ${paint(colour, mark)} ${fromHere(step.at).padEnd(width)}  ${to}${step.asks}${paint(colour, outcome)}${because}`
    const gave = step.value === undefined ? [] : [`      → ${shown(step.value)}`]
    return [head, ...step.saw.map((seen) => `      ${seenInWords(seen)}`), ...gave]
  })
}

function seenInWords(seen: Seen): string {
  switch (seen.saw) {
    case 'value':
      return `${seen.path} = ${seen.value === undefined ? '(nothing)' : shown(seen.value)}`
    case 'table':
      return `table ${seen.table}: ${shown(seen.from)} → ${seen.to ?? '(no row)'}`
    case 'repetition':
      return `${seen.of}, number ${seen.number}:`
    case 'keep':
      return seen.kept ? '  kept' : '  left out'
    case 'part':
      return `  → ${seen.to} ${shown(seen.value)}`
  }
}

function verdictInWords({ authorizationId, version, outcome, because, ...rest }: TriedVerdict): string[] {
  const colour = outcome === 'matched' ? 'green' : outcome === 'held' ? 'yellow' : 'red'
  return [
    `  ${authorizationId} (version ${version})  ${paint(colour, outcome)}: ${because}`,
    ...(rest.documents === undefined && outcome === 'held'
      ? ['    held: nothing is fetched before a person releases it']
      : []),
    ...(rest.documents === undefined ? [] : documentsInWords(rest.documents)),
    ...(rest.recipients ?? []).flatMap(recipientInWords),
  ]
}

function documentsInWords(tried: TriedDocuments): string[] {
  if (!tried.passed) {
    const step = tried.step === undefined ? '' : ` (step ${tried.step} of the gate)`
    return [
      `    ${paint('red', 'documents')}: ${tried.because}${step}  [${tried.code}]`,
      `      ${tried.advice}`,
    ]
  }
  return tried.documents.flatMap(({ role, source, bytes, mediaType, findings }) => [
    `    ${paint('green', role)}: found in ${shown(source)}, ${bytes} bytes ${mediaType}, passed the gate`,
    ...findings.map(({ code, because }) => `      ${because}  [${code}]`),
  ])
}

function recipientInWords(tried: TriedRecipient): string[] {
  const head = tried.trusted
    ? `    ${paint('green', tried.destination)}: would be encrypted to ${tried.certificates.join('; ')}`
    : `    ${paint('red', tried.destination)}: nothing could be sent: ${tried.because}  [${tried.code}]`
  return [
    head,
    ...tried.trace.map((step) => `      ${stepInWords(step)}`),
    ...(tried.trusted ? [] : [`      ${tried.advice}`]),
  ]
}
