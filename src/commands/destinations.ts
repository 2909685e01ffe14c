import type { DataSource } from 'typeorm'
import { readDirectAddress } from '../domain/direct-address.ts'
import type { TraceStep } from '../domain/trust-verdict.ts'
import {
  destinationOutcomes,
  listDestinations,
  readDestination,
  type DestinationOutcome,
  type DestinationStanding,
} from '../store/destinations.ts'
import { queryOf } from '../store/query.ts'
import { Findings, print, printJson, settingsFor, Usage, type Call, type Command } from './command.ts'
import { onDatabase } from './on-database.ts'
import { shown } from './shown.ts'
import { paint, stepInWords } from './trace-words.ts'

const rowsMax = 200
const daysMax = 36_500

export const destinations: Command = {
  usage: `bluepost destinations                        every address that an active request names: can it receive?
bluepost destinations --outcome untrusted    … or absent, unavailable, trusted
bluepost destinations --ending 30            those that can receive for at most 30 days, unless certificates are renewed
bluepost destinations ADDRESS                one of them, with each step of the last look

A running engine looks ahead when a request is stored or changed, and once a night. To look now: bluepost certs ADDRESS.
Exit 0 when all that is listed can receive, 1 when something cannot.`,
  options: {
    outcome: { type: 'string' },
    ending: { type: 'string' },
    after: { type: 'string' },
  },
  run(call) {
    const [address, ...rest] = call.positionals
    if (rest.length > 0) throw new Usage('give one address, or none')
    return onDatabase(settingsFor(call), (dataSource) =>
      address === undefined ? list(call, dataSource) : show(call, dataSource, address),
    )
  },
}

async function list(call: Call, dataSource: DataSource): Promise<number> {
  const at = new Date()
  const days = daysOf(call)
  const after = call.values['after']
  const rows = await listDestinations(queryOf(dataSource), {
    outcome: outcomeOf(call),
    endsBefore: days === undefined ? undefined : new Date(at.getTime() + days * 86_400_000),
    after: typeof after === 'string' ? after : undefined,
    limit: rowsMax,
  })
  if (call.isJson) printJson(rows)
  else if (rows.length === 0) print('There is no such destination.')
  else print(rows.map((row) => inWords(row, at)).join('\n'))
  if (!call.isJson && rows.length === rowsMax)
    print(`More of them: the same with --after ${rows.at(-1)!.address}`)
  return rows.every(({ outcome }) => outcome === 'trusted' || outcome === null) ? 0 : 1
}

async function show(call: Call, dataSource: DataSource, text: string): Promise<number> {
  const reading = readDirectAddress(text)
  if (!reading.valid) throw new Usage(`${shown(text)} is not a Direct address: ${reading.because}`)
  const found = await readDestination(queryOf(dataSource), reading.address.text)
  if (found === undefined)
    throw new Findings(
      `no active request names ${shown(text)}; look at any address with: bluepost certs ADDRESS`,
    )
  if (call.isJson) printJson(found)
  else {
    const steps = (found.trace ?? []) as readonly TraceStep[]
    print([inWords(found, new Date()), ...steps.map(stepInWords)].join('\n'))
  }
  return found.outcome === 'trusted' || found.outcome === null ? 0 : 1
}

const colours = { trusted: 'green', untrusted: 'red', absent: 'red', unavailable: 'yellow' } as const

function inWords(
  { address, outcome, because, since, probedAt, endsAt, endsFirst }: DestinationStanding,
  at: Date,
): string {
  if (outcome === null || probedAt === null || since === null)
    return `${'not yet'.padEnd(11)}  ${address}  nobody has looked yet: a running engine does within a minute`
  const ends =
    endsAt === null
      ? ''
      : `, for ${Math.floor((endsAt.getTime() - at.getTime()) / 86_400_000)} days: then “${shown(endsFirst ?? '')}” ends`
  const what = because === null ? `can receive${ends}` : shown(because)
  return `${paint(colours[outcome], outcome.padEnd(11))}  ${address}  ${what} (since ${day(since)}, looked ${day(probedAt)})`
}

function day(at: Date): string {
  return at.toISOString().slice(0, 10)
}

function outcomeOf(call: Call): DestinationOutcome | undefined {
  const wanted = call.values['outcome']
  if (wanted === undefined) return undefined
  const outcome = destinationOutcomes.find((one) => one === wanted)
  if (outcome === undefined) throw new Usage(`--outcome is one of ${destinationOutcomes.join(', ')}`)
  return outcome
}

function daysOf(call: Call): number | undefined {
  const wanted = call.values['ending']
  if (wanted === undefined) return undefined
  const days = Number(wanted)
  if (!Number.isInteger(days) || days < 1 || days > daysMax)
    throw new Usage(`--ending takes a number of days, 1 to ${daysMax}`)
  return days
}
