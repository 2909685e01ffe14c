import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import '../neighbours/expectations.ts'
import type { Person } from '../neighbours/ccd.ts'
import { dischargeOf } from '../neighbours/hl7-messages.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen, ellensPhr } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const startMsMax = 120_000
const storyMsMax = 60_000

let database: TestDatabase
let town: Town

beforeAll(async () => {
  database = await freshDatabase()
  // Long enough to revoke within it, short enough to see that nothing comes when it is over.
  town = await aTown({ database: database.url, settings: { limits: { holdMax: '2s' } } })
}, startMsMax)
afterAll(async () => {
  await town?.close()
  await database?.close()
}, startMsMax)
beforeEach(async () => {
  await town.clinic.fails(null)
  await town.phr.door(null)
  await town.phr.answers(null)
})

let people = 0
/** Somebody with a document, whose mailbox is Ellen’s. */
async function aPatient(): Promise<Person> {
  const number = ++people
  const person: Person = {
    ...ellen,
    id: `patient-${number}`,
    identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value: `R${number}`, type: 'MR' }],
  }
  await town.clinic.admits(person)
  await town.clinic.publishes(person)
  return person
}

async function stateOf(authorizationId: string): Promise<string | undefined> {
  return (await town.transmissions(authorizationId))[0]?.state
}

/** How often the door met the fault. */
function timesMet(at: string): number {
  return town.phr.process.happenings.filter((one) => one.what === 'fault' && one['at'] === at).length
}

/** Until every job about transmissions has run: whatever was still to come has come. */
function untilNoJobIsLeft(): Promise<void> {
  return town.until('every job has run', async () => {
    const [row] = await database.dataSource.query<{ count: string }[]>(
      `SELECT count(*) FROM graphile_worker.jobs WHERE task_identifier = 'step'`,
    )
    return row?.count === '0'
  })
}

/** Revokes; from the answer on nothing may arrive, whatever is set free afterwards. */
async function nothingComesAfterRevoking(
  authorizationId: string,
  { goOn }: { goOn?: () => Promise<unknown> } = {},
): Promise<void> {
  const before = town.phr.inbox.length
  await town.revoke(authorizationId, 'the patient called')
  expect(await town.transmissions(authorizationId)).toMatchObject([{ state: 'cancelled', code: 'revoked' }])
  await goOn?.()
  await untilNoJobIsLeft()
  const [transmission] = await town.transmissions(authorizationId)
  expect(transmission).toMatchObject({ state: 'cancelled', code: 'revoked' })
  expect(transmission?.because).toContain('revoked')
  expect(town.phr.inbox).toHaveLength(before)
  expect(town.phr.refused).toEqual([])
  const [disclosed] = await database.dataSource.query<{ count: string }[]>(
    `SELECT count(*) FROM audit WHERE action = 'disclosure' AND at > (
       SELECT at FROM audit WHERE action = 'authorization-revoked' AND authorization_id = $1)`,
    [authorizationId],
  )
  expect(disclosed?.count).toBe('0')
}

test(
  'revoking while the discharge waits stops it',
  async () => {
    const patient = await aPatient()
    const { id } = await town.authorize({ person: patient })
    const asked = () =>
      town.clinic.process.happenings.filter(({ what, path }) => what === 'asked' && /R\d/.test(String(path)))
    const before = asked().length
    await town.hospital.sends(dischargeOf(patient))
    await town.until('it waits', async () => (await stateOf(id)) === 'waiting')
    await nothingComesAfterRevoking(id)
    expect(asked()).toHaveLength(before)
  },
  storyMsMax,
)

test(
  'revoking while the document is being fetched stops it',
  async () => {
    const patient = await aPatient()
    await town.clinic.fails({ how: 'hang', path: 'Binary/' })
    const asked = town.clinic.process.happenings.length
    const { id } = await town.authorize({ person: patient, frequency: 'once' })
    await town.until('the document is asked for', () =>
      town.clinic.process.happenings
        .slice(asked)
        .some(({ what, path }) => what === 'asked' && String(path).includes('Binary/')),
    )
    expect(await stateOf(id)).toBe('preparing')
    await nothingComesAfterRevoking(id, { goOn: () => town.clinic.fails(null) })
  },
  storyMsMax,
)

test(
  'revoking while certificates are being looked for stops it',
  async () => {
    const patient = await aPatient()
    const name = ellensPhr.replace('@', '.')
    const destination = `R.${ellensPhr}`
    const asked = `R.${name}`
    await town.names.order('misbehave', { name: asked, how: 'silence' })
    const { id } = await town.authorize({ person: patient, frequency: 'once', destination })
    await town.names.hears(({ what, name: one }) => what === 'asked' && one === asked.toLowerCase())
    await town.until('it is being prepared', async () => (await stateOf(id)) === 'preparing')
    await nothingComesAfterRevoking(id, {
      goOn: () => town.names.order('misbehave', { name: asked, how: 'normal' }),
    })
  },
  storyMsMax,
)

