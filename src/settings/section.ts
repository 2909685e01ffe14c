import { isMap, isScalar, isSeq, type Node, type YAMLMap } from 'yaml'
import { closest } from '../lib/closest.ts'
import { readDurationMs } from '../lib/duration.ts'
import { isLoopback, type Endpoint } from './endpoint.ts'
import type { SettingsFile } from './settings-file.ts'

/** The whole file as a mapping of the known names. */
export function rootSection(file: SettingsFile, known: readonly string[]): Section {
  const { contents } = file
  const isEmpty = contents === null || (isScalar(contents) && contents.value === null)
  if (!isEmpty && !isMap(contents))
    file.problem(0, 'is not a list of settings', 'start with lines such as `dataDirectory: ./var`')
  return new Section(file, isMap(contents) ? contents : undefined, '', known)
}

/** One mapping of the file; reading a value that is not as it should be records a problem and yields undefined. */
export class Section {
  private readonly file: SettingsFile
  private readonly map: YAMLMap | undefined
  private readonly name: string

  constructor(
    file: SettingsFile,
    map: YAMLMap | undefined,
    name: string,
    known: readonly string[] | undefined,
  ) {
    this.file = file
    this.map = map
    this.name = name
    for (const { key } of known === undefined ? [] : (map?.items ?? [])) {
      const text = isScalar(key) ? String(key.value) : '?'
      if (known!.includes(text)) continue
      const meant = closest(text, known!)
      file.problem(
        offsetOf(key),
        `${this.label(text)} is not a setting`,
        meant === undefined ? `known here: ${known!.join(', ')}` : `did you mean “${meant}”?`,
      )
    }
  }

  get line(): number {
    return this.file.line(this.map)
  }

  /** Whether the key is written, if only with an empty list. */
  has(key: string): boolean {
    return this.node(key) !== undefined
  }

  problem(key: string, what: string, remedy: string): void {
    const node = this.node(key) ?? this.map
    this.file.problem(offsetOf(node), `${this.label(key)} ${what}`, remedy)
  }

  text(key: string): string | undefined {
    return this.value(key)?.string()
  }

  required(key: string, example: string): string | undefined {
    const text = this.text(key)
    if (this.node(key) === undefined || text === '') this.problem(key, 'is missing', `give ${example}`)
    return text === '' ? undefined : text
  }

  secret(key: string, isRequired: boolean): string | undefined {
    const value = this.value(key)
    if (value === undefined) {
      if (isRequired) this.problem(key, 'is missing', 'write env:NAME or file:PATH')
      return undefined
    }
    return value.secret()
  }

