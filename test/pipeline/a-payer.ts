import { loadChannels } from '../../src/channels/load.ts'
import { bulkServer } from '../../src/documents/bulk-export.ts'
import type { FhirServerSetting } from '../../src/documents/fhir-door.ts'
import type { FhirExportSource } from '../../src/domain/channel.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { silentLog } from '../../src/lib/log.ts'
import { decide, type DecidePorts } from '../../src/pipeline/decide.ts'
import type { ExportPlan, ExportPorts } from '../../src/pipeline/export-ports.ts'
import { runExport, type Exported } from '../../src/pipeline/run-export.ts'
import { readBlindKey } from '../../src/store/decisions.ts'
import { entities } from '../../src/store/entities.ts'
import { readJob, type ExportJob } from '../../src/store/export-jobs.ts'
import { openInboundMessages } from '../../src/store/inbound-messages.ts'
import { queryOf } from '../../src/store/query.ts'
import { startBulkServer } from '../neighbours/bulk-server.ts'
import { anAuthorization } from '../store/ellen.ts'
import { freshDatabase } from '../support/database.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
export const shipped = plans.find(({ name }) => name === 'eob-export') as ExportPlan
const lanes = Array.from({ length: 256 }, (_, lane) => lane)
const system = 'urn:oid:2.16.840.1.113883.3.88'

/** A payer that exports, a database of its own, and a clock that stands until it is moved. */
export async function aPayer() {
  const database = await freshDatabase({ entities })
  const { dataSource } = database
  const query = queryOf(dataSource)
  let now = new Date()
  await makeRoomForDays(dataSource, now)
  const payer = await startBulkServer()
  payer.behaves.now = () => now
  const store = openInboundMessages(dataSource)
  let people = 0
  const decidePorts: DecidePorts = {
    dataSource,
    channel: (name) => plans.find((one) => one.name === name),
    aliases: new Map(),
    blindKey: await readBlindKey(query),
    holdMaxMs: undefined,
    deliveryRequested: true,
    now: () => now,
  }

  /** As a process that has just been started. */
  function portsFor(source: FhirExportSource, setting: Partial<FhirServerSetting> = {}): ExportPorts {
    const signal = new AbortController().signal
    return {
      dataSource,
      store,
      log: silentLog,
      signal,
      now: () => now,
      server: bulkServer(
        {
          name: 'payer-r4',
          baseUrl: payer.base,
          auth: { type: 'none' },
          timeoutMs: 5000,
          attachmentOrigins: [],
          ...setting,
        },
        source.fileOrigins,
        { signal, now: () => now, pause: () => Promise.resolve() },
      ),
    }
  }

  const town = {
    query,
    payer,
    store,
    portsFor,
    dataSource,
    url: database.url,
    now: () => now,
    later: (ms: number) => void (now = new Date(now.getTime() + ms)),
    plan: (source: Partial<FhirExportSource> = {}): ExportPlan => ({
      ...shipped,
      source: { ...shipped.source, ...source },
    }),
    run: (plan: ExportPlan = shipped, setting: Partial<FhirServerSetting> = {}): Promise<Exported> =>
      runExport(portsFor(plan.source, setting), plan),

    /** Until the export is read; the clock moves as far as the next step wants it. */
    async complete(plan: ExportPlan = shipped, setting: Partial<FhirServerSetting> = {}): Promise<Exported> {
      for (let turn = 0; turn < 40; turn++) {
        const exported = await town.run(plan, setting)
        if (exported.outcome === 'complete') return exported
        const { nextAt } = (await town.job())!
        if (nextAt > now) now = nextAt
      }
      throw new Error('the export does not end')
    },
    job: (): Promise<ExportJob | undefined> => readJob(query, 'eob-export'),
    cursor: async () => {
      const [row] = await query<{ value: string }>(
        `SELECT value FROM feed_cursor WHERE channel = 'eob-export'`,
      )
      return row?.value
    },
    kept: async () => {
      const rows = await query<{ control_id: string }>(
        `SELECT control_id FROM message WHERE channel = 'eob-export' ORDER BY id`,
      )
      return rows.map((row) => row.control_id)
    },
    async decideAll(): Promise<void> {
      while ((await decide(decidePorts, lanes)).messages > 0);
    },
    /** Somebody insured who asked for her claims to be sent; the payer knows her. */
    async aMember() {
      const id = `M${++people}`
      payer.has.patients.push({
        resourceType: 'Patient',
        id,
        meta: { lastUpdated: now.toISOString() },
        identifier: [{ system, value: id, type: { coding: [{ code: 'MB' }] } }],
        name: [{ family: 'Ross', given: ['Ellen'] }],
        birthDate: '1956-08-14',
      })
      const { id: authorizationId } = await anAuthorization(dataSource, {
        patient: {
          identifiers: [{ system, value: id }],
          family: 'Ross',
          given: 'Ellen',
          birthDate: '1956-08-14',
        },
        triggers: ['eob-available'],
        validFrom: new Date(now.getTime() - 86_400_000),
      })
      const transmissions = () =>
        query<{ state: string; because: string | null }>(
          'SELECT state, because FROM transmission WHERE authorization_id = $1 ORDER BY created_at',
          [authorizationId],
        )
      return { id, transmissions }
    },
    claims(count: number, about: Parameters<typeof aClaim>[1]): void {
      payer.has.resources.push(...Array.from({ length: count }, (_, nth) => aClaim(`c-${nth}`, about)))
    },
    asked: (part: string) => payer.asked.filter(({ method, path }) => `${method} ${path}`.includes(part)),
    async close(): Promise<void> {
      await store.close()
      await payer.close()
      await database.close()
    },
  }
  return town
}

export function aClaim(
  id: string,
  { patient, at, ...rest }: { patient: string; at: Date; [element: string]: unknown },
): Record<string, unknown> {
  return {
    resourceType: 'ExplanationOfBenefit',
    id,
    meta: { versionId: String(at.getTime()), lastUpdated: at.toISOString() },
    status: 'active',
    use: 'claim',
    outcome: 'complete',
    patient: { reference: `Patient/${patient}` },
    ...rest,
  }
}
