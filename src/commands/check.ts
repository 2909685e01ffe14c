import { connect as dial, createServer } from 'node:net'
import { stat } from 'node:fs/promises'
import { styleText } from 'node:util'
import type { DataSource } from 'typeorm'
import { runTests } from '../channels/run-tests.ts'
import type { ChannelPlan } from '../domain/channel.ts'
import { expiryDays } from '../engine/followed-keys.ts'
import { channelsOf, missingIn } from '../main.ts'
import { anchorDaysLeft, certificatesOf, readPartners } from '../partners.ts'
import { placeOf } from '../settings/endpoint.ts'
import type { Settings } from '../settings.ts'
import { countDestinations } from '../store/destinations.ts'
import { queryOf, type Query } from '../store/query.ts'
import { schemaStanding } from '../store/migrate.ts'
import { checkDocuments } from './check-documents.ts'
import { checkKeys } from './check-keys.ts'
import { print, printJson, settingsFor, type Command } from './command.ts'
import { onDatabase } from './on-database.ts'
import { partnersNow } from './partners-now.ts'
import { acknowledgments } from '../engine/channel-tests.ts'

/**
 * One thing looked at. `missing`: it can run, but nothing can be sent; `wrong`: it is not as it should be; `others`: it
 * works here, and somebody else has to do something.
 */
export interface Finding {
  readonly about: string
  readonly outcome: 'good' | 'missing' | 'wrong' | 'others'
  readonly what: string
}

const answerMsMax = 3000

export const check: Command = {
  usage: `bluepost check
bluepost check --config /etc/bluepost/bluepost.yaml --json

Looks at settings, database, keys, trust, channels, listeners and the FHIR server: what works, what is missing, what to do.
Changes nothing and sends nothing. Exit 0 when everything works.`,
  options: {},
  async run(call) {
    const settings = settingsFor(call)
    const findings: Finding[] = [
      good('settings', settings.file ?? 'no bluepost.yaml: the defaults, on loopback'),
      ...(await checkDatabase(settings)),
      ...(await checkPartners(settings)),
      ...checkChannels(settings),
      ...(await checkListeners(settings)),
      ...(await checkDocuments(settings)),
    ]
    const isGood = findings.every(({ outcome }) => outcome === 'good' || outcome === 'others')
    if (call.isJson) printJson({ good: isGood, findings })
    else print(table(findings))
    return isGood ? 0 : 1
  },
}

async function checkDatabase(settings: Settings): Promise<Finding[]> {
  const what =
    settings.database === 'embedded'
      ? `embedded PostgreSQL, data in ${settings.dataDirectory}`
      : 'PostgreSQL at DATABASE_URL or `database`'
  try {
    return await onDatabase(settings, async (dataSource) => {
      const [row] = await queryOf(dataSource)<{ version: string }>(
        `SELECT current_setting('server_version') AS version`,
      )
      const { current } = await schemaStanding(dataSource)
      const standing = `version ${row?.version ?? '?'}, schema ${current ?? 'empty'}`
      return [
        good('database', `${what}, ${standing}, ${withoutPassword(dataSource)}`),
        ...(await checkDestinations(queryOf(dataSource), new Date())),
      ]
    })
  } catch (error) {
    return [wrong('database', `${what}: ${(error as Error).message}`)]
  }
}

/** What the engine found when it looked ahead; certificates of others are theirs to renew. */
async function checkDestinations(query: Query, at: Date): Promise<Finding[]> {
  const moment = new Date(at.getTime() + expiryDays.warning * 86_400_000)
  const { byOutcome, ending } = await countDestinations(query, [moment])
  const lost = byOutcome.untrusted + byOutcome.absent
  const findings: Finding[] = []
  if (byOutcome.trusted > 0)
    findings.push(good('destinations', `${byOutcome.trusted} have a certificate that is trusted`))
  if (lost > 0)
    findings.push(
      others('destinations', `${lost} cannot receive: bluepost destinations --outcome untrusted, or absent`),
    )
  if (byOutcome.unavailable > 0)
    findings.push(
      others(
        'destinations',
        `${byOutcome.unavailable} could not be looked up: bluepost destinations --outcome unavailable`,
      ),
    )
  if (ending[0]! > 0)
    findings.push(
      others(
        'destinations',
        `${ending[0]} have certificates that end within ${expiryDays.warning} days: bluepost destinations --ending ${expiryDays.warning}`,
      ),
    )
  return findings
}

/** Where `psql` and `pg_dump` find it. */
function withoutPassword(dataSource: DataSource): string {
  const url = new URL((dataSource.options as { url?: string }).url ?? 'postgres:///')
  url.password = ''
  return url.href
}

