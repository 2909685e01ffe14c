import { join } from 'node:path'
import type { ChannelPlan, MappingPlan } from '../domain/channel.ts'
import { readChannel } from './channel-plan.ts'
import type { Desk } from './condition-plan.ts'
import { checkName, entriesOf, openYaml, readSample, readText, yamlNames } from './folder.ts'
import { lintShape } from './lint.ts'
import { readLookupTable, tableBytesMax } from './lookup-table.ts'
import type { TableFile } from './lookup-table.ts'
import { readMapping } from './mapping-plan.ts'
import type { Tables } from './mapping-row.ts'
import { sortProblems } from './problem.ts'
import type { Problem, ProblemCode } from './problem.ts'
import { revisionOf } from './revision.ts'
import { substituted } from './substitution.ts'
import type { Surroundings } from './surroundings.ts'
import type { Place, YamlFile } from './yaml-file.ts'

/** Where the values behind `secret:NAME` come from: the settings. */
interface Secrets {
  secret(name: string): string | Buffer | undefined
}

export interface ChannelFiles {
  readonly channelsDirectory: string
  readonly mappingsDirectory: string
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Left out where files are checked without settings: references are then not followed. */
  readonly secrets?: Secrets
  /** The names under `fhirServers:` of the settings; left out as above. */
  readonly fhirServers?: readonly string[]
}

export interface LoadedChannels {
  /** Of every channel file that is there, with the ones that cannot be loaded. */
  readonly names: readonly string[]
  /** Every channel without an error in itself, its mapping or its tables; by name. */
  readonly plans: readonly ChannelPlan[]
  /** Every finding in every file, by file and place. */
  readonly problems: readonly Problem[]
}

/**
 * Reads, checks and resolves all channel files, mappings, tables and samples. A channel is loaded whole or not at all; one
 * that is broken does not keep the others from running. Nothing is listened on and nothing is fetched.
 */
export function loadChannels(files: ChannelFiles): LoadedChannels {
  const problems: Problem[] = []
  const tables = readTables(join(files.mappingsDirectory, 'tables'), problems)
  const mappings = readMappings(files.mappingsDirectory, tables, problems)
  const surroundings: Surroundings = {
    mappings: [...mappings.keys()],
    mapping: (name) => mappings.get(name)?.plan ?? (mappings.has(name) ? 'broken' : undefined),
    hasSecret: files.secrets && ((name) => files.secrets?.secret(name) !== undefined),
    fhirServers: files.fhirServers,
    sample: (path) => readSample(files.channelsDirectory, path),
  }
  const plans: ChannelPlan[] = []
  const listeners: Listener[] = []
  // What a file that cannot be read uses is not known: nothing is called unused then.
  const used = new Set<unknown>()
  let isEachRead = true
  const names = yamlNames(files.channelsDirectory, problems)
  for (const name of names) {
    const yaml = openYaml(files.channelsDirectory, name, 'channel', problems)
    if (yaml === undefined) {
      isEachRead = false
      continue
    }
    used.add(yaml.value['map'])
    const desk: Desk = { yaml, problems: [] }
    const plan = planOf(desk, files, surroundings, mappings)
    if (plan !== undefined && !takesPort(desk, plan, listeners) && !takesFiles(desk, plan, plans))
      plans.push(plan)
    problems.push(...desk.problems)
  }
  for (const [name, { plan, yaml }] of mappings)
    if (isEachRead && !used.has(name) && plan !== undefined)
      problems.push(warning(yaml!, ['mapping'], 'mapping-unused', `no channel uses the mapping "${name}"`))
  return { names, plans, problems: sortProblems(problems) }
}

