import { fhirServer } from '../documents/fhir-server.ts'
import type { ChannelPlan } from '../domain/channel.ts'
import { acknowledgments } from '../engine/channel-tests.ts'
import { documentPlaces } from '../engine/document-places.ts'
import { channelsOf } from '../main.ts'
import { readPartners } from '../partners.ts'
import { collectionOf, subjectOf } from '../pipeline/keep-resource.ts'
import { groupsOf, readBundlesOf } from '../pipeline/trust-standing.ts'
import { tryMessage, type Tried, type TryPorts } from '../pipeline/try-message.ts'
import type { Settings } from '../settings.ts'
import { queryOf, type Query } from '../store/query.ts'
import { print, printJson, settingsFor, theOne, Usage, type Call, type Command } from './command.ts'
import { lookOnly, type NoDatabase } from './look-only.ts'
import { paint } from './trace-words.ts'
import { channelFor, kindOf, messagesOf, readInput, type TriedMessage } from './try-files.ts'
import { masked } from './try-mask.ts'
import { tell } from './try-words.ts'

export const tryOut: Command = {
  usage: `bluepost try channels/samples/a03.hl7 --at 2026-03-02T12:00:00-05:00
bluepost try FILE [--channel NAME] [--at MOMENT] [--offline] [--mask]
bluepost try - < message.hl7

Takes each message of a file through a channel as if it came now, and tells every step: the filter rules with the values
they saw, the rows of the mapping with what they read and looked up, the event or the reason for none; then, from the
database, what each authorization says, whether its documents are there and pass, and whether each destination’s
certificate is trusted. Nothing is stored and nothing is sent. A file may hold an HL7v2 message, a batch, a FHIR
resource, or several of them, one a line.

  --channel NAME   needed where several channels could read the file
  --at MOMENT      as if it had come then: samples are old, and filters ask for the age
  --offline        without database, FHIR servers, DNS: filter and mapping alone
  --mask           letters of the message become x and digits 9: to show the trace to somebody

The trace holds what the message holds: it goes to this terminal and nowhere else.
Exit 0, or 1 where a message would wait in quarantine or something that was to be sent could not be.`,
  options: {
    channel: { type: 'string' },
    at: { type: 'string' },
    offline: { type: 'boolean' },
    mask: { type: 'boolean' },
  },
  async run(call) {
    const file = theOne(call, 'file, or - for standard input')
    const settings = settingsFor(call)
    const at = momentOf(call)
    const bytes = readInput(file)
    const kind = kindOf(bytes)
    const { channel } = call.values
    const { plans } = channelsOf(settings)
    const plan = channelFor(plans, kind, typeof channel === 'string' ? channel : undefined)
    const trying = { settings, plan, at, messages: messagesOf(bytes, kind) }
    const isOffline = call.values['offline'] === true
    const looked: readonly TriedMessage[] | NoDatabase = isOffline
      ? { because: '--offline' }
      : await lookOnly(settings, async (source) =>
          tryAll(trying, await portsOf(settings, plan, queryOf(source))),
        )
    const noDatabase = 'because' in looked ? looked.because : undefined
    const all = 'because' in looked ? await tryAll(trying, undefined) : looked
    const tried = call.values['mask'] === true ? all.map(masked) : all
    if (call.isJson)
      printJson({
        channel: plan.name,
        revision: plan.revision,
        at,
        database: noDatabase === undefined ? { asked: true } : { asked: false, because: noDatabase },
        messages: tried,
      })
    else {
      for (const one of tried)
        print(
          `${paint('bold', `Message ${one.number} of ${tried.length}, channel ${plan.name}, received ${at.toISOString()}`)}\n${tell(one, plan.mapping.name, noDatabase)}\n`,
        )
      print('Nothing was stored and nothing was sent.')
    }
    return all.every(isGood) ? 0 : 1
  },
}

