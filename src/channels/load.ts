import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { basename, join, sep } from 'node:path'
import type { ChannelPlan, MappingPlan } from '../domain/channel.ts'
import { readChannel } from './channel-plan.ts'
import type { Surroundings } from './channel-plan.ts'
import type { Desk } from './condition-plan.ts'
import { lintShape } from './lint.ts'
import { readLookupTable, tableBytesMax } from './lookup-table.ts'
import type { TableFile } from './lookup-table.ts'
import { readMapping } from './mapping-plan.ts'
import type { Tables } from './mapping-plan.ts'
import { sortProblems } from './problem.ts'
import type { Problem, ProblemCode } from './problem.ts'
import { namePattern } from './schema.ts'
import { readScalar, readYamlFile, yamlBytesMax } from './yaml-file.ts'
import type { Place, YamlFile } from './yaml-file.ts'

/** Where the values behind `secret:NAME` come from: the settings. */
export interface Secrets {
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
  /** Every channel without an error in itself, its mapping or its tables; by name. */
  readonly plans: readonly ChannelPlan[]
  /** Every finding in every file, by file and place. */
  readonly problems: readonly Problem[]
}

/** No installation has a tenth of these. */
const filesMax = 500

/** A sample is one message. */
const sampleBytesMax = 1024 * 1024

/**
 * Reads, checks and resolves all channel files, mappings, tables and samples. A channel is loaded whole or not at all; one
 * that is broken does not keep the others from running. Nothing is listened on and nothing is fetched.
 */
export function loadChannels(files: ChannelFiles): LoadedChannels {
  const problems: Problem[] = []
  const tables = readTables(join(files.mappingsDirectory, 'tables'), problems)
  const mappings = readMappings(files.mappingsDirectory, tables, problems)
  const used = new Set<string>()
  const surroundings: Surroundings = {
    mappings: [...mappings.keys()],
    mapping: (name) => {
      used.add(name)
      return mappings.get(name)?.plan ?? (mappings.has(name) ? 'broken' : undefined)
    },
    hasSecret: files.secrets && ((name) => files.secrets?.secret(name) !== undefined),
    fhirServers: files.fhirServers,
    sample: (path) => readSample(files.channelsDirectory, path),
  }
  const plans: ChannelPlan[] = []
  const listeners: Listener[] = []
  for (const name of yamlNames(files.channelsDirectory, problems)) {
    const yaml = openYaml(files.channelsDirectory, name, 'channel', problems)
    if (yaml === undefined) continue
    const desk: Desk = { yaml, problems: [] }
    const plan = planOf(desk, files, surroundings, mappings)
    if (plan !== undefined && !takesPort(desk, plan, listeners)) plans.push(plan)
    problems.push(...desk.problems)
  }
  for (const [name, mapping] of mappings)
    if (!used.has(name) && mapping.plan !== undefined)
      problems.push(
        warning(mapping.yaml, ['mapping'], 'mapping-unused', `no channel uses the mapping "${name}"`),
      )
  return { plans, problems: sortProblems(problems) }
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
  return { ...plan, revision: revisionOf(value, mappings.get(plan.mapping.name)!) }
}

/** What decides; titles, alerts and tests do not. */
function revisionOf(value: Readonly<Record<string, unknown>>, mapping: MappingFile): string {
  const { title, owner, alerts, tests, ...deciding } = value
  void [title, owner, alerts, tests]
  const tables = [...(mapping.plan?.tables ?? [])].map(([name, table]) => [name, [...table.rows]])
  return createHash('sha256')
    .update(JSON.stringify(sorted([deciding, mapping.yaml.value, tables])))
    .digest('hex')
}

/** The same content gives the same text, in whatever order its keys are written. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, sorted(each)]),
  )
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

interface MappingFile {
  readonly yaml: YamlFile
  readonly plan?: MappingPlan
}

function readMappings(directory: string, tables: Tables, problems: Problem[]): Map<string, MappingFile> {
  const mappings = new Map<string, MappingFile>()
  for (const name of yamlNames(directory, problems)) {
    const yaml = openYaml(directory, name, 'mapping', problems)
    if (yaml === undefined) continue
    const desk: Desk = { yaml, problems: lintShape(yaml, 'mapping') }
    const plan = desk.problems.length > 0 ? undefined : readMapping(desk, tables)
    problems.push(...desk.problems)
    mappings.set(name, plan === undefined || desk.problems.length > 0 ? { yaml } : { yaml, plan })
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

function openYaml(
  directory: string,
  name: string,
  key: 'channel' | 'mapping',
  problems: Problem[],
): YamlFile | undefined {
  const file = join(directory, `${name}.yaml`)
  const text = readText(directory, `${name}.yaml`, yamlBytesMax, problems)
  if (text === undefined) return undefined
  const reading = readYamlFile(file, text.replace(/^\ufeff/, ''))
  problems.push(...reading.problems)
  const { yaml } = reading
  const inside = yaml?.value[key]
  if (yaml !== undefined && typeof inside === 'string' && inside !== name) {
    problems.push(
      yaml.problem(
        [key],
        'file-name',
        `the file is named ${name}.yaml and the ${key} inside "${inside}"`,
        `rename one of them`,
      ),
    )
    return undefined
  }
  return yaml
}

/** The names of the YAML files of a folder, in the order of the alphabet. */
function yamlNames(directory: string, problems: Problem[]): readonly string[] {
  let entries: readonly string[]
  try {
    entries = readdirSync(directory).sort()
  } catch {
    problems.push(fileProblem(directory, 'file-unreadable', 'the folder does not exist or cannot be read'))
    return []
  }
  const names: string[] = []
  for (const entry of entries) {
    if (entry.endsWith('.yml')) {
      problems.push(fileProblem(join(directory, entry), 'file-name', 'the file is not read', 'name it .yaml'))
      continue
    }
    if (!entry.endsWith('.yaml') || entry.startsWith('.')) continue
    if (names.length === filesMax) {
      problems.push(fileProblem(directory, 'file-too-large', `the folder holds more than ${filesMax} files`))
      break
    }
    const name = entry.slice(0, -5)
    if (checkName(join(directory, entry), name, problems)) names.push(name)
  }
  return names
}

function entriesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort().slice(0, filesMax)
  } catch {
    return []
  }
}

function checkName(file: string, name: string, problems: Problem[]): boolean {
  if (new RegExp(namePattern).test(name)) return true
  problems.push(
    fileProblem(
      file,
      'file-name',
      'the name of the file is not a plain one',
      'use lower-case letters, digits and hyphens',
    ),
  )
  return false
}

function readText(
  directory: string,
  entry: string,
  bytesMax: number,
  problems: Problem[],
): string | undefined {
  const file = join(directory, entry)
  const bytes = readInside(directory, entry, bytesMax)
  if (typeof bytes === 'string') {
    problems.push(
      fileProblem(file, bytes === 'too-large' ? 'file-too-large' : 'file-unreadable', wordsFor(bytes)),
    )
    return undefined
  }
  return bytes.toString('utf8')
}

type Unread = 'too-large' | 'outside' | 'missing'

function wordsFor(unread: Unread): string {
  if (unread === 'too-large') return 'the file is too large'
  return unread === 'outside'
    ? 'the file is a link that leads out of its folder'
    : 'the file does not exist or cannot be read'
}

/** A file of a folder, links followed as long as they stay inside it. */
function readInside(directory: string, path: string, bytesMax: number): Buffer | Unread {
  try {
    const root = realpathSync(directory)
    const file = realpathSync(join(directory, path))
    if (!file.startsWith(root + sep)) return 'outside'
    const status = statSync(file)
    if (!status.isFile()) return 'missing'
    if (status.size > bytesMax) return 'too-large'
    return readFileSync(file)
  } catch {
    return 'missing'
  }
}

function readSample(directory: string, path: string): Buffer | string {
  if (!/^samples\/[A-Za-z0-9][A-Za-z0-9._-]*$/.test(path) || basename(path).includes('..'))
    return 'a sample is a file in samples/, such as samples/a03.hl7'
  const bytes = readInside(join(directory, 'samples'), basename(path), sampleBytesMax)
  if (typeof bytes !== 'string') return bytes
  return bytes === 'missing' ? `the sample ${path} does not exist` : wordsFor(bytes)
}

/** Tests and filters say what a channel means: they are the same in every environment. */
const neverSubstituted = new Set(['channel', 'version', 'filter', 'map', 'tests'])

/** `${NAME}` and `${NAME:-default}` from the environment; undefined, with findings, where a variable is missing. */
function substituted(
  desk: Desk,
  environment: ChannelFiles['environment'],
): Readonly<Record<string, unknown>> | undefined {
  const before = desk.problems.length
  const walk = (value: unknown, place: Place): unknown => {
    if (typeof value === 'string') return substitutedText(desk, value, place, environment)
    if (Array.isArray(value)) return value.map((each, index) => walk(each, [...place, index]))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => [
        key,
        place.length === 0 && neverSubstituted.has(key) ? each : walk(each, [...place, key]),
      ]),
    )
  }
  const result = walk(desk.yaml.value, []) as Readonly<Record<string, unknown>>
  return desk.problems.length > before ? undefined : result
}

function substitutedText(
  desk: Desk,
  text: string,
  place: Place,
  environment: ChannelFiles['environment'],
): string | number | boolean {
  if (!text.includes('${')) return text
  const result = text.replace(/\$\{([^}]*)\}/g, (whole, inside: string) => {
    const found = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inside)
    if (found === null) {
      desk.problems.push(
        desk.yaml.problem(
          place,
          'variable-missing',
          `${whole} is not a variable`,
          'write ${NAME} or ${NAME:-default}',
        ),
      )
      return ''
    }
    // As in a shell, :- stands in for an empty variable, too.
    const [, name, fallback] = found
    const value = environment[name!]
    const given = fallback === undefined ? value : value === undefined || value === '' ? fallback : value
    if (given !== undefined) return given
    desk.problems.push(
      desk.yaml.problem(
        place,
        'variable-missing',
        `the environment variable ${name} is not set`,
        `set it, or write a default: "\${${name}:-value}"`,
      ),
    )
    return ''
  })
  return readScalar(result)
}

function fileProblem(file: string, code: ProblemCode, what: string, remedy?: string): Problem {
  return { file, line: 1, column: 1, severity: 'error', code, what, ...(remedy !== undefined && { remedy }) }
}

function warning(yaml: YamlFile, place: Place, code: ProblemCode, what: string, remedy?: string): Problem {
  return { ...yaml.problem(place, code, what, remedy), severity: 'warning' }
}
