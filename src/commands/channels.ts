import { openChannelFiles, type ChannelFiles } from '../engine/channel-files.ts'
import { channelsOf } from '../main.ts'
import { steerChannel, type Steering } from '../pipeline/steer-channel.ts'
import { readTraffic, readWishes, type ChannelTraffic, type ChannelWish } from '../store/channel-wishes.ts'
import { queryOf } from '../store/query.ts'
import { fromHere } from './channel-files.ts'
import { Findings, operatorName, print, printJson, settingsFor, Usage, type Command } from './command.ts'
import { onDatabase } from './on-database.ts'

const steerings: readonly string[] = ['pause', 'resume', 'stop', 'start'] satisfies Steering[]

export const channels: Command = {
  usage: `bluepost channels                         all of them: files, what operators want, what waits
bluepost channels pause CHANNEL [--because TEXT]
bluepost channels resume CHANNEL
bluepost channels stop CHANNEL [--because TEXT]
bluepost channels start CHANNEL

pause   messages are received and acknowledged as ever, and wait: nothing is decided until resume. For maintenance, or while you
        look into something: senders never see a closed port.
stop    what is under way is finished, then the listener closes (or the server is not asked any more) until start. What was
        received before is decided.

A running engine follows within a second or two, and both outlast restarts; each stands in the audit with your name. Changed files
are taken by a running engine by itself (\`watch: true\` in the settings), at SIGHUP, and by POST /api/v1/channels/reload.`,
  options: { because: { type: 'string' } },
  run(call) {
    const settings = settingsFor(call)
    const [verb, name, ...rest] = call.positionals
    const files = openChannelFiles(() => channelsOf(settings), settings.production)
    if (verb !== undefined && !steerings.includes(verb))
      throw new Usage(
        `“${verb}”: write one of ${steerings.join(', ')} and a channel, or nothing for the list`,
      )
    return onDatabase(settings, async (dataSource) => {
      const query = queryOf(dataSource)
      if (verb === undefined) {
        const rows = rowsOf(files, await readWishes(query), await readTraffic(query))
        if (call.isJson) printJson(rows)
        else print(rows.map(line).join('\n'))
        return rows.some(({ refusal }) => refusal !== null) ? 1 : 0
      }
      const names = [...files.plans().map((plan) => plan.name), ...files.broken()]
      if (name === undefined || rest.length > 0)
        throw new Usage(`give one channel: ${names.sort().join(', ')}`)
      if (!names.includes(name))
        throw new Findings(`there is no channel ${name}: there are ${names.sort().join(', ')}`)
      const because = call.values['because']
      const ports = { dataSource, now: () => new Date() }
      const reason = typeof because === 'string' ? because : undefined
      const result = await steerChannel(ports, verb as Steering, name, reason, operatorName())
      if (result.outcome === 'refused') throw new Findings(`cannot ${verb} ${name}: ${result.because}`)
      if (call.isJson) printJson({ channel: name, ...result })
      else print(`Done: running engines ${verb} ${name} within a second or two.`)
      return 0
    })
  },
}

interface Row {
  readonly name: string
  readonly enabled: boolean | null
  readonly wishes: readonly ChannelWish[]
  readonly waiting: number
  readonly oldestWaiting: Date | null
  readonly revision: string | null
  readonly refusal: string | null
}

function rowsOf(
  files: ChannelFiles,
  wishes: readonly ChannelWish[],
  traffic: readonly ChannelTraffic[],
): Row[] {
  const byName = new Map(traffic.map((one) => [one.channel, one]))
  const row = (name: string): Row => {
    const plan = files.plan(name)
    return {
      name,
      enabled: plan?.enabled ?? null,
      wishes: wishes.filter(({ channel }) => channel === name),
      waiting: byName.get(name)?.waiting ?? 0,
      oldestWaiting: byName.get(name)?.oldestWaiting ?? null,
      revision: plan?.revision ?? null,
      refusal: files.refusal(name) ?? null,
    }
  }
  // With what was received for channels whose file is gone, and waits.
  const names = [...files.plans().map(({ name }) => name), ...files.broken(), ...byName.keys()]
  return [...new Set(names)].sort().map(row)
}

function line({ name, enabled, wishes, waiting, oldestWaiting, revision, refusal }: Row): string {
  const state =
    refusal !== null
      ? `cannot be used: ${fromHere(refusal)}`
      : enabled === null
        ? 'has no file'
        : [
            enabled ? 'enabled' : 'enabled: false',
            ...wishes.map(({ wish, at, actor, because }) => {
              const said = because === null ? '' : ` (${because})`
              return `${wish} by ${actor} since ${at.toISOString().slice(0, 16)}Z${said}`
            }),
          ].join(', ')
  const since = oldestWaiting === null ? '' : ` since ${oldestWaiting.toISOString().slice(0, 16)}Z`
  const backlog =
    waiting === 0 ? '' : `; ${waiting} ${waiting === 1 ? 'message waits' : 'messages wait'}${since}`
  return `${name.padEnd(28)}  ${(revision ?? '').slice(0, 12).padEnd(12)}  ${state}${backlog}`
}
