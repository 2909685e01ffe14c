import { join } from 'node:path'
import type { DataSource } from 'typeorm'
import { makeApi } from './api/server.ts'
import { loadChannels, type LoadedChannels } from './channels/load.ts'
import { inWords, openChannelFiles, type ChannelFiles, type Reloaded } from './engine/channel-files.ts'
import { runChannels, type ChannelRuns } from './engine/channel-runs.ts'
import { countMisses } from './engine/counted-misses.ts'
import { serveHttp } from './engine/http-listener.ts'
import { publishedKeys } from './documents/signing-key.ts'
import { followDestinations, type FollowedDestinations } from './engine/followed-destinations.ts'
import { followKeys } from './engine/followed-keys.ts'
import { followTrust, type FollowedTrust } from './engine/followed-trust.ts'
import { followChannels, type LiveChannels } from './engine/live-channels.ts'
import { listenForDirectMail } from './engine/mail-listeners.ts'
import { notifiedChannels } from './engine/notified-channels.ts'
import { channelStarter } from './engine/start-channel.ts'
import { makeStops } from './engine/stops.ts'
import { watchFiles } from './engine/watch-files.ts'
import { makeRoomForDays, workOf } from './engine/work.ts'
import { startWorker } from './jobs/worker.ts'
import { errorTrace, type Log } from './lib/log.ts'
import { Metrics } from './lib/metrics.ts'
import { certificatesOf, readPartners, type Partners } from './partners.ts'
import { startDecider, type Decider } from './pipeline/decider.ts'
import { sendDue } from './pipeline/send-due.ts'
import { sweep } from './pipeline/sweep.ts'
import type { Settings } from './settings.ts'
import { appendAudit, type AuditAction } from './store/audit.ts'
import { makeDataSource, poolOf } from './store/data-source.ts'
import { readBlindKey } from './store/decisions.ts'
import { openDatabase } from './store/embedded-postgres.ts'
import { entities } from './store/entities.ts'
import { openInboundMessages } from './store/inbound-messages.ts'
import { requireCurrentSchema } from './store/migrate.ts'
import { inTransaction, queryOf } from './store/query.ts'
import { migrateAll } from './store/schema.ts'

export type EngineRole = 'intake' | 'worker' | 'web'

/** A running engine: what it listens on, what keeps it from sending, and how to stop it. */
export interface Engine {
  readonly listens: readonly { readonly what: string; readonly on: string }[]
  /** Sentences: what is missing before anything can be sent. Empty where nothing is. */
  readonly missing: readonly string[]
  /** Channels that could not be loaded or could not listen. */
  readonly problems: readonly string[]
  /** Takes the channel files as they are now, and says what became of each channel. @param actor for the audit */
  reload(actor: string): Promise<readonly Reloaded[]>
  /** Drains: nothing new is taken, everything owed is delivered, then the database stops. */
  stop(): Promise<void>
}

export interface EngineOptions {
  readonly roles: ReadonlySet<EngineRole>
  readonly log: Log
  /** For the person at the terminal. */
  readonly onNotice: (text: string) => void
}

/** Enough for every step to hold its lock, its transaction and its reading at the same time. */
const poolSize = 32
const stepsAtATime = 8
const sweepEveryMs = 10_000