test(
  'revoking what is sealed and waits for its next attempt stops it',
  async () => {
    const patient = await aPatient()
    await town.phr.door({ at: 'mail', how: 'reply', code: 451 })
    const met = timesMet('mail')
    const { id } = await town.authorize({ person: patient, frequency: 'once' })
    await town.until('the next hop asks to try later', () => timesMet('mail') > met)
    expect(await stateOf(id)).toBe('sealed')
    await nothingComesAfterRevoking(id, { goOn: () => town.phr.door(null) })
    const [left] = await database.dataSource.query<{ count: string }[]>(
      `SELECT count(*) FROM sealed_message s JOIN transmission t ON t.id = s.transmission_id
       WHERE t.authorization_id = $1 AND NOT t.ambiguous`,
      [id],
    )
    expect(left?.count).toBe('0')
  },
  storyMsMax,
)

test(
  'revoking in the middle of the SMTP dialogue, before DATA, stops it',
  async () => {
    const patient = await aPatient()
    await town.phr.door({ at: 'rcpt', how: 'hang' })
    const met = timesMet('rcpt')
    const { id } = await town.authorize({ person: patient, frequency: 'once' })
    await town.until('the next hop is asked for the recipient', () => timesMet('rcpt') > met)
    expect(await stateOf(id)).toBe('sealed')
    await nothingComesAfterRevoking(id, { goOn: () => town.phr.door(null) })
  },
  storyMsMax,
)

test(
  'revoking after a connection was lost, when it may have arrived, stops the resend',
  async () => {
    const patient = await aPatient()
    const met = timesMet('data')
    await town.phr.door({ at: 'data', how: 'lose' })
    const { id } = await town.authorize({ person: patient, frequency: 'once' })
    await town.until('it was lost', async () => {
      const [row] = await database.dataSource.query<{ ambiguous: boolean; on_wire: boolean }[]>(
        'SELECT ambiguous, on_wire FROM transmission WHERE authorization_id = $1',
        [id],
      )
      return timesMet('data') > met && row?.ambiguous === true && !row.on_wire
    })
    await town.phr.door({ at: 'mail', how: 'reply', code: 451 })
    await town.until('it is not under way', async () => {
      const [row] = await database.dataSource.query<{ on_wire: boolean }[]>(
        'SELECT on_wire FROM transmission WHERE authorization_id = $1',
        [id],
      )
      return row?.on_wire === false
    })
    await nothingComesAfterRevoking(id, { goOn: () => town.phr.door(null) })
  },
  storyMsMax,
)

test(
  'revoking what is held cancels it, and it cannot be released any more',
  async () => {
    const patient = await aPatient()
    const { id } = await town.authorize({ person: patient })
    await town.hospital.sends(dischargeOf({ ...patient, birthDate: '1990-01-01' }))
    await town.until('it is held', async () => (await stateOf(id)) === 'held')
    await nothingComesAfterRevoking(id)
    const [transmission] = await town.transmissions(id)
    await expect(town.engine.api('POST', `transmissions/${transmission!.id}/release`, {})).rejects.toThrow(
      '409',
    )
    await untilNoJobIsLeft()
    expect(await stateOf(id)).toBe('cancelled')
  },
  storyMsMax,
)

test(
  'revoking cannot take back what the next hop has: it stays sent, and its answers count',
  async () => {
    const patient = await aPatient()
    await town.phr.door({ at: 'data', how: 'hang', times: 1 })
    const met = timesMet('data')
    const { id } = await town.authorize({ person: patient, frequency: 'once' })
    await town.until('the next hop has every byte', () => timesMet('data') > met)
    await town.revoke(id)
    expect(await stateOf(id)).toBe('sealed')
    await town.phr.door(null)
    await town.until('its MDNs closed it', async () => (await stateOf(id)) === 'delivered')
    expect(town.phr.inbox.at(-1)?.arrivals).toBe(1)
  },
  storyMsMax,
)

test(
  'revoking after it was submitted leaves it submitted, and stops the next discharge',
  async () => {
    const patient = await aPatient()
    await town.phr.answers({ never: true, times: 1 })
    const { id } = await town.authorize({ person: patient })
    await town.hospital.sends(dischargeOf(patient))
    await town.until('it is submitted', async () => (await stateOf(id)) === 'submitted')
    const before = town.phr.inbox.length
    await town.revoke(id)
    expect(await stateOf(id)).toBe('submitted')

    await town.hospital.sends(dischargeOf(patient, { controlId: 'AFTERWARDS' }))
    await town.settles()
    expect(town.phr.inbox).toHaveLength(before)
    expect(await town.transmissions(id)).toHaveLength(1)
    expect((await town.engine.command('explain', 'AFTERWARDS')).stdout).toContain('revoked')
    await town.phr.sendsMdn('dispatched')
    await town.until('the late answer counts', async () => (await stateOf(id)) === 'delivered')
  },
  storyMsMax,
)
