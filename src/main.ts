import http from 'node:http'
import https from 'node:https'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import type { DataSource } from 'typeorm'
import { makeApi } from './api/server.ts'
import { listenToChannels, type ChannelListeners } from './channel-listeners.ts'
import { loadChannels } from './channels/load.ts'
import { readPartners, type Partners } from './partners.ts'
import { migrateAll, poolOf } from './commands/command.ts'
import { openDatabase } from './store/embedded-postgres.ts'
import { makeSmtpEdge } from './edge/smtp-edge.ts'
import type { Edge } from './edge/edge.ts'
import { fhirServer } from './documents/fhir-server.ts'
import { startWorker } from './jobs/worker.ts'
import { errorTrace, type Log } from './lib/log.ts'
import { Metrics } from './lib/metrics.ts'
import { startDecider, type Decider } from './pipeline/decider.ts'
import { openMail, type OpenMailPorts } from './pipeline/open-mail.ts'
import { receiveMail } from './pipeline/receive-mail.ts'
import { step, type StepPorts } from './pipeline/step.ts'
import { sweep } from './pipeline/sweep.ts'
import { makeSealer, type Sealer } from './seal/seal.ts'
import { isLoopback, type Endpoint, type Settings } from './settings.ts'
import { appendAudit, sealAudit } from './store/audit.ts'
import { makeDataSource } from './store/data-source.ts'
import { readBlindKey } from './store/decisions.ts'
import { entities } from './store/entities.ts'
import { ensureContentPartitions, openInboundMessages } from './store/inbound-messages.ts'
import { requireCurrentSchema } from './store/migrate.ts'
import { inTransaction, queryOf } from './store/query.ts'
import { dropPast } from './store/retention.ts'
import { listenForMail, type MailListener } from './tracking/inbound-listener.ts'

export type EngineRole = 'intake' | 'worker' | 'web'

