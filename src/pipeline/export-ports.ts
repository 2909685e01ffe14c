import type { DataSource } from 'typeorm'
import type { BulkServer } from '../documents/bulk-export.ts'
import type { ChannelPlan, FhirExportSource } from '../domain/channel.ts'
import type { Log } from '../lib/log.ts'
import type { InboundMessages } from '../store/inbound-messages.ts'

export interface ExportPorts {
  readonly dataSource: DataSource
  readonly store: Pick<InboundMessages, 'keep' | 'keepFragment'>
  readonly server: BulkServer
  readonly now: () => Date
  readonly log: Log
  /** Ends the reading between two commits; it goes on from there. */
  readonly signal: AbortSignal
}

export type ExportPlan = ChannelPlan & { readonly source: FhirExportSource }
