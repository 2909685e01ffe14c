import { channelsOf } from '../main.ts'
import { tableStandings, type TableStanding } from '../pipeline/table-standing.ts'
import { queryOf } from '../store/query.ts'
import { Findings, print, printJson, settingsFor, Usage, type Command } from './command.ts'
import { lookOnly } from './look-only.ts'
import { shown } from './shown.ts'

export const tables: Command = {
  usage: `bluepost tables

The lookup tables of the channel files as they are now, and which values had no row, how often and when last: also those that
miss: skip let pass. A value that may be about a person is counted and not shown. A running engine adds its counts every ten
seconds. Nothing is changed.`,
  options: {},
  async run(call) {
    if (call.positionals.length > 0) throw new Usage('bluepost tables takes no words')
    const settings = settingsFor(call)
    const { plans } = channelsOf(settings)
    const result = await lookOnly(settings, async (dataSource) => ({
      standings: await tableStandings(queryOf(dataSource), plans),
    }))
    if ('because' in result) throw new Findings(result.because)
    if (call.isJson) printJson(result.standings)
    else if (result.standings.length === 0) print('No channel uses a lookup table.')
    else print(result.standings.map((one) => inWords(one).join('\n')).join('\n'))
    return 0
  },
}

function inWords({ channel, table, rows, misses, values }: TableStanding): string[] {
  const size = rows === null ? 'no longer used' : `${rows} ${rows === 1 ? 'row' : 'rows'}`
  const missed =
    misses === 0 ? 'never missed' : `${misses} ${misses === 1 ? 'lookup' : 'lookups'} without a row`
  return [
    `${channel}  ${table}: ${size}, ${missed}`,
    ...values.map(({ kind, value, count, lastAt, hasRow }) => {
      const what =
        value !== null
          ? `"${shown(value)}"`
          : kind === 'other'
            ? 'further values'
            : 'values that are not shown'
      const last = lastAt.toISOString().slice(0, 16).replace('T', ' ')
      return `    ${count} × ${what}, last ${last}Z${hasRow ? '; it has a row now' : ''}`
    }),
  ]
}
