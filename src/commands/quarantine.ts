import { remedyOf } from '../domain/quarantine.ts'
import { readDurationMs } from '../lib/duration.ts'
import { channelsOf } from '../main.ts'
import { askForRelease, finishRelease } from '../pipeline/release-quarantine.ts'
import { testQuarantine, type QuarantineTest } from '../pipeline/test-quarantine.ts'
import { releaseOf } from '../store/quarantine-releases.ts'
import { listQuarantine, quarantinedIn, readQuarantine, type QuarantineGroup } from '../store/quarantine.ts'
import { queryOf, type Query } from '../store/query.ts'
import {
  Findings,
  operatorName,
  print,
  printJson,
  settingsFor,
  Usage,
  type Call,
  type Command,
} from './command.ts'
import { lookOnly } from './look-only.ts'
import { onDatabase } from './on-database.ts'
import { shown } from './shown.ts'

export const quarantine: Command = {
  usage: `bluepost quarantine [list] [--since 24h]     what waits for a person, by what has to be put right
bluepost quarantine show GROUP               one group, with its newest messages
bluepost quarantine test GROUP               its messages through the channel files as they are now; nothing is changed
bluepost quarantine release GROUP [--because TEXT]   all of them go back to be decided again

GROUP is the number list shows. --since takes a span (90m, 24h, 7d) or a moment (2026-03-02T09:10:00-05:00). A release judges the
authorizations again; it goes on after an interruption, and stands in the audit with your name.

Exit 0; 1 where there is no such group, where messages of a tested group would wait again, or where some cannot be released.`,
  options: { since: { type: 'string' }, because: { type: 'string' } },
  run(call) {
    const [action = 'list', ...words] = call.positionals
    if (action === 'list' && words.length === 0) return list(call)
    const [group] = words
    if (!['show', 'test', 'release'].includes(action) || words.length > 1)
      throw new Usage(
        `bluepost quarantine takes list, show, test or release, not “${call.positionals.join(' ')}”`,
      )
    if (group === undefined || !/^[0-9a-f]{12}$/.test(group))
      throw new Usage('give one group: bluepost quarantine list shows them')
    return action === 'show'
      ? show(call, group)
      : action === 'test'
        ? test(call, group)
        : release(call, group)
  },
}

async function list(call: Call): Promise<number> {
  const since = sinceOf(call.values['since'], new Date())
  const groups = await looking(call, (query) => listQuarantine(query, since))
  if (call.isJson) printJson(groups.map((group) => ({ ...group, remedy: remedyOf(group.cause) })))
  else if (groups.length === 0) print('Nothing waits in quarantine.')
  else print(groups.map((group) => inWords(group).join('\n')).join('\n'))
  return 0
}

async function show(call: Call, id: string): Promise<number> {
  const found = await looking(call, async (query) => {
    const group = await groupFor(query, id)
    const messages = await quarantinedIn(query, group, { before: undefined, limit: 20 })
    return { group, messages, release: await releaseOf(query, id) }
  })
  const { group, messages, release } = found
  if (call.isJson) printJson({ ...group, remedy: remedyOf(group.cause), messages, release: release ?? null })
  else {
    print(inWords(group).join('\n'))
    for (const message of messages)
      print(
        `  ${message.id}  ${time(message.receivedAt)}  ${shown(message.controlId)}  ${shown(message.sender)}`,
      )
    if (group.count > messages.length) print(`  … and ${group.count - messages.length} older`)
    if (release !== undefined && release.endedAt === null)
      print(`Being released: ${release.released} of ${release.wanted}`)
  }
  return 0
}

async function test(call: Call, id: string): Promise<number> {
  const { plans, problems } = channelsOf(settingsFor(call))
  const found = await looking(call, async (query) => {
    const group = await groupFor(query, id)
    const plan = plans.find(({ name }) => name === group.channel)
    return {
      group,
      isLoaded: plan !== undefined,
      tested: await testQuarantine(query, group, plan),
    }
  })
  const { group, isLoaded, tested } = found
  if (call.isJson) printJson({ group: id, channel: group.channel, cause: group.cause, ...tested })
  else {
    print(testInWords(tested).join('\n'))
    if (!isLoaded && problems.length > 0)
      print(`Channel ${group.channel} is not loaded: bluepost lint says why`)
  }
  return tested.quarantined + tested.withoutContent === 0 ? 0 : 1
}

function release(call: Call, id: string): Promise<number> {
  const because = call.values['because']
  return onDatabase(settingsFor(call), async (dataSource) => {
    const ports = { dataSource, now: () => new Date() }
    const reason = typeof because === 'string' ? because : undefined
    const asked = await askForRelease(ports, id, reason, operatorName())
    if (asked === undefined) throw new Findings(`nothing waits in a group ${id}`)
    const done = await finishRelease(ports, asked.id, ({ released, wanted, endedAt }) => {
      if (!call.isJson && endedAt === null) print(`${released} of ${wanted}`)
    })
    const { released, withoutContent } = done ?? asked
    if (call.isJson)
      printJson({ group: id, release: asked.id, wanted: asked.wanted, released, withoutContent })
    else {
      print(`${messagesOf(released)} will be decided again.`)
      if (withoutContent > 0)
        print(
          `${messagesOf(withoutContent)} cannot: the content is past its retention. They stay in quarantine.`,
        )
    }
    return withoutContent === 0 ? 0 : 1
  })
}

async function looking<Result>(call: Call, work: (query: Query) => Promise<Result>): Promise<Result> {
  const result = await lookOnly(settingsFor(call), async (dataSource) => ({
    found: await work(queryOf(dataSource)),
  }))
  if ('because' in result) throw new Findings(result.because)
  return result.found
}

async function groupFor(query: Query, id: string): Promise<QuarantineGroup> {
  const group = await readQuarantine(query, id)
  if (group === undefined) throw new Findings(`nothing waits in a group ${id}`)
  return group
}

function inWords(group: QuarantineGroup): string[] {
  const { id, channel, cause, because, count, firstAt, lastAt } = group
  return [
    `${id}  ${channel}  ${shown(because)}: ${messagesOf(count)} since ${time(firstAt)}, last ${time(lastAt)}`,
    `              ${shown(remedyOf(cause))}`,
  ]
}

function testInWords(tested: QuarantineTest): string[] {
  const parts = [
    [tested.trigger, 'would trigger'],
    [tested.identity, 'would change whose records are whose'],
    [tested.filtered, 'would be filtered'],
    [tested.quarantined, 'would wait again'],
    [tested.withoutContent, 'cannot be released: their content is past its retention'],
  ] as const
  return [
    `${messagesOf(tested.tested)} tested; nothing was changed`,
    ...parts.filter(([number]) => number > 0).map(([number, what]) => `  ${number} ${what}`),
    ...tested.reasons.map(
      ({ decision, because, count, example }) =>
        `    ${count} × ${decision}: ${shown(because)} (for example message ${example})`,
    ),
  ]
}

function messagesOf(count: number): string {
  return `${count} ${count === 1 ? 'message' : 'messages'}`
}

function time(at: Date): string {
  return at.toISOString().slice(0, 16).replace('T', ' ') + 'Z'
}

function sinceOf(value: unknown, now: Date): Date | undefined {
  if (typeof value !== 'string') return undefined
  const spanMs = readDurationMs(value)
  const at = spanMs === undefined ? new Date(value) : new Date(now.getTime() - spanMs)
  if (Number.isNaN(at.getTime()))
    throw new Usage(`--since ${value} is neither a span such as 24h nor a moment`)
  return at
}
