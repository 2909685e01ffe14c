import { schemaStanding } from '../store/migrate.ts'
import { print, printJson, settingsFor, type Command } from './command.ts'
import { onDatabase } from './on-database.ts'

export const migrate: Command = {
  usage: `bluepost migrate

Applies what is pending and says where the schema stands. Every start does the same; running it first lets an upgrade be
done before the engine stops. It only ever goes forward: take a backup before an upgrade.`,
  options: {},
  run: (call) =>
    onDatabase(settingsFor(call), async (dataSource, applied) => {
      const standing = await schemaStanding(dataSource)
      if (call.isJson) printJson({ ...standing, applied })
      else {
        for (const name of applied) print(`applied ${name}`)
        print(`The database is at ${standing.current}; nothing is pending.`)
      }
      return 0
    }),
}
