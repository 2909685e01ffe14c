import type { DataSource } from 'typeorm'
import type { SubscriptionPorts } from '../api/fhir-subscription.ts'
import { hearNotification } from '../pipeline/hear-notification.ts'
import type { Settings } from '../settings.ts'
import type { ChannelFiles } from './channel-files.ts'

export interface NotifiedPorts {
  readonly settings: Pick<Settings, 'fhirServers' | 'secretsNow'>
  readonly files: Pick<ChannelFiles, 'plan'>
  readonly dataSource: DataSource
  readonly now: () => Date
  /** Where this process has the feeds, what was named is fetched at once. */
  readonly wake: (channel: string) => void
}

/** Channels that FHIR servers notify: whoever hears it, the process that has the feeds fetches what it names. */
export function notifiedChannels(ports: NotifiedPorts): SubscriptionPorts['channel'] {
  const { settings, files, dataSource, now, wake } = ports
  return (name) => {
    const plan = files.plan(name)
    if (plan?.enabled !== true || plan.source.type !== 'fhir-subscription') return undefined
    const { source } = plan
    const server = settings.fhirServers.find((one) => one.name === source.server)
    const secret = settings.secretsNow().get(source.verify.secret.secret)
    if (server === undefined || secret === undefined) return undefined
    return {
      name,
      header: source.verify.header,
      secret,
      hear: async (body) => {
        const heard = await hearNotification({ dataSource, now }, name, server.baseUrl, body)
        wake(name)
        return heard
      },
    }
  }
}