/** Settings → database → channels → worker → listeners. What starts last stops first. */
export async function startEngine(
  settings: Settings,
  { roles, log, onNotice }: EngineOptions,
): Promise<Engine> {
  const stops = makeStops(log)
  const now = () => new Date()
  const metrics = new Metrics()
  try {
    return await build()
  } catch (error) {
    await stops.stopAll()
    throw error
  }

  async function build(): Promise<Engine> {
    const dataSource = await connect()
    await makeRoomForDays(dataSource, now())
    await noteDown(dataSource, 'engine-started')
    const partners = readPartners(settings, now(), queryOf(dataSource))
    for (const [use, days] of partners.daysLeft) metrics.certificateDays.set({ use }, days)
    followKeys(partners.keyRing, partners.anchorSet, { log, metrics, stops })
    const trust = await followTrust(settings, partners, dataSource, { log, metrics, stops })
    const files = openChannelFiles(() => channelsOf(settings), settings.production)
    const decider = roles.has('worker') ? await startWorking(dataSource, files, partners, trust) : undefined
    const runs = roles.has('intake') ? startReceiving(dataSource, decider) : undefined
    const channels = await followChannels({ files, runs, dataSource, metrics, log, now, stops })
    const { channelsDirectory, mappingsDirectory } = settings
    const folders = [
      channelsDirectory,
      join(channelsDirectory, 'samples'),
      mappingsDirectory,
      join(mappingsDirectory, 'tables'),
    ]
    const watched = () =>
      channels
        .reload('engine')
        .catch((error: unknown) =>
          log.error('the channel files could not be read again', { error: errorTrace(error) }),
        )
    if (settings.watch) watchFiles(folders, () => void watched(), stops)
    const listens = runs?.listens() ?? []
    if (roles.has('intake')) listens.push(...(await listenForDirectMail(settings, dataSource, stops, log)))
    const destinations = followDestinations(settings, partners, dataSource, { log, metrics, stops })
    if (roles.has('web'))
      listens.push({
        what: 'HTTP',
        on: await startServing(dataSource, partners, trust, destinations, runs, channels, files),
      })
    return {
      listens,
      missing: [...missingIn(settings, partners), ...findings(files, 'warning')],
      problems: [...findings(files, 'error'), ...(runs?.problems() ?? [])],
      reload: (actor) => channels.reload(actor),
      stop: async () => {
        await noteDown(dataSource, 'engine-stopped').catch(() => {})
        await stops.stopAll()
      },
    }
  }

  async function connect(): Promise<DataSource> {
    const embedded =
      settings.database === 'embedded'
        ? await openDatabase({
            dataDirectory: settings.dataDirectory,
            role: 'engine',
            log,
            onNotice,
            onLost: () => log.error('the embedded database was lost and could not be started again'),
          })
        : undefined
    if (embedded !== undefined) stops.add('the database', () => embedded.stop())
    const dataSource = makeDataSource(embedded?.url ?? settings.database, { poolSize, entities })
    await dataSource.initialize()
    stops.add('the connections', () => dataSource.destroy())
    await migrateAll(dataSource)
    await requireCurrentSchema(dataSource)
    return dataSource
  }

  /** Rooms 2 to 8: decides what was received, and takes transmissions step by step. */
  async function startWorking(
    dataSource: DataSource,
    files: ChannelFiles,
    partners: Partners,
    trust: FollowedTrust,
  ): Promise<Decider> {
    const blindKey = await readBlindKey(queryOf(dataSource))
    const { work, interrupt } = workOf(settings, files, partners, dataSource, metrics, stops, trust)
    await sweep(dataSource, now(), 0)
    await trust.scheduleDue()
    const worker = await startWorker(poolOf(dataSource), work, log, stepsAtATime)
    stops.add('the worker', () => {
      interrupt()
      return worker.stop()
    })
    const { timezone, tracking } = settings
    const due = { dataSource, now, timezone, deliveryRequested: tracking.requestDelivery }
    const sweeper = setInterval(() => {
      Promise.all([sweep(dataSource, now()), sendDue(due)]).catch((error: unknown) =>
        log.warn('cannot sweep', { error: errorTrace(error) }),
      )
    }, sweepEveryMs)
    stops.add('the sweeper', async () => clearInterval(sweeper))
    const noteMisses = countMisses(dataSource, { metrics, log, now, stops })
    const decider = startDecider(
      {
        dataSource,
        channel: (name) => files.plan(name),
        broken: () => files.broken(),
        aliases: settings.authorities,
        blindKey,
        holdMaxMs: settings.limits.holdMaxMs,
        deliveryRequested: settings.tracking.requestDelivery,
        now,
      },
      log,
      ({ outcomes, misses }) => {
        for (const outcome of outcomes) metrics.decided.inc(outcome)
        noteMisses(misses)
      },
    )
    stops.add('the decider', () => decider.stop())
    return decider
  }

  /** Room 1. */
  function startReceiving(dataSource: DataSource, decider: Decider | undefined): ChannelRuns {
    const store = openInboundMessages(dataSource, { onCommitted: (lanes) => decider?.wake(lanes) })
    stops.add('the message store', () => store.close())
    const runs = runChannels(channelStarter({ dataSource, store, settings, metrics, log, now }))
    stops.add('the channels', () => runs.close())
    return runs
  }

  function startServing(
    dataSource: DataSource,
    partners: Partners,
    trust: FollowedTrust,
    destinations: FollowedDestinations,
    runs: ChannelRuns | undefined,
    channels: LiveChannels,
    files: ChannelFiles,
  ): Promise<string> {
    const { access, authorities, tracking } = settings
    const doorRules = { now, needsCertificate: settings.listen.httpTls?.clientCa !== undefined }
    const app = makeApi({
      dataSource,
      metrics,
      log,
      now,
      aliases: authorities,
      deliveryRequested: tracking.requestDelivery,
      timezone: settings.timezone,
      ourAddress: settings.dataHolder?.address.text,
      access: { ...access, openOnLoopback: access.keys.length === 0 && access.oidc === undefined },
      channels,
      plans: () => files.plans(),
      trust: () => trust.view(),
      subscriptions: {
        ...doorRules,
        channel: notifiedChannels({ settings, files, dataSource, now, wake: (name) => runs?.wake(name) }),
      },
      inbound: { ...doorRules, channel: (name) => runs?.fed(name) },
      publicKeys: publishedKeys(
        settings.fhirServers.flatMap(({ auth }) => (auth.type === 'smart-backend' ? auth : [])),
      ),
      unready: async () => [...(await unreadyDatabase(dataSource)), ...(runs?.problems() ?? [])],
      onDestinations: () => destinations.lookNow(),
    })
    return serveHttp(settings, app, stops)
  }

  function noteDown(
    dataSource: DataSource,
    action: AuditAction & ('engine-started' | 'engine-stopped'),
  ): Promise<void> {
    const detail = { roles: [...roles] }
    return appendAudit(queryOf(dataSource), [
      { at: now(), actor: 'engine', action, subject: 'engine', detail },
    ])
  }
}

