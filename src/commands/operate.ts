import { operate, type OperationOutcome, type OperatorAction } from '../pipeline/operate.ts'
import { replay as replayMessage } from '../pipeline/replay.ts'
import {
  Findings,
  operatorName,
  print,
  printJson,
  settingsFor,
  theOne,
  Usage,
  type Command,
} from './command.ts'
import { onDatabase } from './on-database.ts'

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

export const replay: Command = {
  usage: `bluepost replay MESSAGE… [--because TEXT]      numbers of messages, as explain shows them

Decides filtered or quarantined messages again, by the channel files and authorizations as they are now. A running engine does it
within a second; the action stands in the audit with your name.`,
  options: { because: { type: 'string' } },
  run: (call) =>
    onDatabase(settingsFor(call), async (dataSource) => {
      if (call.positionals.length === 0) throw new Usage('give one or more message numbers')
      const because = call.values['because']
      const results = []
      for (const id of call.positionals) {
        if (!/^\d{1,18}$/.test(id)) throw new Usage(`“${id}” is not the number of a message`)
        const result = await replayMessage(
          { dataSource, now: () => new Date() },
          id,
          typeof because === 'string' ? because : undefined,
          operatorName(),
        )
        results.push({ message: id, ...result })
        if (!call.isJson) print(`${id}  ${said(result)}`)
      }
      if (call.isJson) printJson(results)
      return results.every(({ outcome }) => outcome === 'done') ? 0 : 1
    }),
}

function said(result: OperationOutcome): string {
  switch (result.outcome) {
    case 'done':
      return 'will be decided again'
    case 'unknown':
      return 'there is no such message'
    case 'refused':
      return `not replayed: ${result.because}`
  }
}
