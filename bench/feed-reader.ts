import { readFileSync } from 'node:fs'
import { loadChannels } from '../src/channels/load.ts'
import { bulkServer } from '../src/documents/bulk-export.ts'
import { fhirServer } from '../src/documents/fhir-server.ts'
import type { ChannelPlan, FhirPollSource } from '../src/domain/channel.ts'
import { silentLog } from '../src/lib/log.ts'
import type { ExportPlan } from '../src/pipeline/export-ports.ts'
import { pollFeed } from '../src/pipeline/poll-feed.ts'
import { runExport } from '../src/pipeline/run-export.ts'
import { makeDataSource } from '../src/store/data-source.ts'
import { entities } from '../src/store/entities.ts'
import { openInboundMessages } from '../src/store/inbound-messages.ts'

/**
 * Run as a process of its own: reads a feed to its end, as the engine does, and tells by how much the process has grown.
 * It may be killed at any moment, and run again.
 *
 *   node bench/feed-reader.ts export|poll DATABASE-URL FHIR-BASE
 */
const [how, url = '', baseUrl = ''] = process.argv.slice(2)
const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const setting = {
  name: 'payer-r4',
  baseUrl,
  auth: { type: 'none' as const },
  timeoutMs: 30_000,
  attachmentOrigins: [],
}
const dataSource = makeDataSource(url, { entities, poolSize: 8 })
await dataSource.initialize()
const store = openInboundMessages(dataSource)
const idle = process.memoryUsage.rss()
const outcome = how === 'export' ? await readExport() : await readPages()
process.stdout.write(JSON.stringify({ outcome, idle, peak: peakBytes() }))
await store.close()
await dataSource.destroy()

/** The clock runs ahead to whatever the next step waits for. */
async function readExport() {
  const shipped = plans.find(({ name }) => name === 'eob-export') as ExportPlan
  const plan = { ...shipped, source: { ...shipped.source, since: '2026-01-01T00:00:00Z' } }
  const { signal } = new AbortController()
  let aheadMs = 0
  const now = () => new Date(Date.now() + aheadMs)
  const server = bulkServer(setting, [], { signal, now })
  for (;;) {
    const exported = await runExport({ dataSource, store, server, now, log: silentLog, signal }, plan)
    if (exported.outcome === 'complete') return exported
    if (exported.outcome !== 'waiting') throw new Error(JSON.stringify(exported))
    aheadMs += 10_000
  }
}

async function readPages() {
  const shipped = plans.find(({ name }) => name === 'eob-feed') as ChannelPlan & { source: FhirPollSource }
  const query = shipped.source.query.replace(/_count=\d+/, '_count=1000')
  const server = fhirServer(setting)
  return pollFeed(
    { dataSource, store, server, now: () => new Date() },
    { ...shipped, source: { ...shipped.source, query } },
  )
}

/** The high-water mark of the kernel where there is one (Linux), since the last sample may have missed the peak. */
function peakBytes(): number {
  try {
    const kilobytes = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    if (kilobytes !== undefined) return Number(kilobytes) * 1024
  } catch {
    // Not Linux.
  }
  return process.resourceUsage().maxRSS * 1024
}
