import { join, resolve } from 'node:path'
import { existsSync } from 'node:fs'
import { loadChannels } from '../channels/load.ts'
import { readDurationMs } from '../lib/duration.ts'
import { channelsOf } from '../main.ts'
import { shadow as shadowChannel, type Shadowed } from '../pipeline/shadow.ts'
import type { Settings } from '../settings.ts'
import { queryOf } from '../store/query.ts'
import { fromHere } from './channel-files.ts'
import { Findings, print, printJson, settingsFor, theOne, Usage, type Call, type Command } from './command.ts'
import { lookOnly } from './look-only.ts'

export const shadow: Command = {
  usage: `bluepost shadow CHANNEL --since 7d
bluepost shadow CHANNEL --since 7d --with ../candidate

Takes the messages that a channel has decided since then through its files as they are now, or as they are in another folder that
holds channels/ and mappings/, each as if it came when it came, and shows what would be decided otherwise: how many, and the numbers of
some, for bluepost explain. Values of messages are not shown, nothing is stored and nothing is sent.

  --since TIME    how far back: 24h, 7d, 2w
  --with FOLDER   where the candidate files are; default: those of the settings

Messages of people who asked for nothing are not kept beyond their decision: they are counted, and cannot be compared.
Exit 0 where all decisions are the same, 1 where some are not.`,
  options: { since: { type: 'string' }, with: { type: 'string' } },
  async run(call) {
    const name = theOne(call, 'channel')
    const settings = settingsFor(call)
    const since = new Date(Date.now() - sinceMs(call))
    const plan = planOf(settings, name, call.values['with'])
    const isTold = process.stderr.isTTY && !call.isJson
    const looked = await lookOnly(settings, (dataSource) =>
      shadowChannel(queryOf(dataSource), plan, since, settings.authorities, (compared) => {
        if (isTold) process.stderr.write(`\r${compared} messages compared`)
      }),
    )
    if (isTold) process.stderr.write('\r\x1b[K')
    if (!('compared' in looked)) throw new Findings(`there is nothing to compare with: ${looked.because}`)
    if (call.isJson) printJson({ since, ...looked })
    else print(inWords(looked, since))
    return looked.differences.length === 0 ? 0 : 1
  },
}

function sinceMs({ values }: Call): number {
  const ms = typeof values['since'] === 'string' ? readDurationMs(values['since']) : undefined
  if (ms === undefined) throw new Usage('--since says how far back, such as 24h, 7d or 2w')
  return ms
}

function planOf(settings: Settings, name: string, folder: unknown) {
  const root = typeof folder === 'string' ? resolve(folder) : undefined
  if (root !== undefined && !existsSync(join(root, 'channels')))
    throw new Usage(`${fromHere(root)} holds no folder channels/`)
  const { plans, problems, names } =
    root === undefined
      ? channelsOf(settings)
      : loadChannels({
          channelsDirectory: join(root, 'channels'),
          mappingsDirectory: join(root, 'mappings'),
          environment: process.env,
        })
  const plan = plans.find((one) => one.name === name)
  if (plan !== undefined) return plan
  if (!names.includes(name)) throw new Usage(`there is no channel ${name}: there are ${names.join(', ')}`)
  const errors = problems
    .filter(({ severity }) => severity === 'error')
    .map(({ file, line, column, what }) => `${fromHere(file)}:${line}:${column}  ${what}`)
  throw new Findings(`the files of ${name} cannot be used:\n${errors.join('\n')}`)
}

function inWords(
  { channel, revision, compared, same, withoutContent, differences }: Shadowed,
  since: Date,
): string {
  const lines = [
    `Channel ${channel}, revision ${revision.slice(0, 12)}: ${compared} ${compared === 1 ? 'message' : 'messages'} since ${since.toISOString().slice(0, 16)}Z compared, ${same} decided as before, ${compared - same} otherwise.`,
    ...(withoutContent === 0
      ? []
      : [`${withoutContent} more are not kept beyond their decision and cannot be compared.`]),
    ...differences.map(
      ({ before, after, messages, examples }) =>
        `\n${messages} ${messages === 1 ? 'message' : 'messages'}\n  before  ${before}\n  now     ${after}\n  such as ${examples.join(', ')}`,
    ),
  ]
  return lines.join('\n')
}
