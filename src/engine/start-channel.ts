import { randomBytes } from 'node:crypto'
import type { DataSource } from 'typeorm'
import type { ChannelPlan } from '../domain/channel.ts'
import { makeControlIds } from '../intake/control-ids.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { Settings } from '../settings.ts'
import type { InboundMessages } from '../store/inbound-messages.ts'
import type { ChannelRun, StartChannel } from './channel-run.ts'
import { followFeeds } from './feeds.ts'
import { followFileDrops } from './file-drops.ts'
import { startHttpChannel } from './http-channel.ts'
import { startMllpChannel } from './mllp-channel.ts'
import { makeStops, type Stops } from './stops.ts'

export interface StartPorts {
  readonly dataSource: DataSource
  readonly store: InboundMessages
  readonly settings: Settings
  readonly metrics: Metrics
  readonly log: Log
  readonly now: () => Date
}

/** How each kind of source is received. */
export function channelStarter(ports: StartPorts): StartChannel {
  const { settings } = ports
  const receiving = {
    ...ports,
    secrets: () => settings.secretsNow(),
    newControlId: makeControlIds(randomBytes(8)),
  }
  return async (plan) => {
    const { source } = plan
    switch (source.type) {
      case 'mllp':
        return startMllpChannel({ ...plan, source }, receiving)
      case 'http':
        return startHttpChannel({ ...plan, source }, receiving)
      case 'file-drop':
        return asking(plan, ports, (stops) => followFileDrops([plan], { ...ports, stops }))
      case 'fhir-poll':
      case 'fhir-export':
      case 'fhir-subscription':
        if (!settings.fhirServers.some(({ name }) => name === source.server))
          throw new Error(`its FHIR server ${source.server} is not in the settings`)
        return asking(plan, ports, (stops) => followFeeds([plan], settings, { ...ports, stops }))
    }
  }
}

interface Asking {
  readonly listens: ChannelRun['listens']
  standing(channel: string): { readonly because?: string } | undefined
  wake?(channel: string): void
}

/** A channel that asks by itself: where its files change, it ends and begins again from what it noted durably. */
function asking(plan: ChannelPlan, { log }: StartPorts, begin: (stops: Stops) => Asking): ChannelRun {
  const stops = makeStops(log)
  const { listens, standing, wake } = begin(stops)
  return {
    listens,
    because: () => standing(plan.name)?.because,
    wake: () => wake?.(plan.name),
    take: ({ revision }) => revision === plan.revision,
    isBeside: () => false,
    stop: () => stops.stopAll(),
  }
}
