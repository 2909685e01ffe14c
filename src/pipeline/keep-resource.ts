import { hash } from 'node:crypto'
import type { ChannelPlan } from '../domain/channel.ts'
import { patientIdOf } from '../domain/fhir-patient.ts'
import type { FhirServer } from '../documents/fhir-server.ts'
import { laneOf } from '../intake/lane.ts'
import { laneKey } from '../mapping/lane-key.ts'
import type { InboundMessages, Kept } from '../store/inbound-messages.ts'

type Resource = Readonly<Record<string, unknown>>

export interface KeepResourcePorts {
  readonly store: Pick<InboundMessages, 'keep'>
  readonly server: Pick<FhirServer, 'name' | 'read'>
  readonly now: () => Date
}

/** Patients of one run that are not asked for again; feeds come sorted by time, and one patient’s claims together. */
const patientsMax = 500

/**
 * Keeps resources as messages of a channel, each with the Patient it is about: both as the server of the settings gives
 * them, whatever a notification may have said. A version that was kept before is known again.
 */
export function makeKeepResource({
  store,
  server,
  now,
}: KeepResourcePorts): (plan: ChannelPlan, resource: Resource) => Promise<Kept> {
  const patients = new Map<string, Promise<Resource | undefined>>()

  function patientOf(id: string): Promise<Resource | undefined> {
    let patient = patients.get(id)
    if (patient === undefined) {
      if (patients.size >= patientsMax) patients.clear()
      patient = server.read('Patient', id)
      patient.catch(() => patients.delete(id))
      patients.set(id, patient)
    }
    return patient
  }

  return async (plan, resource) => {
    const { resourceType, id, meta } = resource as { resourceType: string; id?: string; meta?: Resource }
    const subject = subjectOf(resource)
    const patient = subject === undefined ? undefined : await patientOf(subject)
    const bytes = Buffer.from(JSON.stringify(resource))
    const version = meta?.['versionId'] ?? meta?.['lastUpdated'] ?? ''
    const collection = collectionOf(resource, patient)
    return store.keep({
      channel: plan.name,
      receivedAt: now(),
      sender: server.name,
      controlId: `${resourceType}/${String(id ?? '')}/_history/${String(version)}`.slice(0, 199),
      digest: hash('sha256', bytes, 'buffer'),
      peer: server.name,
      lane: laneOf(laneKey(plan, resource) ?? subject ?? String(id ?? '')),
      ack: undefined,
      flags: [],
      content: Buffer.from(JSON.stringify(collection)),
      order: server,
    })
  }
}

/** The id of the Patient that a resource is about. */
export function subjectOf(resource: Resource): string | undefined {
  return [resource['patient'], resource['subject'], resource['for']]
    .map(patientIdOf)
    .find((one) => one !== undefined)
}

/** A resource together with the Patient it is about: what is kept, and decided on. */
export function collectionOf(resource: Resource, patient: Resource | undefined): Resource {
  return {
    resourceType: 'Bundle',
    type: 'collection',
    entry: [{ resource }, ...(patient === undefined ? [] : [{ resource: patient }])],
  }
}
