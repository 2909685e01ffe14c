import { afterAll, beforeAll, expect, test } from '@jest/globals'
import '../neighbours/expectations.ts'
import type { Person } from '../neighbours/ccd.ts'
import { cancelledDischargeOf, dischargeOf } from '../neighbours/hl7-messages.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen, ellensPhr, isaac } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { tracesOf } from './traces.ts'

const startMsMax = 120_000
const storyMsMax = 60_000

let database: TestDatabase
let town: Town

beforeAll(async () => {
  database = await freshDatabase()
  town = await aTown({ database: database.url, authorization: { triggers: ['discharge'] } })
}, startMsMax)
afterAll(async () => {
  await town?.close()
  await database?.close()
}, startMsMax)

interface Step {
  readonly step: string
  readonly outcome: string
  readonly detail: string
}

/** Somebody with Ellen’s mailbox and a record of her own. */
function aPatient(number: number, changes: Partial<Person> = {}): Person {
  return {
    ...ellen,
    id: `patient-${number}`,
    identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value: `J${number}`, type: 'MR' }],
    given: 'Jo',
    ...changes,
  }
}

test(
  'a discharge reaches Ellen’s PHR byte for byte and its MDNs close the transmission',
  async () => {
    const [authorization] = await database.dataSource.query<{ id: string }[]>(
      'SELECT id FROM transmit_authorization',
    )
    expect(await town.hospital.sends(dischargeOf(ellen, { controlId: 'ELLEN-GOES-HOME' }))).toMatchObject([
      { ack: 'AA', attempts: 1 },
    ])
    await town.settles()

    expect(town.phr.refused).toEqual([])
    expect(town.phr.inbox).toHaveLength(1)
    const [arrived] = town.phr.inbox
    expect(town.phr.inbox).toContainDocument(town.ellensCcd)
    expect(arrived).toMatchObject({ arrivals: 1, overTls: true, envelope: { to: [ellensPhr] } })
    expect(await town.phr.contentOf(town.ellensCcd!.sha256)).toHaveLength(town.ellensCcd!.bytes)

    const [transmission] = await town.transmissions(authorization!.id)
    expect(transmission).toMatchObject({ state: 'delivered', messageId: arrived!.messageId })
    const disclosures = await database.dataSource.query<{ detail: Record<string, unknown> }[]>(
      `SELECT detail FROM audit WHERE action = 'disclosure' AND subject = $1 AND authorization_id = $2`,
      [`transmission:${transmission!.id}`, authorization!.id],
    )
    expect(disclosures).toMatchObject([
      { detail: { destination: ellensPhr, messageId: arrived!.messageId, attempt: 1, resend: false } },
    ])
  },
  storyMsMax,
)

test(
  'the trace kept with a transmission is the one that `bluepost certs` prints',
  async () => {
    const [transmission] = await town.transmissions()
    const { trace } = await town.engine.api<{ trace: Step[] }>('GET', `transmissions/${transmission!.id}`)
    const { code, stdout } = await town.engine.command('certs', ellensPhr, '--json')
    expect(code).toBe(0)
    const { steps } = JSON.parse(stdout) as { steps: Step[] }
    // The engine may have kept the answer from looking ahead.
    const told = ({ step, outcome, detail }: Step) => ({
      step,
      outcome,
      detail: detail.replace(/, kept, good for \d+ s more/, ''),
    })
    expect(trace.map(told)).toEqual(steps.map(told))
    // Asked where, answered what; names, dates and path of what is trusted, and by which anchor.
    expect(trace[0]).toMatchObject({ outcome: expect.any(String), detail: expect.stringMatching(/CERT/) })
    expect(trace.at(-1)).toMatchObject({ step: 'trust', outcome: 'trusted' })
    expect(trace.at(-1)!.detail).toMatch(
      /^“.+” \(SHA-256 [0-9a-f]{16}…\): (address|domain)-bound, valid \d{4}-\d\d-\d\d to .+ below anchor “/,
    )
  },
  storyMsMax,
)

test(
  '`bluepost destinations` lists whom active requests name, and whether they can receive',
  async () => {
    const all = await town.engine.command('destinations')
    expect(all.code).toBe(0)
    expect(all.stdout).toMatch(new RegExp(`^trusted +${ellensPhr}  can receive, for \\d+ days`, 'm'))
    const one = await town.engine.command('destinations', ellensPhr)
    expect(one.stdout).toContain('CERT ellen.ross.direct.somephr.example')
    expect((await town.engine.command('destinations', '--outcome', 'untrusted')).stdout).toContain('no such')
    expect(await town.engine.command('destinations', 'nobody@direct.a.example')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no active request names'),
    })
    expect((await town.engine.command('destinations', '--outcome', 'lost')).code).toBe(2)
    expect((await town.engine.command('destinations', '--ending', '0')).code).toBe(2)
    const json = await town.engine.command('destinations', '--json')
    expect(JSON.parse(json.stdout)).toMatchObject([{ address: ellensPhr, outcome: 'trusted' }])
  },
  storyMsMax,
)