function planOf(
  desk: Desk,
  { environment }: ChannelFiles,
  surroundings: Surroundings,
  mappings: ReadonlyMap<string, MappingFile>,
): ChannelPlan | undefined {
  const value = substituted(desk, environment)
  if (value === undefined) return undefined
  const shape = lintShape(desk.yaml, 'channel', value)
  desk.problems.push(...shape)
  if (shape.length > 0) return undefined
  const plan = readChannel(desk, value, surroundings)
  if (plan === undefined) return undefined
  if (plan.tests.length === 0)
    desk.problems.push(
      warning(
        desk.yaml,
        [],
        'no-tests',
        'the channel has no tests',
        'add tests: with a sample for each outcome',
      ),
    )
  const { yaml } = mappings.get(plan.mapping.name)!
  return { ...plan, revision: revisionOf(value, yaml!.value, plan.mapping) }
}

interface Listener {
  readonly channel: string
  readonly host: string
  readonly port: number
}

function takesPort(desk: Desk, plan: ChannelPlan, listeners: Listener[]): boolean {
  if (plan.source.type !== 'mllp' || !plan.enabled) return false
  const { host, port } = plan.source.listen
  const isWildcard = (address: string): boolean => address === '0.0.0.0' || address === '::'
  // Port 0 is whichever is free.
  const other = listeners.find(
    (one) =>
      port !== 0 && one.port === port && (one.host === host || isWildcard(one.host) || isWildcard(host)),
  )
  if (other === undefined) {
    listeners.push({ channel: plan.name, host, port })
    return false
  }
  desk.problems.push(
    desk.yaml.problem(
      ['source', 'listen', 'port'],
      'port-taken',
      `port ${port} is taken by the channel "${other.channel}"`,
      'choose another port, or set enabled: false on one of them',
    ),
  )
  return true
}

/** Of two channels that take the same files, nobody could say which gets one. */
function takesFiles(desk: Desk, { enabled, source }: ChannelPlan, others: readonly ChannelPlan[]): boolean {
  if (source.type !== 'file-drop' || !enabled) return false
  const other = others.find(
    (one) =>
      one.enabled &&
      one.source.type === 'file-drop' &&
      one.source.directory === source.directory &&
      [one.source.pattern, '*'].includes(source.pattern === '*' ? one.source.pattern : source.pattern),
  )
  if (other === undefined) return false
  desk.problems.push(
    desk.yaml.problem(
      ['source', 'directory'],
      'wrong-value',
      `the channel "${other.name}" takes the files of this directory`,
      'name another directory or pattern, or set enabled: false on one of them',
    ),
  )
  return true
}

/** Without a plan where it has errors of its own. */
interface MappingFile {
  readonly yaml?: YamlFile
  readonly plan?: MappingPlan
}

function readMappings(directory: string, tables: Tables, problems: Problem[]): Map<string, MappingFile> {
  const mappings = new Map<string, MappingFile>()
  for (const name of yamlNames(directory, problems)) {
    const yaml = openYaml(directory, name, 'mapping', problems)
    if (yaml === undefined) {
      mappings.set(name, {})
      continue
    }
    const desk: Desk = { yaml, problems: lintShape(yaml, 'mapping') }
    const plan = desk.problems.length > 0 ? undefined : readMapping(desk, tables)
    problems.push(...desk.problems)
    mappings.set(name, plan === undefined ? { yaml } : { yaml, plan })
  }
  return mappings
}

function readTables(directory: string, problems: Problem[]): Tables {
  const tables = new Map<string, { file: string; table: TableFile } | undefined>()
  for (const entry of entriesOf(directory)) {
    if (!entry.endsWith('.csv')) continue
    const name = entry.slice(0, -4)
    const file = join(directory, entry)
    if (!checkName(file, name, problems)) continue
    const text = readText(directory, entry, tableBytesMax, problems)
    if (text === undefined) continue
    const reading = readLookupTable(file, name, text)
    problems.push(...reading.problems)
    tables.set(name, reading.table && { file, table: reading.table })
  }
  return { names: [...tables.keys()], find: (name) => tables.get(name) }
}

function warning(yaml: YamlFile, place: Place, code: ProblemCode, what: string, remedy?: string): Problem {
  return { ...yaml.problem(place, code, what, remedy), severity: 'warning' }
}
