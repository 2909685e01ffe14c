import { docsOf, formatProblem } from '../channels/problem.ts'
import { sarifOf } from '../channels/sarif.ts'
import { namedChannels } from './channel-files.ts'
import { print, printJson, Usage, type Command } from './command.ts'

export const lint: Command = {
  usage: `bluepost lint                                the channels, mappings and tables of this installation
bluepost lint channels/adt-discharge.yaml    the findings in one file
bluepost lint ../feeds                       a folder that holds channels/ and mappings/

Prints each finding as file:line:column, what is wrong, [its code], and below it what to do; docs/findings.md explains the
codes. With a PATH, secrets and FHIR servers are not looked up in the settings.

  --strict   a warning counts like an error
  --json     the findings as data, each with the place that explains it
  --sarif    the findings as SARIF 2.1.0, for code hosts and editors

Exit 0 where nothing keeps a channel from running, 1 where something does, 2 for a call it does not know.`,
  options: { sarif: { type: 'boolean' }, strict: { type: 'boolean' } },
  run(call) {
    const isSarif = call.values['sarif'] === true
    if (isSarif && call.isJson) throw new Usage('give --json or --sarif, not both')
    const { plans, problems } = namedChannels(call)
    const errors = problems.filter(({ severity }) => severity === 'error').length
    const isGood = call.values['strict'] === true ? problems.length === 0 : errors === 0
    if (isSarif) printJson(sarifOf(problems))
    else if (call.isJson)
      printJson({
        good: isGood,
        problems: problems.map((problem) => ({ ...problem, docs: docsOf(problem.code) })),
      })
    else {
      for (const problem of problems) print(formatProblem(problem))
      const warnings = problems.length - errors
      print(
        problems.length === 0
          ? `good: ${counted(plans.length, 'channel')}, nothing found`
          : `${counted(errors, 'error')}, ${counted(warnings, 'warning')}; ${counted(plans.length, 'channel')} can run; docs/findings.md explains the codes`,
      )
    }
    return Promise.resolve(isGood ? 0 : 1)
  },
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
