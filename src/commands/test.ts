import { writeFileSync } from 'node:fs'
import type { Meaning } from '../channels/coverage.ts'
import { junitOf } from '../channels/junit.ts'
import { docsOf, formatProblem } from '../channels/problem.ts'
import type { Problem } from '../channels/problem.ts'
import { runTests, type TestResult, type TestRun } from '../channels/run-tests.ts'
import { acknowledgments } from '../engine/channel-tests.ts'
import { fromHere, namedChannels } from './channel-files.ts'
import { Findings, print, printJson, Usage, type Command } from './command.ts'

export const test: Command = {
  usage: `bluepost test                                the tests inside the channel files of this installation
bluepost test channels/adt-discharge.yaml    those of one channel
bluepost test mappings/tables/patient-class.csv    those of every channel that uses this table

Runs each test with its sample, its changed fields and its moment; nothing is stored and nothing is sent.

  --coverage           which filter reasons and kinds of event the tests show, and by which test; which rows of tables they
                       do not hit, and which required rows they never show empty: information that fails nothing
  --require-coverage   a reason or kind that no test shows fails, too
  --junit FILE         the results as JUnit XML, for build servers

Exit 0 where every channel can be loaded and every test gives what it expects, else 1.`,
  options: {
    coverage: { type: 'boolean' },
    'require-coverage': { type: 'boolean' },
    junit: { type: 'string' },
  },
  run(call) {
    const { junit } = call.values
    if (junit === '') throw new Usage('--junit names a file')
    const { plans, problems } = namedChannels(call)
    const errors = problems.filter(({ severity }) => severity === 'error')
    const run = runTests(plans, acknowledgments)
    if (run.results.length === 0 && errors.length === 0)
      throw new Findings('no channel that can be loaded has tests for this; bluepost lint says why')
    const results = run.results.map(placedFromHere)
    const coverage = run.coverage.map((one) => ({ ...one, at: fromHere(one.at) }))
    const untested = run.untested.map((problem) => ({ ...problem, file: fromHere(problem.file) }))
    const isCoverageRequired = call.values['require-coverage'] === true
    const missing: readonly Problem[] = isCoverageRequired
      ? untested.map((problem) => ({ ...problem, severity: 'error' }))
      : untested
    const failed = results.filter(({ passed }) => !passed).length
    const isGood = failed === 0 && errors.length === 0 && !(isCoverageRequired && missing.length > 0)
    if (typeof junit === 'string')
      save(junit, junitOf(results, isCoverageRequired ? [...errors, ...missing] : errors))
    if (call.isJson)
      printJson({
        good: isGood,
        results,
        coverage,
        tables: run.tables,
        required: run.required.map((one) => ({ ...one, at: fromHere(one.at) })),
        problems: [...errors, ...missing].map((problem) => ({ ...problem, docs: docsOf(problem.code) })),
      })
    else {
      for (const problem of errors) print(formatProblem(problem))
      for (const { name } of plans)
        print([name, ...results.filter(({ channel }) => channel === name).map(line)].join('\n'))
      if (call.values['coverage'] === true) print([coverageInWords(coverage), ...rowsInWords(run)].join('\n'))
      for (const problem of missing) print(formatProblem(problem))
      print(
        `${results.length} ${results.length === 1 ? 'test' : 'tests'}, ${failed} failed${errors.length === 0 ? '' : '; some channels cannot be loaded'}`,
      )
    }
    return Promise.resolve(isGood ? 0 : 1)
  },
}

function placedFromHere(result: TestResult): TestResult {
  const { at, stoppedBy } = result
  return {
    ...result,
    at: fromHere(at),
    ...(stoppedBy !== undefined && { stoppedBy: { ...stoppedBy, at: fromHere(stoppedBy.at) } }),
  }
}

function line({ name, at, passed, differences, stoppedBy }: TestResult): string {
  if (passed) return `  ✓ ${name}`
  const saw =
    stoppedBy === undefined || stoppedBy.saw.length === 0 ? '' : `; it saw ${stoppedBy.saw.join(', ')}`
  return [
    `  ✗ ${name}  ${at}`,
    ...differences.map((difference) => `      ${difference}`),
    ...(stoppedBy === undefined ? [] : [`      stopped by ${stoppedBy.at}: ${stoppedBy.asks}${saw}`]),
  ].join('\n')
}

function coverageInWords(coverage: readonly Meaning[]): string {
  const shown = coverage.filter(({ shownBy }) => shownBy.length > 0).length
  return [
    `Coverage: ${shown} of ${coverage.length} filter reasons and kinds of event are shown by a test`,
    ...coverage.map(({ channel, what, words, at, shownBy }) => {
      const by =
        shownBy.length === 0
          ? 'by no test'
          : `by “${shownBy[0]}”${shownBy.length === 1 ? '' : ` and ${shownBy.length - 1} more`}`
      const place = what === 'kind' ? channel : at
      return `  ${shownBy.length === 0 ? '✗' : '✓'} ${place}  ${what} ${words}: ${by}`
    }),
  ].join('\n')
}

/** What no test needs, and nobody has to write one for. */
function rowsInWords({ tables, required }: Pick<TestRun, 'tables' | 'required'>): string[] {
  const lines = tables
    .filter(({ rows, hit }) => hit < rows)
    .map(({ table, rows, hit, untested }) => {
      const left = untested === undefined ? '' : `; by no test: ${untested.join(', ')}`
      return `  · table ${table}: ${hit} of ${rows} rows are hit${left}`
    })
  const never = required.filter(({ shownBy }) => shownBy.length === 0)
  lines.push(...never.map(({ to, at }) => `  · ${fromHere(at)}  ${to} is required; no test shows it missing`))
  return lines.length === 0 ? [] : ['For your information:', ...lines]
}

function save(file: string, xml: string): void {
  try {
    writeFileSync(file, xml)
  } catch (error) {
    throw new Findings(`${file} cannot be written: ${(error as Error).message}`)
  }
}