async function checkPartners(settings: Settings): Promise<Finding[]> {
  const at = new Date()
  const findings: Finding[] = []
  // Without its database the rest can still be told.
  const { partners, bundles } = await partnersNow(settings, at).catch(() => ({
    partners: readPartners(settings, at),
    bundles: [],
  }))
  for (const what of missingIn(settings, partners))
    findings.push({ about: 'to send', outcome: 'missing', what })
  findings.push(...(await checkKeys(partners.keyRing, at)))
  const anchors = certificatesOf(partners.anchorSet)
  if (anchors.length > 0) findings.push(good('trust', `${anchors.length} anchors`))
  for (const { name, anchors: count, alarms, checkedAt } of bundles) {
    for (const alarm of alarms) findings.push(wrong('trust', `bundle ${name}: ${alarm}`))
    if (alarms.length === 0)
      findings.push(good('trust', `bundle ${name}: ${count} anchors, confirmed ${checkedAt?.toISOString()}`))
  }
  const anchorDays = anchorDaysLeft(anchors, at)
  if (anchorDays !== undefined && anchorDays < expiryDays.warning)
    findings.push(wrong('anchor', `the certificate ends in ${anchorDays} days: renew it`))
  return findings
}

function checkChannels(settings: Settings): Finding[] {
  const { plans, problems } = channelsOf(settings)
  const findings = problems.map((problem): Finding => {
    const place = `${problem.file}:${problem.line}:${problem.column}`
    const remedy = problem.remedy === undefined ? '' : `: ${problem.remedy}`
    return wrong('channels', `${place}  ${problem.what}${remedy}`)
  })
  for (const { passed, channel, name, at, differences } of runTests(plans, acknowledgments).results)
    if (!passed) findings.push(wrong('channels', `${at}  test “${name}” of ${channel}: ${differences[0]}`))
  for (const plan of plans) findings.push(good('channels', describe(plan)))
  if (plans.length === 0) findings.push(wrong('channels', `no channel in ${settings.channelsDirectory}`))
  return findings
}

function describe({ name, enabled, source, tests }: ChannelPlan): string {
  const state = enabled ? '' : ', disabled'
  return `${name}: ${source.type}${state}, ${tests.length} tests`
}

/** Each place is free, or a running engine has it. */
async function checkListeners(settings: Settings): Promise<Finding[]> {
  const { http, smtp, lmtp } = settings.listen
  const places: [string, { host: string; port: number }][] = [
    ['HTTP', http],
    ...(smtp === undefined ? [] : ([['SMTP', smtp]] as [string, typeof smtp][])),
    ...(lmtp === undefined || 'path' in lmtp ? [] : ([['LMTP', lmtp]] as [string, typeof lmtp][])),
    ...channelsOf(settings).plans.flatMap(({ name, enabled, source }): [string, typeof http][] =>
      enabled && source.type === 'mllp' ? [[`channel ${name}`, source.listen]] : [],
    ),
  ]
  const findings: Finding[] = []
  for (const [who, place] of places) {
    const code = await tryToListen(place)
    if (code === undefined) findings.push(good('listeners', `${who}: ${placeOf(place)} is free`))
    else if (code === 'EADDRINUSE' && (await answers(place)))
      findings.push(good('listeners', `${who}: ${placeOf(place)} is in use; by a running engine, hopefully`))
    else findings.push(wrong('listeners', `${who}: cannot listen on ${placeOf(place)} (${code})`))
  }
  if (lmtp !== undefined && 'path' in lmtp) {
    const folder = lmtp.path.slice(0, lmtp.path.lastIndexOf('/')) || '/'
    const exists = await stat(folder).then(
      (found) => found.isDirectory(),
      () => false,
    )
    findings.push(
      exists
        ? good('listeners', `LMTP: ${lmtp.path}`)
        : wrong('listeners', `LMTP: there is no folder ${folder}`),
    )
  }
  return findings
}

function tryToListen({ host, port }: { host: string; port: number }): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'refused'))
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })
}

function answers({ host, port }: { host: string; port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial({ host, port, timeout: answerMsMax })
    const end = (isThere: boolean) => {
      socket.destroy()
      resolve(isThere)
    }
    socket.once('connect', () => end(true))
    socket.once('timeout', () => end(false))
    socket.once('error', () => end(false))
  })
}

function table(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ about }) => about.length))
  const marks = {
    good: styleText('green', '✓'),
    missing: styleText('yellow', '–'),
    wrong: styleText('red', '✗'),
    others: styleText('yellow', '!'),
  }
  const lines = findings.map(
    ({ outcome, about, what }) => `${marks[outcome]} ${about.padEnd(width)}  ${what}`,
  )
  const count = (outcome: Finding['outcome']) => findings.filter((one) => one.outcome === outcome).length
  const summary =
    count('wrong') + count('missing') === 0
      ? 'Everything works.'
      : `${count('wrong')} wrong, ${count('missing')} missing before anything can be sent.`
  return [...lines, '', summary].join('\n')
}

function good(about: string, what: string): Finding {
  return { about, outcome: 'good', what }
}

function wrong(about: string, what: string): Finding {
  return { about, outcome: 'wrong', what }
}

function others(about: string, what: string): Finding {
  return { about, outcome: 'others', what }
}