/** A running engine: what it listens on, what keeps it from sending, and how to stop it. */
export interface Engine {
  readonly listens: readonly { readonly what: string; readonly on: string }[]
  /** Sentences: what is missing before anything can be sent. Empty where nothing is. */
  readonly missing: readonly string[]
  /** Channels that could not be loaded or could not listen. */
  readonly problems: readonly string[]
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
const drainMsMax = 20_000
const sweepEveryMs = 10_000
const partitionDaysAhead = 7

/** Settings → database → channels → worker → listeners. What starts last stops first. */
export async function startEngine(
  settings: Settings,
  { roles, log, onNotice }: EngineOptions,
): Promise<Engine> {
  const stops: { what: string; stop: () => Promise<unknown> }[] = []
  const undo = async () => {
    for (const { what, stop } of stops.reverse())
      await stop().catch((error: unknown) =>
        log.error(`stopping ${what} failed`, { error: errorTrace(error) }),
      )
  }
  try {
    return await build()
  } catch (error) {
    await undo()
    throw error
  }

  async function build(): Promise<Engine> {
    const now = () => new Date()
    const dataSource = await connect()
    const query = queryOf(dataSource)
    const blindKey = await readBlindKey(query)
    await ensureContentPartitions(dataSource, now(), partitionDaysAhead)
    await appendAudit(query, [
      {
        at: now(),
        actor: 'engine',
        action: 'engine-started',
        subject: 'engine',
        detail: { roles: [...roles] },
      },
    ])

    const metrics = new Metrics()
    const partners = readPartners(settings, now())
    for (const [use, days] of partners.daysLeft) metrics.certificateDays.set({ use }, days)
    const sealer =
      partners.signers.length === 0
        ? undefined
        : makeSealer({ threads: settings.seal.threads, signers: partners.signers })
    if (sealer !== undefined) stops.push({ what: 'the sealing threads', stop: () => sealer.close() })
    const channels = loadChannels({
      channelsDirectory: settings.channelsDirectory,
      mappingsDirectory: settings.mappingsDirectory,
      environment: process.env,
      secrets: { secret: (name) => settings.secrets.get(name) },
      fhirServers: settings.fhirServers.map(({ name }) => name),
    })
    const plans = new Map(channels.plans.map((plan) => [plan.name, plan]))
    const problems = channels.problems.map(
      (problem) => `${problem.file}:${problem.line}:${problem.column}  ${problem.what}`,
    )

    let decider: Decider | undefined
    if (roles.has('worker')) {
      const edge = edgeFor(settings)
      stops.push({ what: 'the edge', stop: () => edge?.close() ?? Promise.resolve() })
      const work = workOn(dataSource, partners, sealer, edge, metrics)
      await sweep(dataSource, now(), 0)
      const worker = await startWorker(poolOf(dataSource), work, log, stepsAtATime)
      stops.push({ what: 'the worker', stop: () => worker.stop() })
      const sweeper = setInterval(() => {
        sweep(dataSource, now()).catch((error: unknown) =>
          log.warn('cannot sweep', { error: errorTrace(error) }),
        )
      }, sweepEveryMs)
      stops.push({ what: 'the sweeper', stop: async () => clearInterval(sweeper) })
      decider = startDecider(
        {
          dataSource,
          channel: (name) => plans.get(name),
          aliases: settings.authorities,
          blindKey,
          holdMaxMs: settings.limits.holdMaxMs,
          deliveryRequested: settings.tracking.requestDelivery,
          now,
        },
        log,
        ({ outcomes }) => {
          for (const outcome of outcomes) metrics.decided.inc(outcome)
        },
      )
      stops.push({ what: 'the decider', stop: () => decider!.stop() })
    }

    const listens: { what: string; on: string }[] = []
    let channelListeners: ChannelListeners | undefined
    if (roles.has('intake')) {
      const inbound = openInboundMessages(dataSource, { onCommitted: (lanes) => decider?.wake(lanes) })
      stops.push({ what: 'the message store', stop: () => inbound.close() })
      channelListeners = await listenToChannels(channels.plans, {
        store: inbound,
        secrets: settings.secrets,
        metrics,
        log,
        now,
      })
      stops.push({ what: 'the channels', stop: () => channelListeners!.close(drainMsMax) })
      listens.push(...channelListeners.listens)
      problems.push(...channelListeners.problems)
      listens.push(...(await listenForDirectMail(dataSource)))
    }
    if (roles.has('web')) {
      const missing = missingIn(settings, partners)
      const server = await serveHttp(
        dataSource,
        metrics,
        () => channelListeners?.views() ?? [],
        () => unready(dataSource, missing),
      )
      listens.push({ what: 'HTTP', on: server })
    }
    return { listens, missing: missingIn(settings, partners), problems, stop: () => stopAll(dataSource) }
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
    if (embedded !== undefined) stops.push({ what: 'the database', stop: () => embedded.stop() })
    const dataSource = makeDataSource(embedded?.url ?? settings.database, { poolSize, entities })
    await dataSource.initialize()
    stops.push({ what: 'the connections', stop: () => dataSource.destroy() })
    await migrateAll(dataSource)
    await requireCurrentSchema(dataSource)
    return dataSource
  }

  function workOn(
    dataSource: DataSource,
    partners: Partners,
    sealer: Sealer | undefined,
    edge: Edge | undefined,
    metrics: Metrics,
  ) {
    const now = () => new Date()
    const jitter = Math.random
    const shared = { dataSource, now, jitter }
    const { tracking, dataHolder } = settings
    const answers = {
      processedWithinMs: tracking.processedWithinMs,
      deliveredWithinMs: tracking.deliveredWithinMs,
    }
    const server = settings.fhirServers.find(({ name }) => name === settings.documents.server)
    const steps: StepPorts = {
      ...shared,
      prepare: {
        ...shared,
        dataHolder,
        fhirServer: server === undefined ? undefined : fhirServer(server),
        documents: settings.documents,
        timezone: settings.timezone,
        aliases: settings.authorities,
        discovery: partners.discovery,
        anchors: partners.anchors,
        sealer,
        signerFingerprints: partners.signerFingerprints,
        keyTransport: settings.seal.keyTransport,
      },
      send:
        edge === undefined || dataHolder === undefined
          ? undefined
          : { ...shared, edge, from: dataHolder.address.text, retry: settings.edge.retry, answers },
      await: { ...shared, answers },
    }
    const mail: OpenMailPorts = {
      ...shared,
      keys: partners.ownKeys,
      anchors: partners.anchors,
      ourAddresses: dataHolder === undefined ? [] : [dataHolder.address.text],
      answers,
      onNotification: (effect) => metrics.notifications.inc({ effect }),
    }
    return {
      step: async (transmissionId: string) => {
        const outcome = await step(steps, transmissionId)
        if (outcome !== undefined) metrics.transmissions.inc({ outcome })
      },
      openMail: (mailId: string) => openMail(mail, mailId),
      minutely: async () => {
        while ((await inTransaction(dataSource, (query) => sealAudit(query, now()))) > 0);
      },
      daily: async () => {
        await ensureContentPartitions(dataSource, now(), partitionDaysAhead)
        await dropPast(dataSource, settings.retention.finishedMs, now())
      },
    }
  }

  async function listenForDirectMail(dataSource: DataSource): Promise<{ what: string; on: string }[]> {
    const { listen, dataHolder, tracking } = settings
    if (dataHolder === undefined) return []
    const tls =
      listen.smtpTls === undefined
        ? undefined
        : {
            certificate: readFileSync(listen.smtpTls.certificate, 'utf8'),
            privateKey: listen.smtpTls.privateKey,
          }
    const opened: { what: string; on: string }[] = []
    const places = [
      ...(listen.smtp === undefined ? [] : [{ protocol: 'smtp' as const, on: listen.smtp }]),
      ...(listen.lmtp === undefined ? [] : [{ protocol: 'lmtp' as const, on: listen.lmtp }]),
    ]
    for (const { protocol, on } of places) {
      const listener: MailListener = await listenForMail({
        protocol,
        on,
        addresses: [dataHolder.address.text],
        bytesMax: tracking.messageBytesMax,
        ...(tls === undefined ? {} : { tls }),
        store: (mail) =>
          receiveMail({ dataSource, messageBytesMax: tracking.messageBytesMax, now: () => new Date() }, mail),
        log,
      })
      stops.push({ what: `the ${protocol} listener`, stop: () => listener.close(drainMsMax) })
      opened.push({ what: `${protocol.toUpperCase()} for ${dataHolder.address.text}`, on: listener.on })
    }
    return opened
  }

  async function serveHttp(
    dataSource: DataSource,
    metrics: Metrics,
    channels: Parameters<typeof makeApi>[0]['channels'],
    unreadyBecause: () => Promise<readonly string[]>,
  ): Promise<string> {
    const { http: on, httpTls } = settings.listen
    requireSafeHttp(settings)
    const app = makeApi({
      dataSource,
      metrics,
      log,
      now: () => new Date(),
      aliases: settings.authorities,
      deliveryRequested: settings.tracking.requestDelivery,
      access: {
        ...settings.access,
        openOnLoopback: settings.access.keys.length === 0 && settings.access.oidc === undefined,
      },
      channels,
      unready: unreadyBecause,
    })
    const server =
      httpTls === undefined
        ? http.createServer(app)
        : https.createServer(
            { cert: readFileSync(httpTls.certificate), key: httpTls.privateKey, minVersion: 'TLSv1.2' },
            app,
          )
    server.requestTimeout = 30_000
    server.headersTimeout = 10_000
    server.listen(on.port, on.host)
    await once(server, 'listening')
    stops.push({
      what: 'HTTP',
      stop: async () => {
        const closed = once(server, 'close')
        server.close()
        server.closeIdleConnections()
        setTimeout(() => server.closeAllConnections(), drainMsMax).unref()
        await closed
      },
    })
    return `${httpTls === undefined ? 'http' : 'https'}://${placeOf(server.address() as AddressInfo)}`
  }

  async function stopAll(dataSource: DataSource): Promise<void> {
    const entry = {
      at: new Date(),
      actor: 'engine',
      action: 'engine-stopped' as const,
      subject: 'engine',
      detail: {},
    }
    await appendAudit(queryOf(dataSource), [entry]).catch(() => {})
    await undo()
  }
}

function edgeFor(settings: Settings): Edge | undefined {
  if (settings.dataHolder === undefined) return undefined
  const { edge } = settings
  return makeSmtpEdge({ type: edge.type, name: settings.dataHolder.address.domain, routes: edge.routes })
}

/** What has to be there before anything can be sent, in words. */
function missingIn(settings: Settings, partners: Partners): string[] {
  return [
    ...(settings.dataHolder === undefined
      ? ['dataHolder: name and Direct address of the organisation that sends']
      : []),
    ...(partners.signers.length === 0 ? ['keys: a signing certificate and its key for that address'] : []),
    ...(partners.anchors.length === 0
      ? ['trust.anchors: the certificates of the trust communities you send to']
      : []),
    ...(settings.documents.server === undefined
      ? ['fhirServers: the server that has the C-CDA documents']
      : []),
    ...partners.problems,
  ]
}

async function unready(dataSource: DataSource, missing: readonly string[]): Promise<string[]> {
  void missing
  try {
    await inTransaction(dataSource, async (query) => {
      const [row] = await query<{ read_only: string }>(
        `SELECT current_setting('transaction_read_only') AS read_only`,
      )
      if (row?.read_only !== 'off') throw new Error('read only')
    })
    await requireCurrentSchema(dataSource)
    return []
  } catch (error) {
    return [
      (error as Error).message === 'read only'
        ? 'the database is read-only'
        : 'the database does not answer, or its schema is not this version’s',
    ]
  }
}

/** Elsewhere than on loopback, records travel by TLS and everybody says who they are. */
function requireSafeHttp(settings: Settings): void {
  const { http: on, httpTls } = settings.listen
  if (isLoopback(on.host)) return
  if (httpTls === undefined)
    throw new Error(
      `listen.http is ${placeOf({ ...on, address: on.host })}, which others can reach, without TLS: set listen.httpTls, or listen on 127.0.0.1 behind a proxy that has it`,
    )
  if (settings.access.keys.length === 0 && settings.access.oidc === undefined)
    throw new Error(
      'listen.http can be reached by others, but nobody has access: set access.keys or access.oidc',
    )
}

function placeOf(address: { address: string; port: number } | (Endpoint & { address: string })): string {
  return address.address.includes(':')
    ? `[${address.address}]:${address.port}`
    : `${address.address}:${address.port}`
}
