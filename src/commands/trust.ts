import { styleText } from 'node:util'
import type { DataSource } from 'typeorm'
import { readAnchorFiles, readWhole } from '../anchor-files.ts'
import { bundleFetch } from '../engine/followed-trust.ts'
import {
  acceptPending,
  importBundle,
  refreshBundle,
  type BundleOutcome,
  type BundlePorts,
} from '../pipeline/refresh-bundle.ts'
import { readBundlesOf, trustView, type BundleView, type TrustView } from '../pipeline/trust-standing.ts'
import type { Settings } from '../settings.ts'
import type { BundleSetting } from '../settings/trust.ts'
import { queryOf } from '../store/query.ts'
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
import { onDatabase } from './on-database.ts'

export const trust: Command = {
  usage: `bluepost trust list                           anchors with expiry and source; bundles with what is wrong with them
bluepost trust refresh [NAME…]                fetch bundles now (default: all)
bluepost trust refresh NAME --accept-removal  … and let anchors go, however many
bluepost trust import FILE [--bundle NAME]    take a bundle from a file, for machines that fetch nothing
bluepost trust accept NAME                    take the bundle that waits for a person

Bundles stand under trust.bundles of bluepost.yaml. What is in use stays in use until another bundle was read, verified and
stored whole; a running engine follows within seconds. Every change stands in the audit, with the fingerprints that came and
went and with your name. Exit 0 when all is well, 1 when something waits, fails or has expired.`,
  options: { bundle: { type: 'string' }, 'accept-removal': { type: 'boolean' } },
  async run(call) {
    const [action, ...words] = call.positionals
    const settings = settingsFor(call)
    const act = action === undefined || !Object.hasOwn(actions, action) ? undefined : actions[action]
    if (act === undefined) throw new Usage('say which: trust list, refresh, import FILE, or accept NAME')
    return onDatabase(settings, (dataSource) => act({ call, settings, dataSource, words }))
  },
}

interface Task {
  readonly call: Call
  readonly settings: Settings
  readonly dataSource: DataSource
  readonly words: readonly string[]
}

const actions: Readonly<Record<string, (task: Task) => Promise<number>>> = {
  async list({ call, settings, dataSource, words }) {
    if (words.length > 0) throw new Usage('trust list takes no words')
    const at = new Date()
    const { groups, problems } = readAnchorFiles(settings.trust, at)
    const view = trustView(groups, await readBundlesOf(queryOf(dataSource), settings.trust.bundles), at)
    if (call.isJson) printJson({ ...view, problems })
    else print(told(view, problems, at))
    const isGood = problems.length === 0 && view.bundles.every(({ alarms }) => alarms.length === 0)
    return isGood ? 0 : 1
  },

  async refresh(task) {
    const { bundles } = task.settings.trust
    const chosen = task.words.length === 0 ? bundles : task.words.map((name) => named(name, bundles))
    if (chosen.length === 0) throw new Findings('there are no bundles: name them under trust.bundles')
    const acceptRemoval = task.call.values['accept-removal'] === true
    if (acceptRemoval && task.words.length === 0)
      throw new Usage('name the bundles whose anchors may go: trust refresh NAME --accept-removal')
    return tell(task, chosen, (order) =>
      refreshBundle(portsOf(task), order, { actor: operatorName(), acceptRemoval }),
    )
  },

  async import(task) {
    const [file, ...rest] = task.words
    if (file === undefined || rest.length > 0) throw new Usage('give one file: trust import FILE')
    const { bundles } = task.settings.trust
    const wanted = task.call.values['bundle']
    if (wanted === undefined && bundles.length !== 1)
      throw new Usage(
        `say which bundle it is: --bundle ${bundles.map(({ name }) => name).join(' | ') || 'NAME'}`,
      )
    const bundle = wanted === undefined ? bundles[0]! : named(String(wanted), bundles)
    const content = readWhole(file)
    if (typeof content === 'string') throw new Findings(`${file}: ${content}`)
    const acceptRemoval = task.call.values['accept-removal'] === true
    return tell(task, [bundle], (order) =>
      importBundle(portsOf(task), order, content, file, { actor: operatorName(), acceptRemoval }),
    )
  },

  async accept(task) {
    const [name, ...rest] = task.words
    if (name === undefined || rest.length > 0)
      throw new Usage('give the name of one bundle: trust accept NAME')
    return tell(task, [named(name, task.settings.trust.bundles)], async (order) => {
      const outcome = await acceptPending(portsOf(task), order, operatorName())
      if (outcome === undefined) throw new Findings(`nothing waits for bundle ${name}`)
      return outcome
    })
  },
}

