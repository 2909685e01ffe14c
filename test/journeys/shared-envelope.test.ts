import { afterAll, beforeAll, expect, test } from '@jest/globals'
import '../neighbours/expectations.ts'
import { dischargeOf } from '../neighbours/hl7-messages.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen, ellensPhr } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { issueFor } from '../pki/pki.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const startMsMax = 120_000
const storyMsMax = 60_000
const doctor = 'doctor@direct.somephr.example'
const unpublished = 'nobody@direct.somephr.example'

let database: TestDatabase
let town: Town

beforeAll(async () => {
  database = await freshDatabase()
  town = await aTown({ database: database.url, settings: { seal: { envelope: 'shared' } } })
  const { root, certificates } = town
  const doctors = issueFor(root, doctor)
  await town.names.order('add', {
    records: [
      { type: 'CERT', name: doctor.replace('@', '.'), certificate: doctors.certificate.toString('base64') },
    ],
  })
  const pair = (one: typeof doctors) => ({ certificate: one.certificatePem, privateKey: one.privateKeyPem })
  await town.phr.process.order('settings', {
    settings: {
      mailboxes: [
        { name: ellensPhr, pair: pair(certificates.recipient) },
        { name: doctor, pair: pair(doctors) },
      ],
    },
  })
}, startMsMax)
afterAll(async () => {
  await town?.close()
  await database?.close()
}, startMsMax)

test(
  'one message goes to all who have a trusted certificate; who has none is told apart',
  async () => {
    for (const { id } of await listed()) await town.revoke(id)
    const { id } = await town.authorize({ destinations: [ellensPhr, unpublished, doctor] })
    await town.hospital.sends(dischargeOf(ellen))
    await town.settles()
    await town.until('both are delivered', async () => (await states(id)).delivered === 2, 15_000)

    expect(town.phr.refused).toEqual([])
    expect(town.phr.inbox).toHaveLength(1)
    const [message] = town.phr.inbox
    expect(town.phr.inbox).toContainDocument(town.ellensCcd)
    expect(message).toMatchObject({ arrivals: 2 })
    expect(new Set(message!.sealedSha256s).size).toBe(1)

    const transmissions = await town.transmissions(id)
    const sent = transmissions.filter(({ state }) => state === 'delivered')
    expect(sent.map(({ messageId }) => messageId)).toEqual([message!.messageId, message!.messageId])
    expect(transmissions.filter(({ state }) => state === 'failed')).toMatchObject([
      { code: 'recipient-no-certificate', messageId: null },
    ])
    await town.revoke(id)
  },
  storyMsMax,
)

test(
  'what the next hop says of one recipient is no word about the other',
  async () => {
    await town.phr.door({ at: 'rcpt', how: 'reply', code: 550, text: 'no such mailbox', to: doctor })
    const { id } = await town.authorize({ destinations: [ellensPhr, doctor] })
    await town.hospital.sends(dischargeOf(ellen, { visit: 'V-SHARED-2' }))
    await town.until('both have ended', async () => (await ended(id)).length === 2)
    expect((await ended(id)).map(({ state, code }) => [state, code]).sort()).toEqual([
      ['delivered', null],
      ['failed', 'edge-refused'],
    ])
    expect(town.phr.inbox.at(-1)).toMatchObject({ arrivals: 1, envelope: { to: [ellensPhr] } })
    await town.revoke(id)
    await town.phr.door(null)
  },
  storyMsMax,
)

test(
  'who is taken off the request after it was sealed and before it left does not get the envelope',
  async () => {
    // The next hop asks for patience, so that what is sealed waits.
    await town.phr.door({ at: 'mail', how: 'reply', code: 451, text: 'later' })
    const { id } = await town.authorize({ destinations: [ellensPhr, doctor] })
    await town.hospital.sends(dischargeOf(ellen, { visit: 'V-SHARED-3' }))
    await town.until('both are sealed', async () => (await states(id)).sealed === 2)
    await town.engine.api('PATCH', `authorizations/${id}`, { destinations: [ellensPhr] })
    await town.phr.door(null)
    for (const { id: one, state } of await town.transmissions(id))
      if (state === 'sealed') await town.engine.command('retry', one)
    await town.until('Ellen has it', async () => (await states(id)).delivered === 1)
    expect(await states(id)).toEqual({ delivered: 1, cancelled: 1 })
    expect(town.phr.inbox.at(-1)).toMatchObject({ arrivals: 1, envelope: { to: [ellensPhr] } })
    await town.revoke(id)
  },
  storyMsMax,
)

test(
  'after a revocation between sealing and sending nobody gets the envelope',
  async () => {
    const before = town.phr.inbox.length
    await town.phr.door({ at: 'mail', how: 'reply', code: 451, text: 'later' })
    const { id } = await town.authorize({ destinations: [ellensPhr, doctor] })
    await town.hospital.sends(dischargeOf(ellen, { visit: 'V-SHARED-4' }))
    await town.until('both are sealed', async () => (await states(id)).sealed === 2)
    await town.revoke(id)
    await town.phr.door(null)
    await town.settles()
    expect(await states(id)).toEqual({ cancelled: 2 })
    expect(town.phr.inbox).toHaveLength(before)
  },
  storyMsMax,
)

const listed = async () => (await town.engine.api<{ items: { id: string }[] }>('GET', 'authorizations')).items

const ended = async (id: string) =>
  (await town.transmissions(id)).filter(({ state }) => state === 'delivered' || state === 'failed')

async function states(authorizationId: string): Promise<Record<string, number>> {
  const counted: Record<string, number> = {}
  for (const { state } of await town.transmissions(authorizationId))
    counted[state] = (counted[state] ?? 0) + 1
  return counted
}
