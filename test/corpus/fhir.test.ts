import { expect, test } from '@jest/globals'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { loadChannels } from '../../src/channels/load.ts'
import { readNotification, type FhirNotification } from '../../src/intake/fhir-notification.ts'
import { evaluate } from '../../src/mapping/evaluate.ts'

// Resources, notifications and claims of other people’s servers (BLUEPOST_CORPUS, folders fhir-subscription and eob). What has
// to become of each is written in fhir-outcomes.tsv, and was reviewed by reading the files.

const corpus = process.env['BLUEPOST_CORPUS']
const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const channels = new Map(
  [
    ['Encounter', 'encounter-finished'],
    ['DiagnosticReport', 'diagnostic-report-final'],
    ['DocumentReference', 'document-reference-current'],
    ['ExplanationOfBenefit', 'eob-feed'],
    ['ClaimResponse', 'claim-response'],
  ].map(([type, name]) => [type!, plans.find((plan) => plan.name === name)!]),
)

test('each sample of another server becomes what is written down', () => {
  const all = ['fhir-subscription', 'eob'].flatMap((folder) => {
    const place = corpus === undefined ? undefined : join(corpus, folder)
    if (place === undefined || !existsSync(place)) return []
    const names = readdirSync(place).filter((name) => /\.(json|xml)$/.test(name))
    return names.map(
      (name) => `${folder}/${name}\t${outcomesOf(readFileSync(join(place, name), 'utf8')).join('; ')}`,
    )
  })
  if (process.env['BLUEPOST_SHOW_OUTCOMES'] !== undefined) process.stdout.write(`${all.join('\n')}\n`)
  const written = readFileSync(new URL('./fhir-outcomes.tsv', import.meta.url), 'utf8')
    .trimEnd()
    .split('\n')
    .slice(1)
  if (all.length > 0) expect(all).toEqual(written)
})

type Resource = Readonly<Record<string, unknown>>

function outcomesOf(text: string): string[] {
  // Of XML the endpoint takes that something changed: the server is searched.
  if (text.trimStart().startsWith('<')) return [told(readNotification(undefined))]
  const resource = JSON.parse(text.replace(/^\ufeff/, '')) as Resource
  if (resource['resourceType'] !== 'Bundle') return [outcomeOf(resource)]
  const kind = (entriesOf(resource)[0]?.['resourceType'] as string | undefined) ?? 'nothing'
  if (!['Parameters', 'SubscriptionStatus', 'MessageHeader'].includes(kind))
    return [
      `a bundle, no notification: ${[...new Set(entriesOf(resource).map(outcomeOf))].sort().join(', ')}`,
    ]
  return [told(readNotification(resource))]
}

function told({ type, focuses, eventNumbers, eventsSinceStart }: FhirNotification): string {
  const about = focuses.map((focus) => focus.split('/').at(-2) ?? 'what has no address')
  return [
    type === 'event' && about.length === 0 ? 'event about something' : [type, ...about].join(' about '),
    ...(eventNumbers.length === 0 ? [] : [`numbers ${eventNumbers.join(' ')}`]),
    ...(eventsSinceStart === undefined ? [] : [`${eventsSinceStart} since the start`]),
  ].join(', ')
}

function entriesOf(bundle: Resource): Resource[] {
  const entries = (bundle['entry'] ?? []) as { readonly resource?: Resource }[]
  return entries.flatMap(({ resource }): Resource[] => (resource === undefined ? [] : [resource]))
}

/** On the channel for its type, an hour after it was changed. */
function outcomeOf(resource: Resource): string {
  const type = resource['resourceType'] as string | undefined
  const plan = channels.get(type ?? '')
  if (plan === undefined) return `${type ?? 'no resource'}: of no concern`
  const { lastUpdated } = (resource['meta'] ?? {}) as { lastUpdated?: string }
  const changedMs = Date.parse(lastUpdated ?? '')
  const got = evaluate(plan, resource, new Date((Number.isNaN(changedMs) ? 0 : changedMs) + 3_600_000))
  switch (got.decision) {
    case 'trigger':
      return `${type}: ${got.event.kind}${got.event.cancels ? ' taken back' : ''}`
    case 'filtered':
      return `${type}: filtered: ${got.because}`
    case 'quarantined':
      return `${type}: quarantined: ${got.code}${got.code === 'needs-a-person' ? ` (${got.because})` : ''}`
  }
}
