import { formatProblem } from '../channels/problem.ts'
import { namedChannels } from './channel-files.ts'
import { print, printJson, type Command } from './command.ts'

export const lint: Command = {
  usage: `bluepost lint                                the channels, mappings and tables of this installation
bluepost lint channels/adt-discharge.yaml    the findings in one file
bluepost lint ../feeds                       a folder that holds channels/ and mappings/

Prints each finding as file:line:column, what is wrong, [its code], and below it what to do; docs/analyst.md explains the
codes. With a PATH, secrets and FHIR servers are not looked up in the settings. Exit 1 where something keeps a channel
from running; warnings alone are exit 0.`,
  options: {},
  run(call) {
    const { plans, problems } = namedChannels(call)
    const errors = problems.filter(({ severity }) => severity === 'error').length
    if (call.isJson) printJson({ good: errors === 0, problems })
    else {
      for (const problem of problems) print(formatProblem(problem))
      const warnings = problems.length - errors
      print(
        problems.length === 0
          ? `good: ${counted(plans.length, 'channel')}, nothing found`
          : `${counted(errors, 'error')}, ${counted(warnings, 'warning')}; ${counted(plans.length, 'channel')} can run`,
      )
    }
    return Promise.resolve(errors === 0 ? 0 : 1)
  },
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
