import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadChannels } from '../../src/channels/load.ts'
import { formatProblem } from '../../src/channels/problem.ts'
import type { ChannelPlan } from '../../src/domain/channel.ts'
import { evaluate } from '../../src/mapping/evaluate.ts'

/** What differs from a channel that lets everything pass and maps kind, time and patient. */
export interface PlanParts {
  /** Lines of `filter: all:`, each `- { … }`. */
  readonly filter?: readonly string[]
  /** Rows before those of every mapping, each `- { … }`. */
  readonly rows?: readonly string[]
  /** Rows instead of those of every mapping. */
  readonly allRows?: readonly string[]
  readonly tables?: Readonly<Record<string, string>>
  /** Lines of the channel file, such as `timezone: Europe/Berlin`. */
  readonly channel?: readonly string[]
  readonly source?: string
  readonly input?: 'hl7v2' | 'fhir' | 'x12'
}

const usualRows = {
  hl7v2: [
    '- { to: kind, value: discharge }',
    '- { to: occurredAt, from: EVN-2 }',
    "- { to: patient.identifiers, each: PID-3, rows: [{ to: system, from: '4' }, { to: value, from: '1' }] }",
  ],
  fhir: [
    '- { to: kind, value: eob-available }',
    '- { to: occurredAt, from: ExplanationOfBenefit.created }',
    '- { to: patient.reference, from: ExplanationOfBenefit.patient.reference }',
  ],
  x12: [
    '- { to: kind, value: claim-adjudicated }',
    '- { to: occurredAt, from: GS-4-5 }',
    "- { to: patient.identifiers, each: 'NM1[QC]', rows: [{ to: system, from: TRN-3 }, { to: value, from: '9' }] }",
  ],
}
const sources = {
  hl7v2: '{ type: mllp, listen: { host: 127.0.0.1, port: 0 } }',
  fhir: '{ type: fhir-poll, server: s, query: "ExplanationOfBenefit?_lastUpdated=gt{cursor}", every: 1h, cursor: { field: meta.lastUpdated } }',
  x12: '{ type: file-drop, directory: ./d, format: x12-835 }',
}

/** A plan, made the only way plans are made: from files. Fails where the files have an error. */
export function aPlan(parts: PlanParts): ChannelPlan {
  const input = parts.input ?? 'hl7v2'
  const usualFilter = {
    hl7v2: '- { field: MSH-1, present: true }',
    fhir: '- { fhirpath: "true" }',
    x12: '- { field: ISA-6, present: true }',
  }[input]
  const folder = mkdtempSync(join(tmpdir(), 'bluepost-plan-'))
  try {
    const write = (file: string, lines: readonly string[]) =>
      writeFileSync(join(folder, file), `${lines.join('\n')}\n`)
    mkdirSync(join(folder, 'channels'))
    mkdirSync(join(folder, 'mappings', 'tables'), { recursive: true })
    write('channels/a.yaml', [
      'channel: a',
      'version: 1',
      ...(input === 'fhir' ? ['enabled: false'] : []),
      `source: ${parts.source ?? sources[input]}`,
      'filter:',
      '  all:',
      ...(parts.filter ?? [usualFilter]).map((line) => `    ${line}`),
      'map: m',
      'retention: { content: 1d, metadata: 1d, errors: 1d }',
      ...(parts.channel ?? ['timezone: UTC']),
    ])
    write('mappings/m.yaml', [
      'mapping: m',
      'version: 1',
      `input: ${input}`,
      'output: trigger-event/1',
      'rows:',
      ...(parts.allRows ?? [...(parts.rows ?? []), ...usualRows[input]]).map((line) => `  ${line}`),
    ])
    for (const [name, text] of Object.entries(parts.tables ?? {}))
      writeFileSync(join(folder, 'mappings', 'tables', `${name}.csv`), text)
    const { plans, problems } = loadChannels({
      channelsDirectory: join(folder, 'channels'),
      mappingsDirectory: join(folder, 'mappings'),
      environment: {},
    })
    const [plan] = plans
    if (plan === undefined) throw new Error(problems.map(formatProblem).join('\n'))
    return plan
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** An HL7v2 message of these segments, the first of them MSH or, without it, a usual one. */
export function message(...segments: readonly string[]): Buffer {
  const msh = 'MSH|^~\\&|EPIC|ASHBY|BB|ASHBY|20260302114500-0500||ADT^A03|M1|P|2.5.1'
  return Buffer.from(
    `${[...(segments[0]?.startsWith('MSH') === true ? [] : [msh]), ...segments].join('\r')}\r`,
  )
}

/** The moment of receipt of every test that does not say another. */
export const at = new Date('2026-03-02T17:00:00Z')

/** What a plan makes of a message: the event, or in words why there is none. */
export function outcomeOf(parts: PlanParts, received: Buffer | Readonly<Record<string, unknown>>): unknown {
  const evaluation = evaluate(aPlan(parts), received, at)
  if (evaluation.decision === 'trigger') return evaluation.event
  return evaluation.decision === 'filtered'
    ? `filtered: ${evaluation.because}`
    : `${evaluation.code}: ${evaluation.because}`
}