/** The channel files that the settings point to, with what the settings know about secrets and servers. */
export function channelsOf(settings: Settings): LoadedChannels {
  return loadChannels({
    channelsDirectory: settings.channelsDirectory,
    mappingsDirectory: settings.mappingsDirectory,
    environment: process.env,
    secrets: { secret: (name) => settings.secrets.get(name) },
    fhirServers: settings.fhirServers.map(({ name }) => name),
  })
}

function findings(files: ChannelFiles, wanted: 'error' | 'warning'): string[] {
  return files
    .problems()
    .filter(({ severity }) => severity === wanted)
    .map(inWords)
}

/** What has to be there before anything can be sent, in words. */
export function missingIn(settings: Settings, partners: Partners): string[] {
  return [
    ...(settings.dataHolder === undefined
      ? ['dataHolder: name and Direct address of the organisation that sends']
      : []),
    ...(partners.keyRing.signers(new Date()).length === 0
      ? ['keys: a signing certificate and its key for that address']
      : []),
    ...(certificatesOf(partners.anchorSet).length === 0
      ? ['trust: the anchors of the communities you send to, as trust.anchors or trust.bundles']
      : []),
    ...(settings.documents.sources.length === 0
      ? ['fhirServers: the server that has the C-CDA documents, or documents.sources: where else they are']
      : []),
    ...partners.problems,
  ]
}

async function unreadyDatabase(dataSource: DataSource): Promise<string[]> {
  try {
    const isReadOnly = await inTransaction(dataSource, async (query) => {
      const [row] = await query<{ setting: string }>(
        `SELECT current_setting('transaction_read_only') AS setting`,
      )
      return row?.setting !== 'off'
    })
    await requireCurrentSchema(dataSource)
    return isReadOnly ? ['the database is read-only'] : []
  } catch {
    return ['the database does not answer, or its schema is not this version’s']
  }
}
