import { once } from 'node:events'
import { styleText } from 'node:util'
import { errorTrace, makeLog } from '../lib/log.ts'
import { startEngine, type Engine, type EngineRole } from '../main.ts'
import { Findings, print, settingsFor, Usage, type Call, type Command } from './command.ts'

/** A second signal, or a drain that does not end, gives up on it: what is durable is not lost by that. */
const stopMsMax = 40_000

const allRoles: readonly EngineRole[] = ['intake', 'worker', 'web']

export const start: Command = {
  usage: `bluepost start
bluepost start --config /etc/bluepost/bluepost.yaml
bluepost start --role intake        any of intake, worker, web, separated by commas; default: all of them

Channel and mapping files that change are taken while it runs; SIGHUP reads them at once.
Runs until SIGTERM or SIGINT: then it takes nothing new, finishes what it owes, and stops the database last.
With --json, or where standard output is no terminal, what it says is the JSON log alone.`,
  options: { role: { type: 'string' } },
  async run(call) {
    const settings = settingsFor(call)
    const roles = rolesOf(call)
    const isForPerson = process.stdout.isTTY && !call.isJson
    const log = makeLog(settings.logLevel, process.stderr)
    const begun = performance.now()
    const engine = await startEngine(settings, {
      roles,
      log,
      onNotice: (text) => (isForPerson ? print(text) : log.info(text)),
    }).catch((error: unknown) => {
      throw new Findings(`bluepost cannot start: ${(error as Error).message}`)
    })
    const readyMs = Math.round(performance.now() - begun)
    log.info('ready', { durationMs: readyMs })
    if (isForPerson) print(greeting(engine, readyMs))
    for (const { what, on } of engine.listens) log.info(`listening: ${what}`, { listen: on })
    for (const problem of engine.problems) log.error(problem)
    for (const what of engine.missing) log.warn(`before everything can be sent: ${what}`)

    process.on('SIGHUP', () => {
      engine.reload('signal').then(
        (channels) =>
          log.info('SIGHUP: the channel files were read again', {
            count: channels.filter(({ outcome }) => outcome !== 'same').length,
          }),
        (error: unknown) =>
          log.error('the channel files could not be read again', { error: errorTrace(error) }),
      )
    })
    const signal = await signalled()
    log.info('stopping', { signal })
    if (isForPerson) print(`${signal}: finishing what is owed, then stopping …`)
    const impatient = setTimeout(() => giveUp('the drain took too long'), stopMsMax)
    const second = signalled().then((again) => giveUp(`${again} again`))
    void second
    await engine.stop()
    clearTimeout(impatient)
    log.info('stopped', {})
    return process.exit(0)

    function giveUp(because: string): never {
      log.error('stopped without finishing; what was acknowledged is in the database', { code: because })
      process.exit(1)
    }
  },
}

function rolesOf({ values }: Call): Set<EngineRole> {
  const given = values['role']
  if (given === undefined || given === 'all') return new Set(allRoles)
  const named = String(given)
    .split(',')
    .map((role) => role.trim())
  const unknown = named.find((role) => !(allRoles as readonly string[]).includes(role))
  if (unknown !== undefined)
    throw new Usage(`--role “${unknown}”: write any of all, ${allRoles.join(', ')}, separated by commas`)
  return new Set(named as EngineRole[])
}

async function signalled(): Promise<NodeJS.Signals> {
  const stop = new AbortController()
  const one = (signal: NodeJS.Signals) => once(process, signal, { signal: stop.signal }).then(() => signal)
  try {
    return await Promise.race([one('SIGTERM'), one('SIGINT')])
  } finally {
    stop.abort()
  }
}

/** What it listens on, and what is missing before anything can be sent. */
function greeting({ listens, missing, problems }: Engine, readyMs: number): string {
  const width = Math.max(0, ...listens.map(({ what }) => what.length))
  const lines = [
    `bluepost is ready after ${(readyMs / 1000).toFixed(1)} s. It listens on`,
    ...listens.map(({ what, on }) => `  ${what.padEnd(width)}  ${on}`),
  ]
  if (problems.length > 0)
    lines.push('', styleText('red', 'Not running:'), ...problems.map((one) => `  ${one}`))
  if (missing.length > 0)
    lines.push(
      '',
      styleText('yellow', 'Missing, or to be looked at, before everything can be sent:'),
      ...missing.map((one) => `  ${one}`),
    )
  lines.push('', 'Ctrl-C stops it. `bluepost check` says more.')
  return lines.join('\n')
}
