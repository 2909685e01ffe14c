import { queryOf } from '../store/query.ts'
import { reconcile as reconcileStore } from '../store/reconcile.ts'
import { print, printJson, settingsFor, type Command } from './command.ts'
import { onDatabase } from './on-database.ts'

export const reconcile: Command = {
  usage: `bluepost reconcile

Checks that every stored message has exactly one fate: waiting to be decided, filtered with a reason, quarantined with a
reason, or a trigger event whose verdicts and transmissions are complete. Prints what does not add up.`,
  options: {},
  run: (call) =>
    onDatabase(settingsFor(call), async (dataSource) => {
      const result = await reconcileStore(queryOf(dataSource))
      if (call.isJson) printJson(result)
      else {
        print(
          `${result.messages} messages: ${
            Object.entries(result.fates)
              .map(([fate, count]) => `${count} ${fate}`)
              .join(', ') || 'none'
          }`,
        )
        for (const { what, count, example } of result.findings)
          print(`${count} × ${what}, for example ${example}`)
        if (result.findings.length === 0) print('Every message has exactly one fate.')
      }
      return result.findings.length === 0 ? 0 : 1
    }),
}
