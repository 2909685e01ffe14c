import { readFileSync } from 'node:fs'
import { dirname, isAbsolute, resolve } from 'node:path'
import { LineCounter, parseDocument, type Node } from 'yaml'

/** One thing wrong with the settings: where, what, and what to do about it. */
export interface SettingsProblem {
  readonly where: string
  readonly what: string
  readonly remedy: string
}

/** Reads one YAML document with positions and collects problems. */
export class SettingsFile {
  readonly problems: SettingsProblem[] = []
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly file: string
  private readonly lines = new LineCounter()
  readonly contents: Node | null

  constructor(text: string, file: string, environment: Readonly<Record<string, string | undefined>>) {
    this.file = file
    this.environment = environment
    const document = parseDocument(text, {
      lineCounter: this.lines,
      uniqueKeys: true,
      strict: true,
      version: '1.2',
    })
    for (const error of document.errors)
      this.problem(
        error.pos[0],
        error.message.split('\n')[0] ?? 'is not YAML',
        'correct the YAML; values with { } [ ] : # need quotes',
      )
    this.contents = document.errors.length > 0 ? null : document.contents
  }

  line(node: Node | undefined): number {
    return this.lines.linePos(node?.range?.[0] ?? 0).line
  }

  problem(offset: number, what: string, remedy: string): void {
    const { line, col } = this.lines.linePos(offset)
    this.problems.push({ where: `${this.file}:${line}:${col}`, what, remedy })
  }

  /** `${NAME}` and `${NAME:-default}`. */
  expand(text: string, offset: number): string {
    return text.replace(
      /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g,
      (_, name: string, standard: string | undefined) => {
        const value = this.environment[name]
        if (value !== undefined && value !== '') return value
        if (standard !== undefined) return standard
        this.problem(offset, `the environment has no ${name}`, `set ${name}, or write \${${name}:-default}`)
        return ''
      },
    )
  }

  /** `env:NAME` and `file:PATH`; a secret written out is refused. */
  secret(text: string, offset: number): string | undefined {
    if (text.startsWith('env:')) {
      const value = this.environment[text.slice(4)]
      if (value === undefined || value === '') {
        this.problem(
          offset,
          `the environment has no ${text.slice(4)}`,
          `set ${text.slice(4)} before starting`,
        )
        return undefined
      }
      return value.includes('\\n') && value.includes('-----BEGIN') ? value.replaceAll('\\n', '\n') : value
    }
    const path = text.startsWith('file:')
      ? text.slice(5)
      : text.startsWith('./') || text.startsWith('/')
        ? text
        : undefined
    if (path === undefined) {
      this.problem(offset, 'is a secret written into the file', 'write env:NAME or file:PATH instead')
      return undefined
    }
    const absolute = isAbsolute(path) ? path : resolve(dirname(resolve(this.file)), path)
    try {
      return readFileSync(absolute, 'utf8').trimEnd()
    } catch (cause) {
      this.problem(
        offset,
        `${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unreadable'})`,
        'check the path and its permissions',
      )
      return undefined
    }
  }
}
