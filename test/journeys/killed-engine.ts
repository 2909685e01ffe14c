import { expect } from '@jest/globals'
import type { Person } from '../neighbours/ccd.ts'
import type { StoredDocument } from '../neighbours/fhir-resources.ts'
import { dischargeOf } from '../neighbours/hl7-messages.ts'
import type { SendingResult } from '../neighbours/hospital.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen } from '../neighbours/people.ts'

export interface Asking {
  readonly person: Person
  readonly authorizationId: string
  readonly document: StoredDocument
}

/** Somebody with a request and a document of her own, whose mailbox is Ellen’s. */
export async function aPatientWhoAsked(town: Town, value: string): Promise<Asking> {
  const person: Person = {
    ...ellen,
    id: `patient-${value.toLowerCase()}`,
    identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value, type: 'MR' }],
  }
  await town.clinic.admits(person)
  const document = await town.clinic.publishes(person, { bytes: 20_000 })
  const { id } = await town.authorize({ person })
  return { person, authorizationId: id, document }
}

/** Discharges of these people over two connections; a message without an ACK is sent again, the same bytes. */
export function discharges(town: Town, people: readonly Asking[]): Promise<SendingResult[]> {
  return town.hospital.sends(
    people.map(({ person }) => dischargeOf(person)),
    { connections: 2, resendAfterMs: 50, ackWithinMs: 5000 },
  )
}

/** Every acknowledged message became one transmission, delivered, whose document arrived with one Message-ID and the same bytes. */
export async function expectDelivered(
  town: Town,
  { authorizationId, document }: Asking,
  times = 1,
): Promise<void> {
  const list = () => town.transmissions(authorizationId)
  await town.until(`${times} delivered for ${authorizationId}`, async () => {
    const all = await list()
    return all.length >= times && all.every(({ state }) => state === 'delivered')
  })
  const transmissions = await list()
  expect(transmissions).toHaveLength(times)
  for (const { messageId } of transmissions) {
    const arrived = town.phr.inbox.find((message) => message.messageId === messageId)
    expect(arrived?.attachments.map(({ sha256 }) => sha256)).toContain(document.sha256)
    expect(new Set(arrived?.sealedSha256s).size).toBe(1)
  }
  const about = town.phr.inbox.filter((message) =>
    message.attachments.some(({ sha256 }) => sha256 === document.sha256),
  )
  expect(about).toHaveLength(times)
}

/** `bluepost reconcile` finds nothing odd, and there are this many messages. */
export async function expectReconciled(town: Town, messages: number): Promise<void> {
  const { code, stdout } = await town.engine.command('reconcile', '--json')
  expect({ code, ...(JSON.parse(stdout) as object) }).toMatchObject({
    code: 0,
    messages,
    fates: { triggered: messages },
    findings: [],
  })
}