function portsOf({ settings, dataSource }: Task): BundlePorts {
  return { dataSource, fetch: bundleFetch(settings), now: () => new Date(), jitter: Math.random }
}

function named(name: string, bundles: readonly BundleSetting[]): BundleSetting {
  const bundle = bundles.find((one) => one.name === name)
  if (bundle !== undefined) return bundle
  const known = bundles.map((one) => one.name).join(', ')
  throw new Usage(`there is no bundle “${name}”: trust.bundles has ${known === '' ? 'none' : known}`)
}

async function tell(
  { call }: Task,
  bundles: readonly BundleSetting[],
  act: (order: BundleSetting) => Promise<BundleOutcome>,
): Promise<number> {
  const results: (BundleOutcome & { bundle: string })[] = []
  for (const bundle of bundles) {
    const outcome = await act(bundle)
    results.push({ bundle: bundle.name, ...outcome })
    if (!call.isJson) print(`${bundle.name}: ${said(bundle.name, outcome)}`)
  }
  if (call.isJson) printJson(results)
  return results.every(({ outcome }) => outcome === 'changed' || outcome === 'unchanged') ? 0 : 1
}

function said(name: string, outcome: BundleOutcome): string {
  switch (outcome.outcome) {
    case 'changed':
      return [
        `${outcome.anchors} anchors are in use`,
        ...outcome.added.map((one) => `  + ${one}`),
        ...outcome.removed.map((one) => `  - ${one}`),
        ...outcome.dropped.map((one) => `  not used: ${one}`),
      ].join('\n')
    case 'unchanged':
      return 'nothing new'
    case 'held':
      return [
        `waits for a person: ${outcome.because}`,
        ...outcome.removed.map((one) => `  - ${one}`),
        `  What was in use stays in use. If this is right: bluepost trust accept ${name}`,
      ].join('\n')
    case 'failed':
      return `${outcome.because} (${outcome.code}). What was in use stays in use.`
    case 'by-hand':
      return `it has neither url nor file: bluepost trust import FILE --bundle ${name}`
  }
}

function told({ anchors, bundles }: TrustView, problems: readonly string[], at: Date): string {
  const paint = (colour: 'red' | 'bold' | 'gray', text: string) =>
    styleText(colour, text, { stream: process.stdout })
  const lines: string[] = []
  for (const bundle of bundles) lines.push(...toldBundle(bundle, paint), '')
  lines.push(paint('bold', `${anchors.length === 1 ? '1 anchor' : `${anchors.length} anchors`}`))
  for (const { subject, sha256, notAfter, state, source, direction, domain, policies } of anchors) {
    const days = Math.floor((notAfter.getTime() - at.getTime()) / 86_400_000)
    const until = `until ${notAfter.toISOString().slice(0, 10)}`
    const when =
      state === 'valid' ? `${until}, ${days} days` : paint('red', `${state.replaceAll('-', ' ')}, ${until}`)
    const scope = [
      direction === 'both' ? '' : direction,
      domain ?? '',
      policies.length === 0 ? '' : `policy ${policies.join(' or ')}`,
    ].filter((one) => one !== '')
    lines.push(
      `  ${subject}`,
      `    ${when}; from ${[source, ...scope].join(', ')}`,
      paint('gray', `    SHA-256 ${sha256}`),
    )
  }
  if (problems.length > 0) lines.push('', ...problems.map((one) => paint('red', one)))
  return lines.join('\n')
}

function toldBundle(bundle: BundleView, paint: (colour: 'red' | 'bold', text: string) => string): string[] {
  const { name, from, anchors, form, isSignerRequired, checkedAt, nextCheckAt, alarms } = bundle
  const moment = (time: Date | null) => time?.toISOString().slice(0, 16).replace('T', ' ') ?? 'never'
  return [
    paint('bold', `bundle ${name}`),
    `  from     ${from ?? 'files that are imported by hand'}`,
    `  holds    ${anchors} anchors${form === null ? '' : ` (${form})`}${isSignerRequired ? ', its signer is required' : ''}`,
    `  checked  ${moment(checkedAt)}${from === null ? '' : `, next ${moment(nextCheckAt)}`} UTC`,
    ...alarms.map((one) => paint('red', `  ${one}`)),
  ]
}
