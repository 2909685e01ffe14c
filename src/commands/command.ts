import { existsSync } from 'node:fs'
import { userInfo } from 'node:os'
import type { ParseArgsConfig } from 'node:util'
import { readSettings, type Settings } from '../settings.ts'

/** One command of `bluepost`. */
export interface Command {
  /** How to call it, with examples; printed by --help. */
  readonly usage: string
  readonly options: NonNullable<ParseArgsConfig['options']>
  run(call: Call): Promise<number>
}

export interface Call {
  readonly values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>
  readonly positionals: readonly string[]
  readonly isJson: boolean
}

/** The command was called in a way it does not know. Exit 2. */
export class Usage extends Error {}

/** It ran and found something wrong. Exit 1; the message is for a person. */
export class Findings extends Error {}

/** The settings of --config, $BLUEPOST_CONFIG, or ./bluepost.yaml; all their problems at once where they are wrong. */
export function settingsFor(call: Call): Settings {
  const named = call.values['config'] ?? process.env['BLUEPOST_CONFIG']
  const file =
    typeof named === 'string' && named !== ''
      ? named
      : existsSync('bluepost.yaml')
        ? 'bluepost.yaml'
        : undefined
  const reading = readSettings(file, process.env)
  if (reading.valid) return reading.settings
  throw new Findings(
    reading.problems.map(({ where, what, remedy }) => `${where}  ${what}\n  ${remedy}`).join('\n'),
  )
}

/** Who runs a command, for the audit. */
export function operatorName(): string {
  try {
    return `cli:${userInfo().username}`
  } catch {
    // A uid without a name, as containers give it.
    return `cli:uid ${process.getuid?.() ?? '?'}`
  }
}

export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

/** Exactly one word after the command. */
export function theOne(call: Call, what: string): string {
  const [word, ...rest] = call.positionals
  if (word === undefined || rest.length > 0) throw new Usage(`give one ${what}`)
  return word
}
