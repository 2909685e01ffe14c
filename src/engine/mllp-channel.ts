import type { ChannelPlan, MllpSource, SecretReference } from '../domain/channel.ts'
import { withCommitBlocks } from '../intake/mllp-commit.ts'
import { listenMllp, type MllpTls } from '../intake/mllp-listener.ts'
import { isLoopback, placeOf } from '../settings/endpoint.ts'
import type { ChannelRun } from './channel-run.ts'
import { measured, receiverOf, type ReceivingPorts } from './receiving.ts'
import { drainMsMax } from './stops.ts'

type MllpPlan = ChannelPlan & { readonly source: MllpSource }

/**
 * Listens for HL7v2 over MLLP as the channel says. Other filters, mappings, order keys and certificates are taken while it
 * listens; another address, TLS or none, and other limits take another listener.
 *
 * @throws Error in words, where it cannot listen
 */
export async function startMllpChannel(plan: MllpPlan, ports: ReceivingPorts): Promise<ChannelRun> {
  const { source } = plan
  // Records in clear on a network are read by others: TLS is not an option there.
  if (source.tls === undefined && !isLoopback(source.listen.host))
    throw new Error(
      `${source.listen.host} can be reached by others, and the channel has no tls: give it certificates, or listen on 127.0.0.1`,
    )
  let current = plan
  let tls = source.tls === undefined ? undefined : tlsOf(source.tls, ports.secrets())
  const receive = receiverOf(() => current, source.ack.mode, ports)
  const { frame, fragment } = source.release === 2 ? withCommitBlocks(receive) : receive
  const listener = await listenMllp({
    ...source.listen,
    ...(tls === undefined ? {} : { tls }),
    limits: { frameBytesMax: source.maxMessageBytes },
    receive: measured(frame, plan.name, ports.metrics),
    onFragment: fragment,
    log: ports.log,
  })
  const place = placeOf(listener.address)
  return {
    listens: [{ what: `channel ${plan.name} (MLLP)`, on: place }],
    place,
    connections: () => listener.connections,
    take(fresh) {
      if (fresh.source.type !== 'mllp' || listening(fresh.source) !== listening(source)) return false
      if (fresh.source.tls !== undefined) {
        const renewed = tlsOf(fresh.source.tls, ports.secrets())
        if (JSON.stringify(renewed) !== JSON.stringify(tls)) {
          listener.setTls(renewed)
          ports.log.info('a listener has other certificates from now on', { channel: plan.name })
          tls = renewed
        }
      }
      current = fresh as MllpPlan
      return true
    },
    isBeside: ({ source: fresh }) =>
      fresh.type !== 'mllp' || fresh.listen.port === 0 || fresh.listen.port !== listener.address.port,
    stop: () => listener.close(drainMsMax),
  }
}

/** What a listener cannot change while it listens, as one value to compare. */
function listening({ listen, tls, maxMessageBytes, release, ack }: MllpSource): string {
  const clients = tls === undefined ? 'no TLS' : tls.clientAuth
  return JSON.stringify([listen, clients, maxMessageBytes, release, ack])
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
