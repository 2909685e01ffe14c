import { closest } from '../lib/closest.ts'

/** Something wrong, or doubtful, in a channel, mapping, table or sample file. */
export interface Problem {
  readonly file: string
  /** Both count from 1. */
  readonly line: number
  readonly column: number
  /** An error keeps the channel from running; a warning does not. */
  readonly severity: 'error' | 'warning'
  readonly code: ProblemCode
  readonly what: string
  readonly remedy?: string
}

/** Every code that a finding may carry; stable, so that scripts and people can look it up (docs/analyst.md). */
export const problemCodes = {
  'file-unreadable': 'a file or folder is missing or cannot be read',
  'file-too-large': 'a file is larger than any channel, mapping, table or sample needs to be',
  'too-many-findings': 'more findings in one file than anybody reads',
  'file-name': 'the file name and the name inside differ, or the name is not a plain one',
  'yaml-syntax': 'the file is not YAML 1.2',
  'yaml-feature': 'anchors, aliases, tags and several documents in one file are not used here',
  'duplicate-key': 'the same key stands twice',
  'reserved-key': 'a key that JavaScript gives a meaning of its own',
  'unknown-key': 'a key that the format does not have',
  'missing-key': 'a key that must be there',
  'wrong-value': 'a value of the wrong kind, or not one of those possible',
  'variable-missing': 'an environment variable without a value or a default',
  'secret-reference': 'a secret that is not written as secret:NAME',
  'secret-unknown': 'a secret that the settings do not have',
  'not-in-effect': 'a key that this version reads and does not act on',
  'tls-missing': 'a listener that others can reach, without TLS',
  'server-unknown': 'a FHIR server that the settings do not have',
  duration: 'a time span that is not a number with a unit',
  timezone: 'a time zone that the IANA database does not have',
  encoding: 'a character set that HL7 table 0211 does not have',
  condition: 'a condition without exactly one question',
  path: 'a path that names no place in a message',
  fhirpath: 'a FHIRPath expression that cannot be read',
  'fhirpath-function': 'a FHIRPath function that is not allowed',
  pattern: 'a pattern that is no regular expression, or one that could take for ever',
  row: 'a row without exactly one source, or whose parts do not fit together',
  'row-unreachable': 'a row that can never give a value',
  'row-target': 'a row that fills something a trigger event does not have',
  'mapping-incomplete': 'a mapping that can never yield a trigger event',
  'mapping-unknown': 'a mapping that does not exist',
  'mapping-broken': 'a mapping that has errors of its own',
  'mapping-input': 'a mapping for another kind of input than the source gives',
  'mapping-unused': 'a mapping that no channel uses',
  'table-unknown': 'a lookup table that does not exist',
  'table-format': 'a lookup table that is not CSV with the header from,to',
  'table-duplicate': 'a lookup table that gives two meanings to one value',
  'table-value': 'a lookup table that gives a meaning the trigger event does not have',
  'port-taken': 'two channels that listen on the same port',
  'sample-unknown': 'a sample file that does not exist',
  test: 'a test that cannot be run as written',
  'test-failed': 'a test whose outcome is not the one it expects',
  'no-tests': 'a channel without tests',
  'untested-reason': 'a filter rule whose reason no test shows',
  'untested-kind': 'a kind of event that no test shows',
} as const

export type ProblemCode = keyof typeof problemCodes

/**
 * As the analyst reads it:
 *
 * @example channels/memorial-adt.yaml:4:6  mapping "adt-v2" does not exist  [mapping-unknown]
 *            mappings/ has: adt, encounter, eob – did you mean "adt"?
 */
export function formatProblem(problem: Problem): string {
  const { file, line, column, severity, code, what, remedy } = problem
  const head = `${file}:${line}:${column}  ${severity === 'warning' ? 'warning: ' : ''}${what}  [${code}]`
  return remedy === undefined ? head : `${head}\n  ${remedy}`
}

/** Where a code is explained: what it means, why it is one, what to do, an example. */
export function docsOf(code: ProblemCode): string {
  return `docs/findings.md#${code}`
}

/** Whoever has more in one file corrects these first. */
export const problemsPerFileMax = 100

/** By file, then by place; of each file the first {@link problemsPerFileMax}, and how many more there are. */
export function sortProblems(problems: readonly Problem[]): Problem[] {
  const counts = new Map<string, number>()
  const kept: Problem[] = []
  const first = new Map<string, Problem>()
  for (const problem of sorted(problems)) {
    const count = (counts.get(problem.file) ?? 0) + 1
    counts.set(problem.file, count)
    if (count <= problemsPerFileMax) kept.push(problem)
    else if (!first.has(problem.file) || problem.severity === 'error') first.set(problem.file, problem)
  }
  for (const { file, line, column, severity } of first.values())
    kept.push({
      ...{ file, line, column, severity, code: 'too-many-findings' },
      what: `the file has more findings than the ${problemsPerFileMax} that are shown`,
      remedy: 'correct those above first; often one of them causes the others',
    })
  return sorted(kept)
}

function sorted(problems: readonly Problem[]): Problem[] {
  const unique = new Map(problems.map((problem) => [formatProblem(problem), problem]))
  return [...unique.values()].sort(
    (a, b) =>
      compareText(a.file, b.file) ||
      a.line - b.line ||
      a.column - b.column ||
      compareText(a.code, b.code) ||
      compareText(a.what, b.what),
  )
}

/** Not by locale: the order of findings is the same on every machine. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** ` – did you mean "adt"?`, or nothing where no name is close. */
export function didYouMean(text: string, names: Iterable<string>): string {
  const name = nearest(text, names)
  return name === undefined ? '' : ` – did you mean "${name}"?`
}

/** The name that was probably meant, if there is one. */
export function nearest(text: string, names: Iterable<string>): string | undefined {
  return closest(text.slice(0, 100), names)
}