test(
  '`bluepost explain` tells the whole story of a discharge by its control id',
  async () => {
    const { code, stdout } = await town.engine.command('explain', 'ELLEN-GOES-HOME')
    expect(code).toBe(0)
    expect(stdout).toContain('It says: discharge')
    expect(stdout).toContain(': matched,')
    expect(stdout).toContain(`to ${ellensPhr}, because of discharge, is delivered`)
    expect(stdout).toContain(town.ellensCcd!.sha256)
    expect(stdout).toContain('The next hop accepted it at')
    expect(stdout).toContain('Its delivery was confirmed at')
    expect(stdout).not.toContain('Ross')
  },
  storyMsMax,
)

test(
  'a request for once is sent at once, without any trigger, and never again on one',
  async () => {
    const once = aPatient(1)
    await town.clinic.admits(once)
    const document = await town.clinic.publishes(once)
    const before = town.phr.inbox.length
    const { id } = await town.authorize({ person: once, frequency: 'once' })
    await town.settles()
    expect(town.phr.inbox.slice(before)).toContainDocument(document)
    expect(await town.transmissions(id)).toMatchObject([{ state: 'delivered' }])

    await town.hospital.sends(dischargeOf(once))
    await town.settles()
    expect(town.phr.inbox).toHaveLength(before + 1)
  },
  storyMsMax,
)

test(
  'of a patient who asked for nothing nothing is sent, and nothing that names her remains in any table',
  async () => {
    const stranger = aPatient(2, {
      identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value: 'X77160423', type: 'MR' }],
      family: 'Quackenbush',
      given: 'Philippa',
      birthDate: '1931-12-29',
    })
    await town.clinic.admits(stranger)
    await town.clinic.publishes(stranger)
    const before = town.phr.inbox.length
    const message = dischargeOf(stranger, { controlId: 'NO-REQUEST', visit: 'V90210773' })
    expect(await town.hospital.sends(message)).toMatchObject([{ ack: 'AA' }])
    await town.settles()

    expect(town.phr.inbox).toHaveLength(before)
    const { code, stdout } = await town.engine.command('explain', 'NO-REQUEST')
    expect(code).toBe(0)
    expect(stdout).toMatch(/Nothing was sent: .*authorization/)

    const named = ['X77160423', 'Quackenbush', 'Philippa', '1931-12-29', '19311229', 'V90210773']
    expect(await tracesOf(database.dataSource, named)).toEqual([])
    // The search finds what is there: Ellen’s name stands in her authorization, the control id in the message.
    expect(await tracesOf(database.dataSource, ['Ross', 'NO-REQUEST'])).not.toEqual([])
  },
  storyMsMax,
)

test(
  'a wrong birth date is held and never sent',
  async () => {
    const before = town.phr.inbox.length
    const asked = town.clinic.process.happenings.length
    await town.hospital.sends(dischargeOf({ ...ellen, birthDate: '1956-08-15' }, { controlId: 'OTHER-DAY' }))
    await town.settles()
    expect(await town.fateOf(ellen)).toBe('held')
    expect((await town.engine.command('explain', 'OTHER-DAY')).stdout).toMatch(/birth date/i)
    expect(town.phr.inbox).toHaveLength(before)
    expect(town.clinic.process.happenings).toHaveLength(asked)
  },
  storyMsMax,
)

test(
  'a document about another patient is held and never sent',
  async () => {
    const confused = aPatient(3)
    await town.clinic.admits(confused)
    const document = await town.clinic.publishes(confused, { insteadOf: isaac.id })
    const { id } = await town.authorize({ person: confused })
    const before = town.phr.inbox.length
    await town.hospital.sends(dischargeOf(confused))
    await town.settles()
    expect(await town.transmissions(id)).toMatchObject([{ state: 'held', code: 'document-identity' }])
    expect(town.phr.inbox).toHaveLength(before)
    expect(town.phr.inbox).not.toContainDocument(document)
  },
  storyMsMax,
)

test(
  'a discharge taken back within the hold is withdrawn, and one taken back before it came is not sent either',
  async () => {
    const own = await freshDatabase()
    const patient = await aTown({
      database: own.url,
      authorization: { triggers: ['discharge'] },
      settings: { limits: { holdMax: '10m' } },
    })
    try {
      const visit = 'V4711'
      await patient.hospital.sends(dischargeOf(ellen, { visit }))
      await patient.until('the discharge waits', async () => (await patient.fateOf(ellen)) === 'waiting')
      await patient.hospital.sends(cancelledDischargeOf(ellen, visit, { controlId: 'TAKEN-BACK' }))
      await patient.settles()
      expect(await patient.transmissions()).toMatchObject([{ state: 'withdrawn', code: 'taken-back' }])

      const earlier = new Date(Date.now() - 60_000)
      await patient.hospital.sends(cancelledDischargeOf(ellen, 'V4712'))
      await patient.hospital.sends(dischargeOf(ellen, { visit: 'V4712', at: earlier, controlId: 'TOO-LATE' }))
      await patient.settles()
      expect(await patient.transmissions()).toHaveLength(1)
      expect((await patient.engine.command('explain', 'TOO-LATE')).stdout).toContain('Nothing was sent')

      expect(patient.phr.inbox).toEqual([])
      expect(patient.clinic.process.happenings.filter(({ what }) => what === 'answered')).toEqual([])
    } finally {
      await patient.close()
      await own.close()
    }
  },
  startMsMax,
)
