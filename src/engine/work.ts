import type { DataSource } from 'typeorm'
import { makeSmtpEdge } from '../edge/smtp-edge.ts'
import type { Edge } from '../edge/edge.ts'
import type { Work } from '../jobs/worker.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { Partners } from '../partners.ts'
import { answer, type AnswerPorts } from '../pipeline/answer.ts'
import { openMail, type OpenMailPorts } from '../pipeline/open-mail.ts'
import { finishRelease } from '../pipeline/release-quarantine.ts'
import { step, type StepPorts } from '../pipeline/step.ts'
import type { Settings } from '../settings.ts'
import { sealAlgorithmsFor } from '../settings/seal.ts'
import { sealAudit } from '../store/audit.ts'
import { ensureContentPartitions } from '../store/content-partitions.ts'
import { foldQuarantine } from '../store/quarantine.ts'
import { inTransaction } from '../store/query.ts'
import { dropPast } from '../store/retention.ts'
import type { ChannelFiles } from './channel-files.ts'
import { documentPlaces } from './document-places.ts'
import type { FollowedTrust } from './followed-trust.ts'
import { makeRollingSealer } from './rolling-sealer.ts'
import type { Stops } from './stops.ts'

/** Partitions of message content are made this many days ahead: an engine that is not restarted for long finds them. */
const partitionDaysAhead = 7

/** Where no channel is there to say how long its messages are kept. */
const contentMsDefault = 30 * 86_400_000

export interface Working {
  readonly work: Work
  /** Ends questions to FHIR servers under way, which may take minutes: the steps that asked come again after the next start. */
  readonly interrupt: () => void
}

/** What the worker does with each job, from the settings. */
export function workOf(
  settings: Settings,
  channels: Pick<ChannelFiles, 'plan' | 'plans'>,
  partners: Partners,
  dataSource: DataSource,
  metrics: Metrics,
  stops: Stops,
  trust: FollowedTrust,
): Working {
  const now = () => new Date()
  const shared = { dataSource, now, jitter: Math.random }
  const { tracking, dataHolder } = settings
  const algorithmsFor = (address: string) => sealAlgorithmsFor(settings.seal, address)
  const recipients = {
    discovery: partners.discovery,
    trust: partners.trust,
    localDomain: dataHolder?.address.domain.toLowerCase() ?? '',
  }
  const waits = {
    processedWithinMs: tracking.processedWithinMs,
    deliveredWithinMs: tracking.deliveredWithinMs,
  }
  const { keyRing } = partners
  const sealer = makeRollingSealer(settings.seal.threads, (at) => keyRing.signers(at))
  stops.add('the sealing threads', () => sealer.close())
  const edge = edgeOf(settings)
  if (edge !== undefined) stops.add('the edge', () => edge.close())
  const stopping = new AbortController()
  const { documents } = settings
  const steps: StepPorts = {
    ...shared,
    prepare: {
      ...shared,
      dataHolder,
      places: documentPlaces(settings, stopping.signal),
      documents,
      plan: (channel) => channels.plan(channel),
      confidentialityOf: (channel) =>
        documents.channelConfidentiality.get(channel) ?? documents.confidentiality,
      timezone: settings.timezone,
      aliases: settings.authorities,
      ...recipients,
      sealer,
      signerFingerprints: (at) => keyRing.signers(at).map(({ fingerprint }) => fingerprint),
      algorithmsFor,
      envelope: settings.seal.envelope,
    },
    send:
      edge === undefined || dataHolder === undefined
        ? undefined
        : { ...shared, edge, from: dataHolder.address.text, retry: settings.edge.retry, waits },
    await: { ...shared, waits },
  }
  const mail: OpenMailPorts = {
    ...shared,
    keys: () => keyRing.ownKeys(now()),
    ...recipients,
    ourAddresses: dataHolder === undefined ? [] : [dataHolder.address.text],
    waits,
    isOwnRelay: tracking.isOwnRelay,
    inbox: tracking.inbox,
    envelope: tracking.envelope,
    onNotification: (effect) => metrics.notifications.inc({ effect }),
  }
  const answers: AnswerPorts | undefined =
    edge === undefined
      ? undefined
      : {
          ...shared,
          edge,
          ...recipients,
          signers: (at) => keyRing.signers(at),
          algorithmsFor,
          retry: settings.edge.retry,
        }
  // Contents of all channels lie in the same partitions of a day: the longest wish counts.
  const contentMs = () => {
    const wishes = channels.plans().map(({ retention }) => retention.contentMs)
    return wishes.length === 0 ? contentMsDefault : Math.max(...wishes)
  }
  const work: Work = {
    step: async (transmissionId) => {
      const outcome = await step(steps, transmissionId)
      if (outcome !== undefined) metrics.transmissions.inc({ outcome })
    },
    openMail: (mailId) => openMail(mail, mailId),
    answer: async (answerId) => {
      if (answers !== undefined) await answer(answers, answerId)
    },
    refreshBundle: (bundle) => trust.refresh(bundle),
    releaseQuarantine: async (releaseId) => void (await finishRelease(shared, releaseId)),
    minutely: async () => {
      await trust.scheduleDue()
      while ((await inTransaction(dataSource, (query) => sealAudit(query, now()))) > 0);
      while ((await inTransaction(dataSource, foldQuarantine)) > 0);
    },
    daily: async () => {
      await makeRoomForDays(dataSource, now())
      await dropPast(dataSource, contentMs(), settings.retention.finishedMs, now())
    },
  }
  return { work, interrupt: () => stopping.abort() }
}

/** The partitions of today and of the days that follow. */
export function makeRoomForDays(dataSource: DataSource, at: Date): Promise<string[]> {
  return ensureContentPartitions(dataSource, at.toISOString().slice(0, 10), partitionDaysAhead)
}

function edgeOf({ dataHolder, edge }: Settings): Edge | undefined {
  if (dataHolder === undefined) return undefined
  return makeSmtpEdge({
    type: edge.type,
    name: dataHolder.address.domain,
    routes: edge.routes,
    patience: { setupMsMax: edge.timeoutMs },
    pool: { connectionsPerHopMax: edge.connectionsMax },
  })
}
