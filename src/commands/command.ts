import { existsSync } from 'node:fs'
import { userInfo } from 'node:os'
import type { ParseArgsConfig } from 'node:util'
import type { DataSource } from 'typeorm'
import { makeLog, type Log } from '../lib/log.ts'
import { readSettings, type Settings } from '../settings.ts'
import { makeDataSource } from '../store/data-source.ts'
import { openDatabase } from '../store/embedded-postgres.ts'
import { entities } from '../store/entities.ts'
import { SchemaNewer } from '../store/migrate.ts'
import { migrateAll } from '../store/schema.ts'

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

/** Runs on the installation’s database: beside a running engine, or with a server of its own for as long as it takes. */
export async function onDatabase<Result>(
  settings: Settings,
  work: (dataSource: DataSource, migrationsApplied: readonly string[]) => Promise<Result>,
): Promise<Result> {
  const log = makeLog('warn', process.stderr)
  const embedded =
    settings.database === 'embedded'
      ? await openDatabase({
          dataDirectory: settings.dataDirectory,
          role: 'visitor',
          log,
          onNotice: (text) => process.stderr.write(`${text}\n`),
        })
      : undefined
  try {
    const dataSource = makeDataSource(embedded?.url ?? settings.database, {
      poolSize: 4,
      entities,
      applicationName: 'bluepost command',
    })
    try {
      await dataSource.initialize()
      return await work(dataSource, await migrateAll(dataSource))
    } catch (error) {
      throw error instanceof SchemaNewer ? new Findings(error.message) : error
    } finally {
      if (dataSource.isInitialized) await dataSource.destroy()
    }
  } finally {
    await embedded?.stop()
  }
}

/** Who runs a command, for the audit. */
export function operatorName(): string {
  return `cli:${userInfo().username}`
}

export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

export const quietLog: Log = makeLog('warn', process.stderr)

/** Exactly one word after the command. */
export function theOne(call: Call, what: string): string {
  const [word, ...rest] = call.positionals
  if (word === undefined || rest.length > 0) throw new Usage(`give one ${what}`)
  return word
}
