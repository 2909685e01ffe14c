import { createHash, randomUUID } from 'node:crypto'
import type { DataSource } from 'typeorm'
import type { AuthorizationRequest } from '../../src/domain/authorization.ts'
import { insertAuthorization } from '../../src/store/authorizations.ts'
import type { InboundMessage } from '../../src/store/inbound-messages.ts'
import { inTransaction, type Query } from '../../src/store/query.ts'
import { insertTransmissions, type NewTransmission } from '../../src/store/transmissions.ts'

/** The moment of most tests. */
export const noon = new Date('2026-11-23T12:00:00Z')

export const minutesAfter = (minutes: number, from = noon) => new Date(from.getTime() + minutes * 60_000)

export const ellensPhr = 'ellen.ross@direct.somephr.example'

export function ellensRequest(changes: Partial<AuthorizationRequest> = {}): AuthorizationRequest {
  return {
    patient: {
      identifiers: [{ system: 'urn:oid:1.2.3', value: randomUUID(), type: 'MR' }],
      family: 'Ross',
      given: 'Ellen',
      birthDate: '1956-08-14',
    },
    destinations: [ellensPhr],
    frequency: { type: 'continuous' },
    triggers: ['discharge'],
    validFrom: minutesAfter(-60),
    identityAssurance: { method: 'in-person', verifiedBy: 'front desk', verifiedAt: noon },
    sensitiveData: 'excluded',
    ...changes,
  }
}

export function anAuthorization(dataSource: DataSource, changes: Partial<AuthorizationRequest> = {}) {
  return inTransaction(dataSource, (query) =>
    insertAuthorization(query, ellensRequest(changes), 'key:portal', noon),
  )
}

export function aNewTransmission(
  authorizationId: string,
  changes: Partial<NewTransmission> = {},
): NewTransmission {
  return {
    id: randomUUID(),
    authorizationId,
    authorizationVersion: 1,
    destination: ellensPhr,
    cause: 'discharge',
    eventId: null,
    occurredAt: noon,
    state: 'waiting',
    code: null,
    because: null,
    dueAt: noon,
    encounterKey: null,
    deliveryRequested: true,
    ...changes,
  }
}

/** @returns its id */
export async function aTransmission(
  dataSource: DataSource,
  authorizationId: string,
  changes: Partial<NewTransmission> = {},
): Promise<string> {
  const row = aNewTransmission(authorizationId, changes)
  await inTransaction(dataSource, (query) => insertTransmissions(query, [row], noon))
  return row.id
}

/** A message with content of its own, as intake keeps it. */
export function aMessage(changes: Partial<InboundMessage> = {}): InboundMessage {
  const content = changes.content ?? Buffer.from(`MSH|^~\\&|${randomUUID()}`)
  return {
    channel: 'adt-discharge',
    receivedAt: noon,
    sender: 'HIS^ASHBY',
    controlId: randomUUID(),
    digest: createHash('sha256').update(content).digest(),
    peer: '127.0.0.1',
    lane: 3,
    ack: Buffer.from('MSA|AA|1'),
    flags: [],
    content,
    order: 'connection 1',
    ...changes,
  }
}

/** A row of `message` written by hand. @returns its id */
export async function aStoredMessage(query: Query, state = 'received', because: string | null = null) {
  const [row] = await query<{ id: string }>(
    `INSERT INTO message (channel, received_at, received_on, sender, control_id, digest, bytes, peer, lane, state, because, cause)
     VALUES ('adt-discharge', $1::timestamptz, '2026-11-23', 'HIS', $2, '\\x00', 10, '127.0.0.1', 3, $3, $4,
       CASE WHEN $3 = 'quarantined' THEN 'lookup-miss:patient-class:"ZZ"' END) RETURNING id`,
    [noon, randomUUID(), state, because],
  )
  return row!.id
}