  oneOf<Choice extends string>(key: string, choices: readonly Choice[]): Choice | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    const choice = choices.find((candidate) => candidate === text)
    if (choice === undefined) {
      const meant = closest(text, choices)
      this.problem(
        key,
        `is “${text}”`,
        `${meant === undefined ? '' : `did you mean “${meant}”? `}use one of ${choices.join(', ')}`,
      )
    }
    return choice
  }

  boolean(key: string): boolean | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    if (text !== 'true' && text !== 'false') this.problem(key, `is “${text}”`, 'write true or false')
    return text === 'true'
  }

  number(key: string, least: number, most: number): number | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    const number = Number(text)
    if (text.trim() !== '' && number >= least && number <= most) return number
    this.problem(key, `is “${text}”`, `write a number from ${least} to ${most}`)
    return undefined
  }

  integer(key: string, least: number, most: number): number | undefined {
    const number = this.number(key, least, most)
    if (number === undefined || Number.isInteger(number)) return number
    this.problem(key, `is “${number}”`, `write a whole number from ${least} to ${most}`)
    return undefined
  }

  duration(key: string): number | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    const durationMs = readDurationMs(text)
    if (durationMs === undefined)
      this.problem(key, `is “${text}”`, 'write a duration such as 30s, 10m, 24h, 14d')
    return durationMs
  }

  timezone(key: string): string | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    try {
      return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone
    } catch {
      this.problem(key, `“${text}” is not a time zone`, 'write an IANA name such as America/New_York')
      return undefined
    }
  }

  url(key: string): string | undefined {
    const text = this.required(key, 'an https:// URL')
    if (text === undefined) return undefined
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
      this.problem(key, `“${text}” is not a URL`, 'write https://host/path')
      return undefined
    }
    if (url.username !== '' || url.password !== '') {
      this.problem(key, 'has credentials in the URL', 'move them to `auth`, as env: or file:')
      return undefined
    }
    if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
      this.problem(
        key,
        'is plain http to another machine',
        'use https; records and credentials would travel in clear',
      )
      return undefined
    }
    return text
  }

  endpoint(key: string): Endpoint | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text)
    const port = Number(parts?.[3])
    if (parts === null || port > 65_535) {
      this.problem(key, `is “${text}”`, 'write host:port, such as 127.0.0.1:8080')
      return undefined
    }
    return { host: parts[1] ?? parts[2]!, port }
  }

  texts(key: string): string[] {
    const node = this.node(key)
    if (node === undefined) return []
    if (!isSeq(node)) return [this.text(key)].filter((text) => text !== undefined)
    return node.items.flatMap((item) => new Value(this.file, item as Node, this.label(key)).string() ?? [])
  }

  section(key: string, known: readonly string[]): Section | undefined {
    const value = this.value(key)
    return value === undefined ? undefined : value.asSection(known)
  }

  list(key: string, known: readonly string[]): Section[] {
    const node = this.node(key)
    if (node === undefined) return []
    if (!isSeq(node)) {
      this.problem(key, 'is not a list', 'start each entry with “- ”')
      return []
    }
    return node.items.map((item, index) =>
      new Value(this.file, item as Node, `${this.label(key)}[${index}]`).asSection(known),
    )
  }

  /** A list whose entries are single values or mappings; one value stands for a list of one. */
  mixed(key: string, known: readonly string[]): (string | Section)[] {
    const node = this.node(key)
    if (node === undefined) return []
    return (isSeq(node) ? node.items : [node]).flatMap((item, index) => {
      const value = new Value(this.file, item as Node, `${this.label(key)}[${index}]`)
      return value.isSection() ? value.asSection(known) : (value.string() ?? [])
    })
  }

  entries(key: string): [string, Value][] | undefined {
    const node = this.node(key)
    if (node === undefined) return undefined
    if (!isMap(node)) {
      this.problem(key, 'is not a mapping', 'write NAME: value lines below it')
      return undefined
    }
    return node.items.map((pair) => {
      const name = isScalar(pair.key) ? String(pair.key.value) : ''
      return [name, new Value(this.file, pair.value as Node, this.label(`${key}.${name}`))]
    })
  }

  private value(key: string): Value | undefined {
    const node = this.node(key)
    return node === undefined ? undefined : new Value(this.file, node, this.label(key))
  }

  private node(key: string): Node | undefined {
    const node = this.map?.get(key, true) as Node | undefined
    return node === undefined || node === null || (isScalar(node) && node.value === null) ? undefined : node
  }

  private label(key: string): string {
    return this.name === '' ? key : `${this.name}.${key}`
  }
}

/** One value of the file with its place. */
export class Value {
  private readonly file: SettingsFile
  private readonly node: Node
  private readonly name: string

  constructor(file: SettingsFile, node: Node, name: string) {
    this.file = file
    this.node = node
    this.name = name
  }

  isSection(): boolean {
    return isMap(this.node)
  }

  problem(what: string, remedy: string): void {
    this.file.problem(offsetOf(this.node), `${this.name}: ${what}`, remedy)
  }

  string(): string | undefined {
    if (!isScalar(this.node)) {
      this.problem('is not a single value', 'write one value; quote it if it contains { } [ ] or a colon')
      return undefined
    }
    // The spelling of the file counts: 1.10 is not 1.1, and 0123 keeps its zero.
    const text =
      typeof this.node.value === 'string' ? this.node.value : (this.node.source ?? String(this.node.value))
    return this.file.expand(text, offsetOf(this.node))
  }

  secret(): string | undefined {
    const text = isScalar(this.node) ? String(this.node.value) : undefined
    if (text === undefined) this.problem('is not a single value', 'write env:NAME or file:PATH')
    return text === undefined ? undefined : this.file.secret(text, offsetOf(this.node))
  }

  asSection(known: readonly string[]): Section {
    if (!isMap(this.node)) this.problem('is not a mapping', `write { ${known.slice(0, 2).join(': …, ')}: … }`)
    return new Section(this.file, isMap(this.node) ? this.node : undefined, this.name, known)
  }
}

function offsetOf(node: unknown): number {
  return (node as { range?: [number, number, number] } | null | undefined)?.range?.[0] ?? 0
}

/** Present only where there is a value: settings have no undefined members. */
export function optional<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { [key in Name]?: Value } {
  return (value === undefined ? {} : { [name]: value }) as { [key in Name]?: Value }
}
