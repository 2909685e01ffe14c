import { hash } from 'node:crypto'
import type { ExportManifest } from '../documents/bulk-manifest.ts'
import { isId } from '../documents/fhir-server.ts'
import { objects } from '../domain/fhir-patient.ts'
import { frameBytesMax } from '../domain/limits.ts'
import { laneOf } from '../intake/lane.ts'
import { errorTrace } from '../lib/log.ts'
import { patientsIn } from '../store/export-jobs.ts'
import { isRowAtFault, type InboundMessage } from '../store/inbound-messages.ts'
import { queryOf } from '../store/query.ts'
import { lanesOf } from '../store/resource-messages.ts'
import type { ExportPlan, ExportPorts } from './export-ports.ts'
import { makeKeepResource, subjectOf } from './keep-resource.ts'
import { deletionContent } from './resource-deletion.ts'

type Resource = Readonly<Record<string, unknown>>

/** One line of a file of an export. */
export interface Exported {
  /** Undefined where the line is no resource. */
  readonly resource: Resource | undefined
  /** Undefined where it is too long to be one. */
  readonly bytes: Buffer | undefined
  /** `file/line` */
  readonly place: string
}

export interface Counts {
  readonly resources: number
  readonly fresh: number
  readonly deletions: number
}

/** Patients that are asked for at a time, and those that are not asked for again. */
const atOnce = 20
const patientsMax = 500

/** Keeps the lines of an export as messages of the channel; what was kept before is known again. */
export function makeKeepExported(ports: ExportPorts, plan: ExportPlan, manifest: ExportManifest) {
  const { store, server, now, log } = ports
  const { types } = plan.source
  const query = queryOf(ports.dataSource)
  const patients = new Map<string, Resource | undefined>()
  const keepResource = makeKeepResource({
    store,
    now,
    server: { name: server.name, read: (_, id) => Promise.resolve(patients.get(id) as never) },
  })

  /** From the export where they are in it, else from the server, as for any other feed. */
  async function gatherPatients(resources: readonly Resource[]): Promise<void> {
    if (patients.size > patientsMax) patients.clear()
    const named = new Set(resources.flatMap((resource) => subjectOf(resource) ?? []))
    const unknown = [...named].filter((id) => !patients.has(id))
    if (unknown.length === 0) return
    for (const [id, patient] of await patientsIn(query, plan.name, unknown)) patients.set(id, patient)
    const missing = unknown.filter((id) => !patients.has(id))
    for (let at = 0; at < missing.length; at += atOnce)
      await Promise.all(
        missing.slice(at, at + atOnce).map(async (id) => {
          patients.set(id, isId(id) ? await server.read('Patient', id) : undefined)
        }),
      )
  }

  /** A line that says nothing waits for a person; one that is too long is told as bytes that never became a message. */
  async function keepAsIs({ bytes, place }: Exported): Promise<boolean> {
    const part = { channel: plan.name, receivedAt: now(), peer: server.name }
    if (bytes === undefined) {
      const because = `line ${place} of the export of ${manifest.transactionTime} is longer than ${frameBytesMax} bytes: no resource is as large`
      await store.keepFragment({ ...part, because, content: Buffer.alloc(0) })
      return true
    }
    return keep({
      ...part,
      sender: server.name,
      controlId: `line/${place}/${manifest.transactionTime}`,
      digest: hash('sha256', bytes, 'buffer'),
      lane: laneOf(plan.name),
      ack: undefined,
      flags: [],
      content: bytes,
      order: server,
    })
  }

  async function keep(message: InboundMessage): Promise<boolean> {
    return (await store.keep(message)).fresh
  }

  /** One that the database refuses for its content would be refused for ever, and nothing behind it read. */
  async function orAside(exported: Exported, keeping: () => Promise<boolean>): Promise<boolean> {
    try {
      return await keeping()
    } catch (error) {
      if (!isRowAtFault(error)) throw error
      log.error('a resource of an export could not be stored', {
        channel: plan.name,
        error: errorTrace(error),
      })
      await store.keepFragment({
        channel: plan.name,
        receivedAt: now(),
        peer: server.name,
        because: 'the database refused the resource because of its content',
        content: exported.bytes ?? Buffer.alloc(0),
      })
      return true
    }
  }

  return {
    /** Types that were not asked for are passed over: some servers export everything. */
    async resources(lines: readonly Exported[]): Promise<Counts> {
      const wanted = lines.filter(({ resource }) => {
        const type = resource?.['resourceType'] as string | undefined
        return type === undefined || (type !== 'Patient' && types.includes(type))
      })
      await gatherPatients(wanted.map(({ resource }) => resource).filter((one) => one !== undefined))
      const fresh = await Promise.all(
        wanted.map((one) => {
          const { resource } = one
          return orAside(one, async () =>
            resource === undefined ? keepAsIs(one) : (await keepResource(plan, resource)).fresh,
          )
        }),
      )
      return { resources: wanted.length, fresh: fresh.filter((is) => is).length, deletions: 0 }
    },

    /** What was never kept needs no taking back. */
    async deletions(lines: readonly Exported[]): Promise<Counts> {
      const named = new Set(lines.flatMap(({ resource }) => deletedIn(resource)))
      const lanes = await lanesOf(query, plan.name, server.name, [...named])
      const kept = await Promise.all(
        lanes.map(({ resource, lane }) => {
          const content = deletionContent({ resource, sender: server.name })
          return keep({
            channel: plan.name,
            receivedAt: now(),
            sender: server.name,
            // Behind its messages in each lane they went.
            controlId: `${resource}/_deleted/${manifest.transactionTime}/${lane}`,
            digest: hash('sha256', content, 'buffer'),
            peer: server.name,
            lane,
            ack: undefined,
            flags: [],
            content,
            order: server,
          })
        }),
      )
      return { resources: 0, fresh: kept.filter((is) => is).length, deletions: named.size }
    },
  }
}

/** `Type/id` of everything that a transaction Bundle deletes; Bulk Data Access 2.0, `deleted`. */
function deletedIn(bundle: Resource | undefined): string[] {
  return objects(bundle?.['entry']).flatMap(({ request }) => {
    const { method, url } = (request ?? {}) as { method?: unknown; url?: unknown }
    const found = /(?:^|\/)([A-Z][A-Za-z]{1,63}\/[A-Za-z0-9\-.]{1,64})$/.exec(String(url))
    return method === 'DELETE' && found !== null ? [found[1]!] : []
  })
}
