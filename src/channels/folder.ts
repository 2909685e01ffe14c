import { readFileSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { basename, join, sep } from 'node:path'
import type { Problem, ProblemCode } from './problem.ts'
import { namePattern } from './schema-parts.ts'
import { readYamlFile, yamlBytesMax } from './yaml-file.ts'
import type { YamlFile } from './yaml-file.ts'

/** No installation has a tenth of these. */
const filesMax = 500

/** A sample is one message. */
const sampleBytesMax = 1024 * 1024

export function openYaml(
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
export function yamlNames(directory: string, problems: Problem[]): readonly string[] {
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

export function entriesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort().slice(0, filesMax)
  } catch {
    return []
  }
}

export function checkName(file: string, name: string, problems: Problem[]): boolean {
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

export function readText(
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

export function readSample(directory: string, path: string): Buffer | string {
  if (!/^samples\/[A-Za-z0-9][A-Za-z0-9._-]*$/.test(path) || basename(path).includes('..'))
    return 'a sample is a file in samples/, such as samples/a03.hl7'
  const bytes = readInside(join(directory, 'samples'), basename(path), sampleBytesMax)
  if (typeof bytes !== 'string') return bytes
  return bytes === 'missing' ? `the sample ${path} does not exist` : wordsFor(bytes)
}

function fileProblem(file: string, code: ProblemCode, what: string, remedy?: string): Problem {
  return { file, line: 1, column: 1, severity: 'error', code, what, ...(remedy !== undefined && { remedy }) }
}
