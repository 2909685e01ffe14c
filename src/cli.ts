#!/usr/bin/env node
import { parseArgs } from 'node:util'
import type { Command } from './commands/command.ts'
import { Findings, Usage } from './commands/command.ts'
import { closest } from './lib/closest.ts'

/** What `bluepost` can do; each is loaded only when it is asked for. */
const commands: Readonly<Record<string, { summary: string; load: () => Promise<Command> }>> = {
  start: { summary: 'run the engine', load: async () => (await import('./commands/start.ts')).start },
  demo: {
    summary: 'the whole story, live, on this machine',
    load: async () => (await import('./commands/demo.ts')).demo,
  },
  check: {
    summary: 'what works, what is missing, what to do',
    load: async () => (await import('./commands/check.ts')).check,
  },
  lint: {
    summary: 'channel and mapping files: place, what, remedy',
    load: async () => (await import('./commands/lint.ts')).lint,
  },
  test: {
    summary: 'the tests inside channel files',
    load: async () => (await import('./commands/test.ts')).test,
  },
  channels: {
    summary: 'list channels; pause, resume, stop, start one',
    load: async () => (await import('./commands/channels.ts')).channels,
  },
  try: {
    summary: 'one message through a channel, step by step; nothing is sent',
    load: async () => (await import('./commands/try.ts')).tryOut,
  },
  record: {
    summary: 'a sample made up after a real message, with its test',
    load: async () => (await import('./commands/record.ts')).record,
  },
  shadow: {
    summary: 'stored messages through changed files: which decisions would be others',
    load: async () => (await import('./commands/shadow.ts')).shadow,
  },
  explain: {
    summary: 'why something was or was not sent',
    load: async () => (await import('./commands/explain.ts')).explain,
  },
  send: {
    summary: 'send HL7v2 files over MLLP and print the acknowledgements',
    load: async () => (await import('./commands/send.ts')).send,
  },
  authorize: {
    summary: 'store a patient’s transmit request',
    load: async () => (await import('./commands/authorize.ts')).authorize,
  },
  change: {
    summary: 'change an authorization’s frequency, destinations, triggers',
    load: async () => (await import('./commands/authorize.ts')).change,
  },
  revoke: {
    summary: 'revoke an authorization, prospectively and at once',
    load: async () => (await import('./commands/authorize.ts')).revoke,
  },
  authorizations: {
    summary: 'list authorizations, or show one',
    load: async () => (await import('./commands/authorize.ts')).authorizations,
  },
  certs: {
    summary: 'discovery and trust for one Direct address, step by step',
    load: async () => (await import('./commands/certs.ts')).certs,
  },
  destinations: {
    summary: 'what looking ahead found for the addresses of active requests',
    load: async () => (await import('./commands/destinations.ts')).destinations,
  },
  trust: {
    summary: 'anchors and trust bundles: list, refresh, import, accept',
    load: async () => (await import('./commands/trust.ts')).trust,
  },
  open: {
    summary: 'decrypt and verify a Direct message with our keys',
    load: async () => (await import('./commands/open.ts')).open,
  },
  inbox: {
    summary: 'messages that others sent us, and what we answered',
    load: async () => (await import('./commands/inbox.ts')).inbox,
  },
  retry: {
    summary: 'try a failed transmission again',
    load: async () => (await import('./commands/operate.ts')).retry,
  },
  release: {
    summary: 'let a held transmission go on',
    load: async () => (await import('./commands/operate.ts')).release,
  },
  withdraw: {
    summary: 'take an unsent transmission back',
    load: async () => (await import('./commands/operate.ts')).withdraw,
  },
  replay: {
    summary: 'decide a filtered or quarantined message again',
    load: async () => (await import('./commands/operate.ts')).replay,
  },
  quarantine: {
    summary: 'what waits for a person, by cause: list, show, test, release',
    load: async () => (await import('./commands/quarantine.ts')).quarantine,
  },
  tables: {
    summary: 'lookup tables, and the values that had no row',
    load: async () => (await import('./commands/tables.ts')).tables,
  },
  migrate: {
    summary: 'bring the database up to this version',
    load: async () => (await import('./commands/migrate.ts')).migrate,
  },
  reconcile: {
    summary: 'does every stored message have exactly one fate?',
    load: async () => (await import('./commands/reconcile.ts')).reconcile,
  },
  schema: {
    summary: 'JSON Schemas of channel and mapping files, for editors',
    load: async () => (await import('./commands/schema.ts')).schema,
  },
}

const commonOptions = `  --config FILE   settings (default: bluepost.yaml here, where there is one)
  --json          the answer as JSON
  --help          this text
`

// Whoever reads only the first lines (head, less) has read enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit()
  throw error
})
process.exitCode = await main(process.argv.slice(2))

/** @returns 0 good, 1 findings, 2 usage */
async function main(words: readonly string[]): Promise<number> {
  const [name, ...rest] = words
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(overview())
    return name === undefined ? 2 : 0
  }
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (entry === undefined) {
    const meant = closest(name, Object.keys(commands))
    process.stderr.write(
      `bluepost has no command “${name}”${meant === undefined ? '' : `: did you mean “${meant}”?`}\nbluepost --help lists them.\n`,
    )
    return 2
  }
  const command = await entry.load()
  try {
    const { values, positionals } = parseArgs({
      args: rest,
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        json: { type: 'boolean' },
        config: { type: 'string' },
        ...command.options,
      },
    })
    if (values['help'] === true) {
      process.stdout.write(`${entry.summary}\n\n${command.usage.trim()}\n\n${commonOptions}`)
      return 0
    }
    return await command.run({ values, positionals, isJson: values['json'] === true })
  } catch (error) {
    return report(name, error)
  }
}

function report(name: string, error: unknown): number {
  if (error instanceof Findings) {
    process.stderr.write(`${error.message}\n`)
    return 1
  }
  const code = (error as { code?: unknown }).code
  if (error instanceof Usage || (typeof code === 'string' && code.startsWith('ERR_PARSE_ARGS'))) {
    process.stderr.write(`${(error as Error).message}\nbluepost ${name} --help shows how to call it.\n`)
    return 2
  }
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  return 1
}

function overview(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length))
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
  return `bluepost: continuous transmit of patient records over Direct secure messaging

${lines.join('\n')}

bluepost COMMAND --help tells more. Exit codes: 0 good, 1 findings, 2 wrong usage.
`
}
