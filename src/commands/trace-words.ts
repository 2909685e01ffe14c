import { styleText } from 'node:util'
import type { TraceStep } from '../domain/trust-verdict.ts'

const colours = {
  found: 'cyan',
  nothing: 'gray',
  failed: 'red',
  trusted: 'green',
  refused: 'red',
  skipped: 'yellow',
} as const

/** Colours where somebody looks on. */
export function paint(colour: Parameters<typeof styleText>[0], text: string): string {
  return styleText(colour, text, { stream: process.stdout })
}

/** One line: when, which step, what came of it. */
export function stepInWords({ afterMs, step, outcome, detail }: TraceStep): string {
  return `${String(afterMs).padStart(6)} ms  ${step.padEnd(11)}  ${paint(colours[outcome], outcome.padEnd(7))}  ${detail}`
}
