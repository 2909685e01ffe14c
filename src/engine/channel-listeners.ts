import { randomBytes } from 'node:crypto'
import type { ChannelView } from '../api/channels.ts'
import type { FedChannel } from '../api/inbound.ts'
import type { ChannelPlan, HttpSource, MllpSource, SecretReference } from '../domain/channel.ts'
import { makeControlIds } from '../intake/control-ids.ts'
import { withCommitBlocks } from '../intake/mllp-commit.ts'
import { listenMllp, type MllpListener, type MllpTls } from '../intake/mllp-listener.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { laneKey } from '../mapping/lane-key.ts'
import { makeReceive, type Receive } from '../pipeline/receive.ts'
import { receiveFhirByHttp, receiveHl7ByHttp } from '../pipeline/receive-http.ts'
import { isLoopback } from '../settings/endpoint.ts'
import type { InboundMessages } from '../store/inbound-messages.ts'

export interface ListeningPorts {
  readonly store: InboundMessages
  readonly secrets: ReadonlyMap<string, string>
  readonly metrics: Metrics
  readonly log: Log
  readonly now: () => Date
  /** How a channel that asks instead of listening stands; undefined where nobody asks. */
  readonly feed: (channel: string) => { readonly because?: string } | undefined
}

/** The channels as they listen. */
export interface ChannelListeners {
  readonly listens: readonly { readonly what: string; readonly on: string }[]
  readonly problems: readonly string[]
  views(): ChannelView[]
  /** A channel that is fed by POST; undefined where there is none of that name. */
  fed(name: string): FedChannel | undefined
  /** Stops accepting, delivers every owed acknowledgement, then closes. */
  close(deadlineMs: number): Promise<void>
}

/** Opens the listener of every enabled MLLP channel; one that cannot listen does not keep the others from it. */
export async function listenToChannels(
  plans: readonly ChannelPlan[],
  ports: ListeningPorts,
): Promise<ChannelListeners> {
  const newControlId = makeControlIds(randomBytes(8))
  const opened = new Map<string, MllpListener>()
  const fed = new Map<string, FedChannel>()
  const failed = new Map<string, string>()
  for (const plan of plans) {
    if (!plan.enabled) continue
    try {
      if (plan.source.type === 'http') fed.set(plan.name, feed(plan, plan.source, newControlId, ports))
      if (plan.source.type !== 'mllp') continue
      opened.set(plan.name, await listen(plan, plan.source, newControlId, ports))
    } catch (error) {
      failed.set(plan.name, (error as Error).message)
    }
  }
  return {
    listens: [
      ...[...opened].map(([name, listener]) => ({
        what: `channel ${name} (MLLP)`,
        on: placeOf(listener),
      })),
      ...[...fed.keys()].map((name) => ({ what: `channel ${name} (HTTP)`, on: `/inbound/${name}` })),
    ],
    fed: (name) => fed.get(name),
    problems: [...failed].map(([name, because]) => `channel ${name} does not listen: ${because}`),
    views: () =>
      plans.map((plan) =>
        viewOf(
          plan,
          opened.get(plan.name),
          failed.get(plan.name),
          fed.has(plan.name) ? {} : ports.feed(plan.name),
        ),
      ),
    close: async (deadlineMs) => {
      await Promise.all([...opened.values()].map((listener) => listener.close(deadlineMs)))
    },
  }
}

function listen(
  plan: ChannelPlan,
  source: MllpSource,
  newControlId: () => string,
  ports: ListeningPorts,
): Promise<MllpListener> {
  const { metrics, log } = ports
  // Records in clear on a network are read by others: TLS is not an option there.
  if (source.tls === undefined && !isLoopback(source.listen.host))
    throw new Error(
      `${source.listen.host} can be reached by others, and the channel has no tls: give it certificates, or listen on 127.0.0.1`,
    )
  const receive = makeReceive({
    channel: plan.name,
    store: ports.store,
    laneKey: (bytes) => laneKey(plan, bytes),
    clock: ports.now,
    newControlId,
    ackMode: source.ack.mode,
    log,
  })
  const channel = plan.name
  const { frame: receiveFrame, fragment: receiveFragment } =
    source.release === 2 ? withCommitBlocks(receive) : receive
  return listenMllp({
    host: source.listen.host,
    port: source.listen.port,
    ...(source.tls === undefined ? {} : { tls: tlsOf(source.tls, ports.secrets) }),
    limits: { frameBytesMax: source.maxMessageBytes },
    receive: measured(receiveFrame, channel, metrics),
    onFragment: receiveFragment,
    log,
  })
}

/** Receives by POST what a listener would receive by MLLP. */
function feed(
  plan: ChannelPlan,
  source: HttpSource,
  newControlId: () => string,
  ports: ListeningPorts,
): FedChannel {
  const { store, metrics, log, now, secrets } = ports
  const { header, secret } = source.verify
  const value = secrets.get(secret.secret)
  if (value === undefined) throw new Error(`the settings have no secret “${secret.secret}”`)
  const receive = makeReceive({
    channel: plan.name,
    store,
    laneKey: (bytes) => laneKey(plan, bytes),
    clock: now,
    newControlId,
    ackMode: source.ack.mode,
    log,
  })
  return {
    name: plan.name,
    header,
    secret: value,
    bytesMax: source.maxMessageBytes,
    take:
      source.format === 'fhir'
        ? receiveFhirByHttp({ plan, store, now, log })
        : receiveHl7ByHttp({ frame: measured(receive.frame, plan.name, metrics) }),
  }
}

/** With the time until the answer, and what it was. */
function measured(frame: Receive['frame'], channel: string, metrics: Metrics): Receive['frame'] {
  return async (one, peer) => {
    const stop = metrics.ackSeconds.startTimer({ channel })
    const receipt = await frame(one, peer)
    stop()
    metrics.received.inc({
      channel,
      outcome: receipt.isLost === true ? 'lost' : receipt.isUnreadable === true ? 'unreadable' : 'answered',
    })
    return receipt
  }
}

function tlsOf(tls: NonNullable<MllpSource['tls']>, secrets: ReadonlyMap<string, string>): MllpTls {
  const read = ({ secret }: SecretReference) => {
    const value = secrets.get(secret)
    if (value === undefined) throw new Error(`the settings have no secret “${secret}”`)
    return value
  }
  if (tls.clientAuth === 'required' && tls.clientCa === undefined)
    throw new Error('clientAuth is required, but there is no clientCa to check client certificates against')
  return {
    certificate: read(tls.cert),
    privateKey: read(tls.key),
    ...(tls.clientAuth === 'required' && tls.clientCa !== undefined
      ? { clientAuthorities: read(tls.clientCa) }
      : {}),
  }
}

function viewOf(
  plan: ChannelPlan,
  listener: MllpListener | undefined,
  because: string | undefined,
  feed: { readonly because?: string } | undefined,
): ChannelView {
  return {
    name: plan.name,
    title: plan.title ?? null,
    state: !plan.enabled
      ? 'disabled'
      : listener === undefined && (feed === undefined || feed.because !== undefined)
        ? 'failed'
        : 'running',
    because:
      because ??
      feed?.because ??
      (plan.enabled && plan.source.type !== 'mllp' && feed === undefined
        ? 'its FHIR server is not in the settings'
        : null),
    source: plan.source.type,
    listen: listener === undefined ? null : placeOf(listener),
    connections: listener?.connections ?? 0,
    revision: plan.revision,
  }
}

function placeOf({ address: { host, port } }: MllpListener): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