function momentOf({ values }: Call): Date {
  const text = values['at']
  if (text === undefined) return new Date()
  const at = new Date(String(text))
  if (/T.*(Z|[+-]\d{2}:\d{2})$/.test(String(text)) && !Number.isNaN(at.getTime())) return at
  throw new Usage('--at is a moment with a time zone, such as 2026-03-02T12:00:00-05:00')
}

interface Trying {
  readonly settings: Settings
  readonly plan: ChannelPlan
  readonly at: Date
  readonly messages: readonly Buffer[]
}

async function tryAll(trying: Trying, ports: TryPorts | undefined): Promise<TriedMessage[]> {
  const all: TriedMessage[] = []
  for (const [index, message] of trying.messages.entries())
    all.push(await tryOne(trying, message, index + 1, ports))
  return all
}

async function tryOne(
  { settings, plan, at }: Trying,
  message: Buffer,
  number: number,
  ports: TryPorts | undefined,
): Promise<TriedMessage> {
  const { content, note } = await withPatient(settings, plan, message, ports !== undefined)
  const acknowledged =
    'ack' in plan.source && plan.mapping.input === 'hl7v2'
      ? acknowledgments.acknowledge(plan, message)
      : undefined
  const { evaluation, ...rest } = await tryMessage(plan, content, at, ports)
  return {
    number,
    ...(acknowledged !== undefined && { acknowledged }),
    ...(note !== undefined && { note }),
    ...rest,
    ...plainly(evaluation),
  }
}

/** The event as data: moments become texts. */
function plainly(evaluation: Tried['evaluation']): Pick<TriedMessage, 'evaluation'> {
  if (evaluation === undefined) return {}
  return { evaluation: JSON.parse(JSON.stringify(evaluation)) as NonNullable<TriedMessage['evaluation']> }
}

/** In earnest a resource is kept with its Patient, as the server of the channel has her. */
async function withPatient(
  settings: Settings,
  { source }: ChannelPlan,
  message: Buffer,
  isAsked: boolean,
): Promise<{ readonly content: Buffer; readonly note?: string }> {
  const name = 'server' in source ? source.server : undefined
  const setting = settings.fhirServers.find((one) => one.name === name)
  const resource = name === undefined ? undefined : readResource(message)
  const subject = resource && subjectOf(resource)
  if (subject === undefined) return { content: message }
  const without = (why: string) => ({ content: message, note: `The Patient was not asked for: ${why}.` })
  if (!isAsked) return without('try asks no server without the database')
  if (setting === undefined) return without(`the settings have no FHIR server ${name}`)
  try {
    const patient = await fhirServer(setting).read('Patient', subject)
    return { content: Buffer.from(JSON.stringify(collectionOf(resource!, patient))) }
  } catch (error) {
    return without((error as Error).message)
  }
}

function readResource(message: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value = JSON.parse(message.toString('utf8')) as unknown
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** What production decides with, as `engine/work.ts` puts it together. */
async function portsOf(settings: Settings, plan: ChannelPlan, query: Query): Promise<TryPorts> {
  const partners = readPartners(settings, new Date())
  const bundles = await readBundlesOf(query, settings.trust.bundles)
  partners.anchorSet.change([...partners.anchorSet.groups, ...groupsOf(bundles)])
  const { documents, authorities, timezone } = settings
  return {
    query,
    now: () => new Date(),
    places: documentPlaces(settings, new AbortController().signal),
    documents,
    timezone,
    aliases: authorities,
    plan: () => plan,
    confidentialityOf: (channel) =>
      documents.channelConfidentiality.get(channel) ?? documents.confidentiality,
    discovery: partners.discovery,
    trust: partners.trust,
    localDomain: settings.dataHolder?.address.domain.toLowerCase() ?? '',
  }
}

function isGood({ evaluation, matching }: TriedMessage): boolean {
  return (
    evaluation?.decision !== 'quarantined' &&
    (matching?.verdicts ?? []).every(
      ({ documents, recipients = [] }) =>
        documents?.passed !== false && recipients.every(({ trusted }) => trusted),
    )
  )
}
