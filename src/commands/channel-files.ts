import { existsSync, statSync } from 'node:fs'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { loadChannels, type ChannelFiles } from '../channels/load.ts'
import type { Problem } from '../channels/problem.ts'
import type { ChannelPlan } from '../domain/channel.ts'
import { channelsOf } from '../main.ts'
import { settingsFor, Usage, type Call } from './command.ts'

/** What the words of a command name: the plans they concern, and the findings in the files themselves. */
export interface NamedChannels {
  readonly plans: readonly ChannelPlan[]
  readonly problems: readonly Problem[]
}

/**
 * The channels that `lint [PATH…]` and `test [PATH…]` speak of. Without a path: those of the installation, checked
 * against its settings. A path is a folder that holds channels/ and mappings/, one of these, or a file in them; secrets
 * and FHIR servers are then not looked up.
 *
 * @throws Usage where a path is neither
 */
export function namedChannels(call: Call): NamedChannels {
  if (call.positionals.length === 0) return shown(channelsOf(settingsFor(call)))
  const plans = new Map<string, ChannelPlan>()
  const problems: Problem[] = []
  for (const path of call.positionals) {
    const absolute = resolve(path)
    const files = filesAround(path, absolute)
    const loaded = loadChannels(files)
    for (const plan of loaded.plans)
      if (concerns(plan, files, absolute)) plans.set(join(files.channelsDirectory, plan.name), plan)
    problems.push(...loaded.problems.filter(({ file }) => isWithin(file, absolute)))
  }
  return shown({ plans: [...plans.values()], problems })
}

function filesAround(path: string, absolute: string): ChannelFiles {
  if (!existsSync(absolute)) throw new Usage(`${path} does not exist`)
  const isFolder = statSync(absolute).isDirectory()
  let root: string | undefined = isFolder && existsSync(join(absolute, 'channels')) ? absolute : undefined
  for (let folder = absolute; root === undefined && folder !== dirname(folder); folder = dirname(folder))
    if (['channels', 'mappings'].includes(basename(folder))) root = dirname(folder)
  if (root === undefined)
    throw new Usage(`${path} is no file of a channels/ or mappings/ folder, and holds no such folders`)
  return {
    channelsDirectory: join(root, 'channels'),
    mappingsDirectory: join(root, 'mappings'),
    environment: process.env,
  }
}

/** A mapping or a table concerns every channel that uses it. */
function concerns({ name, mapping }: ChannelPlan, files: ChannelFiles, path: string): boolean {
  const parts = [
    join(files.channelsDirectory, `${name}.yaml`),
    join(files.mappingsDirectory, `${mapping.name}.yaml`),
    ...[...mapping.tables.keys()].map((table) => join(files.mappingsDirectory, 'tables', `${table}.csv`)),
  ]
  return parts.some((part) => isWithin(part, path))
}

function isWithin(file: string, path: string): boolean {
  return file === path || file.startsWith(path + sep)
}

/** Files are named as the person who called us would: from where she stands. */
function shown({ plans, problems }: NamedChannels): NamedChannels {
  return { plans, problems: problems.map((problem) => ({ ...problem, file: fromHere(problem.file) })) }
}

/** @param place a file, or a file with its line */
export function fromHere(place: string): string {
  const path = relative(process.cwd(), place)
  return path === '' || path.startsWith('..') ? place : path
}
