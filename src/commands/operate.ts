import { operate, type OperatorAction } from '../pipeline/operate.ts'
import {
  Findings,
  onDatabase,
  operatorName,
  print,
  printJson,
  settingsFor,
  theOne,
  type Command,
} from './command.ts'

export const retry = operation('retry', 'Tries a failed transmission again from where it can go on.')
export const release = operation('release', 'Lets a held transmission go on, on your responsibility.')
export const withdraw = operation('withdraw', 'Takes a transmission back that has not left.')

function operation(action: OperatorAction, what: string): Command {
  return {
    usage: `bluepost ${action} TRANSMISSION [--because TEXT]

${what} The authorization is judged again before anything is sent, and the action stands in the audit with your name.`,
    options: { because: { type: 'string' } },
    run: (call) =>
      onDatabase(settingsFor(call), async (dataSource) => {
        const id = theOne(call, 'transmission id')
        if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id))
          throw new Findings(`${id} is not a transmission id`)
        const because = call.values['because']
        const result = await operate(
          { dataSource, now: () => new Date() },
          action,
          id,
          typeof because === 'string' ? because : undefined,
          operatorName(),
        )
        if (result.outcome === 'unknown') throw new Findings(`there is no transmission ${id}`)
        if (result.outcome === 'refused') throw new Findings(`cannot ${action}: ${result.because}`)
        if (call.isJson) printJson(result)
        else print(`Done: the transmission is ${result.state}.`)
        return 0
      }),
  }
}
