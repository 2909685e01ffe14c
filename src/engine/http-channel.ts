import type { FedChannel } from '../api/inbound.ts'
import type { ChannelPlan, HttpSource } from '../domain/channel.ts'
import { receiveFhirByHttp, receiveHl7ByHttp } from '../pipeline/receive-http.ts'
import type { ChannelRun } from './channel-run.ts'
import { measured, receiverOf, type ReceivingPorts } from './receiving.ts'

type HttpPlan = ChannelPlan & { readonly source: HttpSource }

/**
 * Receives by POST what a listener would receive by MLLP.
 *
 * @throws Error in words, where its secret is not there
 */
export function startHttpChannel(plan: HttpPlan, ports: ReceivingPorts): ChannelRun {
  let fed = feed(plan, ports)
  return {
    listens: [{ what: `channel ${plan.name} (HTTP)`, on: `/inbound/${plan.name}` }],
    get fed() {
      return fed
    },
    take(fresh) {
      if (fresh.source.type !== 'http') return false
      fed = feed(fresh as HttpPlan, ports)
      return true
    },
    isBeside: () => true,
    stop: async () => {},
  }
}

function feed(plan: HttpPlan, ports: ReceivingPorts): FedChannel {
  const { store, metrics, log, now, secrets } = ports
  const { format, verify, maxMessageBytes, ack } = plan.source
  const secret = secrets().get(verify.secret.secret)
  if (secret === undefined) throw new Error(`the settings have no secret “${verify.secret.secret}”`)
  const { frame } = receiverOf(() => plan, ack.mode, ports)
  return {
    name: plan.name,
    header: verify.header,
    secret,
    bytesMax: maxMessageBytes,
    take:
      format === 'fhir'
        ? receiveFhirByHttp({ plan, store, now, log })
        : receiveHl7ByHttp({ frame: measured(frame, plan.name, metrics) }),
  }
}
